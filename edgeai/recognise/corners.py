"""Whether the graph computes boxes as corners: distances taken from and added to the centres of cells, and left so."""

from __future__ import annotations

from edgeai.graph.types import Graph, Op
from edgeai.recognise.trace import CONCATS, COPIES, PRODUCTS, RESHAPES, SLICES, SPLITS, TRANSPOSES, constant

DEEPEST = 32
GRID = 8  # numbers: a constant of fewer is a factor or an offset, not the cells of a level


def by_corners(graph: Graph, table: int, axis: int) -> bool:
    """Whether the first rows of a prediction are `centre - distance` and the next ones `centre + distance`.

    Centres and sizes need both corners at once: their sum halved, and their difference.
    """
    joined = _joined(graph, table, axis)
    if joined is None or len(joined.inputs) < 2:
        return False
    first, second = (_sum(graph, tensor) for tensor in joined.inputs[:2])
    taken = first is not None and first.kind in ("SUB", "Sub") and _from_centre(graph, first)
    added = second is not None and second.kind in ("ADD", "Add") and any(_is_grid(graph, t) for t in second.inputs)
    return taken or added


def _joined(graph: Graph, tensor: int, axis: int) -> Op | None:
    """The concatenation that joins two pairs of box rows, behind the joined prediction."""
    for _ in range(DEEPEST):
        op = graph.producer(tensor)
        if op is None or not op.inputs:
            return None
        if op.kind in CONCATS:
            rows = [_rows(graph, t, op.axis) for t in op.inputs]
            if rows[:2] == [2, 2]:
                return op
            tensor = op.inputs[0]
        elif op.kind in COPIES | PRODUCTS | RESHAPES | TRANSPOSES | SLICES | SPLITS:
            tensor = next((t for t in op.inputs if t >= 0 and graph.producer(t) is not None), op.inputs[0])
        else:
            return None
    return None


def _rows(graph: Graph, tensor: int, axis: int) -> int:
    shape = graph.tensors[tensor].shape
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _sum(graph: Graph, tensor: int) -> Op | None:
    """The addition or subtraction behind factors and moves."""
    for _ in range(DEEPEST):
        op = graph.producer(tensor)
        if op is None or op.kind in ("ADD", "Add", "SUB", "Sub"):
            return op
        if op.kind not in COPIES | PRODUCTS | RESHAPES | TRANSPOSES or not op.inputs:
            return None
        tensor = next((t for t in op.inputs if t >= 0 and graph.producer(t) is not None), op.inputs[0])
    return None


def _from_centre(graph: Graph, op: Op) -> bool:
    """A distance taken from the cells, or half a size from a centre: a corner, not a mean of two."""
    computed = [constant(graph, graph.tensors[t]) is None for t in op.inputs if t >= 0]
    return all(computed) or _is_grid(graph, op.inputs[0])


def _is_grid(graph: Graph, tensor: int) -> bool:
    held = constant(graph, graph.tensors[tensor]) if tensor >= 0 else None
    return held is not None and len(set(held.numbers)) >= GRID // 2 and len(held.numbers) >= GRID
