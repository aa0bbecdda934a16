"""Operators with weights, and the matrix product: sums of products, requantised for each output channel."""

from __future__ import annotations

import math

import numpy as np

from edgeai.device.blob.arithmetic import activation_range, quantize_multiplier
from edgeai.device.blob.program import Context, Kernel, Scratch, Step, UnsupportedError, Word
from edgeai.graph.types import Op, Tensor


def same_padding(size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows of padding before the input; the rest, one more where it is odd, comes after."""
    return max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def _scaling(
    context: Context, op: Op, source: Tensor, weights: Tensor, result: Tensor, channels: int, bias: np.ndarray
) -> tuple[Word, ...]:
    """The firmware's `scaling`: bias, multipliers and shifts of the channels, zero point and limits of the output."""
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
    """A convolution over one row of pixels."""
    source, result = context.source(op, 0), context.result(op)
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


def batch_matmul(context: Context, op: Op) -> list[Step]:
    a, b, result = context.source(op, 0), context.source(op, 1), context.result(op)
    a_batch, b_batch = math.prod(a.shape[:-2]), math.prod(b.shape[:-2])
    if a.per_channel or b.per_channel or (a.shape[:-2] != b.shape[:-2] and 1 not in (a_batch, b_batch)):
        raise UnsupportedError("broadcast batches")
    a_row, a_inner = (1, a.shape[-1]) if op.transpose_a else (a.shape[-1], 1)
    b_column, b_inner = (b.shape[-1], 1) if op.transpose_b else (1, b.shape[-1])
    inner = a.shape[-2] if op.transpose_a else a.shape[-1]
    multiplier, shift = quantize_multiplier(float(a.scale) * float(b.scale) / float(result.scale))
    words: tuple[Word, ...] = (
        context.operand(a), context.operand(b), context.operand(result),
        max(a_batch, b_batch), result.shape[-2], result.shape[-1], inner,
        0 if a_batch == 1 else math.prod(a.shape[-2:]), a_row, a_inner,
        0 if b_batch == 1 else math.prod(b.shape[-2:]), b_column, b_inner,
        a.zero_point, b.zero_point, multiplier, shift, result.zero_point, -128, 127,
    )  # fmt: skip
    return [Step(Kernel.MATMUL, words)]
