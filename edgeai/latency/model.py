"""The analytic model: time of a network as the sum over its operators.

An operator takes its work times a rate, and the numbers it writes times another, or, where weights stream from flash
meanwhile, the longer of the two; plus a fixed time per operator. What the accelerator does not run has its own rates.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgeai.footprint.support import run_inside
from edgeai.graph.types import Graph
from edgeai.latency.constants import LatencyTable, Rates
from edgeai.latency.work import Work, works

EXTRAPOLATION = 2.0  # beyond this multiple of the fitted range of MACs the interval is widened
NS_PER_MS = 1e6
FREE = frozenset({"none"})  # views and operators on shapes


@dataclass(frozen=True, slots=True)
class OpTime:
    """Milliseconds of one operator, and what bounds it: `compute`, `weights`, `overhead` or `software`."""

    work: Work
    ms: float
    bound: str


def op_times(
    graph: Graph, table: LatencyTable, target: str, version: str, scale: float = 1.0, far: bool = False
) -> tuple[OpTime, ...]:
    """Milliseconds of every operator; `scale` multiplies all (another clock), `far`: weights lie in external flash."""
    return tuple(time_of(work, table, target, scale, far) for work in counted_works(graph, target, version))


def counted_works(graph: Graph, target: str, version: str) -> tuple[Work, ...]:
    """The work of every operator; of one that runs inside another it is free."""
    fused = _fused(graph) if target != "mcu" else frozenset[int]()
    fused |= run_inside(graph)
    found = works(graph, target, version)
    return tuple(dataclasses.replace(w, kind="none") if w.op.index in fused else w for w in found)


def time_of(work: Work, table: LatencyTable, target: str, scale: float, far: bool) -> OpTime:
    """Milliseconds of one operator."""
    rates = table.rates
    if work.kind in FREE:
        return OpTime(work, 0.0, "fused")
    if target == "mp2" and work.where.unit == "gpu":
        ns = work.macs * table.gpu_mac + work.count * table.gpu_op
        return OpTime(work, ns * scale / NS_PER_MS, "gpu")
    if target == "n6" and work.where.unit in ("cpu", "hybrid"):
        each = rates.bilinear if work.kind == "bilinear" else rates.software
        ns = work.amount * each + work.count * rates.op
        return OpTime(work, ns * scale / NS_PER_MS, "software")
    compute = work.amount * _rate(rates, work) + work.outputs * rates.output + work.macs * rates.far * far
    stream = work.weights * rates.weight
    busy = max(compute, stream) if table.overlapped else compute + stream
    bound = "weights" if stream > compute else "compute" if busy > rates.op else "overhead"
    return OpTime(work, (busy + work.count * rates.op) * scale / NS_PER_MS, bound)


def _rate(rates: Rates, work: Work) -> float:
    found: float = getattr(rates, work.kind)
    return found


def _fused(graph: Graph) -> frozenset[int]:
    """Products that run with their activation function (SiLU), by operator index."""
    found = set()
    for op in graph.ops:
        if op.kind in ("LOGISTIC", "Sigmoid") and op.outputs:
            found |= {reader.index for reader in graph.consumers(op.outputs[0]) if reader.kind in ("MUL", "Mul")}
    return frozenset(found)
