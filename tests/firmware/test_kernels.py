"""Each kernel against LiteRT's reference kernels, bit for bit, on operators of random shapes and scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from firmware_tools import Infer
from tiny_models import Model, Reference, random_inputs

from edgeai.device.blob import make_blob

Case = Callable[[Model, np.random.Generator], tuple[list[int], list[int]]]
CASES: dict[str, Case] = {}

SAME, VALID = 0, 1


def case(name: str, function: Callable[..., tuple[list[int], list[int]]], **fields: Any) -> None:
    CASES[name] = lambda m, rng: function(m, rng, **fields)


def scales(rng: np.random.Generator, n: int) -> list[float]:
    return [float(s) for s in rng.uniform(0.001, 0.02, n)]


def weights(
    m: Model, rng: np.random.Generator, shape: tuple[int, ...], channels: int, axis: int, per_channel: bool
) -> int:
    data = rng.integers(-127, 128, shape)
    return m.tensor(shape, scale=scales(rng, channels if per_channel else 1), axis=axis, data=data)


def bias(m: Model, rng: np.random.Generator, n: int) -> int:
    return m.tensor((n,), "int32", scale=[1e-4] * n, data=rng.integers(-2000, 2000, n))


def conv(m: Model, rng: np.random.Generator, *, size=(1, 9, 7, 5), k=(3, 3), out=6, stride=1, dilation=1, padding=SAME,
         per_channel=True, activation="NONE", groups=1):  # fmt: skip
    n, h, w, c = size
    x = m.tensor(size, scale=0.05, zero=int(rng.integers(-128, 128)))
    wt = weights(m, rng, (out, *k, c // groups), out, 0, per_channel)
    span = [(kk - 1) * dilation + 1 for kk in k]
    oh, ow = (
        (-(-d // stride)) if padding == SAME else -(-(d - s + 1) // stride) for d, s in zip((h, w), span, strict=True)
    )
    y = m.tensor((n, oh, ow, out), scale=0.11, zero=int(rng.integers(-128, 100)))
    m.op("CONV_2D", [x, wt, bias(m, rng, out)], [y], "Conv2DOptions", 3, padding=padding, strideH=stride,
         strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
         fusedActivationFunction=getattr(m.schema.ActivationFunctionType, activation))  # fmt: skip
    return [x], [y]


for padding in (SAME, VALID):
    for stride in (1, 2):
        case(f"conv 3x3 padding {padding} stride {stride}", conv, padding=padding, stride=stride)
case("conv 1x1", conv, k=(1, 1), size=(1, 5, 5, 16), out=9)
case("conv 1x1 stride 2", conv, k=(1, 1), stride=2, size=(2, 7, 7, 4), out=4)
case("conv 1x1 per tensor relu", conv, k=(1, 1), per_channel=False, activation="RELU")
case("conv dilated relu6", conv, dilation=2, activation="RELU6", size=(1, 12, 11, 3))
case("conv 5x2 relu n1", conv, k=(5, 2), activation="RELU_N1_TO_1")
case("conv groups", conv, groups=2, size=(1, 6, 6, 8), out=10)
case("conv with one channel", conv, out=1)
case("conv window larger than input", conv, size=(1, 2, 2, 3), k=(7, 7), stride=2)


def depthwise(
    m: Model, rng: np.random.Generator, *, multiplier=1, stride=1, dilation=1, padding=SAME, activation="NONE"
):
    c, h, w = 7, 9, 8
    x = m.tensor((1, h, w, c), scale=0.05, zero=-7)
    wt = weights(m, rng, (1, 3, 3, c * multiplier), c * multiplier, 3, True)
    span = 2 * dilation + 1
    oh, ow = ((-(-d // stride)) if padding == SAME else -(-(d - span + 1) // stride) for d in (h, w))
    y = m.tensor((1, oh, ow, c * multiplier), scale=0.09, zero=3)
    m.op("DEPTHWISE_CONV_2D", [x, wt, bias(m, rng, c * multiplier)], [y], "DepthwiseConv2DOptions", 3, padding=padding,
         strideH=stride, strideW=stride, depthMultiplier=multiplier, dilationHFactor=dilation, dilationWFactor=dilation,
         fusedActivationFunction=getattr(m.schema.ActivationFunctionType, activation))  # fmt: skip
    return [x], [y]


case("depthwise", depthwise)
case("depthwise stride 2 relu6", depthwise, stride=2, activation="RELU6")
case("depthwise multiplier 3 valid", depthwise, multiplier=3, padding=VALID)
case("depthwise dilated", depthwise, dilation=2)


def transpose_conv(m: Model, rng: np.random.Generator, *, k=2, stride=2, padding=SAME, with_bias=True):
    h, w, c, out = 5, 4, 6, 5
    oh, ow = ((d * stride) if padding == SAME else (d - 1) * stride + k for d in (h, w))
    shape = m.tensor((4,), "int32", data=np.array([1, oh, ow, out]))
    wt = weights(m, rng, (out, k, k, c), out, 0, True)
    x = m.tensor((1, h, w, c), scale=0.05, zero=12)
    y = m.tensor((1, oh, ow, out), scale=0.09, zero=-5)
    operands = [shape, wt, x, bias(m, rng, out)] if with_bias else [shape, wt, x]
    m.op("TRANSPOSE_CONV", operands, [y], "TransposeConvOptions", 3, padding=padding, strideH=stride, strideW=stride)
    return [x], [y]


case("transpose conv 2x2", transpose_conv)
case("transpose conv 3x3 same", transpose_conv, k=3)
case("transpose conv 3x3 valid without bias", transpose_conv, k=3, padding=VALID, with_bias=False)


def fully_connected(m: Model, rng: np.random.Generator, *, rows=3, activation="NONE"):
    x = m.tensor((rows, 33), scale=0.05, zero=9)
    wt = weights(m, rng, (13, 33), 13, 0, False)
    y = m.tensor((rows, 13), scale=0.07, zero=1)
    m.op("FULLY_CONNECTED", [x, wt, bias(m, rng, 13)], [y], "FullyConnectedOptions", 4,
         fusedActivationFunction=getattr(m.schema.ActivationFunctionType, activation))  # fmt: skip
    return [x], [y]


case("fully connected", fully_connected)
case("fully connected relu", fully_connected, rows=1, activation="RELU")


def matmul(m: Model, rng: np.random.Generator, *, a=(2, 5, 7), b=(2, 7, 4), adj_x=False, adj_y=False):
    x, z = m.tensor(a, scale=0.05, zero=3), m.tensor(b, scale=0.04, zero=-9)
    rows, columns = a[-1] if adj_x else a[-2], b[-2] if adj_y else b[-1]
    y = m.tensor((*a[:-2], rows, columns), scale=0.11, zero=2)
    m.op("BATCH_MATMUL", [x, z], [y], "BatchMatMulOptions", 2, adjX=adj_x, adjY=adj_y)
    return [x, z], [y]


case("batch matmul", matmul)
case("batch matmul adj y", matmul, b=(2, 4, 7), adj_y=True)
case("batch matmul adj x", matmul, a=(2, 7, 5), adj_x=True)


def pair(
    m: Model, rng: np.random.Generator, *, kind: str, a=(1, 4, 5, 6), b=(1, 4, 5, 6), activation="NONE", same=False
):
    s = [float(v) for v in ([0.05] * 3 if same else rng.uniform(0.01, 0.2, 3))]
    z = [4] * 3 if same else [int(v) for v in rng.integers(-128, 128, 3)]
    x, w = m.tensor(a, scale=s[0], zero=z[0]), m.tensor(b, scale=s[1], zero=z[1])
    y = m.tensor(np.broadcast_shapes(a, b), scale=s[2], zero=z[2])
    if kind in ("MAXIMUM", "MINIMUM"):
        m.op(kind, [x, w], [y], "MaximumMinimumOptions", 2)
    else:
        m.op(kind, [x, w], [y], f"{kind.capitalize()}Options", 2,
             fusedActivationFunction=getattr(m.schema.ActivationFunctionType, activation))  # fmt: skip
    return [x, w], [y]


for kind in ("ADD", "SUB", "MUL"):
    case(f"{kind}", pair, kind=kind)
    case(f"{kind} relu", pair, kind=kind, activation="RELU")
    case(f"{kind} row", pair, kind=kind, b=(1, 1, 1, 6))
    case(f"{kind} pixel", pair, kind=kind, a=(1, 4, 5, 1), b=(1, 4, 5, 6))
    case(f"{kind} crosswise", pair, kind=kind, a=(4, 1, 3), b=(5, 1))
for kind in ("MAXIMUM", "MINIMUM"):
    case(f"{kind}", pair, kind=kind, same=True)
    case(f"{kind} column", pair, kind=kind, same=True, b=(4, 1, 1))


def unary(m: Model, rng: np.random.Generator, *, kind: str, out=(1 / 256, -128), options="", **fields):
    x = m.tensor((1, 16, 32), scale=float(rng.uniform(0.02, 0.09)), zero=int(rng.integers(-60, 60)))
    y = m.tensor((1, 16, 32), scale=out[0], zero=out[1])
    m.op(
        kind,
        [x],
        [y],
        options,
        2 if kind in ("RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "QUANTIZE") else 1,
        **fields,
    )
    return [x], [y]


case("logistic", unary, kind="LOGISTIC")
case("tanh", unary, kind="TANH", out=(1 / 128, 0))
case("hard swish", unary, kind="HARD_SWISH", out=(0.03, -100))
case("hard swish wide", unary, kind="HARD_SWISH", out=(0.011, 5))
case("leaky relu", unary, kind="LEAKY_RELU", out=(0.05, 11), options="LeakyReluOptions", alpha=0.1)
case("relu", unary, kind="RELU", out=(0.03, -128))
case("relu6", unary, kind="RELU6", out=(6 / 255, -128))
case("requantize", unary, kind="QUANTIZE", out=(0.013, 44))


def unsigned(m: Model, rng: np.random.Generator):
    x = m.tensor((2, 9), "uint8", scale=0.01, zero=3)
    y = m.tensor((2, 9), scale=0.013, zero=-20)
    m.op("QUANTIZE", [x], [y], "QuantizeOptions", 2)
    return [x], [y]


def from_float(m: Model, rng: np.random.Generator):
    x = m.tensor((2, 90), "float32")
    y = m.tensor((2, 90), scale=0.037, zero=-20)
    m.op("QUANTIZE", [x], [y], "QuantizeOptions", 1)
    return [x], [y]


def to_float(m: Model, rng: np.random.Generator):
    x = m.tensor((2, 90), scale=0.0371, zero=-20)
    y = m.tensor((2, 90), "float32")
    m.op("DEQUANTIZE", [x], [y], "DequantizeOptions", 2)
    return [x], [y]


case("quantize from uint8", unsigned)
case("quantize from float", from_float)
case("dequantize", to_float)


def softmax(m: Model, rng: np.random.Generator, *, depth: int, beta=1.0, scale=0.1):
    x = m.tensor((6, depth), scale=scale, zero=7)
    y = m.tensor((6, depth), scale=1 / 256, zero=-128)
    m.op("SOFTMAX", [x], [y], "SoftmaxOptions", 2, beta=beta)
    return [x], [y]


for depth in (2, 16, 101, 1000):
    case(f"softmax {depth}", softmax, depth=depth)
case("softmax beta", softmax, depth=10, beta=0.37, scale=0.2)
case("softmax fine", softmax, depth=64, scale=0.0021)


def pool(m: Model, rng: np.random.Generator, *, kind: str, k=3, stride=2, padding=SAME, activation="NONE"):
    x = m.tensor((1, 9, 8, 5), scale=0.05, zero=-11)
    oh, ow = ((-(-d // stride)) if padding == SAME else -(-(d - k + 1) // stride) for d in (9, 8))
    y = m.tensor((1, oh, ow, 5), scale=0.05, zero=-11)
    m.op(kind, [x], [y], "Pool2DOptions", 2, padding=padding, strideH=stride, strideW=stride,
         filterHeight=k, filterWidth=k,
         fusedActivationFunction=getattr(m.schema.ActivationFunctionType, activation))  # fmt: skip
    return [x], [y]


for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
    case(f"{kind} same", pool, kind=kind)
    case(f"{kind} valid relu6", pool, kind=kind, padding=VALID, stride=1, activation="RELU6")


def reduce(m: Model, rng: np.random.Generator, *, kind: str, axes=(1, 2), keep=False, same=False, size=(2, 5, 6, 7)):
    x = m.tensor(size, scale=0.05, zero=-11)
    a = m.tensor((len(axes),), "int32", data=np.array(axes))
    shape = tuple((1 if i in axes else n) for i, n in enumerate(size) if keep or i not in axes)
    y = m.tensor(shape, scale=0.05 if same else 0.031, zero=-11 if same else 9)
    m.op(kind, [x, a], [y], "ReducerOptions", 2, keepDims=keep)
    return [x, a][:1], [y]


for axes in ((1, 2), (3,), (1,), (0, 3)):
    case(f"mean {axes}", reduce, kind="MEAN", axes=axes)
    case(f"reduce max {axes}", reduce, kind="REDUCE_MAX", axes=axes, same=True)
case("mean keep", reduce, kind="MEAN", keep=True)
case("mean keep one scale", reduce, kind="MEAN", keep=True, same=True, size=(1, 8, 7, 33))
case("reduce min", reduce, kind="REDUCE_MIN", same=True)


def arg(m: Model, rng: np.random.Generator, *, kind: str, dtype="INT32", axis=3):
    x = m.tensor((2, 4, 5, 6), scale=0.05, zero=-11)
    a = m.tensor((), "int32", data=np.array(axis))
    y = m.tensor(tuple(n for i, n in enumerate((2, 4, 5, 6)) if i != axis), dtype.lower())
    m.op(kind, [x, a], [y], f"Arg{kind[4:].capitalize()}Options", 2, outputType=getattr(m.schema.TensorType, dtype))
    return [x], [y]


case("arg max", arg, kind="ARG_MAX")
case("arg max int64, channels first", arg, kind="ARG_MAX", dtype="INT64", axis=1)
case("arg min", arg, kind="ARG_MIN")


def resize(m: Model, rng: np.random.Generator, *, kind: str, to=(11, 6), corners=False, centers=False):
    x = m.tensor((1, 5, 4, 3), scale=0.05, zero=-11)
    size = m.tensor((2,), "int32", data=np.array(to))
    y = m.tensor((1, *to, 3), scale=0.05, zero=-11)
    m.op(kind, [x, size], [y], "ResizeBilinearOptions" if "LINEAR" in kind else "ResizeNearestNeighborOptions", 3,
         alignCorners=corners, halfPixelCenters=centers)  # fmt: skip
    return [x], [y]


for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
    for to in ((11, 6), (10, 8), (3, 2), (1, 1)):
        case(f"{kind} {to}", resize, kind=kind, to=to)
        case(f"{kind} {to} centers", resize, kind=kind, to=to, centers=True)
        case(f"{kind} {to} corners", resize, kind=kind, to=to, corners=True)


def q(m: Model, shape: tuple[int, ...]) -> int:
    return m.tensor(shape, scale=0.05, zero=-11)


def ints(m: Model, values: Any) -> int:
    array = np.array(values)
    return m.tensor(array.shape, "int32", data=array)


def concatenate(m: Model, rng: np.random.Generator, *, axis: int):
    shapes = [tuple(n + i if d == axis % 4 else n for d, n in enumerate((2, 3, 4, 5))) for i in range(3)]
    xs = [q(m, s) for s in shapes]
    total = list(shapes[0])
    total[axis] = sum(s[axis] for s in shapes)
    y = q(m, tuple(total))
    m.op("CONCATENATION", xs, [y], "ConcatenationOptions", 2, axis=axis)
    return xs, [y]


for axis in (0, 1, 2, -1):
    case(f"concatenation {axis}", concatenate, axis=axis)


def transpose(m: Model, rng: np.random.Generator, *, axes: tuple[int, ...]):
    shape = (2, 3, 4, 5, 6)[: len(axes)]
    x, y = q(m, shape), q(m, tuple(shape[a] for a in axes))
    m.op("TRANSPOSE", [x, ints(m, axes)], [y], "TransposeOptions", 2)
    return [x], [y]


for axes in ((1, 0), (0, 2, 1), (0, 3, 1, 2), (3, 2, 1, 0), (0, 1, 4, 2, 3)):
    case(f"transpose {axes}", transpose, axes=axes)


def strided_slice(m: Model, rng: np.random.Generator, *, begin, end, stride, shape=(2, 5, 6, 7), **masks):
    x = q(m, shape)
    parts = []
    for i, (b, e, s) in enumerate(zip(begin, end, stride, strict=True)):
        parts.append(
            slice(None if masks.get("beginMask", 0) >> i & 1 else b, None if masks.get("endMask", 0) >> i & 1 else e, s)
        )
    result = np.zeros(shape)[tuple(parts)].shape
    kept = tuple(n for i, n in enumerate(result) if not masks.get("shrinkAxisMask", 0) >> i & 1)
    y = q(m, kept)
    m.op("STRIDED_SLICE", [x, ints(m, begin), ints(m, end), ints(m, stride)], [y], "StridedSliceOptions", 2, **masks)
    return [x], [y]


case("strided slice", strided_slice, begin=(0, 1, 2, 0), end=(2, 5, 6, 7), stride=(1, 2, 3, 1))
case(
    "strided slice masks",
    strided_slice,
    begin=(1, 1, 2, 3),
    end=(1, 4, 3, 4),
    stride=(1, 1, 1, 1),
    beginMask=1,
    endMask=9,
)
case("strided slice backwards", strided_slice, begin=(0, -1, 5, 0), end=(2, 0, 1, 7), stride=(1, -1, -2, 1))
case("strided slice shrink", strided_slice, begin=(0, 3, 0, 0), end=(2, 4, 6, 7), stride=(1, 1, 1, 1), shrinkAxisMask=2)


def slice_(m: Model, rng: np.random.Generator):
    x, y = q(m, (2, 5, 6, 7)), q(m, (2, 3, 4, 5))
    m.op("SLICE", [x, ints(m, (0, 1, 2, 1)), ints(m, (2, 3, 4, 5))], [y], "SliceOptions", 2)
    return [x], [y]


def split(m: Model, rng: np.random.Generator, *, kind: str):
    x = q(m, (2, 3, 9))
    if kind == "SPLIT":
        ys = [q(m, (2, 3, 3)) for _ in range(3)]
        m.op("SPLIT", [ints(m, 2), x], ys, "SplitOptions", 2, numSplits=3)
    else:
        ys = [q(m, (2, 3, n)) for n in (2, 3, 4)]
        m.op("SPLIT_V", [x, ints(m, (2, 3, 4)), ints(m, 2)], ys, "SplitVOptions", 2, numSplits=3)
    return [x], ys


def pack(m: Model, rng: np.random.Generator, *, axis: int):
    xs = [q(m, (2, 3, 4)) for _ in range(5)]
    y = q(m, tuple(np.insert((2, 3, 4), axis % 4, 5).tolist()))
    m.op("PACK", xs, [y], "PackOptions", 2, valuesCount=5, axis=axis)
    return xs, [y]


def unpack(m: Model, rng: np.random.Generator):
    x, ys = q(m, (2, 3, 4)), [q(m, (2, 4)) for _ in range(3)]
    m.op("UNPACK", [x], ys, "UnpackOptions", 2, num=3, axis=1)
    return [x], ys


def pad(m: Model, rng: np.random.Generator, *, kind: str):
    x, y = q(m, (1, 3, 4, 5)), q(m, (1, 6, 6, 8))
    operands = [x, ints(m, ((0, 0), (1, 2), (2, 0), (0, 3)))]
    if kind == "PADV2":
        operands.append(m.tensor((), scale=0.05, zero=-11, data=np.array(77)))
    m.op(kind, operands, [y], "PadOptions" if kind == "PAD" else "PadV2Options", 2)
    return [x], [y]


def tile(m: Model, rng: np.random.Generator):
    x, y = q(m, (1, 2, 3)), q(m, (2, 6, 3))
    m.op("TILE", [x, ints(m, (2, 3, 1))], [y], "TileOptions", 2)
    return [x], [y]


def gather(m: Model, rng: np.random.Generator, *, axis: int):
    x = q(m, (4, 5, 6))
    shape = tuple(5 if i == axis else n for i, n in enumerate((4, 5, 6)))
    y = q(m, shape)
    m.op("GATHER", [x, ints(m, (3, 0, 1, 2, 0))], [y], "GatherOptions", 2, axis=axis)
    return [x], [y]


def blocks(m: Model, rng: np.random.Generator, *, kind: str):
    deep, shallow = (1, 2, 3, 12), (1, 4, 6, 3)
    x, y = (q(m, deep), q(m, shallow)) if kind == "DEPTH_TO_SPACE" else (q(m, shallow), q(m, deep))
    options = "DepthToSpaceOptions" if kind == "DEPTH_TO_SPACE" else "SpaceToDepthOptions"
    m.op(kind, [x], [y], options, 1 if kind == "DEPTH_TO_SPACE" else 2, blockSize=2)
    return [x], [y]


def reshape(m: Model, rng: np.random.Generator):
    x, y = q(m, (2, 3, 4)), q(m, (6, 4))
    m.op("RESHAPE", [x, ints(m, (6, 4))], [y], "ReshapeOptions", 1, newShape=[6, 4])
    return [x], [y]


case("slice", slice_)
case("split", split, kind="SPLIT")
case("split v", split, kind="SPLIT_V")
case("pack 0", pack, axis=0)
case("pack 2", pack, axis=2)
case("pack -1", pack, axis=-1)
case("unpack", unpack)
case("pad", pad, kind="PAD")
case("pad v2", pad, kind="PADV2")
case("tile", tile)
case("gather 0", gather, axis=0)
case("gather 1", gather, axis=1)
case("depth to space", blocks, kind="DEPTH_TO_SPACE")
case("space to depth", blocks, kind="SPACE_TO_DEPTH")
case("reshape of an input to an output", reshape)


@pytest.mark.parametrize("name", CASES)
def test_bit_exact(name: str, infer: Infer, tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(name.encode()))
    model = Model()
    content = model.pack(*CASES[name](model, rng))
    (tmp_path / "model.tflite").write_bytes(content)
    reference = Reference(content)
    (tmp_path / "model.blob").write_bytes(make_blob(tmp_path / "model.tflite").data)
    for seed in range(2):
        answer = reference.run(random_inputs(reference.inputs, seed))
        got = infer(tmp_path / "model.blob", answer.inputs)
        want = b"".join(answer.outputs)
        assert len(got) == len(want)
        differing = int((np.frombuffer(got, np.uint8) != np.frombuffer(want, np.uint8)).sum())
        assert differing == 0, f"{differing} of {len(want)} bytes differ"
