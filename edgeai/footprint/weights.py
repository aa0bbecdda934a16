"""Bytes of flash that a network's constants take, by target and by version of ST Edge AI Core."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.footprint.tables import Table
from edgeai.graph.types import Graph, Op, Tensor

# operators whose constant operand is data of the network, not a parameter (a shape, an axis, paddings)
DATA_OPERANDS = frozenset({"ADD", "SUB", "MUL", "DIV", "PRELU", "MAXIMUM", "MINIMUM", "CONCATENATION", "PACK"})
DATA_OPERANDS |= {"Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", "Concat"}
DEQUANTIZE = frozenset({"DEQUANTIZE"})


@dataclass(frozen=True, slots=True)
class Constants:
    """Bytes of the constants of a file by what they are; each tensor counted once.

    `weights` and `biases` belong to convolutions and matrix products, `depthwise` is the part of `weights` in depthwise
    convolutions, `tables` are constant operands of element-wise operators (anchors, scales), `unpacked` what a
    dequantised constant takes as float32.
    """

    weights: int
    biases: int
    depthwise: int
    tables: int
    unpacked: int


def constants(graph: Graph) -> Constants:
    """The constants of a network that a compiler has to store."""
    weights, biases, depthwise, tables = set[int](), set[int](), set[int](), set[int]()
    unpacked = 0
    for op in graph.ops:
        weight, bias = graph.weights(op), graph.bias(op)
        if weight is not None:
            weights.add(weight.index)
            if is_depthwise(graph, op):
                depthwise.add(weight.index)
            if bias is not None:
                biases.add(bias.index)
        elif op.kind in DATA_OPERANDS:
            tables |= {source.index for source in (_source(graph, t) for t in op.inputs) if source is not None}
        elif op.kind in DEQUANTIZE:
            # the constant may pass through layout operators first; those the compiler folds too
            source = _folded(graph, op.inputs[0]) if op.inputs and op.inputs[0] >= 0 else None
            unpacked += 4 * source.elements if source is not None else 0

    def total(indices: set[int]) -> int:
        return sum(graph.tensors[i].nbytes for i in indices)

    return Constants(
        total(weights), 4 * sum(graph.tensors[i].elements for i in biases), total(depthwise), total(tables), unpacked
    )


def is_depthwise(graph: Graph, op: Op) -> bool:
    """Whether an operator is a depthwise convolution."""
    weight = graph.weights(op)
    return op.kind == "DEPTHWISE_CONV_2D" or (
        op.kind in ("Conv", "QLinearConv") and op.group > 1 and weight is not None and weight.shape[1:2] == (1,)
    )


def _source(graph: Graph, tensor: int) -> Tensor | None:
    if tensor < 0:
        return None
    source = graph.behind_quantizers(graph.tensors[tensor])
    return source if source.is_constant else None


def _folded(graph: Graph, tensor: int) -> Tensor | None:
    """The tensor, where nothing but constants goes into it."""
    found = graph.tensors[tensor]
    if found.is_constant:
        return found
    producer = graph.producer(tensor)
    constant = producer is not None and all(t < 0 or graph.tensors[t].is_constant for t in producer.inputs)
    return found if constant else None


def n6_flash(found: Constants, table: Table) -> float:
    """Weights in the N6's octo flash, bytes: w+b, times a small overhead, plus what inflated depthwise kernels take."""
    return found.weights * table.weights_factor + found.biases + found.depthwise * table.depthwise_extra


def mcu_flash(found: Constants, table: Table) -> float:
    """Weights of the CPU runtime, bytes: stored as in the file; constants that are dequantised grow to float32."""
    return found.weights + found.biases + found.tables + found.unpacked * table.unpacked_share
