"""Operators that only move numbers, as copies between strided views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeai.firmware.blob.fold import slices
from edgeai.firmware.blob.program import MAX_DIMS, Context, Kernel, Step, UnsupportedError
from edgeai.graph.types import Op, Tensor

MOVABLE = ("int8", "uint8", "float32", "int32", "int64")


@dataclass(frozen=True, slots=True)
class View:
    """Part of a tensor: the byte of its first element, its shape, and the bytes from one element to the next."""

    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def sliced(self, parts: Sequence[slice]) -> View:
        """`parts` as Python slices with their bounds already fitted to the shape."""
        starts = [part.start or 0 for part in parts]
        counts = [len(range(*part.indices(size))) for part, size in zip(parts, self.shape, strict=True)]
        return View(
            self.offset + sum(start * step for start, step in zip(starts, self.steps, strict=True)),
            tuple(counts),
            tuple(step * (part.step or 1) for step, part in zip(self.steps, parts, strict=True)),
        )

    def permuted(self, axes: Sequence[int]) -> View:
        return View(self.offset, tuple(self.shape[a] for a in axes), tuple(self.steps[a] for a in axes))


def whole(tensor: Tensor, shape: tuple[int, ...] | None = None) -> View:
    """All of a tensor, row by row, in its own shape or another of the same size."""
    chosen = tensor.shape if shape is None else shape
    element = tensor.nbytes // tensor.elements
    steps = [element * math.prod(chosen[i + 1 :]) for i in range(len(chosen))]
    return View(0, tuple(chosen), tuple(steps))


def copy(context: Context, source: Tensor, read: View, result: Tensor, write: View) -> Step:
    """A step that copies one view to another of the same shape."""
    element = source.nbytes // source.elements
    axes = [(n, r, w) for n, r, w in zip(read.shape, read.steps, write.steps, strict=True) if n != 1]
    merged: list[tuple[int, int, int]] = []
    for n, r, w in axes:
        if merged and merged[-1][1] == n * r and merged[-1][2] == n * w:
            merged[-1] = (merged[-1][0] * n, r, w)
        else:
            merged.append((n, r, w))
    run = element
    if merged and merged[-1][1] == merged[-1][2] == element:
        run = merged.pop()[0] * element
    elif element > 1:
        merged.append((1, element, element))
    if len(merged) > MAX_DIMS:
        raise UnsupportedError(f"more than {MAX_DIMS} dimensions")
    padded = [(1, 0, 0)] * (MAX_DIMS - len(merged)) + merged
    dims, reads, writes = zip(*padded, strict=True)
    places = (context.operand(source, read.offset), context.operand(result, write.offset))
    return Step(Kernel.COPY, (*places, run, *dims, *reads, *writes))


def _axis(axis: float, rank: int) -> int:
    return int(axis) % rank if rank else 0


def _same_scale(source: Tensor, result: Tensor) -> None:
    if source.quantized and (source.scale, source.zero_point) != (result.scale, result.zero_point):
        raise UnsupportedError("input and output differ in scale")


def concatenation(context: Context, op: Op) -> list[Step]:
    result = context.result(op, MOVABLE)
    axis, at, steps = _axis(op.axis, len(result.shape)), 0, []
    for position in range(len(op.inputs)):
        source = context.source(op, position, MOVABLE)
        _same_scale(source, result)
        size = source.shape[axis]
        parts = [slice(0, n, 1) for n in result.shape]
        parts[axis] = slice(at, at + size, 1)
        steps.append(copy(context, source, whole(source), result, whole(result).sliced(parts)))
        at += size
    return steps


def pack(context: Context, op: Op) -> list[Step]:
    result = context.result(op, MOVABLE)
    axis, steps = _axis(op.attribute("axis"), len(result.shape)), []
    for position in range(len(op.inputs)):
        source = context.source(op, position, MOVABLE)
        parts = [slice(0, n, 1) for n in result.shape]
        parts[axis] = slice(position, position + 1, 1)
        shape = (*source.shape[:axis], 1, *source.shape[axis:])
        steps.append(copy(context, source, whole(source, shape), result, whole(result).sliced(parts)))
    return steps


def _pieces(context: Context, op: Op, position: int, axis: int, sizes: Sequence[int]) -> list[Step]:
    source = context.source(op, position, MOVABLE)
    steps, at = [], 0
    for output, size in zip(op.outputs, sizes, strict=True):
        result = context.tensor(output)
        parts = [slice(0, n, 1) for n in source.shape]
        parts[axis] = slice(at, at + size, 1)
        read = whole(source).sliced(parts)
        steps.append(copy(context, source, read, result, whole(result, read.shape)))
        at += size
    return steps


def split(context: Context, op: Op) -> list[Step]:
    """SPLIT (axis, value) and SPLIT_V (value, sizes, axis): the outputs' shapes are the sizes."""
    value, where = (1, 0) if op.kind == "SPLIT" else (0, 2)
    source = context.source(op, value, MOVABLE)
    axis = _axis(context.constant(op, where).reshape(()).item(), len(source.shape))
    return _pieces(context, op, value, axis, [context.tensor(t).shape[axis] for t in op.outputs])


def unpack(context: Context, op: Op) -> list[Step]:
    source = context.source(op, 0, MOVABLE)
    return _pieces(context, op, 0, _axis(op.attribute("axis"), len(source.shape)), [1] * len(op.outputs))


def reshape(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    return [copy(context, source, whole(source), result, whole(result, source.shape))]


def transpose(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    axes = [int(a) % len(source.shape) for a in context.constant(op, 1)]
    return [copy(context, source, whole(source).permuted(axes), result, whole(result))]


def strided_slice(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    try:
        parts = slices(op, source.shape, *(context.constant(op, i) for i in (1, 2, 3)))
    except ValueError as error:
        raise UnsupportedError(str(error)) from None
    read = whole(source).sliced(parts)
    return [copy(context, source, read, result, whole(result, read.shape))]


def slice_(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    begin = [int(n) for n in context.constant(op, 1)]
    parts = [slice(start, start + n, 1) for start, n in zip(begin, result.shape, strict=True)]
    return [copy(context, source, whole(source).sliced(parts), result, whole(result))]


def pad(context: Context, op: Op) -> list[Step]:
    """PAD fills with real zero, PADV2 with its third input."""
    source, result = context.source(op, 0, ("int8", "uint8")), context.result(op, ("int8", "uint8"))
    value = int(context.constant(op, 2).reshape(()).item()) if op.kind == "PADV2" else result.zero_point
    before = [int(pair[0]) for pair in context.constant(op, 1)]
    parts = [slice(start, start + n, 1) for start, n in zip(before, source.shape, strict=True)]
    write = whole(result).sliced(parts)
    fill = Step(Kernel.FILL, (context.operand(result), result.nbytes, value & 0xFF))
    return [fill, copy(context, source, whole(source), result, write)]


def tile(context: Context, op: Op) -> list[Step]:
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    times = [int(n) for n in context.constant(op, 1)]
    steps = []
    for place in itertools.product(*(range(n) for n in times)):
        parts = [slice(i * n, (i + 1) * n, 1) for i, n in zip(place, source.shape, strict=True)]
        steps.append(copy(context, source, whole(source), result, whole(result).sliced(parts)))
        if len(steps) > 256:
            raise UnsupportedError("more than 256 repetitions")
    return steps


def depth_space(context: Context, op: Op) -> list[Step]:
    """DEPTH_TO_SPACE and its inverse: a transpose of [b, h, block, w, block, c]."""
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    block = int(op.attribute("block_size"))
    shallow = result if op.kind == "DEPTH_TO_SPACE" else source
    batch, height, width, depth = shallow.shape
    blocks = (batch, height // block, block, width // block, block, depth)
    inner = (batch, height // block, width // block, block, block, depth)
    to_deep = [0, 1, 3, 2, 4, 5]
    if op.kind == "DEPTH_TO_SPACE":
        return [copy(context, source, whole(source, inner), result, whole(result, blocks).permuted(to_deep))]
    return [copy(context, source, whole(source, blocks).permuted(to_deep), result, whole(result, inner))]


def gather(context: Context, op: Op) -> list[Step]:
    """GATHER with constant indices: one copy for each run of indices that follow each other."""
    source, result = context.source(op, 0, MOVABLE), context.result(op, MOVABLE)
    indices = context.constant(op, 1)
    if indices.ndim != 1 or op.attribute("batch_dims"):
        raise UnsupportedError("indices of several dimensions")
    axis, steps = _axis(op.attribute("axis"), len(source.shape)), []
    runs = np.split(indices, np.nonzero(np.diff(indices) != 1)[0] + 1)
    if len(runs) > 256:
        raise UnsupportedError("more than 256 runs of indices")
    at = 0
    for run in runs:
        read, write = [slice(0, n, 1) for n in source.shape], [slice(0, n, 1) for n in result.shape]
        read[axis] = slice(int(run[0]), int(run[0]) + len(run), 1)
        write[axis] = slice(at, at + len(run), 1)
        steps.append(copy(context, source, whole(source).sliced(read), result, whole(result).sliced(write)))
        at += len(run)
    return steps
