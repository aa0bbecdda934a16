"""Building blocks of the YOLOv5 and YOLOv8 families in torch.

Written from the published architecture: block diagrams, layer tables and parameter names of the checkpoints.
The attribute names (`conv`, `bn`, `cv1`, `m`, ...) are the checkpoints' own, so that their weights load by name.
Every tensor is NCHW.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The published networks were trained with these, not with torch's 1e-5 and 0.1.
BN_EPS = 1e-3
BN_MOMENTUM = 0.03


class ConvBnAct(nn.Module):
    """Convolution without bias, batch norm, SiLU (or what `edgeai.models.activations` gives it). Keeps the size at
    stride 1, halves an even one at stride 2.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        pad = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act: nn.Module = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Two convolutions that keep the channels, with a residual sum where `shortcut`."""

    def __init__(self, channels: int, shortcut: bool, first_kernel: int) -> None:
        super().__init__()
        self.cv1 = ConvBnAct(channels, channels, first_kernel)
        self.cv2 = ConvBnAct(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.shortcut else out


class C2f(nn.Module):
    """YOLOv8's stage: split in two, `repeats` bottlenecks on one half, all intermediate results concatenated."""

    def __init__(self, c_in: int, c_out: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = c_out // 2
        self.cv1 = ConvBnAct(c_in, 2 * half)
        self.cv2 = ConvBnAct((2 + repeats) * half, c_out)
        self.m = nn.ModuleList(Bottleneck(half, shortcut, first_kernel=3) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = list(self.cv1(x).chunk(2, 1))
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, 1))
        return out


class C3(nn.Module):
    """YOLOv5's stage: `repeats` bottlenecks on one branch, a 1×1 convolution on the other, joined by a third."""

    def __init__(self, c_in: int, c_out: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = c_out // 2
        self.cv1 = ConvBnAct(c_in, half)
        self.cv2 = ConvBnAct(c_in, half)
        self.cv3 = ConvBnAct(2 * half, c_out)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut, first_kernel=1) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling: three 5×5 max pools in a row see windows of 5, 9 and 13."""

    POOLS = 3

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half = c_in // 2
        self.cv1 = ConvBnAct(c_in, half)
        self.cv2 = ConvBnAct((1 + self.POOLS) * half, c_out)
        self.m = nn.MaxPool2d(kernel_size=5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = [self.cv1(x)]
        for _ in range(self.POOLS):
            parts.append(self.m(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, 1))
        return out


class Proto(nn.Module):
    """Mask prototypes: [B, c_in, h, w] -> [B, coefs, 2h, 2w]. YOLOv8 learns the upsampling, YOLOv5 repeats pixels."""

    def __init__(self, c_in: int, hidden: int, coefs: int, learned_upsample: bool) -> None:
        super().__init__()
        self.cv1 = ConvBnAct(c_in, hidden, 3)
        self.upsample: nn.Module = (
            nn.ConvTranspose2d(hidden, hidden, 2, 2, 0, bias=True)
            if learned_upsample
            else nn.Upsample(scale_factor=2, mode="nearest")
        )
        self.cv2 = ConvBnAct(hidden, hidden, 3)
        self.cv3 = ConvBnAct(hidden, coefs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


class Concat(nn.Module):
    """Joins feature maps along the channels."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


class Classify(nn.Module):
    """Classification head: 1×1 convolution to 1280, global mean, linear. [B, c_in, h, w] -> ([B, nc] logits,)."""

    def __init__(self, c_in: int, nc: int) -> None:
        super().__init__()
        hidden = 1280
        self.conv = ConvBnAct(c_in, hidden)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(hidden, nc)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        out: Tensor = self.linear(self.pool(self.conv(x)).flatten(1))
        return (out,)


def head_branch(c_in: int, hidden: int, c_out: int) -> nn.Sequential:
    """One branch of an anchor-free head: two 3×3 convolutions and a plain 1×1 with bias."""
    return nn.Sequential(ConvBnAct(c_in, hidden, 3), ConvBnAct(hidden, hidden, 3), nn.Conv2d(hidden, c_out, 1))


class AnchorFreeHead(nn.Module):
    """YOLOv8's head on raw convolutions. Takes one feature map per level.

    Returns, level by level, box distributions [B, 4*reg_max, h, w], class logits [B, nc, h, w] and, with masks,
    coefficients [B, coefs, h, w]; then the prototypes [B, coefs, 2h0, 2w0] of the finest level.
    The constant DFL kernel 0..reg_max-1 of the checkpoints is part of the decode, not of this module.
    """

    def __init__(self, channels: tuple[int, ...], nc: int, reg_max: int, coefs: int, proto_hidden: int) -> None:
        super().__init__()
        finest = channels[0]
        box, score = max(16, finest // 4, 4 * reg_max), max(finest, min(nc, 100))
        self.cv2 = nn.ModuleList(head_branch(c, box, 4 * reg_max) for c in channels)
        self.cv3 = nn.ModuleList(head_branch(c, score, nc) for c in channels)
        self.has_masks = coefs > 0
        if self.has_masks:
            self.proto = Proto(finest, proto_hidden, coefs, learned_upsample=True)
            self.cv4 = nn.ModuleList(head_branch(c, max(finest // 4, coefs), coefs) for c in channels)

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for index, level in enumerate(levels):
            outputs += [self.cv2[index](level), self.cv3[index](level)]
            if self.has_masks:
                outputs.append(self.cv4[index](level))
        if self.has_masks:
            outputs.append(self.proto(levels[0]))
        return tuple(outputs)


class AnchorHead(nn.Module):
    """YOLOv5's head on raw convolutions: per level [B, na*(5+nc+coefs), h, w], with masks also the prototypes."""

    def __init__(self, channels: tuple[int, ...], nc: int, na: int, coefs: int, proto_hidden: int) -> None:
        super().__init__()
        self.m = nn.ModuleList(nn.Conv2d(c, na * (5 + nc + coefs), 1) for c in channels)
        self.has_masks = coefs > 0
        if self.has_masks:
            self.proto = Proto(channels[0], proto_hidden, coefs, learned_upsample=False)

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = [self.m[index](level) for index, level in enumerate(levels)]
        if self.has_masks:
            outputs.append(self.proto(levels[0]))
        return tuple(outputs)
