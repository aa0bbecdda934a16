"""Which channels of a network may be scaled together without changing what it computes.

A weighted operator writes every channel of its output with weights of its own, and what reads the channel has weights
for it. Between them may stand what commutes with a positive factor: ReLU, LeakyReLU, pooling, padding with zeros,
nearest resizing, and whatever only moves numbers. A sum ties the channels that it adds: they take one factor. Anything
else (SiLU, a product, an output of the network) holds its channels where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.simulate.program import KERNELS, Node, Program

Ids = NDArray[np.int64]

HELD = 0  # the number of all channels that must stay as they are
HOMOGENEOUS = (0, 1)  # fused activations with f(s * x) = s * f(x) for s > 0: none and ReLU, as TFLite numbers them
# what commutes with a positive factor and keeps every channel to itself
THROUGH = frozenset({"RELU", "LEAKY_RELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"})
MOVING = frozenset(
    {"CONCATENATION", "STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE"}
)
TYING = frozenset({"ADD", "SUB", "MAXIMUM", "MINIMUM"})
LOWEST = -1e30  # a max pool's padding is filled with the lowest float


@dataclass(frozen=True, slots=True)
class Channels:
    """`of[tensor]` numbers the channels of an activation (its last axis) [channels]: one number, one factor; HELD takes
    none. `writers` and `readers` are the weighted operators whose outputs or inputs take factors."""

    of: dict[int, Ids]
    writers: tuple[Node, ...]
    readers: tuple[Node, ...]

    @property
    def count(self) -> int:
        """One more than the largest number."""
        return 1 + max((int(numbers.max()) for numbers in self.of.values() if len(numbers)), default=HELD)

    @property
    def free(self) -> Ids:
        """The numbers that take a factor."""
        used = np.zeros(self.count, bool)
        for node in self.writers:
            used[self.of[node.outputs[0]]] = True
        used[HELD] = False
        return np.flatnonzero(used)

    def together(self) -> list[Ids]:
        """The free numbers in groups: those that meet in one activation, and so share its step."""
        groups = _Ties(self.count)
        for numbers in self.of.values():
            met = numbers[numbers != HELD]
            groups.tie(met[:-1], met[1:])
        roots = np.array([groups.root(number) for number in range(self.count)])
        free = self.free
        return [free[roots[free] == root] for root in np.unique(roots[free])]


class _Ties:
    """Numbers of which some are the same."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def more(self, count: int) -> Ids:
        """New numbers, tied to none."""
        first = len(self.parents)
        self.parents += range(first, first + count)
        return np.arange(first, first + count)

    def tie(self, left: Iterable[int], right: Iterable[int]) -> None:
        for one, other in zip(left, right, strict=True):
            low, high = sorted((self.root(int(one)), self.root(int(other))))
            self.parents[high] = low

    def root(self, number: int) -> int:
        """The least number that is the same as `number`."""
        while self.parents[number] != number:
            self.parents[number] = number = self.parents[self.parents[number]]
        return number


def channels_of(program: Program) -> Channels:
    """The channels of a float program."""
    return _Tracing(program).run()


class _Tracing:
    """Numbers handed on from operator to operator."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ties = _Ties(HELD + 1)
        self.of: dict[int, Ids] = {index: self._held(index) for index in program.inputs}
        self.uses: dict[int, int] = {}
        for node in program.nodes:
            for index in node.inputs:
                self.uses[index] = self.uses.get(index, 0) + 1

    def run(self) -> Channels:
        for node in self.program.nodes:
            self._operator(node)
        for index in self.program.outputs:
            self._hold(index)
        of = {
            index: np.array([self.ties.root(int(number)) for number in ids], np.int64) for index, ids in self.of.items()
        }
        weighted = [node for node in self.program.nodes if node.kind in LAYOUTS]
        writers = tuple(node for node in weighted if of[node.outputs[0]].any())
        return Channels(of, writers, tuple(node for node in weighted if of[node.inputs[LAYOUTS[node.kind].data]].any()))

    def _operator(self, node: Node) -> None:
        data = [index for index in node.inputs if index >= 0 and index not in self.program.constants]
        if node.kind in LAYOUTS:
            self._weighted(node)
        elif node.kind in MOVING and self._moved(node):
            return
        elif node.kind in THROUGH or self._keeps_channels(node):
            self.of[node.outputs[0]] = self.of[data[0]]
        elif node.kind in TYING and len(data) == 2 and self.program.shapes[data[0]] == self.program.shapes[data[1]]:
            if getattr(node.options, "fusedActivationFunction", 0) not in HOMOGENEOUS:
                self._hold(data[0])
            self.ties.tie(self.of[data[0]], self.of[data[1]])
            self.of[node.outputs[0]] = self.of[data[0]]
        else:
            for index in data:
                self._hold(index)
            self.of.update({index: self._held(index) for index in node.outputs})

    def _weighted(self, node: Node) -> None:
        """A weighted operator's output takes new factors, and its input keeps them, if its constants are its own, or
        zeros: converters share the biases of zero."""
        layout, program = LAYOUTS[node.kind], self.program
        data, weights, out = node.inputs[layout.data], node.inputs[layout.weights], node.outputs[0]
        constants = [weights, *[i for i in node.inputs[layout.bias : layout.bias + 1] if i >= 0]]
        own = all(i in program.constants and (self.uses[i] == 1 or not program.constants[i].any()) for i in constants)
        if data not in self.of:  # a constant
            self.of[data] = self._held(data)
        if not own or len(self.of[data]) != program.shapes[weights][layout.input_axis]:  # an operator in groups
            self._hold(data)
        if own and node.options.fusedActivationFunction in HOMOGENEOUS:
            self.of[out] = self.ties.more(program.shapes[out][-1])
        else:
            self.of[out] = self._held(out)

    def _moved(self, node: Node) -> bool:
        """Numbers moved as the operator moves values; False where an output's channels mix them."""
        program = self.program
        constant = [program.constants[i] for i in node.inputs if i in program.constants]
        if any(value.is_floating_point() for value in constant):  # values that nobody writes
            return False
        if getattr(node.options, "fusedActivationFunction", 0) not in HOMOGENEOUS:
            return False
        numbers = [
            program.constants[i] if i in program.constants
            else torch.from_numpy(np.broadcast_to(self.of[i], program.shapes[i]).copy())
            for i in node.inputs
        ]  # fmt: skip
        outputs = KERNELS[node.kind](numbers, node.options, [program.shapes[i] for i in node.outputs])
        rows = [out.numpy().reshape(-1, out.shape[-1]) for out in outputs]
        if not all((row == row[0]).all() for row in rows):
            return False
        self.of.update({index: row[0] for index, row in zip(node.outputs, rows, strict=True)})
        return True

    def _keeps_channels(self, node: Node) -> bool:
        """Whether it is a padding that no factor touches, or a mean over places."""
        program = self.program
        if node.kind == "PADV2":
            fill = float(program.constants[node.inputs[2]])
            return fill == 0 or fill < LOWEST
        if node.kind == "MEAN":
            rank = len(program.shapes[node.inputs[0]])
            return rank - 1 not in [int(axis) % rank for axis in program.constants[node.inputs[1]].reshape(-1)]
        return node.kind == "PAD"

    def _held(self, index: int) -> Ids:
        return np.zeros(self.program.shapes[index][-1:] or (1,), np.int64)

    def _hold(self, index: int) -> None:
        self.ties.tie(self.of[index], self._held(index))
