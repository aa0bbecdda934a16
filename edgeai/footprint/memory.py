"""What ST's tools will report for a network on a board: RAM, weights and code with their intervals."""

from __future__ import annotations

import math

from edgeai.artifacts import MemoryEstimate, Quantity, SoftwareOperator, SupportSummary
from edgeai.board import Board
from edgeai.footprint import n6
from edgeai.footprint.advice import has_decoded_head
from edgeai.footprint.live import live_ranges, peak
from edgeai.footprint.mcu import mcu_ram
from edgeai.footprint.planner import Plan, live_peak
from edgeai.footprint.support import RAW_HEAD, support
from edgeai.footprint.tables import Table, table_for, tables
from edgeai.footprint.weights import Constants, constants, mcu_flash, n6_flash
from edgeai.graph.types import Graph

FAMILIES = {"STM32N6": "n6", "STM32MP2": "mp2", "STM32MP1": "mp2"}
WEIGHTS_SPREAD = {"n6": (0.96, 1.16), "mcu": (0.995, 1.005), "mp2": (0.7, 1.6)}


def target_of(board: Board) -> str:
    """The estimator of a board's family: `n6`, `mp2` (Linux) or `mcu`."""
    return FAMILIES.get(board.family, "mcu")


def estimate_memory(graph: Graph, board: Board, version: str, placed: Plan) -> MemoryEstimate:
    """Prediction of ST Edge AI Core's report at a version (the newest known where none is given)."""
    target = target_of(board)
    table = table_for(target, version)
    found = constants(graph)
    summary = support(graph, target, version or table.versions[-1])
    low, point, high, external, notes = _ram(graph, board, table, target)
    flash = _flash(found, table, target)
    least, most = WEIGHTS_SPREAD[target]
    return MemoryEstimate(
        version=version or table.versions[-1],
        table=f"{tables().version} {target} {table.versions[0]}",
        ram=Quantity(low, point, high, "bytes"),
        weights=Quantity(least * flash, flash, most * flash, "bytes"),
        external=external,
        code=round(table.code_bytes + table.epoch_bytes * summary.epochs),
        lower_bound=placed.lower_bound,
        planned=sum(used for _, used in placed.used),
        notes=tuple(notes),
    )


def _flash(found: Constants, table: Table, target: str) -> float:
    if target == "mcu":
        return mcu_flash(found, table)
    return n6_flash(found, table)


_Ram = tuple[float, float, float, int, list[str]]


def _ram(graph: Graph, board: Board, table: Table, target: str) -> _Ram:
    """Low, point and high in bytes, bytes in external RAM, notes."""
    if target == "mcu":
        found = mcu_ram(graph, table)
        note = f"most activation memory in {found.op.kind} #{found.op.index}, {found.scratch} B of it scratch"
        return table.ram_low * found.bytes, float(found.bytes), table.ram_high * found.bytes, 0, [note]
    ranges = live_ranges(graph, fused=table.fused_activations)
    if target == "mp2":
        bytes_ = table.ram_scale * peak(graph, ranges).bytes
        return table.ram_low * bytes_, bytes_, table.ram_high * bytes_, 0, ["no RAM figures were published: unchecked"]
    return _n6_ram(graph, board, table)


def _n6_ram(graph: Graph, board: Board, table: Table) -> _Ram:
    pools = board.pools_for("activations", "ram")
    ranges = n6.with_partial_sums(graph, live_ranges(graph, fused=table.fused_activations))
    close, wide = n6.tight(ranges, pools), n6.spread(ranges, pools)
    capacity = sum(pool.size for pool in pools)
    blend = (1 - table.spread_weight) * close.internal + table.spread_weight * wide.internal
    top = live_peak(ranges)
    if table.filling_kib and top > pools[0].size:
        blend = capacity * (1 - math.exp(-top / (table.filling_kib * 1024)))
        point = min(blend, float(capacity))
        return table.ram_low * point, point, min(table.ram_high * point, float(capacity)), close.external, []
    fits_one = max(close.internal, wide.internal) <= pools[0].size
    point = min(blend if fits_one else blend * table.ram_scale, float(capacity))
    low = min(table.ram_low * point, float(min(close.internal, wide.internal)))
    high = min(max(table.ram_high * point, 1.0 * max(close.internal, wide.internal)), float(capacity))
    external = min(close.external, wide.external)
    notes = []
    if external:
        notes.append("crosses the on-chip memory: latency makes a step, not a slope")
    elif high >= capacity:
        notes.append("may cross the on-chip memory, with a step in latency")
    return low, point, high, external, notes


def summarise_support(graph: Graph, board: Board, version: str) -> SupportSummary:
    """Operators by kind that the accelerator does not run as a whole, most frequent first."""
    target = target_of(board)
    found = support(graph, target, version or table_for(target).versions[-1])
    kinds: dict[tuple[str, str, str, str], int] = {}
    decoded = has_decoded_head(graph)
    for op, place in found.software:
        advice = place.advice if decoded or place.advice != RAW_HEAD else ""
        key = (op.kind, place.unit, place.reason, advice)
        kinds[key] = kinds.get(key, 0) + 1
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    software = tuple(SoftwareOperator(kind, n, unit, why, advice) for (kind, unit, why, advice), n in ordered)
    return SupportSummary(found.epochs, found.software_epochs, found.hybrid_epochs, software)
