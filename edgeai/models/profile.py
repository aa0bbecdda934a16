"""Parameters and FLOPs of a network by the conventions of the published tables.

FLOPs are 2·MAC of the network with its batch norms folded into the convolutions. The published figures were counted
by the thop package on an input as large as the largest stride and scaled by area, which shows in three places:

- a transposed convolution counts kernel × output size, four times its true work at stride 2 (YOLOv8-seg prototypes);
- the linear layer of a classifier is scaled by area with the rest, although it runs once per image;
- nearest upsampling counts one operation per output element.

Two tables were counted otherwise. YOLOv5 detect (P5 and P6): that older thop added one operation per output element
for the bias, and counted no upsampling. YOLOv8 classify at 224: norms not folded, four operations per element each.
Together these reproduce the published figures to the printed digit; the tests hold the table, and the few published
cells that contradict their own neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeai.models.registry import REGISTRY, Entry, spec_of

if TYPE_CHECKING:
    from torch import nn

    from edgeai.models.network import Network

DFL_CHANNELS = 16  # weights of the constant DFL convolution, which the published counts include


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One row of `edgeai models`: parameters after folding, and FLOPs at `imgsz` pixels."""

    name: str
    params: int
    flops: int
    imgsz: int


def profiles() -> tuple[ModelProfile, ...]:
    """Every network of the registry, with the number of classes of its published weights."""
    return tuple(profile(entry) for entry in REGISTRY)


def profile(entry: Entry, imgsz: int | None = None) -> ModelProfile:
    """Parameters and FLOPs of one network at `imgsz`, by default the size its published FLOPs are for.

    Raises ToolError without torch.
    """
    from edgeai.models.build import build_spec, require_torch

    require_torch()
    import torch

    with torch.device("meta"):
        network = build_spec(spec_of(entry, tuple(f"class{i}" for i in range(entry.nc))))
    size = imgsz or entry.flops_imgsz
    side = 64 if entry.p6 else 32
    operations = _counter(entry).count(network, side)
    anchor_free = entry.task != "classify" and entry.family != "yolov5"
    if anchor_free:
        anchors = sum((side // stride) ** 2 for stride in (8, 16, 32, 64) if stride <= side)
        operations += 4 * DFL_CHANNELS * anchors
    flops = round(2 * operations * (size / side) ** 2)
    params = _folded_parameters(network) + (DFL_CHANNELS if anchor_free else 0)
    return ModelProfile(name=entry.name, params=params, flops=flops, imgsz=size)


def _folded_parameters(network: Network) -> int:
    """Parameters with every batch norm (scale and shift) folded into a bias."""
    from torch import nn

    norms = sum(module.num_features for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    return sum(parameter.numel() for parameter in network.parameters()) - norms


def _counter(entry: Entry) -> _Counter:
    """The convention of the table that a network was published in."""
    if entry.family == "yolov5" and entry.task == "detect":
        return _Counter(per_output=1, with_upsample=False)
    return _Counter(per_output=4 if entry.family == "yolov8" and entry.task == "classify" else 0, with_upsample=True)


@dataclass(frozen=True, slots=True)
class _Counter:
    """Counts operations by following the side of the feature maps: MACs, and what the convention adds to them.

    `per_output` operations are added for every output element of a convolution.
    """

    per_output: int
    with_upsample: bool

    def count(self, network: Network, side: int) -> int:
        from torch import nn

        from edgeai.models.layers import AnchorFreeHead, AnchorHead, Classify, ConvBnAct

        sides: list[int] = []
        channels: list[int] = []
        total = 0
        current = side
        for layer, source in zip(network.model, network.sources, strict=True):
            if isinstance(layer, AnchorFreeHead | AnchorHead | Classify):
                total += self._head(layer, [sides[i] for i in source])
                continue
            if isinstance(layer, ConvBnAct):
                current //= layer.conv.stride[0]
            elif isinstance(layer, nn.Upsample):
                current *= 2
            channels.append(_channels(layer, channels, source))
            if isinstance(layer, nn.Upsample) and self.with_upsample:
                total += channels[-1] * current**2
            total += self._convolutions(layer, current)
            sides.append(current)
        return total

    def _head(self, head: nn.Module, sides: list[int]) -> int:
        from torch import nn

        total = 0
        for name, child in head.named_children():
            if name == "proto":
                total += self._proto(child, sides[0])
            elif isinstance(child, nn.ModuleList):
                total += sum(self._convolutions(b, side) for b, side in zip(child, sides, strict=True))
            elif isinstance(child, nn.Linear):
                total += child.in_features * child.out_features
            else:
                total += self._convolutions(child, sides[0])
        return total

    def _proto(self, proto: nn.Module, side: int) -> int:
        from torch import nn

        total = 0
        hidden = 0
        for name, child in proto.named_children():
            if isinstance(child, nn.Upsample):
                total += hidden * (2 * side) ** 2 if self.with_upsample else 0
            else:
                total += self._convolutions(child, side if name == "cv1" else 2 * side)
                hidden = _channels(child, [], ())
        return total

    def _convolutions(self, module: nn.Module, side: int) -> int:
        """All convolutions of a module whose outputs all have the same side."""
        from torch import nn

        weights = sum(
            m.weight.numel() + m.out_channels * self.per_output
            for m in module.modules()
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
        )
        return weights * side**2


def _channels(layer: nn.Module, before: list[int], source: tuple[int, ...]) -> int:
    """Output channels of a layer: of its last convolution, or those of its inputs where it has none."""
    from torch import nn

    convolutions = [m for m in layer.children() if isinstance(m, nn.Conv2d)]
    if convolutions:
        return convolutions[-1].out_channels
    for name in ("cv3", "cv2"):  # the closing convolution of C3, and of C2f and SPPF
        if hasattr(layer, name):
            return _channels(getattr(layer, name), before, source)
    return sum(before[i] for i in source)
