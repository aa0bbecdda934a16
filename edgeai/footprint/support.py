"""Which unit runs each operator, and why, before anything is compiled.

STM32N6 rules follow the epochs of two generate reports: a YOLOv8n pose network at Core 2.1.0 (18 of 148 epochs in
software, each named) and st_yolo_x at Core 3.0.0 (none in software, two hybrid). STM32MP2 rules: ST's wiki page
STM32MP2_NPU_description (8-bit per-tensor layers on the NPU, per-channel ones mainly on the GPU; at most 6 dimensions,
each below 65536).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.footprint.operators import RECURRENT_KNOWN, is_known
from edgeai.footprint.weights import static_tensors, stored_weights
from edgeai.graph.types import Graph, Op, Tensor

Unit = Literal["npu", "hybrid", "gpu", "cpu", "none"]

CHANNEL_GROUP = 8  # concatenation and slicing in hardware move channels in groups of this size
MP2_RANK, MP2_SIDE = 6, 65536
CONCAT = frozenset({"CONCATENATION", "Concat"})
SLICE = frozenset({"STRIDED_SLICE", "SLICE", "Slice"})
TRANSPOSE = frozenset({"TRANSPOSE", "Transpose"})
SOFTMAX = frozenset({"SOFTMAX", "Softmax"})
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
RESIZE = frozenset({"RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "Resize", "Upsample", "DEPTH_TO_SPACE"})
VIEWS = frozenset({"RESHAPE", "PAD", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "PACK", "Reshape", "Identity", "Pad", "Shape"})
# What ST Edge AI Core does not import: its list of ONNX operators (2.2, supported_ops_onnx.html) has 132 names and none
# of these. Einsum is on it, under conditions; what it costs is not known here. TFLite's GATHER_ND is imported since 2.0
# (release note); whether TOPK_V2 and WHERE are, was not found.
NOT_IMPORTED = frozenset({"NonMaxSuppression", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "RFFT2D"})
EINSUM = "Einsum"
NOT_KNOWN = frozenset({EINSUM, "TOPK_V2", "WHERE"})
# what chooses numbers by other numbers: the list of the accelerator's units has none for it
SELECTIONS = frozenset({"TopK", "Where", "Hardmax", "GATHER_ND", "GatherND", "GatherElements", "ScatterND"})
BODIES = frozenset({"IF", "WHILE", "CALL", "CALL_ONCE", "If", "Loop", "Scan"})
ETHOS_U = "CUSTOM:ethos-u"
TAKE_OUT = "take it out of the network: the application does its work"
RAW_HEAD = "export with `--layout raw`: the decode then runs outside the network"


# arithmetic that compilers run inside the convolution or product before it
FUSED = frozenset({"Relu", "Clip", "BatchNormalization"})
# functions that quantisers leave between an operator and the integers of its result
BETWEEN = FUSED | {"LeakyRelu", "PRelu", "HardSwish", "Sigmoid", "Mul", "Tanh", "Elu", "Gelu"}


def has_body(op: Op) -> bool:
    """Whether an operator holds networks of its own, of which it runs one or another."""
    return op.kind in BODIES


@dataclass(frozen=True, slots=True)
class Placement:
    """The unit that runs an operator; `reason` and `advice` are empty where it is the accelerator or there is none."""

    unit: Unit
    reason: str = ""
    advice: str = ""


def placements(graph: Graph, target: str, version: str = "") -> tuple[Placement, ...]:
    """The unit of every operator on `n6`, `mp2` or `mcu`, in the order of the operators; `none` where none is known to
    run it.
    """
    old = version.startswith("2.")
    static, integers, inside = static_tensors(graph), _between_pairs(graph), run_inside(graph)
    found = []
    for op in graph.ops:
        folded = bool(op.outputs) and op.outputs[0] in static
        nowhere = None if folded else _unplaced(graph, op, target)
        if nowhere is not None:
            found.append(nowhere)
        elif target == "n6":
            found.append(Placement("npu") if op.index in inside else _n6(graph, op, old, integers))
        else:
            found.append(_mp2(graph, op) if target == "mp2" else Placement("cpu"))
    return tuple(found)


def unplaced(graph: Graph, target: str, version: str = "") -> tuple[tuple[str, int, Placement], ...]:
    """Operators that no unit of a target is known to run: kind, how many, and why. A network with one does not run."""
    found: dict[str, tuple[int, Placement]] = {}
    for op, place in zip(graph.ops, placements(graph, target, version), strict=True):
        if place.unit == "none":
            count, first = found.get(op.kind, (0, place))
            found[op.kind] = count + 1, first
    return tuple((kind, count, place) for kind, (count, place) in found.items())


def _unplaced(graph: Graph, op: Op, target: str) -> Placement | None:
    """Why nothing on a target runs an operator; None where something does."""
    if op.kind.startswith("CUSTOM:"):
        if op.kind == ETHOS_U:
            return Placement("none", "the file is compiled for Arm's Ethos-U, which no STM32 has",
                             "pass the file that Vela was given")  # fmt: skip
        return Placement("none", "a custom operator, which ST's tools do not know", TAKE_OUT)
    if has_body(op):
        return Placement("none", "it runs one part of the network or another, which no compiler of ST's takes",
                         "export without control flow")  # fmt: skip
    on_processor = target == "mp2" and op.kind in NOT_IMPORTED | NOT_KNOWN  # whose runtime has them
    if is_known(graph, op) or on_processor:
        return None
    return NOWHERE.get(op.kind, Placement("none", "not an operator that ST's tools are known to run", TAKE_OUT))


NOWHERE = {kind: Placement("none", "not an operator that ST Edge AI Core imports", RAW_HEAD) for kind in NOT_IMPORTED}
NOWHERE[EINSUM] = Placement(
    "none", "ST Edge AI Core imports some, and what they run as is not known here", "write it as a matrix product"
)


# --- STM32N6 ------------------------------------------------------------------------------------


def _n6(graph: Graph, op: Op, old: bool, integers: frozenset[int]) -> Placement:  # noqa: PLR0911 - one return for each rule
    source = graph.operand(op, 0)
    result = graph.tensors[op.outputs[0]] if op.outputs else None
    if source is None or result is None or _is_constant_work(graph, op):
        return Placement("npu")
    if (graph.format, op.kind) in RECURRENT_KNOWN:
        return Placement("cpu", "a recurrent layer has no unit in the accelerator", "convolutions over time run there")
    if op.kind in SELECTIONS:
        return Placement("cpu", "it chooses numbers by other numbers, which has no unit in the accelerator", RAW_HEAD)
    if op.kind in CONCAT and old:
        return _n6_concat(graph, op)
    if op.kind in SLICE:
        sliced = [r for s, r in zip(source.shape, result.shape, strict=False) if s != r]
        if any(side % CHANNEL_GROUP for side in sliced):
            return Placement("cpu", f"cuts {sliced[0]} of a dimension, not a multiple of {CHANNEL_GROUP}", RAW_HEAD)
    if op.kind in TRANSPOSE:
        return _n6_transpose(graph, op, source, result)
    if op.kind in SOFTMAX:
        return Placement("cpu", "softmax has no unit in the accelerator", RAW_HEAD)
    if op.kind in RESIZE:
        advice = 'a fixed convolution does it on the accelerator: `upsample = "transposed"` in a recipe'
        return Placement("cpu" if old else "hybrid", "upsampling becomes DepthToSpace", advice)
    if op.kind == "DEQUANTIZE" and old:
        return Placement("cpu", "the output is converted to float", "export with int8 outputs")
    if _is_float(graph, op, integers):
        return Placement("cpu", "works on floating-point numbers", "quantise the whole network to int8")
    return Placement("npu")


def _n6_concat(graph: Graph, op: Op) -> Placement:
    parts = [graph.tensors[t] for t in op.inputs if t >= 0]
    shape = graph.tensors[op.outputs[0]].shape
    axis = op.axis % max(len(shape), 1)
    producers = [graph.producer(t) for t in op.inputs if t >= 0]
    if any(p is not None and p.kind in RESIZE for p in producers):
        return Placement("cpu", "an input comes from upsampling in software", '`upsample = "transposed"` in a recipe')
    scales = {round(part.scale, 9) for part in parts}
    unequal = f"; its inputs have {len(scales)} scales" if len(scales) > 1 else ""
    if any(axis < len(part.shape) and part.shape[axis] % CHANNEL_GROUP for part in parts):
        sides = "+".join(str(part.shape[axis]) for part in parts if axis < len(part.shape))
        return Placement("cpu", f"joins {sides}, not multiples of {CHANNEL_GROUP}{unequal}", RAW_HEAD)
    if len(scales) > 1:
        return Placement("cpu", f"its inputs have {len(scales)} scales", "`joint_scales = true` in a recipe")
    if len(shape) < 4 and any(reader.kind in SLICE for reader in graph.consumers(op.outputs[0])):
        return Placement("cpu", "joins flattened maps that are cut apart again", RAW_HEAD)
    return Placement("npu")


def _n6_transpose(graph: Graph, op: Op, source: Tensor, result: Tensor) -> Placement:
    """Rows and columns against channels is a layout that the accelerator writes; the second of two is merged."""
    follower = graph.consumers(op.outputs[0])
    if len(follower) == 1 and follower[0].kind in TRANSPOSE:
        return Placement("npu")
    before = graph.producer(source.index)
    shape = source.shape
    channels_first, channels_last = (shape[:1] + shape[-1:] + shape[1:-1]), (shape[:1] + shape[2:] + shape[1:2])
    second = before is not None and before.kind in TRANSPOSE
    if len(shape) == 4 and result.shape in (channels_first, channels_last) and not second:
        return Placement("npu")
    if graph.format == "tflite" and len(shape) == 4 and shape[0] == 1 and 1 in shape[1:]:
        return Placement("npu")
    return Placement("cpu", "moves more than channels against rows and columns", RAW_HEAD)


def _is_constant_work(graph: Graph, op: Op) -> bool:
    return op.kind in VIEWS or all(t < 0 or graph.tensors[t].is_constant for t in op.inputs)


def _is_float(graph: Graph, op: Op, integers: frozenset[int]) -> bool:
    """Whether an operator computes in floating point (ONNX: where it is none of `integers`)."""
    result = graph.tensors[op.outputs[0]]
    if not _holds_floats(result) or op.kind in ("DEQUANTIZE", "CAST", "Cast", *QDQ):
        return False
    return graph.format == "tflite" or op.index not in integers


def _holds_floats(tensor: Tensor) -> bool:
    return tensor.dtype.startswith(("float", "bfloat"))


def _between_pairs(graph: Graph) -> frozenset[int]:
    """Operators of an ONNX file that compute with integers: all they read was dequantised, all they write is quantised,
    perhaps with a function in between.
    """
    if graph.format != "onnx":
        return frozenset()
    entered, left = set[int](), set[int]()
    for op in graph.ops:
        if all(_came_from_integers(graph, op, t, entered) for t in op.inputs if t >= 0):
            entered.add(op.index)
    for op in reversed(graph.ops):
        readers = graph.consumers(op.outputs[0]) if op.outputs and op.outputs[0] not in graph.outputs else ()
        if readers and all(r.kind in QDQ or (r.kind in BETWEEN and r.index in left) for r in readers):
            left.add(op.index)
    return frozenset(entered & left)


def _came_from_integers(graph: Graph, op: Op, tensor: int, entered: set[int]) -> bool:
    read, producer = graph.tensors[tensor], graph.producer(tensor)
    if read.is_constant or not _holds_floats(read):
        return True
    return producer is not None and (producer.kind in QDQ or (op.kind in BETWEEN and producer.index in entered))


def run_inside(graph: Graph) -> frozenset[int]:
    """Operators of an ONNX file that are part of the convolution or product before them, as in TFLite they are one."""
    found = set[int]()
    for op in graph.ops if graph.format == "onnx" else ():
        source = graph.operand(op, 0)
        if op.kind not in FUSED or source is None or source.index in graph.outputs:
            continue
        producer, alone = graph.producer(source.index), len(graph.consumers(source.index)) == 1
        if alone and producer is not None and (graph.weights(producer) is not None or producer.index in found):
            found.add(op.index)
    return frozenset(found)


# --- STM32MP2 -----------------------------------------------------------------------------------


def _mp2(graph: Graph, op: Op) -> Placement:
    weights = stored_weights(graph, op)
    tensors = [graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0]
    if op.kind in NOT_IMPORTED | NOT_KNOWN | SELECTIONS:
        return Placement("cpu", f"{op.kind} is not an operator of the accelerator", "take it out of the network")
    if any(len(t.shape) > MP2_RANK or any(side >= MP2_SIDE for side in t.shape) for t in tensors):
        return Placement("cpu", f"a tensor has more than {MP2_RANK} dimensions or a side of {MP2_SIDE}", RAW_HEAD)
    if weights is not None and weights.per_channel:
        return Placement("gpu", "its weights have a scale per channel", "quantise with `--per-tensor`")
    if weights is not None and not weights.quantized and weights.dtype.startswith("float"):
        return Placement("gpu", "its weights are floating-point", "quantise to int8 with `--per-tensor`")
    if op.kind in SOFTMAX or op.kind in TRANSPOSE or op.kind in SLICE:
        return Placement("gpu", "shader work", RAW_HEAD)
    return Placement("npu")


@dataclass(frozen=True, slots=True)
class Support:
    """How many operators run where; `software` are those not on the accelerator, with reason and advice."""

    epochs: int
    software_epochs: int
    hybrid_epochs: int
    software: tuple[tuple[Op, Placement], ...]


def support(graph: Graph, target: str, version: str = "") -> Support:
    """Counts and reasons. An epoch is one run of the accelerator: a convolution with what is fused into it, an
    activation function with its product, another operator that moves or combines numbers.
    """
    where = placements(graph, target, version)
    pairs = tuple(zip(graph.ops, where, strict=True))
    off = tuple((op, p) for op, p in pairs if p.reason)
    return Support(
        epochs=sum(1 for op, p in pairs if _is_epoch(graph, op, p)),
        software_epochs=sum(1 for _, p in off if p.unit in ("cpu", "gpu", "none")),
        hybrid_epochs=sum(1 for _, p in off if p.unit == "hybrid"),
        software=off,
    )


def _is_epoch(graph: Graph, op: Op, placement: Placement) -> bool:
    if placement.reason:
        return True
    return graph.weights(op) is not None or op.kind in ("LOGISTIC", "Sigmoid", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN")
