"""What quantisation lost for good: biases at the limit of their type, and output channels without weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeai.graph.types import Graph, Op, Tensor

# Converters clip a bias that does not fit to ±2^31, some of them in float32, whose largest number below 2^31 is
# 2^31 - 128. No sound bias comes near: the sum of products that it is added to has to fit into the same 32 bits.
BIAS_LIMIT = 2**31 - 128
OUTPUT_FIRST = frozenset({"CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "Conv", "QLinearConv"})
OUTPUT_LAST = frozenset({"DEPTHWISE_CONV_2D", "CONV_3D"})
PRODUCTS = frozenset({"BATCH_MATMUL", "MatMul", "QLinearMatMul", "Gemm"})
FORMATS: dict[str, Literal["h", "H", "i"]] = {"int16": "h", "uint16": "H", "int32": "i"}
NAME_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Loss:
    """One operator and how many of its output channels are lost; `name` is that of its output tensor."""

    kind: str
    name: str
    lost: int
    channels: int
    per_channel: bool


def saturated_biases(graph: Graph) -> tuple[Loss, ...]:
    """Operators with biases at the limit of int32: what their channels give is the limit and no result."""
    found: list[Loss] = []
    for op in graph.ops:
        bias = graph.bias(op)
        numbers = None if bias is None or bias.dtype not in ("int32", "float32") else _numbers(bias)
        if bias is not None and numbers is not None:
            found += _losses(graph, op, bias, sum(abs(value) >= BIAS_LIMIT for value in numbers), len(numbers))
    return tuple(found)


def empty_channels(graph: Graph) -> tuple[Loss, ...]:
    """Operators with output channels whose quantised weights are all 0: what those give is their bias."""
    found: list[Loss] = []
    for op in graph.ops:
        weights = graph.weights(op)
        channels = None if weights is None else _channels(graph, op, weights)
        if weights is not None and channels is not None:
            found += _losses(graph, op, weights, sum(channels), len(channels))
    return tuple(found)


def described(losses: Sequence[Loss]) -> str:
    """How many channels in how many operators, and the operator that loses the largest share of them."""
    worst = max(losses, key=lambda loss: (loss.lost / loss.channels, loss.lost))
    total = sum(loss.lost for loss in losses)
    where = f"{len(losses)} operators, worst" if len(losses) > 1 else "one operator"
    name = worst.name if len(worst.name) <= NAME_WIDTH else "…" + worst.name[-NAME_WIDTH:]  # converters join many
    return (
        f"{total} output channel{'s' if total > 1 else ''} in {where}: {worst.kind} {name!r}, "
        f"{worst.lost} of {worst.channels}"
    )


def _losses(graph: Graph, op: Op, operand: Tensor, lost: int, channels: int) -> Iterator[Loss]:
    if lost and op.outputs:
        yield Loss(op.kind, graph.tensors[op.outputs[0]].name, lost, channels, operand.per_channel)


def _channels(graph: Graph, op: Op, weights: Tensor) -> list[bool] | None:
    """For each output channel whether its weights are all 0; None for weights that are not small integers."""
    numbers = _numbers(weights)
    if numbers is None or not weights.quantized or 0 in weights.shape or not weights.shape:
        return None
    if op.kind == "ConvTranspose":
        return _transposed(weights, numbers, max(op.group, 1))
    axis = _output_axis(op, len(weights.shape))
    if axis is None:
        return None
    shape = weights.shape
    outer, count, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])

    def of(channel: int) -> Iterator[Sequence[int]]:
        if inner == 1:
            yield numbers[channel::count]
            return
        for block in range(outer):
            start = (block * count + channel) * inner
            yield numbers[start : start + inner]

    return _empty(of, count, _zeros(weights, count))


def _transposed(weights: Tensor, numbers: Sequence[int], groups: int) -> list[bool] | None:
    """ONNX's ConvTranspose: input channels first, the output channels of a group second."""
    if len(weights.shape) < 2 or weights.shape[0] % groups:
        return None
    inputs, outputs, taps = weights.shape[0], weights.shape[1], math.prod(weights.shape[2:])

    def of(channel: int) -> Iterator[Sequence[int]]:
        group, output = divmod(channel, outputs)
        for i in range(group * inputs // groups, (group + 1) * inputs // groups):
            start = (i * outputs + output) * taps
            yield numbers[start : start + taps]

    zeros = _zeros(weights, outputs)
    return _empty(of, outputs * groups, zeros * groups if zeros else None)


def _output_axis(op: Op, rank: int) -> int | None:
    if op.kind in OUTPUT_FIRST:
        return 0
    if op.kind in OUTPUT_LAST:
        return rank - 1
    if op.kind in PRODUCTS:
        return rank - 2 if op.transpose_b and rank > 1 else rank - 1
    return None


def _zeros(weights: Tensor, count: int) -> list[int] | None:
    """The zero point of every output channel; None where they run along another axis."""
    zeros = weights.zero_points or (0,)
    if weights.dtype == "int8":  # as a byte
        zeros = tuple(zero & 255 for zero in zeros)
    if len(set(zeros)) == 1:
        return [zeros[0]] * count
    return list(zeros) if len(zeros) == count else None


def _empty(of: Callable[[int], Iterator[Sequence[int]]], count: int, zeros: list[int] | None) -> list[bool] | None:
    if zeros is None:
        return None
    return [all(part.count(zeros[c]) == len(part) for part in of(c)) for c in range(count)]


def _numbers(tensor: Tensor) -> Sequence[int] | None:
    """The integers of a constant: bytes for 8 bits, which Python counts fastest, with negative numbers as it has them.

    A float constant with scales is one that the network quantises when it runs: it is rounded here as it is there.
    """
    data = tensor.data
    if data is None or len(data) != tensor.nbytes:
        return None
    if tensor.dtype in ("int8", "uint8"):
        return bytes(data)
    if tensor.dtype in ("int4", "uint4"):  # two in a byte, the lower half first
        flat = [half for byte in bytes(data) for half in (byte & 15, byte >> 4)][: tensor.elements]
        return flat if tensor.dtype == "uint4" else [(half ^ 8) - 8 for half in flat]
    if tensor.dtype == "float32" and tensor.quantized:
        return _rounded(tensor, data.cast("B").cast("f"))
    code = FORMATS.get(tensor.dtype)
    return None if code is None else data.cast("B").cast(code).tolist()


def _rounded(tensor: Tensor, values: Sequence[float]) -> list[int] | None:
    scales, axis = tensor.scales, tensor.quantized_dimension
    inner = math.prod(tensor.shape[axis + 1 :]) if len(scales) > 1 else 1
    if not all(map(math.isfinite, values)) or not all(0 < scale < math.inf for scale in scales):
        return None
    zeros = tensor.zero_points or (0,)
    each = ((value, i // inner % len(scales)) for i, value in enumerate(values))
    return [round(value / scales[c]) + zeros[c % len(zeros)] for value, c in each]
