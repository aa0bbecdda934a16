"""When each activation is in memory, and how much is in memory at once.

Definitions of the two peaks (inputs and outputs of the network included):

* unfused: every operator runs on its own and writes a buffer of its own; PAD and RESHAPE move nothing, so their
  output is their input's buffer;
* fused: also, an activation function (RELU; SiLU as LOGISTIC and MUL) runs inside the operator that computes its
  input, so only its result is stored. This is what compilers for microcontrollers and NPUs do at least.

In an ONNX file of Q/DQ pairs only the integers between QuantizeLinear and DequantizeLinear are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.footprint.weights import static_tensors
from edgeai.graph.types import Graph, Op, Tensor

# output has the numbers of the input, in the same order; or the runtime computes it while reading (PAD)
ALIASES = frozenset({"PAD", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
ALIASES_ONNX = frozenset({"Pad", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "DequantizeLinear"})
ACTIVATIONS = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "Relu", "Clip"})
SIGMOIDS = frozenset({"LOGISTIC", "Sigmoid"})
PRODUCTS = frozenset({"MUL", "Mul"})
PAIRED = frozenset({"QuantizeLinear", "DequantizeLinear"})
MAX_READERS = 16  # a tensor with more readers is not fused


@dataclass(frozen=True, slots=True)
class LiveRange:
    """A buffer that holds `tensor` (and the tensors that share it): `size` bytes from operator `first` to `last`."""

    tensor: int
    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Peak:
    """The moment of most memory: `bytes` while `op` runs, with the buffers that are live then, largest first."""

    bytes: int
    op: Op
    live: tuple[LiveRange, ...]


def live_ranges(graph: Graph, fused: bool = True) -> tuple[LiveRange, ...]:
    """Every buffer of the activations, in the order of its first use. Constants take none."""
    buffers = _Buffers(graph)
    for op in graph.ops:
        buffers.alias(op)
    if fused:
        for op in graph.ops:
            buffers.fuse(op)
    return buffers.ranges()


def peak(graph: Graph, ranges: tuple[LiveRange, ...]) -> Peak:
    """The first operator during which the live buffers add up to the most bytes."""
    change = [0] * (len(graph.ops) + 1)
    for entry in ranges:
        change[entry.first] += entry.size
        change[entry.last + 1] -= entry.size
    total, best, at = 0, -1, 0
    for i in range(len(graph.ops)):
        total += change[i]
        if total > best:
            best, at = total, i
    live = sorted((r for r in ranges if r.first <= at <= r.last), key=lambda r: (-r.size, r.tensor))
    return Peak(bytes=best, op=graph.ops[at], live=tuple(live))


class _Buffers:
    """Which tensors share a buffer: disjoint sets, each led by the tensor whose size the buffer has."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.leader = list(range(len(graph.tensors)))
        self.outputs = frozenset(graph.outputs)

    def find(self, tensor: int) -> int:
        while self.leader[tensor] != tensor:
            self.leader[tensor] = self.leader[self.leader[tensor]]
            tensor = self.leader[tensor]
        return tensor

    def join(self, tensor: int, leader: int) -> None:
        """Let `tensor` live in the buffer of `leader`."""
        self.leader[self.find(tensor)] = self.find(leader)

    def activation(self, op: Op) -> Tensor | None:
        """The operator's first input, where it is computed."""
        operand = self.graph.operand(op, 0)
        return None if operand is None or operand.is_constant else operand

    def alias(self, op: Op) -> None:
        source = self.activation(op)
        if source is None or not op.outputs:
            return
        if op.kind in ALIASES or op.kind in ALIASES_ONNX:
            self.join(op.outputs[0], source.index)
        elif op.kind == "QuantizeLinear" and self.graph.producer(source.index) and self.only_reader(source.index):
            self.join(source.index, op.outputs[0])

    def only_reader(self, tensor: int) -> bool:
        return tensor not in self.outputs and len(self.graph.consumers(tensor)) == 1

    def fuse(self, op: Op) -> None:
        """Where `op` is an activation function: store only its result."""
        operand = self.activation(op)
        if operand is None or not op.outputs:
            return
        source, result = self.graph.behind_quantizers(operand).index, op.outputs[0]
        if op.kind in ACTIVATIONS and self.private(source, [op]):
            self.join(source, result)
        elif op.kind in SIGMOIDS:
            product = next(iter(self.readers(result)), None)
            if product is None or product.kind not in PRODUCTS:
                return
            tensors = [self.graph.tensors[t] for t in product.inputs if t >= 0]
            factors = {self.graph.behind_quantizers(tensor).index for tensor in tensors}
            if factors == {source, result} and self.private(source, [op, product]) and self.private(result, [product]):
                self.join(result, product.outputs[0])
                self.join(source, product.outputs[0])

    def private(self, tensor: int, readers: list[Op]) -> bool:
        """Whether an operator computes the tensor and only `readers` read it."""
        found = self.readers(tensor)
        return self.graph.producer(tensor) is not None and bool(found) and found <= set(readers)

    def readers(self, tensor: int) -> set[Op | None]:
        """Operators that use a tensor, seen through ONNX's Q/DQ pairs; None stands for the caller, who reads outputs.

        Stops at three: more are never asked for.
        """
        found: set[Op | None] = set()
        waiting = [tensor]
        while waiting and len(found) < 3:
            current = waiting.pop()
            if current in self.outputs:
                found.add(None)
            consumers = self.graph.consumers(current)
            if len(consumers) > MAX_READERS:
                found.add(None)
            for op in consumers[:MAX_READERS]:
                if op.kind in PAIRED and op.outputs:
                    waiting.append(op.outputs[0])
                else:
                    found.add(op)
        return found

    def ranges(self) -> tuple[LiveRange, ...]:
        graph, end = self.graph, len(self.graph.ops) - 1
        spans: dict[int, tuple[int, int]] = {}

        static = static_tensors(graph) - set(graph.outputs)  # compilers compute them once and store them

        def touch(tensor: int, at: int) -> None:
            if tensor >= 0 and tensor not in static and not graph.behind_quantizers(graph.tensors[tensor]).is_constant:
                leader = self.find(tensor)
                first, last = spans.get(leader, (at, at))
                spans[leader] = min(first, at), max(last, at)

        for tensor in graph.inputs:
            touch(tensor, 0)
        for op in graph.ops:
            for tensor in (*op.inputs, *op.outputs):
                touch(tensor, op.index)
        for tensor in graph.outputs:
            touch(tensor, end)
        found = [LiveRange(t, graph.tensors[t].name, graph.tensors[t].nbytes, *span) for t, span in spans.items()]
        return tuple(sorted((r for r in found if r.size), key=lambda r: (r.first, r.tensor)))
