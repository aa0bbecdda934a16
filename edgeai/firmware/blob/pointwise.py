"""Operators on single elements, on pairs of them, and those that reduce or resample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgeai.firmware.blob import tables
from edgeai.firmware.blob.arithmetic import INTEGER_RANGE, activation_range, quantize_multiplier
from edgeai.firmware.blob.program import MAX_DIMS, Context, Kernel, Step, UnsupportedError, Word
from edgeai.firmware.blob.weighted import same_padding
from edgeai.graph.types import Op, Tensor
from edgeai.kernels.variants import MANY_CLASSES, drift

BYTES = ("int8", "uint8")
REDUCE_MODES = {"REDUCE_MAX": 0, "REDUCE_MIN": 1, "MEAN": 2}


# --- pairs ----------------------------------------------------------------------------------------


def _pair(context: Context, op: Op) -> tuple[tuple[Word, ...], Tensor, Tensor, Tensor]:
    """The firmware's `pair_words`: operands, dimensions, and steps that are 0 where an operand is repeated."""
    a, b, result = context.source(op, 0), context.source(op, 1), context.result(op)
    merged: list[tuple[int, int, int]] = []
    for n, x, y in zip(result.shape, _steps(a, result), _steps(b, result), strict=True):
        if n == 1:
            continue
        if merged and merged[-1][1] == n * x and merged[-1][2] == n * y:
            merged[-1] = (merged[-1][0] * n, x, y)
        else:
            merged.append((n, x, y))
    if len(merged) > MAX_DIMS:
        raise UnsupportedError(f"more than {MAX_DIMS} dimensions")
    dims, a_steps, b_steps = zip(*([(1, 0, 0)] * (MAX_DIMS - len(merged)) + merged), strict=True)
    return (context.operand(a), context.operand(b), context.operand(result), *dims, *a_steps, *b_steps), a, b, result


def _steps(tensor: Tensor, result: Tensor) -> list[int]:
    shape = (1,) * (len(result.shape) - len(tensor.shape)) + tensor.shape
    return [0 if n == 1 else math.prod(shape[i + 1 :]) for i, n in enumerate(shape)]


def add(context: Context, op: Op) -> list[Step]:
    pair, a, b, result = _pair(context, op)
    largest = 2 * max(float(a.scale), float(b.scale))
    words: list[Word] = [*pair]
    for tensor in (a, b):
        words += [tensor.zero_point, *quantize_multiplier(float(tensor.scale) / largest)]
    words += quantize_multiplier(largest / (2**20 * float(result.scale)))
    words += [result.zero_point, *activation_range(result, op.activation), int(op.kind == "SUB")]
    return [Step(Kernel.ADD, tuple(words))]


def mul(context: Context, op: Op) -> list[Step]:
    pair, a, b, result = _pair(context, op)
    real = np.float32(a.scale) * np.float32(b.scale) / np.float32(result.scale)  # LiteRT computes it in float
    limits = activation_range(result, op.activation)
    zeros = (a.zero_point, b.zero_point)
    return [Step(Kernel.MUL, (*pair, *zeros, *quantize_multiplier(float(real)), result.zero_point, *limits))]


def extreme(context: Context, op: Op) -> list[Step]:
    pair, a, b, result = _pair(context, op)
    if len({(t.scale, t.zero_point) for t in (a, b, result)}) != 1:
        raise UnsupportedError("operands that differ in scale")
    return [Step(Kernel.EXTREME, (*pair, int(op.kind == "MINIMUM")))]


# --- tables ---------------------------------------------------------------------------------------


def table(context: Context, op: Op) -> list[Step]:
    """Any function of one 8-bit number."""
    source, result = context.source(op, 0, BYTES), context.result(op, BYTES)
    if op.kind in tables.FLOAT_FUNCTIONS:
        content = tables.float_function(op.kind, source, result)
    elif op.kind == "LEAKY_RELU":
        content = tables.leaky_relu(op, source, result)
    elif op.kind == "HARD_SWISH":
        content = tables.hard_swish(source, result)
    else:
        content = tables.rescaled(op.kind, source, result)
    return [_lookup(context, Kernel.LUT8, source, result, content)]


def _lookup(context: Context, kernel: Kernel, source: Tensor, result: Tensor, content: bytes) -> Step:
    return Step(kernel, (context.operand(source), context.operand(result), source.elements, context.pool.add(content)))


def quantize(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, (*BYTES, "float32")), context.result(op, BYTES)
    if source.dtype != "float32":
        return table(context, op)
    limits = INTEGER_RANGE[result.dtype]
    places = (context.operand(source), context.operand(result))
    return [Step(Kernel.QUANTIZE, (*places, source.elements, float(result.scale), result.zero_point, *limits))]


def dequantize(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, BYTES), context.result(op, ("float32",))
    return [_lookup(context, Kernel.LUT32, source, result, tables.dequantized(source))]


# --- softmax --------------------------------------------------------------------------------------


def softmax(context: Context, op: Op) -> list[Step]:
    """Fixed point with 5 integer bits for differences of inputs (TensorFlow Lite's PreprocessSoftmaxScaling).

    Where the exponentials of many classes can fill the sum, LiteRT's reference kernel ends the process: those go by
    the optimised kernel's table of floats.
    """
    source, result = context.source(op, 0), context.result(op)
    depth = source.shape[-1]
    if (result.scale, result.zero_point) != (1 / 256, -128):
        raise UnsupportedError("an output other than -128 + 256 p")
    places = (context.operand(source), context.operand(result), source.elements // depth, depth)
    if depth >= MANY_CLASSES:
        step = -np.float32(source.scale) * np.float32(op.attribute("beta"))
        steps = (step * np.arange(256, dtype=np.float32)).astype(np.float64)
        table = context.pool.add(np.exp(steps).astype("<f4").tobytes())
        return [Step(Kernel.SOFTMAX_TABLE, (*places, table))]
    real = min(float(op.attribute("beta")) * float(source.scale) * 2**26, 2**31 - 1)
    multiplier, shift = quantize_multiplier(real)
    if shift < 0:
        raise UnsupportedError("an input scale below 2**-26")
    radius = math.floor(31 * 2**26 / 2**shift)
    return [Step(Kernel.SOFTMAX, (*places, multiplier, shift, -radius))]


# --- pooling, reduction ---------------------------------------------------------------------------


def pool(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0), context.result(op)
    if (source.scale, source.zero_point) != (result.scale, result.zero_point):
        raise UnsupportedError("input and output differ in scale")
    batch, in_h, in_w, depth = source.shape
    _, out_h, out_w, _ = result.shape
    pads = (0, 0)
    if op.padding == "same":
        pads = (
            same_padding(in_h, out_h, op.kernel[0], op.stride[0], 1),
            same_padding(in_w, out_w, op.kernel[1], op.stride[1], 1),
        )
    places = (context.operand(source), context.operand(result))
    shape = (batch, in_h, in_w, depth, out_h, out_w, *op.kernel, *op.stride, *pads)
    average = int(op.kind == "AVERAGE_POOL_2D")
    return [Step(Kernel.POOL, (*places, *shape, average, *activation_range(result, op.activation)))]


def reduce(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0), context.result(op)
    axes = {int(a) % len(source.shape) for a in context.constant(op, 1).reshape(-1)}
    steps = [math.prod(source.shape[i + 1 :]) for i in range(len(source.shape))]
    kept = [(n, steps[i]) for i, n in enumerate(source.shape) if i not in axes and n != 1]
    gone = [(n, steps[i]) for i, n in enumerate(source.shape) if i in axes and n != 1]
    words: list[Word] = [context.operand(source), context.operand(result)]
    for group in (kept, gone):
        if len(group) > MAX_DIMS:
            raise UnsupportedError(f"more than {MAX_DIMS} dimensions")
        padded = [(1, 0)] * (MAX_DIMS - len(group)) + group
        words += [n for n, _ in padded] + [step for _, step in padded]
    multiplier, shift = 0, 0
    if op.kind == "MEAN":
        whole = quantize_multiplier(float(source.scale) / float(result.scale))
        multiplier, shift = _divided(*whole, math.prod(n for n, _ in gone))
    elif (source.scale, source.zero_point) != (result.scale, result.zero_point):
        raise UnsupportedError("input and output differ in scale")
    words += [REDUCE_MODES[op.kind], source.zero_point, multiplier, shift, result.zero_point]
    return [Step(Kernel.REDUCE, tuple(words))]


def _divided(multiplier: int, shift: int, count: int) -> tuple[int, int]:
    """A multiplier divided by a number of elements, with as many bits kept as fit (TensorFlow Lite's MEAN)."""
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


def arg(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0), context.result(op, ("int32", "int64"))
    axis = int(context.constant(op, 1).reshape(()).item()) % len(source.shape)
    shape = (math.prod(source.shape[:axis]), source.shape[axis], math.prod(source.shape[axis + 1 :]))
    width = 8 if result.dtype == "int64" else 4
    places = (context.operand(source), context.operand(result))
    return [Step(Kernel.ARG, (*places, *shape, int(op.kind == "ARG_MIN"), width))]


# --- resize ---------------------------------------------------------------------------------------


def nearest(context: Context, op: Op) -> list[Step]:
    corners, centers = bool(op.attribute("align_corners")), bool(op.attribute("half_pixel_centers"))

    def sources(size: int, out: int) -> Sequence[int]:
        span = int(corners and out > 1)
        scale = np.float32(size - span) / np.float32(out - span)
        found = []
        for i in range(out):
            at = (np.float32(i) + np.float32(0.5 if centers else 0)) * scale
            whole = math.floor(float(at) + 0.5) if corners else math.floor(float(at))
            found.append(min(max(whole, 0), size - 1))
        return found

    return [_resize(context, op, Kernel.NEAREST, sources, fine=False)]


def bilinear(context: Context, op: Op) -> list[Step]:
    """Positions and weights in 1/1024, as in TensorFlow Lite's ResizeBilinearInteger, where those positions are exact.

    Elsewhere they drift, up to beyond the picture, and XNNPACK's are taken: float, with weights in 1/2048.
    """
    corners, centers = bool(op.attribute("align_corners")), bool(op.attribute("half_pixel_centers"))

    def floats(size: int, out: int) -> Sequence[int]:
        span = int(corners and out > 1)
        scale = np.float32(size - span) / np.float32(out - span)
        offset = np.float32(0.5) * scale - np.float32(0.5) if centers and not corners else np.float32(0)
        found: list[int] = []
        for i in range(out):
            at = min(max(np.float32(i) * scale + offset, np.float32(0)), np.float32(size - 1))
            low = int(at)
            found += [low, min(low + 1, size - 1), int(np.rint((at - np.float32(low)) * np.float32(2048)))]
        return found

    def sources(size: int, out: int) -> Sequence[int]:
        scale = (1024 * size + out // 2) // out
        if corners and out > 1:
            scale = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
        found: list[int] = []
        for i in range(out):
            at = i * scale + (scale // 2 - 512 if centers else 0)
            low = max(_quotient(at, 1024), 0)
            found += [low, min(_quotient(at + 1023, 1024), size - 1), at - 1024 * low]
        return found

    fine = max(drift(context.source(op, 0).shape[i], context.result(op).shape[i], corners) for i in (1, 2)) > 0
    return [_resize(context, op, Kernel.BILINEAR, floats if fine else sources, fine)]


def _quotient(a: int, b: int) -> int:
    """C's division: towards zero."""
    return a // b if a >= 0 else -(-a // b)


def _resize(context: Context, op: Op, kernel: Kernel, sources: Callable[[int, int], Sequence[int]], fine: bool) -> Step:
    source, result = context.source(op, 0), context.result(op)
    batch, in_h, in_w, depth = source.shape
    _, out_h, out_w, _ = result.shape
    rows, columns = context.integers(sources(in_h, out_h)), context.integers(sources(in_w, out_w))
    places = (context.operand(source), context.operand(result))
    return Step(kernel, (*places, batch, in_h, in_w, depth, out_h, out_w, rows, columns, int(fine)))
