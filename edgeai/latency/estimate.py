"""Milliseconds of one inference on a board, with the interval and what bounds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from edgeai.artifacts import Footprint, LatencyEstimate, OpLatency, Quantity, WhatIf
from edgeai.board import Board
from edgeai.errors import InputError
from edgeai.footprint.estimate import Limits, estimate_graph
from edgeai.footprint.memory import target_of
from edgeai.footprint.rescale import rescale
from edgeai.footprint.support import Placement, unplaced
from edgeai.footprint.weights import constants
from edgeai.graph import load_graph
from edgeai.graph.types import Graph
from edgeai.latency.constants import LatencyTable, latency_table, latency_tables
from edgeai.latency.model import EXTRAPOLATION, OpTime, op_times

EXTERNAL_LOW, EXTERNAL_HIGH = 0.5, 2.5  # interval beside the step to external RAM: published factors lie in it
EXTERNAL_READS = 20  # times a byte in hyperRAM is moved in an inference: fastdepth and deeplab at the step
UNITS = {"n6": "n6", "mp2": "mp2"}
SIMILAR_CORES = {"Cortex-M4": "Cortex-M33", "Cortex-M33": "Cortex-M33", "Cortex-M7": "Cortex-M7"}


def estimate_latency(graph: Graph, board: Board, version: str = "", external: int = 0) -> LatencyEstimate:
    """One inference; `external` bytes of activations live in external RAM.

    Raises InputError where no figures were published for the board's processor, or where the network has operators that
    nothing is known to run there: the time of the others is not that of the network.
    """
    target = "mcu" if board.family == "STM32MP1" else target_of(board)
    if unknown := unplaced(graph, target_of(board), version):
        raise InputError(f"what {_listed(unknown)} takes is not known", unknown[0][2].advice)
    unit = UNITS.get(target, SIMILAR_CORES.get(board.cpu.core, board.cpu.core))
    table = latency_table(unit, version)
    scale = table.clock_mhz / board.cpu.clock_mhz if table.clock_mhz and board.cpu.clock_mhz else 1.0
    times = op_times(graph, table, target, version or table.versions[0], scale, weights_are_far(graph, board))
    ms = sum(entry.ms for entry in times) + external * table.rates.external * EXTERNAL_READS * scale / 1e6
    low, high, notes = _interval(graph, table, times, board, external, scale)
    return LatencyEstimate(
        board=board.name,
        version=version or table.versions[0],
        table=f"{latency_tables().version} {unit} {table.versions[0]}",
        ms=Quantity(low * ms, ms, high * ms, "ms"),
        bound=_bound(times),
        ops=tuple(
            OpLatency(t.work.op.index, t.work.op.kind, t.work.where.unit, t.bound, t.work.macs, t.ms)
            for t in times
            if t.ms
        ),
        notes=tuple(notes),
    )


def _listed(unknown: tuple[tuple[str, int, Placement], ...]) -> str:
    return ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count, _ in unknown)


def weights_are_far(graph: Graph, board: Board) -> bool:
    """Whether the weights are more than the first flash pool holds: then they can only lie in an external one."""
    flash = board.pools_for("weights", "flash")
    return bool(flash) and constants(graph).total > flash[0].size


def _interval(
    graph: Graph, table: LatencyTable, times: Iterable[OpTime], board: Board, external: int, scale: float
) -> tuple[float, float, list[str]]:
    """Multiples of the prediction, and why they are wider than usual."""
    low, high, notes = table.low, table.high, list[str]()
    if any(graph.recurrent_weights(op) for op in graph.ops):
        low, high = low * 0.5, high * 2
        notes.append("no recurrent network is among the fitted ones: the time of such layers is a rough guess")
    mmac = sum(entry.work.macs for entry in times) / 1e6
    if not table.min_mmac / EXTRAPOLATION <= mmac <= table.max_mmac * EXTRAPOLATION:
        low, high = low * 0.7, high * 1.4
        notes.append(f"{mmac:,.1f} million MACs are far from the fitted {table.min_mmac:g} to {table.max_mmac:g}")
    if external:
        low, high = EXTERNAL_LOW, EXTERNAL_HIGH
        notes.append("activations in external RAM: the time beyond the step is a rough guess")
    if abs(scale - 1) > 1e-9 and table.clock_mhz:
        notes.append(f"fitted at {table.clock_mhz:g} MHz, scaled to {board.cpu.clock_mhz:g} MHz")
        low, high = low * 0.9, high * 1.15
    if SIMILAR_CORES.get(board.cpu.core, "") not in ("", board.cpu.core) and table.unit.startswith("Cortex"):
        notes.append(f"no figures of {board.cpu.core}: those of {table.unit} used")
        low, high = low * 0.7, high * 1.5
    return low, high, notes


def _bound(times: Iterable[OpTime]) -> str:
    """What most of the time goes to."""
    shares: dict[str, float] = {}
    for entry in times:
        shares[entry.bound] = shares.get(entry.bound, 0.0) + entry.ms
    return max(shares, key=lambda name: shares[name], default="compute")


# --- with memory, and variants ------------------------------------------------------------------


def assess(
    path: Path,
    board: Board,
    version: str = "",
    limits: Limits | None = None,
    what_if: tuple[str, ...] = (),
    others: tuple[tuple[str, Path], ...] = (),
) -> Footprint:
    """Memory and latency of a file on a board, checked against budgets, and the same of variants.

    `what_if` holds changes such as `imgsz=192,256` or `granularity=per-tensor,per-channel`; `others` are files to set
    beside this one, each with the name of its change.
    Raises InputError where the file is not sound or a change is not known.
    """
    graph = load_graph(path, computing=False)
    whole = _assess(graph, path, board, version, limits or Limits())
    variants = [(name, variant, path) for change in what_if for name, variant in _variants(graph, change)]
    variants += [(name, load_graph(other, computing=False), other) for name, other in others]
    found = [_what_if(name, variant, origin, board, version, limits or Limits()) for name, variant, origin in variants]
    return dataclasses.replace(whole, what_if=tuple(found))


def _assess(graph: Graph, path: Path, board: Board, version: str, limits: Limits) -> Footprint:
    found = estimate_graph(graph, path, board, version, limits)
    try:
        external = found.memory.external if found.memory else 0
        latency = estimate_latency(graph, board, version, external)
    except InputError as error:
        return dataclasses.replace(found, reasons=(*found.reasons, f"no latency estimate: {error.message}"))
    limit = limits.latency_ms or board.budget.latency_ms
    reasons = found.reasons
    if limit and latency.ms.point > limit:
        ms = latency.ms.point
        digits = next((digits for digits in range(1, 9) if round(ms, digits) > limit), 9)  # 30.0 of 30 tells nothing
        over = f"{ms - limit:.{digits}f} ms: {ms:.{digits}f} of {limit:g} ms"
        reasons = (f"latency is over its budget by {over}", *reasons)
    fits = found.fits and reasons is found.reasons
    return dataclasses.replace(found, latency=latency, reasons=reasons, fits=fits, memory_fits=found.fits)


def _what_if(name: str, graph: Graph, path: Path, board: Board, version: str, limits: Limits) -> WhatIf:
    found = _assess(graph, path, board, version, limits)
    ram = found.memory.ram.point if found.memory else float(found.activations_bytes)
    weights = found.memory.weights.point if found.memory else float(found.weights_bytes)
    ms = found.latency.ms.point if found.latency else 0.0
    software = found.support.software_epochs if found.support else 0
    return WhatIf(name, ram, weights, found.memory.external if found.memory else 0, ms, found.fits, software)


def _variants(graph: Graph, change: str) -> list[tuple[str, Graph]]:
    key, _, values = change.partition("=")
    if key == "imgsz" and values:
        sizes = values.split(",")
        if not all(size.isdigit() for size in sizes):
            raise InputError(f"--what-if {change}: not a list of sizes", "for example imgsz=192,256,320")
        return [(f"imgsz={size}", rescale(graph, int(size))) for size in sizes]
    if key == "granularity" and values and set(values.split(",")) <= {"per-tensor", "per-channel"}:
        return [(f"granularity={value}", with_granularity(graph, value)) for value in values.split(",")]
    hint = "known: imgsz=192,256,320, granularity=per-tensor,per-channel, layout=raw,split,concat, file=OTHER.tflite"
    raise InputError(f"--what-if {change}: not a known change", hint)


def with_granularity(graph: Graph, granularity: str) -> Graph:
    """The network with one scale per weight tensor, or one per output channel."""
    weights = {w.index: graph.output_channels(op) for op in graph.ops if (w := graph.weights(op)) is not None}
    tensors = []
    for tensor in graph.tensors:
        if tensor.index in weights and tensor.scales:
            count = 1 if granularity == "per-tensor" else max(weights[tensor.index], 1)
            same = (tensor.scales[0],) * count, (tensor.zero_point,) * count
            tensors.append(dataclasses.replace(tensor, scales=same[0], zero_points=same[1]))
        else:
            tensors.append(tensor)
    return dataclasses.replace(graph, tensors=tuple(tensors))
