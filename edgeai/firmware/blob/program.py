"""What a blob is made of, before it becomes bytes: nodes of steps, steps of words, words that name tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from edgeai.firmware.blob.fold import Constants
from edgeai.graph.types import Graph, Op, Tensor

MAX_DIMS = 6


class Kernel(IntEnum):
    """Numbers of the kernels: runtime/kernels.h of the firmware."""

    FILL = 0
    COPY = 1
    NEAREST = 2
    BILINEAR = 3
    CONV = 4
    DEPTHWISE = 5
    TRANSPOSE_CONV = 6
    MATMUL = 7
    ADD = 8
    MUL = 9
    EXTREME = 10
    LUT8 = 11
    LUT32 = 12
    QUANTIZE = 13
    POOL = 14
    SOFTMAX = 15
    REDUCE = 16
    ARG = 17
    SOFTMAX_TABLE = 18


class UnsupportedError(Exception):
    """An operator, or a variant of one, that no kernel computes; the text says which and why."""


@dataclass(frozen=True, slots=True)
class InArena:
    """Operand: the activation `tensor`, from byte `offset` on."""

    tensor: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class InConstants:
    """Operand: byte `offset` of the constants."""

    offset: int


@dataclass(frozen=True, slots=True)
class Scratch:
    """Operand: `bytes` of working memory for this step alone."""

    bytes: int


Operand = InArena | InConstants
Word = int | float | InArena | InConstants | Scratch


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel and its parameters, in the order of the firmware's structure."""

    kernel: Kernel
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the file and its steps."""

    op: Op
    steps: tuple[Step, ...]


class Pool:
    """The constants of a blob: each content once, every piece aligned to 16 bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[bytes, int] = {}

    def add(self, content: bytes) -> InConstants:
        if content not in self._known:
            self.data.extend(bytes(-len(self.data) % 16))
            self._known[content] = len(self.data)
            self.data.extend(content)
        return InConstants(self._known[content])


class Context:
    """What the lowering of an operator needs: the graph, what is constant, and the pool to put constants into."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = Constants(graph)
        self.pool = Pool()

    def tensor(self, index: int) -> Tensor:
        return self.graph.tensors[index]

    def source(self, op: Op, position: int, dtypes: Sequence[str] = ("int8",)) -> Tensor:
        """An input that must be there and of one of `dtypes`."""
        tensor = self.graph.operand(op, position)
        if tensor is None:
            raise UnsupportedError(f"input {position} is missing")
        _of_type(tensor, dtypes)
        return tensor

    def result(self, op: Op, dtypes: Sequence[str] = ("int8",)) -> Tensor:
        tensor = self.tensor(op.outputs[0])
        _of_type(tensor, dtypes)
        return tensor

    def operand(self, tensor: Tensor, offset: int = 0) -> Operand:
        if not self.constants.known(tensor.index):
            return InArena(tensor.index, offset)
        return InConstants(self.pool.add(self.constants.value(tensor.index).tobytes()).offset + offset)

    def integers(self, values: Sequence[int] | np.ndarray) -> InConstants:
        """A table of 32-bit numbers in the constants."""
        return self.pool.add(np.asarray(values, "<i4").tobytes())

    def constant(self, op: Op, position: int) -> np.ndarray:
        """The value of an input that must be known now."""
        if position >= len(op.inputs) or not self.constants.known(op.inputs[position]):
            raise UnsupportedError(f"input {position} is not constant")
        return self.constants.value(op.inputs[position])


def _of_type(tensor: Tensor, dtypes: Sequence[str]) -> None:
    if tensor.dtype not in dtypes:
        raise UnsupportedError(f"{tensor.dtype} tensors")
    if -1 in tensor.shape or 0 in tensor.shape:
        raise UnsupportedError("a dimension is open or empty")
    if tensor.dtype in ("int8", "uint8") and tensor.per_channel and not tensor.is_constant:
        raise UnsupportedError("an activation with a scale per channel")
