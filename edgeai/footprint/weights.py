"""Bytes of flash that a network's constants take, by target and by version of ST Edge AI Core."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from edgeai.footprint.operators import PARAMETERS
from edgeai.footprint.tables import Table
from edgeai.graph.types import TRANSPARENT, WEIGHT_OPERANDS, Graph, Op, Tensor

# element-wise operators, whose constant operand is a table of the network (anchors, scales)
TABLE_OPERATORS = frozenset({"ADD", "SUB", "MUL", "DIV", "PRELU", "MAXIMUM", "MINIMUM", "CONCATENATION", "PACK"})
TABLE_OPERATORS |= {"Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", "Concat"}
DEQUANTIZE = "DEQUANTIZE"
SHAPE = frozenset({"SHAPE", "Shape"})
# the numbers of the first input, each once, in another order or shape
REORDERS = frozenset({"TRANSPOSE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "REVERSE_V2"})
REORDERS |= {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
RANDOM = frozenset({"RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL", "RandomNormal", "RandomNormalLike"})
RANDOM |= {"RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


@dataclass(frozen=True, slots=True)
class Constants:
    """Bytes of the constants of a file by what they are, bytes that several tensors share once.

    `weights` and `biases` belong to convolutions and matrix products, `depthwise` is the part of `weights` in depthwise
    convolutions, `tables` are constant operands of element-wise operators (anchors, scales), given or computed from
    constants and shapes alone; `dequantized` is what those that go into DEQUANTIZE take as float32. `others` are the
    constant operands of all other operators: of LSTM, GRU and SVDF, look-up tables, what the bodies of an `If` hold.
    `repeated` are bytes of weights and biases that another constant of the file holds too, `apart` what biases that
    share bytes in the file take on top once each has the zero point of its input folded in.
    """

    weights: int
    biases: int
    depthwise: int
    tables: int
    dequantized: int
    repeated: int
    others: int = 0
    apart: int = 0

    @property
    def total(self) -> int:
        """All that has to be stored."""
        return self.weights + self.biases + self.tables + self.others


def constants(graph: Graph) -> Constants:
    """The constants of a network that a compiler has to store; each tensor, and each shared buffer, counted once."""
    weights, biases, depthwise, tables, floats = set[int](), set[int](), set[int](), set[int](), set[int]()
    others = set[int]()
    static = static_tensors(graph)
    for op in graph.ops:
        weight, bias = graph.weights(op), graph.bias(op)
        if weight is not None:
            weights.add(weight.index)
            if is_depthwise(graph, op):
                depthwise.add(weight.index)
            if bias is not None:
                biases.add(bias.index)
        if op.kind == DEQUANTIZE and op.inputs and op.inputs[0] in static and op.outputs[0] in graph.outputs:
            tables.add(op.inputs[0])
            floats.add(op.inputs[0])
        elif not (op.outputs and op.outputs[0] in static):
            (tables if op.kind in TABLE_OPERATORS else others).update(_data_operands(graph, op, static))
    others -= weights | biases | tables

    def total(indices: set[int]) -> int:
        return graph.stored(graph.tensors[i] for i in indices)

    return Constants(
        weights=total(weights),
        biases=_as_int32(graph, biases),
        depthwise=total(depthwise),
        tables=total(tables),
        dequantized=sum(4 * graph.tensors[i].elements for i in floats),
        repeated=_repeated(graph, sorted(weights | biases)),
        others=total(others),
        apart=sum(4 * graph.tensors[i].elements for i in biases) - _as_int32(graph, biases),
    )


def _data_operands(graph: Graph, op: Op, static: frozenset[int]) -> Iterator[int]:
    """Constant operands that are data: given, or computed from constants alone."""
    if op.kind in TRANSPARENT:
        return  # counted where its result is read
    parameters = PARAMETERS.get(op.kind, frozenset())
    for position, t in enumerate(op.inputs):
        if t >= 0 and position not in parameters:
            source = _stored_as(graph, t)
            if source.is_constant or source.index in static:
                yield source.index


def stored_weights(graph: Graph, op: Op) -> Tensor | None:
    """The constant that the weights of a convolution or product are stored as, turned or not; None for other operators
    and for weights that are computed."""
    weights, place = graph.weights(op), WEIGHT_OPERANDS.get(op.kind, (-1, -1))[0]
    if weights is not None or graph.operand(op, place) is None:
        return weights
    source = _stored_as(graph, op.inputs[place])
    return source if source.is_constant else None


def _stored_as(graph: Graph, tensor: int) -> Tensor:
    """The tensor whose bytes hold these numbers: goes back over what quantises, and over what only moves constants."""
    seen = graph.behind_quantizers(graph.tensors[tensor])
    while not seen.is_constant:
        op = graph.producer(seen.index)
        if op is None or op.kind not in REORDERS or not op.inputs or op.inputs[0] < 0:
            break
        seen = graph.behind_quantizers(graph.tensors[op.inputs[0]])
    return seen if seen.is_constant else graph.behind_quantizers(graph.tensors[tensor])


def _as_int32(graph: Graph, indices: set[int]) -> int:
    """Biases are stored as int32 whatever the file holds."""
    return graph.stored(dataclasses.replace(graph.tensors[i], dtype="int32") for i in indices)


def static_tensors(graph: Graph) -> frozenset[int]:
    """Tensors that follow from constants and shapes alone; nothing that chance or a custom operator makes of them."""
    found = {t.index for t in graph.tensors if t.is_constant}
    for op in graph.ops:
        if op.kind in RANDOM or str(op.kind).startswith("CUSTOM:"):
            continue
        if op.kind in SHAPE or (op.kind != DEQUANTIZE and op.inputs and all(t < 0 or t in found for t in op.inputs)):
            found |= set(op.outputs)
    return frozenset(found)


def _repeated(graph: Graph, indices: list[int]) -> int:
    """Bytes of tensors whose content occurred before in another buffer."""
    seen: set[bytes] = set()
    buffers: set[int] = set()
    count = 0
    for i in indices:
        data, buffer = graph.tensors[i].data, graph.tensors[i].buffer
        if data is None or buffer in buffers:
            continue
        if buffer >= 0:
            buffers.add(buffer)
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
    """Weights in the N6's octo flash, bytes: w+b, times a small overhead, plus what inflated depthwise kernels take and
    the constants of other operators.
    """
    kept = found.weights * table.weights_factor + found.biases + found.depthwise * table.depthwise_extra
    return kept + found.tables + found.others + found.apart


def mcu_flash(found: Constants, table: Table) -> float:
    """Weights of the CPU runtime, bytes: stored as in the file.

    From X-CUBE-AI 10 on, equal ones are stored once, and a constant that the network only dequantises as float32.
    """
    kept = found.total - found.repeated if table.unpacked_share else found.total + found.apart
    return kept + table.unpacked_share * 0.75 * found.dequantized
