"""A network as a numbered list of layers, each with the numbers of the layers it reads.

The numbers are those of the published layer tables, because the checkpoints name their weights by them
(`model.22.cv2.0.0.conv.weight`).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgeai.models.layers import C3, SPPF, C2f, Concat, ConvBnAct

PREVIOUS = -1


class Network(nn.Module):
    """Runs its layers in order; the last one is the head.

    forward: [B, 3, S, S] RGB in 0..1, S a multiple of the largest stride, to the flat tuple of the head's raw tensors.
    """

    def __init__(self, layers: list[nn.Module], sources: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.sources = tuple(sources)
        self.saved = frozenset(index for source in sources for index in source if index != PREVIOUS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        kept: dict[int, Tensor] = {}
        last: Tensor = x
        for index, (layer, source) in enumerate(zip(self.model, self.sources, strict=True)):
            last = layer(*(last if i == PREVIOUS else kept[i] for i in source))
            if index in self.saved:
                kept[index] = last
        outputs: tuple[Tensor, ...] = tuple(last)
        return outputs


class Plan:
    """Collects the layers of a network and follows their channels, scaled by the family's depth and width."""

    def __init__(self, depth: float, width: float, max_channels: int) -> None:
        self.depth, self.width, self.max_channels = depth, width, max_channels
        self.layers: list[nn.Module] = []
        self.sources: list[tuple[int, ...]] = []
        self.channels: list[int] = []

    def scaled(self, channels: int) -> int:
        """Channels of the widest network scaled to this one, rounded up to a multiple of 8."""
        return math.ceil(min(channels, self.max_channels) * self.width / 8) * 8

    def repeats(self, count: int) -> int:
        return max(round(count * self.depth), 1)

    def conv(self, channels: int, kernel: int, stride: int, padding: int | None = None) -> None:
        c_out = self.scaled(channels)
        self._add(ConvBnAct(self._last(), c_out, kernel, stride, padding), c_out)

    def c2f(self, channels: int, repeats: int, shortcut: bool) -> None:
        c_out = self.scaled(channels)
        self._add(C2f(self._last(), c_out, self.repeats(repeats), shortcut), c_out)

    def c3(self, channels: int, repeats: int, shortcut: bool) -> None:
        c_out = self.scaled(channels)
        self._add(C3(self._last(), c_out, self.repeats(repeats), shortcut), c_out)

    def sppf(self, channels: int) -> None:
        c_out = self.scaled(channels)
        self._add(SPPF(self._last(), c_out), c_out)

    def upsample(self) -> None:
        self._add(nn.Upsample(scale_factor=2, mode="nearest"), self._last())

    def concat(self, index: int) -> None:
        """Join the previous layer with layer `index`."""
        self._add(Concat(), self._last() + self.channels[index], (PREVIOUS, index))

    def head(self, module: nn.Module, sources: tuple[int, ...]) -> None:
        self._add(module, 0, sources)

    def at(self, sources: tuple[int, ...]) -> tuple[int, ...]:
        """Channels of the given layers."""
        return tuple(self.channels[index] for index in sources)

    def build(self) -> Network:
        return Network(self.layers, self.sources)

    def _last(self) -> int:
        return self.channels[-1] if self.channels else 3

    def _add(self, module: nn.Module, channels: int, sources: tuple[int, ...] = (PREVIOUS,)) -> None:
        self.layers.append(module)
        self.sources.append(sources)
        self.channels.append(channels)
