"""The analytic model: time of a network as the sum over its operators.

An operator takes its work times a rate, or, where weights stream from flash meanwhile, the longer of the two; plus a
fixed time per operator. What the accelerator does not run has rates of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def op_times(graph: Graph, table: LatencyTable, target: str, version: str, scale: float = 1.0) -> tuple[OpTime, ...]:
    """Milliseconds of every operator; `scale` multiplies all (another clock)."""
    fused = _fused(graph) if target != "mcu" else frozenset[int]()
    return tuple(_time(work, table, target, work.op.index in fused, scale) for work in works(graph, target, version))


def _time(work: Work, table: LatencyTable, target: str, fused: bool, scale: float) -> OpTime:
    rates = table.rates
    if work.kind in FREE or fused:
        return OpTime(work, 0.0, "fused")
    if target == "mp2" and work.where.unit == "gpu":
        ns = work.macs * table.gpu_mac + table.gpu_op
        return OpTime(work, ns * scale / NS_PER_MS, "gpu")
    if target == "n6" and work.where.unit in ("cpu", "hybrid"):
        ns = work.amount * rates.software + rates.op
        return OpTime(work, ns * scale / NS_PER_MS, "software")
    compute, stream = work.amount * _rate(rates, work), work.weights * rates.weight
    busy = max(compute, stream) if table.overlapped else compute + stream
    bound = "weights" if stream > compute else "compute" if busy > rates.op else "overhead"
    return OpTime(work, (busy + rates.op) * scale / NS_PER_MS, bound)


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
