"""Operators whose result is known before anything runs: shapes and what is computed from them, moved constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeai.errors import InputError
from edgeai.graph.types import Graph, Op, Tensor

Folder = Callable[[Op, Tensor, list[np.ndarray]], np.ndarray]

MAX_FOLDED_BYTES = 16 << 20


class Constants:
    """The constant tensors of a graph: those of the file, and those that follow from them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._values: dict[int, np.ndarray] = {}
        self.folded: set[int] = set()
        for op in graph.ops:
            if self._fold(op):
                self.folded.add(op.index)

    def known(self, tensor: int) -> bool:
        return tensor in self._values or (tensor >= 0 and self.graph.tensors[tensor].is_constant)

    def value(self, tensor: int) -> np.ndarray:
        """Shape as the file says. Raises InputError where the tensor is not constant or of an odd type."""
        if tensor in self._values:
            return self._values[tensor]
        found = self.graph.tensors[tensor]
        if found.data is None:
            raise InputError(f"{found.name!r} is not constant")
        try:
            array = np.frombuffer(found.data, np.dtype(found.dtype).newbyteorder("<"))
        except (TypeError, ValueError):
            raise InputError(f"constant {found.name!r} has the type {found.dtype}") from None
        return array.reshape(found.shape)

    def _fold(self, op: Op) -> bool:
        graph = self.graph
        if not op.outputs:
            return False
        if op.kind == "SHAPE":
            source = graph.tensors[op.inputs[0]]
            if -1 in source.shape:
                return False
            self._values[op.outputs[0]] = np.asarray(source.shape, graph.tensors[op.outputs[0]].dtype)
            return True
        if not op.inputs or not all(self.known(t) for t in op.inputs if t >= 0):
            return False
        result = graph.tensors[op.outputs[0]]
        if len(op.outputs) != 1 or op.kind not in FOLDERS or result.nbytes > MAX_FOLDED_BYTES:
            return False
        try:
            value = np.asarray(FOLDERS[op.kind](op, result, [self.value(t) for t in op.inputs if t >= 0]))
            self._values[op.outputs[0]] = value.astype(result.dtype).reshape(result.shape)
        except (ValueError, IndexError, TypeError):
            raise InputError(f"{op.kind} #{op.index}: its constant operands do not fit its output") from None
        return True


def _pack(op: Op, result: Tensor, operands: list[np.ndarray]) -> np.ndarray:
    return np.stack(operands, int(op.attribute("axis")))


def slices(op: Op, shape: tuple[int, ...], begin: np.ndarray, end: np.ndarray, stride: np.ndarray) -> list[slice]:
    """STRIDED_SLICE as Python slices, one for each axis. Raises ValueError for ellipsis and new axes."""
    if op.attribute("ellipsis_mask") or op.attribute("new_axis_mask"):
        raise ValueError("ellipsis or new axis")
    found = []
    for axis, size in enumerate(shape):
        if axis >= len(begin):
            found.append(slice(0, size, 1))
            continue
        step, start, stop = int(stride[axis]), int(begin[axis]), int(end[axis])
        if op.attribute("offset"):
            stop += start
        if int(op.attribute("shrink_axis_mask")) >> axis & 1:
            start = (0 if int(op.attribute("begin_mask")) >> axis & 1 else start) + size * (start < 0)
            if not 0 <= start < size or step < 0:
                raise ValueError("an index beyond the end, or backwards")
            found.append(slice(start, start + 1, 1))
            continue
        free_start = int(op.attribute("begin_mask")) >> axis & 1
        free_stop = int(op.attribute("end_mask")) >> axis & 1
        chosen = slice(None if free_start else start, None if free_stop else stop, step)
        low, high, step = chosen.indices(size)
        found.append(slice(low, None if high < 0 else high, step))
    return found


def _strided_slice(op: Op, result: Tensor, operands: list[np.ndarray]) -> np.ndarray:
    source, begin, end, stride = operands
    return source[tuple(slices(op, source.shape, begin, end, stride))]


def _concatenate(op: Op, result: Tensor, operands: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(operands, op.axis)


def _fill(op: Op, result: Tensor, operands: list[np.ndarray]) -> np.ndarray:
    return np.full(result.shape, operands[1].reshape(()))


FOLDERS: dict[str, Folder] = {
    "PACK": _pack,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenate,
    "FILL": _fill,
    "RESHAPE": lambda op, result, operands: operands[0],
    "SQUEEZE": lambda op, result, operands: operands[0],
    "EXPAND_DIMS": lambda op, result, operands: operands[0],
    "CAST": lambda op, result, operands: operands[0],
    "TRANSPOSE": lambda op, result, operands: np.transpose(operands[0], [int(a) for a in operands[1]]),
    "TILE": lambda op, result, operands: np.tile(operands[0], [int(n) for n in operands[1]]),
    "GATHER": lambda op, result, operands: np.take(operands[0], operands[1], axis=int(op.attribute("axis"))),
    "RANGE": lambda op, result, operands: np.arange(*(x.reshape(()).item() for x in operands)),
}
