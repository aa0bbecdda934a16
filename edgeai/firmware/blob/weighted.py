"""Operators with weights, and the matrix product: sums of products, requantised for each output channel."""

from __future__ import annotations

import math

import numpy as np

from edgeai.firmware.blob.arithmetic import activation_range, quantize_multiplier
from edgeai.firmware.blob.program import Context, Kernel, Scratch, Step, UnsupportedError, Word
from edgeai.graph.types import Op, Tensor

MAX_PRODUCTS = 256  # of one BATCH_MATMUL


def same_padding(size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows of padding before the input; the rest, one more where it is odd, comes after."""
    return max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def _scaling(
    context: Context, op: Op, source: Tensor, weights: Tensor, result: Tensor, channels: int, bias: np.ndarray
) -> tuple[Word, ...]:
    """The firmware's `scaling`: bias, multipliers and shifts of the channels, zero point and limits of the output, and
    whether sums are rounded once."""
    scales = weights.scales if weights.per_channel else weights.scales * channels
    if not source.quantized or not result.quantized or len(scales) != channels:
        raise UnsupportedError("tensors without a scale")
    real = [float(source.scale) * float(scale) / float(result.scale) for scale in scales]
    pairs = [quantize_multiplier(value) for value in real]
    tables = (bias, [p[0] for p in pairs], [p[1] for p in pairs])
    return (
        *(context.integers(table) for table in tables),
        result.zero_point,
        *activation_range(result, op.activation),
        int(op.kind == "FULLY_CONNECTED"),
    )


def _weights(context: Context, op: Op, position: int = 1) -> tuple[Tensor, np.ndarray]:
    weights = context.source(op, position)
    if not context.constants.known(weights.index):
        raise UnsupportedError("weights that are not constant")
    if any(weights.zero_points):
        raise UnsupportedError("weights with a zero point")
    return weights, context.constants.value(weights.index)


def _bias(context: Context, op: Op, position: int, channels: int) -> np.ndarray:
    tensor = context.graph.operand(op, position)
    if tensor is None:
        return np.zeros(channels, np.int64)
    if tensor.dtype != "int32":
        raise UnsupportedError(f"a bias of {tensor.dtype}")
    return context.constant(op, position).astype(np.int64)


def _folded(bias: np.ndarray, weights: np.ndarray, zero_point: int) -> np.ndarray:
    """sum((x - zp) * w) + bias = sum(x * w) + folded bias; the sums wrap at 32 bits as the machine's do."""
    sums = weights.astype(np.int64).reshape(len(weights), -1).sum(axis=1)
    folded: np.ndarray = (bias - zero_point * sums).astype(np.uint32).view(np.int32)
    return folded


def convolution(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0), context.result(op)
    weights, w = _weights(context, op)
    if len(source.shape) != 4 or w.ndim != 4:
        raise UnsupportedError("inputs of other than four dimensions")
    batch, in_h, in_w, in_c = source.shape
    _, out_h, out_w, out_c = result.shape
    _, k_h, k_w, depth = w.shape
    if in_c % depth or out_c % (in_c // depth):
        raise UnsupportedError("groups that do not divide the channels")
    pad_h, pad_w = _padding(op, source, result, k_h, k_w)
    bias = _folded(_bias(context, op, 2, out_c), w, source.zero_point)
    words: tuple[Word, ...] = (
        context.operand(source), context.operand(result), context.operand(weights), Scratch(2 * k_h * k_w * depth),
        batch, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, *op.stride, *op.dilation, pad_h, pad_w,
        in_c // depth, source.zero_point, *_scaling(context, op, source, weights, result, out_c, bias),
    )  # fmt: skip
    return [Step(Kernel.CONV, words)]


def _padding(op: Op, source: Tensor, result: Tensor, k_h: int, k_w: int) -> tuple[int, int]:
    if op.padding != "same":
        return 0, 0
    (_, in_h, in_w, _), (_, out_h, out_w, _) = source.shape, result.shape
    return (
        same_padding(in_h, out_h, k_h, op.stride[0], op.dilation[0]),
        same_padding(in_w, out_w, k_w, op.stride[1], op.dilation[1]),
    )


def depthwise(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0), context.result(op)
    weights, w = _weights(context, op)
    batch, in_h, in_w, in_c = source.shape
    _, out_h, out_w, out_c = result.shape
    _, k_h, k_w, _ = w.shape
    pad_h, pad_w = _padding(op, source, result, k_h, k_w)
    bias = _bias(context, op, 2, out_c)
    words: tuple[Word, ...] = (
        context.operand(source), context.operand(result), context.operand(weights), Scratch(4 * out_c),
        batch, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, *op.stride, *op.dilation, pad_h, pad_w,
        out_c // in_c, source.zero_point, *_scaling(context, op, source, weights, result, out_c, bias),
    )  # fmt: skip
    return [Step(Kernel.DEPTHWISE, words)]


def transpose_conv(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 2), context.result(op)
    weights, w = _weights(context, op)
    batch, in_h, in_w, in_c = source.shape
    _, out_h, out_w, out_c = result.shape
    _, k_h, k_w, _ = w.shape
    pad_h = pad_w = 0
    if op.padding == "same":  # the padding of the convolution that goes the other way
        pad_h = same_padding(out_h, -(-out_h // op.stride[0]), k_h, op.stride[0], 1)
        pad_w = same_padding(out_w, -(-out_w // op.stride[1]), k_w, op.stride[1], 1)
    bias = _bias(context, op, 3, out_c)
    words: tuple[Word, ...] = (
        context.operand(source), context.operand(result), context.operand(weights), Scratch(4),
        batch, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, *op.stride, 1, 1, pad_h, pad_w,
        1, source.zero_point, *_scaling(context, op, source, weights, result, out_c, bias),
    )  # fmt: skip
    return [Step(Kernel.TRANSPOSE_CONV, words)]


def fully_connected(context: Context, op: Op) -> list[Step]:
    """A convolution over one row of pixels; with weights that are computed, a product of two activations."""
    source, result = context.source(op, 0), context.result(op)
    if not context.constants.known(op.inputs[1]):
        return [_computed(context, op, source, result)]
    weights, w = _weights(context, op)
    out_c, in_c = w.shape
    rows = source.elements // in_c
    bias = _folded(_bias(context, op, 2, out_c), w, source.zero_point)
    words: tuple[Word, ...] = (
        context.operand(source), context.operand(result), context.operand(weights), Scratch(4),
        1, 1, rows, in_c, 1, rows, out_c, 1, 1, 1, 1, 1, 1, 0, 0,
        1, source.zero_point, *_scaling(context, op, source, weights, result, out_c, bias),
    )  # fmt: skip
    return [Step(Kernel.CONV, words)]


def _computed(context: Context, op: Op, source: Tensor, result: Tensor) -> Step:
    weights = context.source(op, 1)
    out_c, in_c = weights.shape
    bias = context.graph.operand(op, 2)
    if bias is not None and (not context.constants.known(bias.index) or context.constants.value(bias.index).any()):
        raise UnsupportedError("computed weights with a bias")
    return _product(context, op, (source, 0), (weights, 0), result, (1, source.elements // in_c, out_c, in_c))


def batch_matmul(context: Context, op: Op) -> list[Step]:
    """A step for each matrix of the outer batch dimensions, which may repeat on either side."""
    a, b, result = context.source(op, 0), context.source(op, 1), context.result(op)
    if a.per_channel or b.per_channel:
        raise UnsupportedError("a scale per channel")
    outer, rank = result.shape[:-2], len(result.shape)
    inner = a.shape[-2] if op.transpose_a else a.shape[-1]
    steps = []
    for place in np.ndindex(*outer[:-1]):
        at = (*place, 0)[: len(outer)]
        left, right = ((tensor, _matrix(tensor, at, rank)) for tensor in (a, b))
        shape = (outer[-1] if outer else 1, result.shape[-2], result.shape[-1], inner)
        offset = int(np.ravel_multi_index(at, outer)) * shape[1] * shape[2] if outer else 0
        steps.append(_product(context, op, left, right, result, shape, offset))
    if len(steps) > MAX_PRODUCTS:
        raise UnsupportedError(f"more than {MAX_PRODUCTS} products")
    return steps


def _matrix(tensor: Tensor, place: tuple[int, ...], rank: int) -> int:
    """The element where the matrix at a place of the result's batches begins; dimensions of 1 repeat."""
    shape = (*(1,) * (rank - len(tensor.shape)), *tensor.shape)[:-2]
    if not shape:
        return 0
    index = tuple(min(i, n - 1) for i, n in zip(place, shape, strict=True))
    return int(np.ravel_multi_index(index, shape)) * math.prod(tensor.shape[-2:])


def _product(
    context: Context, op: Op, left: tuple[Tensor, int], right: tuple[Tensor, int], result: Tensor,
    shape: tuple[int, int, int, int], offset: int = 0,
) -> Step:  # fmt: skip
    """The product of two activations from an element of each on, for `shape` batches, rows, columns and inner sums.

    FULLY_CONNECTED has its right side transposed.
    """
    (a, a_first), (b, b_first) = left, right
    connected = op.kind == "FULLY_CONNECTED"
    batches, inner = shape[0], shape[3]
    a_row, a_inner = (1, a.shape[-1]) if op.transpose_a else (inner, 1)
    b_column, b_inner = (inner, 1) if op.transpose_b or connected else (1, b.shape[-1])
    multiplier = quantize_multiplier(float(a.scale) * float(b.scale) / float(result.scale))
    words: tuple[Word, ...] = (
        context.operand(a, a_first), context.operand(b, b_first), context.operand(result, offset), *shape,
        _batch_step(a, batches, connected), a_row, a_inner, _batch_step(b, batches, connected), b_column, b_inner,
        a.zero_point, b.zero_point, *multiplier, result.zero_point, *activation_range(result, op.activation),
        int(connected),
    )  # fmt: skip
    return Step(Kernel.MATMUL, words)


def _batch_step(tensor: Tensor, batches: int, connected: bool) -> int:
    """Elements from one matrix to the next of the innermost batch dimension; 0 where there is one for all."""
    repeated = connected or len(tensor.shape) < 3 or (tensor.shape[-3] == 1 and batches > 1)
    return 0 if repeated else math.prod(tensor.shape[-2:])
