"""Single int8 operators with random shapes, scales and zero points, for every kernel set to compute.

A draw has scales as they come (`ties` 0); powers of two (1), whose products and quotients fall on halves exactly; or
simple multiples of one number (2), which do so up to the rounding of the scales themselves.
`OPERATORS` names them: each function adds one operator to a `Model` and gives its inputs and outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tiny_models import Model

Ends = tuple[list[int], list[int]]
SAME, VALID = 0, 1
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
Shape = tuple[int, ...]


@dataclass
class Draw:
    """A model in the making and where its numbers come from."""

    m: Model
    rng: np.random.Generator
    ties: int = 0
    base: float = 0.0

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def scale(self, low: float = 0.004, high: float = 0.12) -> float:
        """A scale that float32 holds as it is."""
        real = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        if not self.ties:
            return float(np.float32(real))
        self.base = self.base or self.rng.uniform(1.0, 2.0)
        near = 2.0 ** round(math.log2(real))
        return near if self.ties == 1 else float(np.float32(np.float32(self.base) * near * self.pick(1.0, 1.5, 0.75)))

    def zero(self) -> int:
        return int(self.pick(-128, 127, 0, *self.rng.integers(-128, 128, 6)))

    def x(self, shape: Shape, scale: float | None = None, zero: int | None = None, dtype: str = "int8") -> int:
        scale = self.scale() if scale is None else scale
        zero = self.zero() if zero is None else zero
        return self.m.tensor(shape, dtype, scale, zero + 128 * (dtype == "uint8"))

    def out(self, shape: Shape, reach: float, zero: int | None = None) -> int:
        """An output whose values lie within about +-`reach`."""
        return self.x(shape, self.scale(reach / 160, reach / 50), zero)

    def like(self, shape: Shape, other: int) -> int:
        """A tensor of the scale and zero point of another."""
        given = self.m.graph.tensors[other].quantization
        return self.x(shape, given.scale[0], given.zeroPoint[0])

    def reach(self, tensor: int) -> float:
        given = self.m.graph.tensors[tensor].quantization
        return float(given.scale[0] * max(127 - given.zeroPoint[0], given.zeroPoint[0] + 128))

    def weights(self, shape: Shape, channels: int, axis: int, per_channel: bool) -> int:
        data = self.rng.integers(-127, 128, shape)
        scales = [self.scale(0.002, 0.02) for _ in range(channels if per_channel else 1)]
        return self.m.tensor(shape, scale=scales, axis=axis, data=data)

    def bias(self, n: int, source: int, weights: int) -> int:
        tensors = self.m.graph.tensors
        scales = [s * tensors[source].quantization.scale[0] for s in tensors[weights].quantization.scale]
        return self.m.tensor((n,), "int32", scale=scales, data=self.rng.integers(-2000, 2000, n))

    def ints(self, values: Any) -> int:
        array = np.array(values)
        return self.m.tensor(array.shape, "int32", data=array)

    def sum_reach(self, source: int, weights: int, terms: int) -> float:
        """About what a sum of `terms` products reaches."""
        tensors = self.m.graph.tensors
        largest = max(tensors[weights].quantization.scale)
        return float(tensors[source].quantization.scale[0] * largest * 74 * 74 * 3 * math.sqrt(terms))

    def activation(self) -> dict[str, Any]:
        return {"fusedActivationFunction": getattr(self.m.schema.ActivationFunctionType, self.pick(*ACTIVATIONS))}


Operator = Callable[[Draw], Ends]
OPERATORS: dict[str, Operator] = {}


def operator(name: str, **fields: Any) -> Callable[[Callable[..., Ends]], Callable[..., Ends]]:
    """Registers a function under a name, with `fields` bound."""

    def keep(function: Callable[..., Ends]) -> Callable[..., Ends]:
        OPERATORS[name] = lambda draw: function(draw, **fields)
        return function

    return keep


def sides(size: Sequence[int], k: Sequence[int], stride: int, dilation: int, padding: int) -> list[int]:
    if padding == SAME:
        return [-(-n // stride) for n in size]
    return [-(-(n - (kk - 1) * dilation) // stride) for n, kk in zip(size, k, strict=True)]


# --- sums of products -----------------------------------------------------------------------------


@operator("CONV_2D per channel", per_channel=True)
@operator("CONV_2D per tensor", per_channel=False)
@operator("CONV_2D groups", per_channel=True, groups=2)
def conv(d: Draw, per_channel: bool, groups: int = 1) -> Ends:
    k = d.pick((1, 1), (3, 3), (5, 2), (2, 2), (7, 7))
    dilation, padding = d.pick(1, 1, 2), d.pick(SAME, VALID)
    stride = d.pick(1, 2) if dilation == 1 else 1
    n, h, w, c, out = d.pick(1, 2), d.pick(13, 16), d.pick(13, 15), 2 * d.pick(1, 2, 8), 2 * d.pick(1, 3, 5)
    x = d.x((n, h, w, c))
    weights = d.weights((out, *k, c // groups), out, 0, per_channel)
    oh, ow = sides((h, w), k, stride, dilation, padding)
    y = d.out((n, oh, ow, out), d.sum_reach(x, weights, math.prod(k) * c // groups))
    d.m.op("CONV_2D", [x, weights, d.bias(out, x, weights)], [y], "Conv2DOptions", 3, padding=padding, strideH=stride,
           strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, **d.activation())  # fmt: skip
    return [x], [y]


@operator("DEPTHWISE_CONV_2D")
def depthwise(d: Draw) -> Ends:
    k, dilation, padding, each = d.pick((3, 3), (5, 5), (4, 1)), d.pick(1, 1, 2), d.pick(SAME, VALID), d.pick(1, 1, 3)
    stride, c = d.pick(1, 2) if dilation == 1 else 1, d.pick(3, 7, 16)
    h, w = d.pick(12, 15), d.pick(11, 14)
    x = d.x((1, h, w, c))
    weights = d.weights((1, *k, c * each), c * each, 3, d.pick(True, True, False))
    oh, ow = sides((h, w), k, stride, dilation, padding)
    y = d.out((1, oh, ow, c * each), d.sum_reach(x, weights, math.prod(k)))
    d.m.op("DEPTHWISE_CONV_2D", [x, weights, d.bias(c * each, x, weights)], [y], "DepthwiseConv2DOptions", 3,
           padding=padding, strideH=stride, strideW=stride, depthMultiplier=each, dilationHFactor=dilation,
           dilationWFactor=dilation, **d.activation())  # fmt: skip
    return [x], [y]


@operator("TRANSPOSE_CONV")
def transpose_conv(d: Draw) -> Ends:
    k, stride, padding = d.pick(2, 3, 4), d.pick(1, 2), d.pick(SAME, VALID)
    h, w, c, out = d.pick(4, 5), d.pick(5, 7), d.pick(3, 8), d.pick(2, 5)
    oh, ow = ((n * stride) if padding == SAME else (n - 1) * stride + k for n in (h, w))
    weights = d.weights((out, k, k, c), out, 0, d.pick(True, False))
    x = d.x((1, h, w, c))
    y = d.out((1, oh, ow, out), d.sum_reach(x, weights, -(-k * k // stride**2) * c))
    operands = [d.ints([1, oh, ow, out]), weights, x, *([d.bias(out, x, weights)] if d.pick(True, False) else [])]
    d.m.op("TRANSPOSE_CONV", operands, [y], "TransposeConvOptions", 3, padding=padding, strideH=stride, strideW=stride)
    return [x], [y]


@operator("FULLY_CONNECTED per tensor", per_channel=False)
@operator("FULLY_CONNECTED per channel", per_channel=True)
def fully_connected(d: Draw, per_channel: bool) -> Ends:
    rows, inner, out = d.pick(1, 3, 16), d.pick(5, 33, 256), d.pick(3, 13, 100)
    x = d.x((rows, inner))
    weights = d.weights((out, inner), out, 0, per_channel)
    y = d.out((rows, out), d.sum_reach(x, weights, inner))
    d.m.op("FULLY_CONNECTED", [x, weights, d.bias(out, x, weights)], [y], "FullyConnectedOptions", 4,
           **d.activation())  # fmt: skip
    return [x], [y]


@operator("FULLY_CONNECTED computed weights")
def connected_to_computed(d: Draw) -> Ends:
    rows, inner, out = d.pick(3, 16), d.pick(16, 64), d.pick(8, 12)
    x, w = d.x((rows, inner)), d.x((out, inner), zero=0)
    y = d.out((rows, out), d.sum_reach(x, w, inner))
    d.m.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions", 4, **d.activation())
    return [x, w], [y]


@operator("BATCH_MATMUL per channel")
def matmul_by_channels(d: Draw) -> Ends:
    """A constant on the right with a scale for each of its columns."""
    x, w = d.x((2, 5, 16)), d.weights((16, 6), 6, 1, True)
    y = d.out((2, 5, 6), d.sum_reach(x, w, 16))
    d.m.op("BATCH_MATMUL", [x, w], [y], "BatchMatMulOptions", 2, adjX=False, adjY=False)
    return [x], [y]


@operator("BATCH_MATMUL")
@operator("BATCH_MATMUL broadcast", a=(2, 3), b=(2, 1))
@operator("BATCH_MATMUL broadcast crosswise", a=(1, 3), b=(2, 1))
@operator("BATCH_MATMUL one on the right", a=(2, 3), b=())
def matmul(d: Draw, a: Shape = (2,), b: Shape = (2,)) -> Ends:
    rows, inner, columns = d.pick(1, 5), d.pick(7, 32), d.pick(4, 9)
    adj_x, adj_y = d.pick(False, True), d.pick(False, True)
    x = d.x((*a, *((inner, rows) if adj_x else (rows, inner))))
    w = d.x((*b, *((columns, inner) if adj_y else (inner, columns))))
    y = d.out((*np.broadcast_shapes(a, b), rows, columns), d.reach(x) * d.reach(w) * math.sqrt(inner) / 2)
    d.m.op("BATCH_MATMUL", [x, w], [y], "BatchMatMulOptions", 2, adjX=adj_x, adjY=adj_y)
    return [x, w], [y]


# --- pairs ----------------------------------------------------------------------------------------

PAIRS = (
    ((1, 4, 5, 6), (1, 4, 5, 6)), ((1, 4, 5, 6), (1, 1, 1, 6)), ((1, 4, 5, 1), (1, 4, 5, 6)),
    ((1, 4, 1, 3), (1, 1, 5, 3)), ((1, 4, 5, 6), (1, 1, 1, 1)), ((4, 5, 6), (6,)),
)  # fmt: skip


@operator("ADD", kind="ADD")
@operator("SUB", kind="SUB")
@operator("MUL", kind="MUL")
@operator("SQUARED_DIFFERENCE", kind="SQUARED_DIFFERENCE")
def pair(d: Draw, kind: str) -> Ends:
    a, b = d.pick(*PAIRS)
    x, w = d.x(a), d.x(b)
    both = d.reach(x) + d.reach(w)
    reach = {"MUL": d.reach(x) * d.reach(w), "SQUARED_DIFFERENCE": both**2 / 4}.get(kind, both)
    y = d.out(np.broadcast_shapes(a, b), reach)
    plain = kind == "SQUARED_DIFFERENCE"
    options = "SquaredDifferenceOptions" if plain else f"{kind.capitalize()}Options"
    d.m.op(kind, [x, w], [y], options, 2, **({} if plain else d.activation()))
    return [x, w], [y]


@operator("DIV fine", coarse=False)
@operator("DIV coarse", coarse=True)
def quotient(d: Draw, coarse: bool) -> Ends:
    a, b = d.pick(*PAIRS)
    scale = d.scale()
    x, w = d.x(a), d.x(b, scale, -128)
    ratio = d.m.graph.tensors[x].quantization.scale[0] / scale
    y = d.x(np.broadcast_shapes(a, b), d.scale(ratio / 63, ratio) if coarse else d.scale(ratio / 900, ratio / 100))
    d.m.op("DIV", [x, w], [y], "DivOptions", 2, **d.activation())
    return [x, w], [y]


@operator("MAXIMUM", kind="MAXIMUM")
@operator("MINIMUM", kind="MINIMUM")
@operator("MAXIMUM other scales", kind="MAXIMUM", same=False)
@operator("MINIMUM other scales", kind="MINIMUM", same=False)
def extreme(d: Draw, kind: str, same: bool = True) -> Ends:
    a, b = d.pick(*PAIRS)
    x = d.x(a)
    w = d.like(b, x) if same else d.x(b)
    shape = np.broadcast_shapes(a, b)
    y = d.like(shape, x) if same else d.out(shape, max(d.reach(x), d.reach(w)))
    d.m.op(kind, [x, w], [y], "MaximumMinimumOptions", 2)
    return [x, w], [y]


# --- functions of one number ----------------------------------------------------------------------


@operator("LOGISTIC", kind="LOGISTIC", scale=1 / 256, zero=-128)
@operator("LOGISTIC another output scale", kind="LOGISTIC")
@operator("TANH", kind="TANH", scale=1 / 128, zero=0)
@operator("TANH another output scale", kind="TANH")
@operator("EXP", kind="EXP")
@operator("SQRT", kind="SQRT", positive=True)
@operator("RSQRT", kind="RSQRT", positive=True)
@operator("LOG", kind="LOG", positive=True)
@operator("ABS", kind="ABS")
@operator("HARD_SWISH", kind="HARD_SWISH")
@operator("LEAKY_RELU", kind="LEAKY_RELU", options="LeakyReluOptions")
@operator("RELU", kind="RELU")
@operator("RELU6", kind="RELU6")
@operator("RELU_N1_TO_1", kind="RELU_N1_TO_1")
@operator("RELU_0_TO_1", kind="RELU_0_TO_1")
@operator("RELU one scale", kind="RELU", same=True)
@operator("RELU6 one scale", kind="RELU6", same=True)
@operator("RELU_N1_TO_1 one scale", kind="RELU_N1_TO_1", same=True)
@operator("RELU_0_TO_1 one scale", kind="RELU_0_TO_1", same=True)
@operator("ELU", kind="ELU")
@operator("GELU", kind="GELU", options="GeluOptions")
@operator("NEG", kind="NEG", same=True, zero=0)
@operator("NEG with a zero point", kind="NEG", same=True)
def unary(
    d: Draw, kind: str, scale: float = 0.0, zero: int | None = None, options: str = "", same: bool = False,
    positive: bool = False,
) -> Ends:  # fmt: skip
    shape = (1, 9, 29)
    source_zero = -128 if positive else zero if kind == "NEG" and zero is not None else None
    x = d.x(shape, d.scale(0.01, 0.09), source_zero)
    if scale:
        y = d.x(shape, scale, zero)
    elif same:
        y = d.like(shape, x)
    else:
        reach = {"LOGISTIC": 1.0, "TANH": 1.0, "EXP": math.exp(min(d.reach(x), 6.0)), "SQRT": math.sqrt(d.reach(x)),
                 "RSQRT": 3 / math.sqrt(d.reach(x)), "LOG": 4.0}.get(kind, d.reach(x))  # fmt: skip
        y = d.out(shape, reach)
    fields = {"alpha": float(d.pick(0.1, 0.01, 0.25, 1.5))} if kind == "LEAKY_RELU" else {}
    version = 1 if kind in ("SQRT", "NEG", "ELU", "HARD_SWISH", "RELU_N1_TO_1", "RELU_0_TO_1") else 2
    d.m.op(kind, [x], [y], options, version, **fields)
    return [x], [y]


@operator("PRELU")
def prelu(d: Draw) -> Ends:
    x = d.x((1, 5, 6, 7))
    slopes = d.m.tensor((1, 1, 7), scale=d.scale(0.001, 0.01), zero=d.zero(), data=d.rng.integers(-128, 128, (1, 1, 7)))
    y = d.out((1, 5, 6, 7), d.reach(x))
    d.m.op("PRELU", [x, slopes], [y], "", 1)
    return [x], [y]


@operator("QUANTIZE int8")
def requantize(d: Draw) -> Ends:
    x = d.x((2, 90))
    y = d.out((2, 90), d.reach(x))
    d.m.op("QUANTIZE", [x], [y], "QuantizeOptions", 2)
    return [x], [y]


@operator("QUANTIZE uint8")
def unsigned(d: Draw) -> Ends:
    x = d.x((2, 90), dtype="uint8")
    y = d.out((2, 90), d.reach(x)) if d.pick(True, False) else d.x((2, 90), *_as_int8(d, x))
    d.m.op("QUANTIZE", [x], [y], "QuantizeOptions", 2)
    return [x], [y]


def _as_int8(d: Draw, unsigned: int) -> tuple[float, int]:
    given = d.m.graph.tensors[unsigned].quantization
    return given.scale[0], given.zeroPoint[0] - 128


@operator("QUANTIZE float")
def from_float(d: Draw) -> Ends:
    x = d.m.tensor((2, 90), "float32")
    y = d.x((2, 90), d.scale(0.02, 0.2))
    d.m.op("QUANTIZE", [x], [y], "QuantizeOptions", 1)
    return [x], [y]


@operator("DEQUANTIZE")
def to_float(d: Draw) -> Ends:
    x = d.x((2, 90))
    y = d.m.tensor((2, 90), "float32")
    d.m.op("DEQUANTIZE", [x], [y], "DequantizeOptions", 2)
    return [x], [y]


@operator("SOFTMAX", kind="SOFTMAX")
@operator("LOG_SOFTMAX", kind="LOG_SOFTMAX")
def softmax(d: Draw, kind: str) -> Ends:
    depth = d.pick(2, 16, 101, 1000)
    x = d.x((4, depth), d.scale(0.002, 0.3))
    y = d.x((4, depth), 1 / 256, -128) if kind == "SOFTMAX" else d.x((4, depth), 16 / 256, 127)
    fields = {"beta": float(d.pick(1.0, 1.0, 0.37))} if kind == "SOFTMAX" else {}
    d.m.op(kind, [x], [y], "SoftmaxOptions" if fields else "LogSoftmaxOptions", 2, **fields)
    return [x], [y]


@operator("L2_NORMALIZATION")
def unit_length(d: Draw) -> Ends:
    x, y = d.x((1, 3, 4, d.pick(4, 32))), -1
    y = d.x(tuple(d.m.graph.tensors[x].shape), 1 / 128, 0)
    d.m.op("L2_NORMALIZATION", [x], [y], "L2NormOptions", 2)
    return [x], [y]


# --- pooling, reduction ---------------------------------------------------------------------------


@operator("AVERAGE_POOL_2D", kind="AVERAGE_POOL_2D")
@operator("MAX_POOL_2D", kind="MAX_POOL_2D")
@operator("AVERAGE_POOL_2D other scales", kind="AVERAGE_POOL_2D", same=False)
@operator("MAX_POOL_2D other scales", kind="MAX_POOL_2D", same=False)
def pool(d: Draw, kind: str, same: bool = True) -> Ends:
    k, stride, padding = d.pick(2, 3, 5), d.pick(1, 2), d.pick(SAME, VALID)
    h, w, c = d.pick(7, 9), d.pick(8, 10), d.pick(3, 5, 16)
    x = d.x((1, h, w, c))
    shape = (1, *sides((h, w), (k, k), stride, 1, padding), c)
    y = d.like(shape, x) if same else d.out(shape, d.reach(x))
    d.m.op(kind, [x], [y], "Pool2DOptions", 2, padding=padding, strideH=stride, strideW=stride, filterHeight=k,
           filterWidth=k, **d.activation())  # fmt: skip
    return [x], [y]


@operator("MEAN", kind="MEAN", same=False)
@operator("MEAN one scale", kind="MEAN")
@operator("MEAN of long rows", kind="MEAN", size=(1, 12288), axes=(1,))
@operator("SUM of long rows", kind="SUM", same=False, size=(1, 12288), axes=(1,))
@operator("SUM", kind="SUM", same=False)
@operator("REDUCE_MAX", kind="REDUCE_MAX")
@operator("REDUCE_MIN", kind="REDUCE_MIN")
@operator("REDUCE_MAX other scales", kind="REDUCE_MAX", same=False)
@operator("REDUCE_MIN other scales", kind="REDUCE_MIN", same=False)
@operator("REDUCE_PROD", kind="REDUCE_PROD", same=False, size=(3, 4, 3), axes=(2,))
def reduce(d: Draw, kind: str, same: bool = True, size: Shape = (), axes: Shape = ()) -> Ends:
    size = size or d.pick((2, 5, 6, 7), (1, 8, 7, 33), (1, 20, 20, 16), (3, 3, 3))
    axes = axes or d.pick((1, 2), (1,), (len(size) - 1,), (0, 2))
    keep, count = d.pick(True, False), math.prod(size[i] for i in axes)
    x = d.x(size)
    shape = tuple((1 if i in axes else n) for i, n in enumerate(size) if keep or i not in axes)
    reach = d.reach(x) * {"SUM": 2 * math.sqrt(count), "MEAN": min(1.0, 2 / math.sqrt(count))}.get(kind, 1.0)
    y = d.like(shape, x) if same else d.out(shape, d.reach(x) ** count / 4 if kind == "REDUCE_PROD" else reach)
    d.m.op(kind, [x, d.ints(axes)], [y], "ReducerOptions", 2, keepDims=keep)
    return [x], [y]


@operator("ARG_MAX", kind="ARG_MAX")
@operator("ARG_MIN", kind="ARG_MIN")
def arg(d: Draw, kind: str) -> Ends:
    axis, dtype, size = d.pick(1, 3), d.pick("INT32", "INT64"), (2, 4, 5, 6)
    x = d.x(size)
    y = d.m.tensor(tuple(n for i, n in enumerate(size) if i != axis), dtype.lower())
    axis_index = d.m.tensor((), "int32", data=np.array(axis))
    d.m.op(kind, [x, axis_index], [y], f"Arg{kind[4:].capitalize()}Options", 2,
           outputType=getattr(d.m.schema.TensorType, dtype))  # fmt: skip
    return [x], [y]


# --- resize ---------------------------------------------------------------------------------------


@operator("RESIZE_NEAREST_NEIGHBOR", kind="RESIZE_NEAREST_NEIGHBOR", sizes=((5, 4, 11, 6), (5, 4, 10, 8), (5, 4, 3, 2)))
@operator("RESIZE_BILINEAR exact", kind="RESIZE_BILINEAR", sizes=((5, 4, 10, 8), (8, 8, 32, 16), (12, 8, 6, 8)))
@operator("RESIZE_BILINEAR", kind="RESIZE_BILINEAR", sizes=((5, 4, 11, 6), (5, 4, 3, 2), (7, 6, 48, 36)))
@operator("RESIZE_BILINEAR 20 to 480", kind="RESIZE_BILINEAR", sizes=((20, 2, 480, 3),))
def resize(d: Draw, kind: str, sizes: Sequence[Shape]) -> Ends:
    h, w, oh, ow = d.pick(*sizes)
    corners, centers = d.pick((False, False), (True, False), (False, True))
    if corners and "NEAREST" in kind:
        centers = d.pick(True, False)
    depth = 1 if oh > 400 else 3
    x = d.x((1, h, w, depth))
    y = d.like((1, oh, ow, depth), x)
    d.m.op(kind, [x, d.ints([oh, ow])], [y],
           "ResizeBilinearOptions" if "LINEAR" in kind else "ResizeNearestNeighborOptions", 3,
           alignCorners=corners, halfPixelCenters=centers)  # fmt: skip
    return [x], [y]
