"""Whether the scales and zero points of a file are numbers that can be computed with."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeai.errors import InputError
from edgeai.graph.types import WEIGHT_OPERANDS, Graph, Tensor

SMALLEST_NORMAL = 2.0**-126  # of float32, in which files hold scales; runtimes flush what is smaller to 0
LIMITS: dict[str, tuple[int, int]] = {
    "int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip
CODED = frozenset({"int8", "uint8", "int16"})
# what takes or gives integers that are numbers themselves: places, truths, other types
CODES = frozenset({"CAST", "ARG_MAX", "ARG_MIN", "QUANTIZE", "GATHER", "GATHER_ND", "EMBEDDING_LOOKUP", "ONE_HOT"})


def quantization_faults(graph: Graph) -> tuple[str, ...]:
    """What is wrong with the scales and zero points of a network, one line for each tensor; empty where nothing is."""
    bare = _without_scale(graph) if graph.format == "tflite" else []
    return (*(fault for tensor in graph.tensors for fault in faults(tensor)), *bare)


def check_quantization(graph: Graph, name: str) -> None:
    """Raises InputError, naming the first tensor, where numbers computed from the file would mean nothing."""
    faults = quantization_faults(graph)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{name}: {faults[0]}{more}", "quantise the network again; `edgeai inspect` lists all of them")


def faults(tensor: Tensor) -> Iterator[str]:
    """What is wrong with the scales and zero points that a tensor has."""
    wrong = next((scale for scale in tensor.scales if not _is_scale(scale)), None)
    if wrong is not None:
        kind = "below what float32 holds at full precision" if 0 < wrong < SMALLEST_NORMAL else "no scale"
        yield f"tensor {tensor.name!r} has the scale {wrong:g}: {kind}"
    if tensor.flaw:
        yield f"tensor {tensor.name!r} has {tensor.flaw}"
    low, high = LIMITS.get(tensor.dtype, (-math.inf, math.inf))
    outside = next((zero for zero in tensor.zero_points if not low <= zero <= high), None)
    if outside is not None:
        yield f"tensor {tensor.name!r} has the zero point {outside}, {tensor.dtype} holds {low} to {high}"


def _without_scale(graph: Graph) -> Iterator[str]:
    """Integers that take part in arithmetic and stand for nothing: a weighted operator, or one whose other tensors have
    scales, reads or writes them. ONNX has scales in operators of their own, which a tensor need not have."""
    named: set[int] = set()
    for op in graph.ops:
        tensors = [graph.tensors[t] for t in (*op.inputs[:1], *op.outputs) if t >= 0]
        scaled = op.kind in WEIGHT_OPERANDS or any(tensor.scales for tensor in tensors)
        for tensor in tensors if scaled and op.kind not in CODES else ():
            if tensor.dtype in CODED and not tensor.scales and not tensor.is_constant and tensor.index not in named:
                named.add(tensor.index)
                yield f"tensor {tensor.name!r} holds {tensor.dtype} without a scale, and {op.kind} computes with it"


def _is_scale(scale: float) -> bool:
    return math.isfinite(scale) and scale >= SMALLEST_NORMAL
