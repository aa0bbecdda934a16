"""What an operator asks of the hardware: multiplications by kind, numbers moved, bytes of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.footprint.mcu import kernel
from edgeai.footprint.operators import ACTIVATION, BILINEAR, ELEMENT, MOVE
from edgeai.footprint.support import Placement, placements
from edgeai.footprint.weights import is_depthwise, static_tensors, stored_weights
from edgeai.graph.types import Graph, Op, Tensor

IMAGE_CHANNELS = 4  # a convolution over at most so many channels uses a fraction of the multipliers

WorkKind = Literal[
    "conv", "pointwise", "first", "depthwise", "dense", "activation", "element", "move", "bilinear", "none"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """One operator. `amount` counts MACs for convolutions and matrix products, elements of the output for the rest.

    `outputs`: numbers that a convolution or product writes, 0 for the rest; `weights` in bytes; `where` the unit that
    runs it. `count` operators are added up in it.
    """

    op: Op
    kind: WorkKind
    amount: int
    macs: int
    weights: int
    outputs: int
    where: Placement
    count: int = 1


def works(graph: Graph, target: str, version: str) -> tuple[Work, ...]:
    """The work of every operator whose result is not known before, in order."""
    where, static = placements(graph, target, version), static_tensors(graph)
    running = (op for op in graph.ops if not op.outputs or op.outputs[0] not in static)
    return tuple(_work(graph, op, where[op.index]) for op in running)


def _work(graph: Graph, op: Op, where: Placement) -> Work:
    macs = graph.macs(op)
    weights, bias = stored_weights(graph, op), graph.bias(op)
    read = [tensor for tensor in (weights, bias, *graph.recurrent_weights(op)) if tensor is not None]
    stored = graph.stored(read)
    elements = sum(graph.tensors[t].elements for t in op.outputs)
    kind = kind_of(graph, op, macs)
    return Work(op, kind, macs or elements, macs, stored, elements if macs else 0, where)


def kind_of(graph: Graph, op: Op, macs: int) -> WorkKind:
    """What sort of work an operator is."""
    weights = graph.weights(op)
    if macs:
        return _product(graph, op, weights)
    if op.kind in ACTIVATION:
        return "activation"
    if op.kind in ELEMENT:
        return "element"
    if op.kind in BILINEAR or (op.kind in ("Resize", "Upsample") and op.attribute("interpolates")):
        return "bilinear"
    return "move" if op.kind in MOVE else "none"


def _product(graph: Graph, op: Op, weights: Tensor | None) -> WorkKind:
    """What sort of convolution or matrix product."""
    if weights is None or len(weights.shape) != 4:
        return "dense"
    if is_depthwise(graph, op):
        return "depthwise"
    if kernel(graph, op, weights) == (1, 1):
        return "pointwise"
    channels = weights.shape[1] if graph.format == "onnx" else weights.shape[-1]
    return "first" if channels <= IMAGE_CHANNELS else "conv"
