"""The cases of an operator that kernels treat differently: the rows of the table of kernels (docs/kernels.md).

What divides an operator into rows was found by measuring: each condition is one where at least one kernel set begins
to answer something else than float arithmetic, refuses the operator, or rounds as another set does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgeai.graph.types import Graph, Op, Tensor

# what moves numbers: kernels copy the codes, whatever the scales say
MOVES = frozenset(
    "CONCATENATION RESHAPE TRANSPOSE PAD PADV2 MIRROR_PAD STRIDED_SLICE SLICE SPLIT SPLIT_V GATHER SQUEEZE EXPAND_DIMS "
    "PACK UNPACK TILE DEPTH_TO_SPACE SPACE_TO_DEPTH RESIZE_NEAREST_NEIGHBOR".split()
)
CODES = MOVES | frozenset("MAXIMUM MINIMUM MAX_POOL_2D AVERAGE_POOL_2D REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR".split())
RECTIFIERS = frozenset("RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1".split())
# operators whose kernels take their output to be (real - zero point) on one grid
PROBABILITY, SIGNED = (1 / 256, -128), (1 / 128, 0)
GRIDS = {"LOGISTIC": PROBABILITY, "SOFTMAX": PROBABILITY, "TANH": SIGNED, "L2_NORMALIZATION": SIGNED}
LONG_ROW = 8192  # codes: XNNPACK adds a row in 16 bits that no longer hold longer ones
MANY_CLASSES = 512  # the sum of the exponentials can take all its integer bits
FINEST = 2.0**26  # of the fixed point of SOFTMAX's input
FEW_FACTORS = 5  # of a product in integers: with more it overflows on some scales
DIV_RATIO = 64.0  # scale of the dividend / (of the divisor x of the output): below, small quotients saturate


def variant_of(graph: Graph, op: Op) -> str:
    """The row of an operator: its name, and the case it is where kernels tell cases apart.

    What has other numbers than int8 is a row of its own, which was not measured.
    """
    case = _type(graph, op) or _case(graph, op)
    return f"{op.kind}, {case}" if case else op.kind


def drifts(graph: Graph, op: Op) -> float:
    """How far a RESIZE_BILINEAR in integers goes astray, in pixels; infinite for every other operator."""
    if op.kind != "RESIZE_BILINEAR":
        return math.inf
    source, result = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    if len(source) != 4 or len(result) != 4:
        return math.inf
    corners = bool(op.attribute("align_corners"))
    return max(drift(source[axis], result[axis], corners) for axis in (1, 2))


def _type(graph: Graph, op: Op) -> str:
    """The type of an operator's numbers, empty for int8 ones and for what turns one type into another."""
    if op.kind in ("QUANTIZE", "DEQUANTIZE"):
        return ""
    tensors, weights = data(graph, op), graph.weights(op)
    if not tensors or {t.dtype for t in tensors} != {"int8"}:
        return tensors[0].dtype if tensors else next((graph.tensors[t].dtype for t in op.outputs if t >= 0), "nothing")
    return f"{weights.dtype} weights" if weights is not None and weights.dtype != "int8" else ""


def data(graph: Graph, op: Op) -> list[Tensor]:
    """The inputs and outputs of an operator that hold quantised 8-bit numbers, weights apart."""
    skipped = graph.weights(op)
    tensors = [graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0]
    return [t for t in tensors if t.quantized and t.dtype in ("int8", "uint8") and t is not skipped]


def drift(size: int, out: int, corners: bool) -> float:
    """How far the last source position of a resize in steps of 1/1024 pixel lies from the exact one, in pixels."""
    whole, parts = (size - 1, out - 1) if corners and out > 1 else (size, out)
    if parts < 1:
        return 0.0
    return (out - 1) * abs((1024 * whole + parts // 2) // parts / 1024 - whole / parts)


def _case(graph: Graph, op: Op) -> str:
    tensors = data(graph, op)
    grids = {(float(f"{t.scale:.6g}"), t.zero_point) for t in tensors}  # the last digits of a float are nothing
    if op.kind in CODES and len(grids) > 1:
        return "version 3, scales differ" if op.kind == "TILE" and op.version > 2 else "scales differ"
    if op.kind in RECTIFIERS:
        return "scales differ" if len(grids) > 1 else "one scale"
    if op.kind in GRIDS and tensors and (tensors[-1].scale, tensors[-1].zero_point) != GRIDS[op.kind]:
        return "another output scale"
    special = SPECIAL.get(op.kind)
    return special(graph, op, tensors) if special else ""


def _softmax(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    depth = graph.tensors[op.inputs[0]].shape[-1:]
    flat = not tensors or op.attribute("beta") * tensors[0].scale * FINEST < 1  # nothing is left of the fixed point
    return "many classes or flat" if flat or (depth and depth[0] >= MANY_CLASSES) else ""


def _quotient(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    if len(tensors) != 3:
        return ""
    ratio = tensors[0].scale / (tensors[1].scale * tensors[2].scale)
    return "coarse output" if ratio < DIV_RATIO else ""


def _negative(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    return "with a zero point" if any(t.zero_point for t in tensors) else ""


def _reduction(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return "long rows" if source.elements > LONG_ROW * result.elements else ""


def _bilinear(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    return "positions that drift" if 0 < drifts(graph, op) < math.inf else ""


def _weights(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    weights = graph.operand(op, 1)
    if weights is not None and not weights.is_constant:
        return "computed weights"
    return "per channel" if weights is not None and weights.per_channel else ""


def _batches(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    operands = [graph.tensors[t] for t in op.inputs[:2]]
    if any(tensor.per_channel for tensor in operands):
        return "per channel"
    return "broadcast" if len({tensor.shape[:-2] for tensor in operands}) > 1 else ""


def _product(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return "many factors" if source.elements > FEW_FACTORS * result.elements else ""


def _tile(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    return "version 3" if op.version > 2 else ""


def _from(graph: Graph, op: Op, tensors: Sequence[Tensor]) -> str:
    return f"from {graph.tensors[op.inputs[0]].dtype}" if op.inputs else ""


SPECIAL: dict[str, Callable[[Graph, Op, Sequence[Tensor]], str]] = {
    "SOFTMAX": _softmax,
    "DIV": _quotient,
    "NEG": _negative,
    "MEAN": _reduction,
    "SUM": _reduction,
    "REDUCE_PROD": _product,
    "RESIZE_BILINEAR": _bilinear,
    "FULLY_CONNECTED": _weights,
    "CONV_2D": _weights,
    "DEPTHWISE_CONV_2D": _weights,
    "TRANSPOSE_CONV": _weights,
    "BATCH_MATMUL": _batches,
    "TILE": _tile,
    "QUANTIZE": _from,
}
