"""Where the numbers of an output come from: its rows traced back through what only moves them.

A decoded prediction is a concatenation. Which pieces it joins, and which of them leave a sigmoid, tells heads apart
that share a shape: [1, 56, N] is 52 classes of a detector, or one class and 17 key points.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, replace

from edgeai.graph.types import DEQUANTIZERS, QUANTIZERS, Graph, Op, Tensor

CONCATS = frozenset({"CONCATENATION", "Concat"})
SIGMOIDS = frozenset({"LOGISTIC", "Sigmoid", "STABLEHLO_LOGISTIC"})
SOFTMAXES = frozenset({"SOFTMAX", "Softmax"})
COPIES = QUANTIZERS | DEQUANTIZERS | {"Identity", "CAST", "Cast"}
RESHAPES = frozenset({"RESHAPE", "Reshape", "SQUEEZE", "Squeeze", "EXPAND_DIMS", "Unsqueeze", "Flatten"})
TRANSPOSES = frozenset({"TRANSPOSE", "Transpose"})
SPLITS = frozenset({"SPLIT", "SPLIT_V", "Split"})
SLICES = frozenset({"STRIDED_SLICE", "SLICE", "Slice"})
PRODUCTS = frozenset({"MUL", "Mul", "DIV", "Div"})
DEEPEST = 64  # operators between an output and what computes it
MOST_PIECES = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring rows of an output that come from one place.

    `tensor` is where they come from, `form` is `sigmoid` or `softmax` where they leave one unchanged, `input` or
    `constant` where nothing computes them, and empty for everything else.
    """

    rows: int
    tensor: int
    form: str = ""


class UntraceableError(Exception):
    """The rows of a tensor cannot be followed further."""


def pieces(graph: Graph, tensor: int, axis: int) -> tuple[Piece, ...]:
    """The pieces along one axis of a tensor, in order; one piece of unknown form where they cannot be followed."""
    return _Trace(graph).pieces(tensor, axis)


class _Trace:
    """One look back from an output. Every tensor is followed once for each axis, however often it is joined."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[tuple[int, int], tuple[Piece, ...]] = {}
        self.depth = 0

    def pieces(self, tensor: int, axis: int) -> tuple[Piece, ...]:
        if (tensor, axis) not in self.known:
            self.depth += 1
            self.known[tensor, axis] = self._pieces(tensor, axis)
            self.depth -= 1
        return self.known[tensor, axis]

    def _pieces(self, tensor: int, axis: int) -> tuple[Piece, ...]:
        shape = self.graph.tensors[tensor].shape
        rows = shape[axis] if 0 <= axis < len(shape) else -1
        leaf = (Piece(rows, tensor, _form(self.graph, tensor)),)
        op = self.graph.producer(tensor)
        if op is None or rows < 1 or self.depth > DEEPEST:
            return leaf
        try:
            found = self._through(op, tensor, axis)
        except UntraceableError:
            return leaf
        return found if sum(piece.rows for piece in found) == rows and len(found) <= MOST_PIECES else leaf

    def _through(self, op: Op, tensor: int, axis: int) -> tuple[Piece, ...]:
        """The pieces behind one operator that only moves or scales rows."""
        if op.kind in CONCATS:
            return self._joined(op, tensor, axis)
        source = op.inputs[1 if op.kind == "SPLIT" else 0] if op.inputs else -1
        if source < 0:
            raise UntraceableError
        if op.kind in SPLITS:
            return _slice(self.graph, op, tensor, axis, self.pieces(source, axis))
        if op.kind in SLICES:
            return _sliced(self.graph, op, axis, self.pieces(source, axis))
        if op.kind in PRODUCTS:
            data, factors = _row_factors(self.graph, op, axis)
            return _scaled(self.pieces(data, axis), factors, tensor)
        return self.pieces(source, self._moved(op, source, tensor, axis))

    def _joined(self, op: Op, tensor: int, axis: int) -> tuple[Piece, ...]:
        rank = len(self.graph.tensors[tensor].shape)
        joined = [self.pieces(t, axis) for t in op.inputs if t >= 0]
        if (op.axis + rank if op.axis < 0 else op.axis) == axis:
            return tuple(piece for part in joined for piece in part)
        return _agreeing(joined)

    def _moved(self, op: Op, source: int, tensor: int, axis: int) -> int:
        """The axis of `source` that is `axis` of its copy, reshape or transpose `tensor`."""
        if op.kind in RESHAPES:
            return _same_place(self.graph.tensors[source].shape, self.graph.tensors[tensor].shape, axis)
        if op.kind in TRANSPOSES:
            return permutation(self.graph, op)[axis]
        if op.kind not in COPIES:
            raise UntraceableError
        return axis


def _form(graph: Graph, tensor: int) -> str:
    op = graph.producer(tensor)
    if op is None:
        return "constant" if graph.tensors[tensor].is_constant else "input"
    if op.kind in SIGMOIDS:
        return "sigmoid"
    return "softmax" if op.kind in SOFTMAXES else ""


def _agreeing(joined: list[tuple[Piece, ...]]) -> tuple[Piece, ...]:
    """The pieces of tensors that are joined along another axis: levels of one head."""
    first = joined[0]
    if any([(p.rows, p.form) for p in part] != [(p.rows, p.form) for p in first] for part in joined[1:]):
        raise UntraceableError
    return first


def _same_place(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int:
    """The axis of `before` that a reshape leaves whole as `axis` of `after`."""
    ahead = math.prod(after[:axis])
    for place, size in enumerate(before):
        if size == after[axis] and math.prod(before[:place]) == ahead:
            return place
    raise UntraceableError


def permutation(graph: Graph, op: Op) -> tuple[int, ...]:
    """The axes of a transpose: output axis i is input axis result[i]."""
    if op.perm:
        return op.perm
    operand = graph.operand(op, 1)
    values = None if operand is None else constant(graph, operand)
    rank = len(graph.tensors[op.inputs[0]].shape)
    if values is None:
        if operand is not None:
            raise UntraceableError
        return tuple(reversed(range(rank)))
    found = tuple(int(v) for v in values.numbers)
    if sorted(found) != list(range(rank)):
        raise UntraceableError
    return found


def _slice(graph: Graph, op: Op, tensor: int, axis: int, found: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """One output of a split: on this axis a part of the rows, on another all of them."""
    source = op.inputs[1] if op.kind == "SPLIT" else op.inputs[0]
    before = graph.tensors[source].shape
    sizes = [graph.tensors[t].shape for t in op.outputs]
    if any(len(size) != len(before) for size in sizes):
        raise UntraceableError
    if sizes[0][axis] == before[axis]:
        return found
    start = 0
    for t, size in zip(op.outputs, sizes, strict=True):
        if t == tensor:
            return _cut(found, start, size[axis])
        start += size[axis]
    raise UntraceableError


def _sliced(graph: Graph, op: Op, axis: int, found: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """A slice with constant bounds."""
    before, result = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    if len(result) != len(before):
        raise UntraceableError
    if result[axis] == before[axis]:
        return found
    begins = graph.operand(op, 1)
    values = None if begins is None else constant(graph, begins)
    if values is None:
        raise UntraceableError
    start = [int(v) for v in values.numbers]
    if op.kind == "Slice":
        axes_operand = graph.operand(op, 3)
        axes = None if axes_operand is None else constant(graph, axes_operand)
        axes_list = list(range(len(start))) if axes is None else [int(v) % len(before) for v in axes.numbers]
        steps_operand = graph.operand(op, 4)
        steps = None if steps_operand is None else constant(graph, steps_operand)
        if steps is not None and any(int(v) != 1 for v in steps.numbers):
            raise UntraceableError
        place = start[axes_list.index(axis)] if axis in axes_list else 0
    else:
        place = 0 if op.kind == "STRIDED_SLICE" and int(op.attribute("begin_mask")) >> axis & 1 else start[axis]
        steps_operand = graph.operand(op, 3) if op.kind == "STRIDED_SLICE" else None
        steps = None if steps_operand is None else constant(graph, steps_operand)
        if steps is not None and int(steps.numbers[axis]) != 1:
            raise UntraceableError
    return _cut(found, place + before[axis] if place < 0 else place, result[axis])


def _cut(found: tuple[Piece, ...], start: int, count: int) -> tuple[Piece, ...]:
    """Rows `start` to `start + count`."""
    result, at = [], 0
    for piece in found:
        low, high = max(start, at), min(start + count, at + piece.rows)
        if low < high:
            result.append(replace(piece, rows=high - low))
        at += piece.rows
    return tuple(result)


def _row_factors(graph: Graph, op: Op, axis: int) -> tuple[int, tuple[float, ...]]:
    """The computed operand of a product, and its factor for every row along `axis`."""
    data, factors = constant_operand(graph, op)
    shape = graph.tensors[op.outputs[0]].shape
    if data is None or factors is None or graph.tensors[data].shape != shape or len(factors.shape) > len(shape):
        raise UntraceableError
    full = (1,) * (len(shape) - len(factors.shape)) + factors.shape
    if any(size != 1 and place != axis for place, size in enumerate(full)) or full[axis] not in (1, shape[axis]):
        raise UntraceableError
    return data, factors.numbers * (shape[axis] if len(factors.numbers) == 1 else 1)


def _scaled(found: tuple[Piece, ...], factors: tuple[float, ...], product: int) -> tuple[Piece, ...]:
    """Rows with the factor 1 stay what they are; the others come from the product."""
    result, at = [], 0
    for piece in found:
        for same, group in itertools.groupby(factors[at : at + piece.rows], key=lambda factor: factor == 1):
            rows = sum(1 for _ in group)
            result.append(replace(piece, rows=rows) if same else Piece(rows, product))
        at += piece.rows
    return tuple(result)


# --- constants ------------------------------------------------------------------------------------

FORMATS = {"float32": "f", "float64": "d", "float16": "e", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H",
           "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "bool": "?"}  # fmt: skip
LARGEST = 1 << 18  # elements: the grid of an input of 4096 pixels has fewer


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant tensor in real numbers, row by row. Plain Python: `inspect` starts faster than numpy does."""

    shape: tuple[int, ...]
    numbers: tuple[float, ...]

    @property
    def magnitudes(self) -> list[float]:
        """The distinct absolute values, lowest first, to nine digits."""
        return sorted({round(abs(v), 9) for v in self.numbers})


def constant(graph: Graph, tensor: Tensor) -> Constant | None:
    """The real values of a constant, through quantisation; None for what is computed or too large for a factor."""
    source = graph.behind_quantizers(tensor)
    code = FORMATS.get(source.dtype)
    if source.data is None or code is None or source.elements > LARGEST or source.per_channel:
        return None
    try:
        found = struct.unpack(f"<{source.elements}{code}", source.data)
    except struct.error:
        return None
    if source.quantized:
        found = tuple((v - source.zero_point) * source.scale for v in found)
    return Constant(source.shape, tuple(map(float, found)))


def constant_operand(graph: Graph, op: Op) -> tuple[int | None, Constant | None]:
    """Of an operator of two operands the computed one, and the values of the constant one as a factor or summand.

    The divisor of a division comes as its reciprocal. None for both where they are not one of each.
    """
    if len(op.inputs) != 2 or min(op.inputs) < 0:
        return None, None
    a, b = (graph.tensors[t] for t in op.inputs)
    first, second = constant(graph, a), constant(graph, b)
    divides = op.kind in ("DIV", "Div")
    if (first is None) == (second is None):
        return None, None
    if second is None:
        return (None, None) if divides or op.kind in ("SUB", "Sub") else (b.index, first)
    if divides:
        if not all(second.numbers):
            return None, None
        second = Constant(second.shape, tuple(1 / v for v in second.numbers))
    return a.index, second
