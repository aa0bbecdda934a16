"""The three layouts of a segmentation head as torch modules around a network that returns its raw convolutions.

`raw` leaves the decode to the application. `split` and `concat` decode inside the network, written so that int8 loses
as little as it can and the graph holds no operator that it does not need:

* sigmoid and softmax run per level, so that every level keeps the scale of its own logits; their outputs have TFLite's
  fixed scale 1/256, so the concatenation behind them costs nothing;
* the expectation of the box distances, the turn from (left, top, right, bottom) to (cx, cy, w, h), the centre of the
  cell and the division by the image size are one linear map, so they are one 1x1 convolution on the softmax and on the
  cells' positions, not a dozen of element-wise operators that each round to 8 bits: a box is rounded once;
* positions and weights of that convolution are exact in int8 (see `_Positions`, `_expectation`).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from edgeai.artifacts import Contract, Layout, ModelSpec, OutputRole

TIE_BREAK = 1e-3  # bins
CODES = 256  # of an int8 probability: TFLite's softmax has the scale 1/256
LARGEST = 127  # int8 weight


class DecodedHead(nn.Module):
    """`split` and `concat`: decodes the raw outputs of `network` for a fixed square input of `imgsz` pixels.

    forward: [1,3,S,S] -> split: boxes [1,N,4] (cx, cy, w, h in 0..1), scores [1,N,nc], coefs [1,N,nm], proto;
    concat: pred [1,4+nc+nm,N], proto. The prototypes are multiplied by `proto_factor`.
    """

    def __init__(
        self, network: nn.Module, spec: ModelSpec, imgsz: int, layout: Layout, proto_factor: float = 1.0
    ) -> None:
        super().__init__()
        self.network, self.spec, self.layout, self.proto_factor = network, spec, layout, proto_factor
        self.boxes = nn.ModuleList()
        for level, stride in enumerate(spec.strides):
            positions = _Positions(imgsz // stride, _steps(spec.reg_max))
            self.boxes.append(_expectation(spec.reg_max, stride / imgsz, positions))
            self.register_buffer(f"positions{level}", positions.tensor(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        raw = self.network(x)
        step = 3 if self.spec.task == "segment" else 2
        levels = [raw[i * step : (i + 1) * step] for i in range(len(self.spec.strides))]
        boxes = torch.cat([self._boxes(level[0], i) for i, level in enumerate(levels)], dim=1)
        scores = torch.cat([_rows(level[1].sigmoid()) for level in levels], dim=1)
        if step == 2:
            return (boxes, scores) if self.layout == "split" else (_columns(torch.cat([boxes, scores], dim=2)),)
        coefs = torch.cat([_rows(level[2]) for level in levels], dim=1)
        proto = raw[-1] if self.proto_factor == 1.0 else raw[-1] * self.proto_factor
        if self.layout == "split":
            return boxes, scores, coefs, proto
        return _columns(torch.cat([boxes, scores, coefs], dim=2)), proto

    def _boxes(self, dfl: Tensor, level: int) -> Tensor:
        """[1,4*reg_max,h,w] logits of the distances -> [1,h*w,4] boxes in 0..1."""
        h, w = dfl.shape[2], dfl.shape[3]
        bins = dfl.permute(0, 2, 3, 1).reshape(1, h * w * 4, self.spec.reg_max).softmax(dim=2)
        # A table of two axes: onnx2tf transposes constants of more, whether what they join is transposed or not.
        cells = torch.cat([bins.reshape(h * w, 4 * self.spec.reg_max), self.get_buffer(f"positions{level}")], dim=1)
        return _rows(self.boxes[level](cells.reshape(1, h, w, cells.shape[1]).permute(0, 3, 1, 2)))


def _rows(x: Tensor) -> Tensor:
    """[1,c,h,w] -> [1,h*w,c]"""
    return x.permute(0, 2, 3, 1).reshape(1, x.shape[2] * x.shape[3], x.shape[1])


def _columns(x: Tensor) -> Tensor:
    """[1,n,c] -> [1,c,n], ST's order"""
    return x.permute(0, 2, 1)


class _Positions:
    """The cells' centres of a square level as channels that int8 holds exactly, on the scale of the probabilities.

    A centre is (2 column + 1) / (2 size) of the image. The code of a cell is 2 column + 1, times the power of two that
    still fits; what remains to the centre is a weight of more than 127 steps of the weights' scale, so a few channels
    with the same codes share it.
    """

    def __init__(self, size: int, steps: int) -> None:
        self.size = size
        self.factor = 2.0 ** math.floor(math.log2((CODES - 1) / (2 * size - 1)))
        total = CODES / 2 * steps / self.factor  # in steps of 1 / (size * steps) of the image
        channels = math.ceil(total / (LARGEST // 2))  # the rows of the offsets have half that step
        bounds = [math.floor(total * i / channels) for i in range(channels + 1)]
        self.weights = [high - low for low, high in itertools.pairwise(bounds)]

    def tensor(self) -> Tensor:
        """[size * size, 2 * channels], a row for every cell: the channels of its column, then those of its row."""
        codes = (2 * torch.arange(self.size, dtype=torch.float32) + 1) * self.factor / CODES
        rows, columns = torch.meshgrid(codes, codes, indexing="ij")
        channels = [columns] * len(self.weights) + [rows] * len(self.weights)
        return torch.stack(channels, dim=2).reshape(self.size * self.size, len(channels))


def _steps(reg_max: int) -> int:
    """Steps of the weights' scale in a bin: the power of two with which half the bins fit into int8."""
    return int(2 ** math.floor(math.log2(LARGEST / ((reg_max - 1) / 2))))


def _expectation(reg_max: int, unit: float, positions: _Positions) -> nn.Conv2d:
    """The convolution [4,4*reg_max+p,1,1] from bin probabilities and positions to (cx, cy, w, h) in image units.

    distance = sum_i i * p_i for each side; cx = centre + (right - left) / 2, w = left + right.

    The probabilities of a side sum to one, so a shift of all its weights is undone by the bias. The shift is chosen so
    that quantisation does not change the weights: for 16 bins the largest is 127/16 and all are multiples of 1/16.
    It also centres them, so that probabilities that no longer sum to one after rounding do less harm. The rows of the
    centres have half that step; with one scale for all rows they would lie half-way between two int8 values, so a
    small tie-break makes all of them round the same way, which their difference cancels.
    """
    steps, count = _steps(reg_max), len(positions.weights)
    shift = (reg_max - 1) - LARGEST / steps
    bins = torch.arange(reg_max, dtype=torch.float32)
    full, half = bins - shift, (bins - shift - TIE_BREAK) / 2
    weight = torch.zeros(4, 4, reg_max)  # [output, side, bin]; sides are left, top, right, bottom
    centre = torch.zeros(4, 2, count)
    for axis in (0, 1):
        weight[axis, axis], weight[axis, axis + 2] = -half, half
        weight[2 + axis, axis] = weight[2 + axis, axis + 2] = full
        centre[axis, axis] = torch.tensor(positions.weights, dtype=torch.float32) / steps
    conv = nn.Conv2d(4 * reg_max + 2 * count, 4, 1).requires_grad_(False)
    conv.weight.copy_(torch.cat([weight.reshape(4, -1), centre.reshape(4, -1)], dim=1)[:, :, None, None] * unit)
    assert conv.bias is not None
    conv.bias.copy_(torch.tensor([0.0, 0.0, 2 * shift, 2 * shift]) * unit)
    return conv


def with_head(
    network: nn.Module, spec: ModelSpec, imgsz: int, layout: Layout, proto_factor: float = 1.0
) -> nn.Module:
    """`network` with the head layout that is asked for; a decoded one gives its prototypes times `proto_factor`."""
    if layout == "raw" or spec.task == "classify":
        return network
    return DecodedHead(network, spec, imgsz, layout, proto_factor).eval()


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


def contract(
    spec: ModelSpec, layout: Layout, imgsz: int, coef_divisor: float = 1.0, proto_factor: float = 1.0
) -> Contract:
    """The contract of a module of this layout. Decoded boxes are normalised to 0..1."""
    return Contract(
        spec=spec,
        layout=layout,
        imgsz=imgsz,
        roles=roles(spec, layout),
        box_unit=1.0 if layout == "raw" else float(imgsz),
        coef_divisor=coef_divisor,
        proto_factor=proto_factor,
    )
