"""From a graph to nodes: which function lowers which operator, which tensors share memory, what is not supported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeai.errors import InputError
from edgeai.firmware.blob import move, pointwise, weighted
from edgeai.firmware.blob.program import Context, Node, Step, UnsupportedError
from edgeai.graph.types import Graph, Op

LOWERINGS: dict[str, Callable[[Context, Op], list[Step]]] = {
    "CONV_2D": weighted.convolution,
    "DEPTHWISE_CONV_2D": weighted.depthwise,
    "TRANSPOSE_CONV": weighted.transpose_conv,
    "FULLY_CONNECTED": weighted.fully_connected,
    "BATCH_MATMUL": weighted.batch_matmul,
    "ADD": pointwise.add,
    "SUB": pointwise.add,
    "MUL": pointwise.mul,
    "MAXIMUM": pointwise.extreme,
    "MINIMUM": pointwise.extreme,
    "QUANTIZE": pointwise.quantize,
    "DEQUANTIZE": pointwise.dequantize,
    **dict.fromkeys(
        ("LOGISTIC", "TANH", "LOG", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
        pointwise.table,
    ),
    "SOFTMAX": pointwise.softmax,
    "AVERAGE_POOL_2D": pointwise.pool,
    "MAX_POOL_2D": pointwise.pool,
    **dict.fromkeys(pointwise.REDUCE_MODES, pointwise.reduce),
    "ARG_MAX": pointwise.arg,
    "ARG_MIN": pointwise.arg,
    "RESIZE_NEAREST_NEIGHBOR": pointwise.nearest,
    "RESIZE_BILINEAR": pointwise.bilinear,
    "CONCATENATION": move.concatenation,
    "PACK": move.pack,
    "UNPACK": move.unpack,
    "SPLIT": move.split,
    "SPLIT_V": move.split,
    "RESHAPE": move.reshape,
    "SQUEEZE": move.reshape,
    "EXPAND_DIMS": move.reshape,
    "TRANSPOSE": move.transpose,
    "STRIDED_SLICE": move.strided_slice,
    "SLICE": move.slice_,
    "PAD": move.pad,
    "PADV2": move.pad,
    "TILE": move.tile,
    "GATHER": move.gather,
    "DEPTH_TO_SPACE": move.depth_space,
    "SPACE_TO_DEPTH": move.depth_space,
}

RENAMING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})  # the same bytes under another shape
HINT = (
    "`edgeai evaluate` runs the file on this computer, a real board what `edgeai compile` makes of it; "
    "`edgeai inspect` shows types and scales"
)
NAMED = 4  # unsupported operators that an error names


@dataclass(frozen=True, slots=True)
class Program:
    """A lowered graph. `leaders[t]` is the tensor whose memory tensor t uses."""

    graph: Graph
    nodes: tuple[Node, ...]
    constants: bytes
    leaders: tuple[int, ...]


def lower(graph: Graph, name: str = "the model") -> Program:
    """Every operator as steps. Raises InputError that names the operators which no kernel computes."""
    if graph.format != "tflite":
        raise InputError(f"{name} is not a TFLite file", "convert it with `edgeai quantize`")
    context = Context(graph)
    leaders = list(range(len(graph.tensors)))
    nodes: list[Node] = []
    unsupported: list[str] = []
    for op in graph.ops:
        if op.index in context.constants.folded:
            continue
        if _renames(context, op):
            leaders[op.outputs[0]] = leaders[op.inputs[0]]
            continue
        try:
            nodes.append(Node(op, tuple(_steps(context, op))))
        except UnsupportedError as error:
            unsupported.append(f"{op.kind} #{op.index} ({error})")
        except (ValueError, IndexError, ZeroDivisionError, OverflowError):
            unsupported.append(f"{op.kind} #{op.index} (shapes that do not fit)")
    for position, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        unsupported += [
            f"{position} {graph.tensors[t].name!r} (constant)" for t in tensors if context.constants.known(t)
        ]
    if unsupported:
        more = f" and {len(unsupported) - NAMED} more" if len(unsupported) > NAMED else ""
        raise InputError(
            f"{name}: the bench firmware does not compute {', '.join(unsupported[:NAMED])}{more}",
            HINT,
        )
    return Program(graph, tuple(nodes), bytes(context.pool.data), tuple(leaders))


def _steps(context: Context, op: Op) -> list[Step]:
    if op.kind not in LOWERINGS:
        raise UnsupportedError("no kernel")
    return LOWERINGS[op.kind](context, op)


def _renames(context: Context, op: Op) -> bool:
    """Whether the output can lie where the input lies. An output of the network keeps its own place beside an input."""
    graph = context.graph
    if op.kind not in RENAMING or context.constants.known(op.inputs[0]):
        return False
    return op.inputs[0] not in graph.inputs and op.inputs[0] not in graph.outputs
