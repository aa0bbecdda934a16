"""Bytes of flash that a network's constants take, by target and by version of ST Edge AI Core."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgeai.footprint.tables import Table
from edgeai.graph.types import Graph, Op

# operators whose constant operand is data of the network, not a parameter (a shape, an axis, paddings)
DATA_OPERANDS = frozenset({"ADD", "SUB", "MUL", "DIV", "PRELU", "MAXIMUM", "MINIMUM", "CONCATENATION", "PACK"})
DATA_OPERANDS |= {"Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", "Concat"}
DEQUANTIZE = "DEQUANTIZE"
SHAPE = frozenset({"SHAPE", "Shape"})


@dataclass(frozen=True, slots=True)
class Constants:
    """Bytes of the constants of a file by what they are.

    `weights` and `biases` belong to convolutions and matrix products, `depthwise` is the part of `weights` in depthwise
    convolutions, `tables` are constant operands of element-wise operators (anchors, scales), given or computed from
    constants and shapes alone; `dequantized` is what those that go into DEQUANTIZE take as float32. `repeated` are
    bytes of weights and biases that another constant of the file holds too.
    """

    weights: int
    biases: int
    depthwise: int
    tables: int
    dequantized: int
    repeated: int


def constants(graph: Graph) -> Constants:
    """The constants of a network that a compiler has to store; each tensor counted once."""
    weights, biases, depthwise, tables, floats = set[int](), set[int](), set[int](), set[int](), set[int]()
    static = static_tensors(graph)
    for op in graph.ops:
        weight, bias = graph.weights(op), graph.bias(op)
        if weight is not None:
            weights.add(weight.index)
            if is_depthwise(graph, op):
                depthwise.add(weight.index)
            if bias is not None:
                biases.add(bias.index)
        elif op.kind in DATA_OPERANDS and not (op.outputs and op.outputs[0] in static):
            sources = (graph.behind_quantizers(graph.tensors[t]) for t in op.inputs if t >= 0)
            tables |= {source.index for source in sources if source.is_constant or source.index in static}
        elif op.kind == DEQUANTIZE and op.inputs and op.inputs[0] in static and op.outputs[0] in graph.outputs:
            tables.add(op.inputs[0])
            floats.add(op.inputs[0])

    def total(indices: set[int]) -> int:
        return sum(graph.tensors[i].nbytes for i in indices)

    return Constants(
        weights=total(weights),
        biases=sum(4 * graph.tensors[i].elements for i in biases),  # stored as int32 whatever the file holds
        depthwise=total(depthwise),
        tables=total(tables),
        dequantized=sum(4 * graph.tensors[i].elements for i in floats),
        repeated=_repeated(graph, sorted(weights | biases)),
    )


def static_tensors(graph: Graph) -> frozenset[int]:
    """Tensors that follow from constants and shapes alone."""
    found = {t.index for t in graph.tensors if t.is_constant}
    for op in graph.ops:
        if op.kind in SHAPE or (op.kind != DEQUANTIZE and op.inputs and all(t < 0 or t in found for t in op.inputs)):
            found |= set(op.outputs)
    return frozenset(found)


def _repeated(graph: Graph, indices: list[int]) -> int:
    """Bytes of tensors whose content occurred before."""
    seen: set[bytes] = set()
    count = 0
    for i in indices:
        data = graph.tensors[i].data
        if data is None:
            continue
        digest = hashlib.sha256(data).digest()
        count += len(data) if digest in seen else 0
        seen.add(digest)
    return count


def is_depthwise(graph: Graph, op: Op) -> bool:
    """Whether an operator is a depthwise convolution."""
    weight = graph.weights(op)
    return op.kind == "DEPTHWISE_CONV_2D" or (
        op.kind in ("Conv", "QLinearConv") and op.group > 1 and weight is not None and weight.shape[1:2] == (1,)
    )


def n6_flash(found: Constants, table: Table) -> float:
    """Weights in the N6's octo flash, bytes: w+b, times a small overhead, plus what inflated depthwise kernels take."""
    return found.weights * table.weights_factor + found.biases + found.depthwise * table.depthwise_extra


def mcu_flash(found: Constants, table: Table) -> float:
    """Weights of the CPU runtime, bytes: stored as in the file, equal ones once.

    From X-CUBE-AI 10 on, a constant that the network only dequantises is stored as float32.
    """
    kept = found.weights + found.biases + found.tables - (found.repeated if table.unpacked_share else 0)
    return kept + table.unpacked_share * 0.75 * found.dequantized
