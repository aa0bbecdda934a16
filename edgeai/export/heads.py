"""The three layouts of a segmentation head as torch modules around a network that returns its raw convolutions.

`raw` leaves the decode to the application. `split` and `concat` decode inside the network, written so that int8 loses
as little as it can and the graph holds no operator that it does not need:

* sigmoid and softmax run per level, so that every level keeps the scale of its own logits; their outputs have TFLite's
  fixed scale 1/256, so the concatenation behind them costs nothing;
* the expectation of the box distances, the turn from (left, top, right, bottom) to (cx, cy, w, h) and the division by
  the image size are one linear map, so they are one 1x1 convolution on the softmax and one addition, not a dozen of
  element-wise operators that each round to 8 bits;
* the weights of that convolution are exact in int8 (see `_expectation`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeai.artifacts import Contract, Layout, ModelSpec, OutputRole

TIE_BREAK = 1e-3  # bins


class DecodedHead(nn.Module):
    """`split` and `concat`: decodes the raw outputs of `network` for a fixed square input of `imgsz` pixels.

    forward: [1,3,S,S] -> split: boxes [1,N,4] (cx, cy, w, h in 0..1), scores [1,N,nc], coefs [1,N,nm], proto;
    concat: pred [1,4+nc+nm,N], proto.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec, imgsz: int, layout: Layout) -> None:
        super().__init__()
        self.network, self.spec, self.layout = network, spec, layout
        self.distances = nn.ModuleList(_expectation(spec.reg_max, stride / imgsz) for stride in spec.strides)
        for level, stride in enumerate(spec.strides):
            self.register_buffer(f"anchors{level}", _anchors(imgsz // stride), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        raw = self.network(x)
        step = 3 if self.spec.task == "segment" else 2
        levels = [raw[i * step : (i + 1) * step] for i in range(len(self.spec.strides))]
        boxes = torch.cat([self._boxes(level[0], i) for i, level in enumerate(levels)], dim=1)
        scores = torch.cat([_rows(level[1].sigmoid()) for level in levels], dim=1)
        if step == 2:
            return (boxes, scores) if self.layout == "split" else (_columns(torch.cat([boxes, scores], dim=2)),)
        coefs = torch.cat([_rows(level[2]) for level in levels], dim=1)
        if self.layout == "split":
            return boxes, scores, coefs, raw[-1]
        return _columns(torch.cat([boxes, scores, coefs], dim=2)), raw[-1]

    def _boxes(self, dfl: Tensor, level: int) -> Tensor:
        """[1,4*reg_max,h,w] logits of the distances -> [1,h*w,4] boxes in 0..1."""
        h, w = dfl.shape[2], dfl.shape[3]
        bins = dfl.permute(0, 2, 3, 1).reshape(1, h * w * 4, self.spec.reg_max).softmax(dim=2)
        grid = bins.reshape(1, h, w, 4 * self.spec.reg_max).permute(0, 3, 1, 2)
        return _rows(self.distances[level](grid)) + self.get_buffer(f"anchors{level}")


def _rows(x: Tensor) -> Tensor:
    """[1,c,h,w] -> [1,h*w,c]"""
    return x.permute(0, 2, 3, 1).reshape(1, x.shape[2] * x.shape[3], x.shape[1])


def _columns(x: Tensor) -> Tensor:
    """[1,n,c] -> [1,c,n], ST's order"""
    return x.permute(0, 2, 1)


def _expectation(reg_max: int, unit: float) -> nn.Conv2d:
    """The convolution [4,4*reg_max,1,1] from bin probabilities to (cx - anchor, cy - anchor, w, h) in image units.

    distance = sum_i i * p_i for each side; cx offset = (right - left) / 2, w = left + right.

    The probabilities of a side sum to one, so a shift of all its weights is undone by the bias. The shift is chosen so
    that quantisation does not change the weights: for 16 bins the largest is 127/16 and all are multiples of 1/16.
    It also centres them, so that probabilities that no longer sum to one after rounding do less harm. The rows of the
    offsets have half that step; with one scale for all rows they would lie half-way between two int8 values, so a
    small tie-break makes all of them round the same way, which their difference cancels.
    """
    steps = 2 ** math.floor(math.log2(127 / (reg_max // 2)))
    shift = (reg_max - 1) - 127 / steps
    bins = torch.arange(reg_max, dtype=torch.float32)
    full, half = bins - shift, (bins - shift - TIE_BREAK) / 2
    weight = torch.zeros(4, 4, reg_max)  # [output, side, bin]; sides are left, top, right, bottom
    for axis in (0, 1):
        weight[axis, axis], weight[axis, axis + 2] = -half, half
        weight[2 + axis, axis] = weight[2 + axis, axis + 2] = full
    conv = nn.Conv2d(4 * reg_max, 4, 1).requires_grad_(False)
    conv.weight.copy_(weight.reshape(4, 4 * reg_max, 1, 1) * unit)
    assert conv.bias is not None
    conv.bias.copy_(torch.tensor([0.0, 0.0, 2 * shift, 2 * shift]) * unit)
    return conv


def _anchors(size: int) -> Tensor:
    """[1,size*size,4]: centres of the cells in 0..1, and zeros for width and height; row by row."""
    centres = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    zero = torch.zeros_like(x)
    return torch.stack([x, y, zero, zero], dim=2).reshape(1, size * size, 4)


def with_head(network: nn.Module, spec: ModelSpec, imgsz: int, layout: Layout) -> nn.Module:
    """`network` with the head layout that is asked for."""
    if layout == "raw" or spec.task == "classify":
        return network
    return DecodedHead(network, spec, imgsz, layout).eval()


def scale_coefficients(network: nn.Module, divisor: float) -> None:
    """Divide the mask coefficients by `divisor` where they arise, in the last convolution of each level's branch.

    A mask is `coefs . proto > 0`: no positive factor changes it. Works in place.
    """
    for branch in network.get_submodule("model.22.cv4").children():
        conv = list(branch.children())[-1]
        assert isinstance(conv, nn.Conv2d)
        with torch.no_grad():
            conv.weight /= divisor
            if conv.bias is not None:
                conv.bias /= divisor


def output_names(spec: ModelSpec, layout: Layout) -> list[str]:
    """Names of the outputs in the order of the module's tuple; also the names in the ONNX file."""
    return [f"{role.kind}{role.stride}" if role.stride else role.kind for role in roles(spec, layout)]


def roles(spec: ModelSpec, layout: Layout) -> tuple[OutputRole, ...]:
    """What each output of a layout means, in the order of the module's tuple."""
    segment = spec.task == "segment"
    if spec.task == "classify":
        kinds = [("probs", 0)]
    elif layout == "raw" and spec.anchors:
        kinds = [("anchors", stride) for stride in spec.strides] + [("proto", 0)] * segment
    elif layout == "raw":
        per_level = ("dfl", "logits", "coefs")[: 3 if segment else 2]
        kinds = [(kind, stride) for stride in spec.strides for kind in per_level] + [("proto", 0)] * segment
    elif layout == "split":
        kinds = [("boxes", 0), ("scores", 0)] + [("coefs", 0), ("proto", 0)] * segment
    else:
        kinds = [("pred", 0)] + [("proto", 0)] * segment
    return tuple(OutputRole(index=i, kind=kind, stride=stride) for i, (kind, stride) in enumerate(kinds))


def contract(spec: ModelSpec, layout: Layout, imgsz: int, coef_divisor: float = 1.0) -> Contract:
    """The contract of a module of this layout. Decoded boxes are normalised to 0..1."""
    return Contract(
        spec=spec,
        layout=layout,
        imgsz=imgsz,
        roles=roles(spec, layout),
        box_unit=1.0 if layout == "raw" else float(imgsz),
        coef_divisor=coef_divisor,
    )
