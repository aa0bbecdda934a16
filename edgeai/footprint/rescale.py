"""The same network at another input size: shapes change, weights stay. What `--what-if imgsz=…` computes with."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from edgeai.errors import InputError
from edgeai.graph.types import Graph, Op, Tensor

MAX_IMGSZ = 4096
MIN_ROWS = 64  # a flattened axis of fewer positions is taken for channels, not for a grid


def image_size(graph: Graph) -> tuple[int, int] | None:
    """Height and width of the first input; None where the network reads no image."""
    if not graph.inputs:
        return None
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4 or min(shape) < 1:
        return None
    return (shape[2], shape[3]) if graph.format == "onnx" and shape[1] <= 4 < shape[3] else (shape[1], shape[2])


def rescale(graph: Graph, imgsz: int) -> Graph:
    """The network with an input of `imgsz` pixels on its longer side, all spatial axes scaled alike.

    In tensors of rank 4 the two spatial axes scale, a side of 1 stays. In tensors of lower rank an axis of flattened
    positions scales with the square. Constants stay, also tables that depend on the size: their few bytes are ignored.
    Raises InputError where the input is no image or the size is out of range.
    """
    size = image_size(graph)
    if size is None:
        raise InputError("the network reads no image, so it has no other input size")
    if not 0 < imgsz <= MAX_IMGSZ:
        raise InputError(f"imgsz={imgsz} is not a size in pixels", f"pass 1 to {MAX_IMGSZ}")
    ratio = Fraction(imgsz, max(size))
    first = 2 if graph.format == "onnx" else 1
    grids, heads = _grids(graph, first)
    tensors = [t if t.is_constant else _scaled(t, ratio, first, grids, heads) for t in graph.tensors]
    for op in graph.ops:
        order = _order(graph, op)
        if order:
            shape = tensors[op.inputs[0]].shape
            result = tensors[op.outputs[0]]
            tensors[op.outputs[0]] = dataclasses.replace(result, shape=tuple(shape[i] for i in order))
    return dataclasses.replace(graph, tensors=tuple(tensors))


def _order(graph: Graph, op: Op) -> tuple[int, ...]:
    """The axes of a TFLite transposition in their new order; empty for other operators."""
    if op.kind != "TRANSPOSE" or len(op.inputs) < 2 or not op.outputs:
        return ()
    data, rank = graph.tensors[op.inputs[1]].data, len(graph.tensors[op.inputs[0]].shape)
    if data is None or len(data) != 4 * rank:
        return ()
    order = tuple(int.from_bytes(data[4 * i : 4 * i + 4], "little", signed=True) for i in range(rank))
    same_rank = len(graph.tensors[op.outputs[0]].shape) == rank
    return order if same_rank and sorted(order) == list(range(rank)) else ()


def _grids(graph: Graph, first: int) -> tuple[frozenset[int], frozenset[int]]:
    """Numbers of positions that an axis may have after flattening: of the feature maps and of sums of them; and those
    of three maps, each half as wide as the one before, as the levels of a head are.
    """
    sides = {t.shape[first] * t.shape[first + 1] for t in graph.tensors if len(t.shape) == 4 and not t.is_constant}
    single = sorted({s for s in sides if s >= 16}, reverse=True)[:64]
    heads = {a + a // 4 + a // 16 for a in single if a // 4 in single and a // 16 in single}
    sums = {a + b for a in single for b in single} | {a + a // 4 + a // 16 for a in single}
    return frozenset(single) | frozenset(sums), frozenset(heads) - frozenset(single)


def _scaled(tensor: Tensor, ratio: Fraction, first: int, grids: frozenset[int], heads: frozenset[int]) -> Tensor:
    shape = list(tensor.shape)
    joined = len(shape) == 4 and max(shape) in heads and max(shape) > 4 * sorted(shape)[2]
    flat = [
        i
        for i, d in enumerate(shape)
        if i and d >= MIN_ROWS and d in grids and (len(shape) < 4 or 1 in shape[1:] or (joined and d == max(shape)))
    ]
    if len(shape) == 4 and not joined and not (shape[1] == 1 and flat):
        for i in (first, first + 1):
            if shape[i] > 1 and i not in flat:
                shape[i] = max(1, round(shape[i] * ratio))
    if flat and len(shape) != 2:
        axis = max(flat, key=lambda i: shape[i])
        shape[axis] = max(1, round(shape[axis] * ratio * ratio))
    return dataclasses.replace(tensor, shape=tuple(shape))
