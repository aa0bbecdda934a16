"""The error table of the estimators: every published row with a model file against its estimate."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeai.artifacts import EstimateError, EstimateRow, EstimatorReport, Quantity
from edgeai.board import Board, load_board
from edgeai.errors import InputError
from edgeai.footprint.golden import GoldenRow, golden_rows
from edgeai.footprint.memory import estimate_memory
from edgeai.footprint.planner import Plan
from edgeai.footprint.rescale import rescale
from edgeai.footprint.tables import tables
from edgeai.graph import load_graph
from edgeai.graph.types import Graph
from edgeai.latency.constants import LatencyTable, latency_tables, prior_tables
from edgeai.latency.estimate import estimate_latency, weights_are_far, with_granularity
from edgeai.latency.fit import Sample, as_toml, fit, sample, scaled

BOARDS = {
    "n6": "STM32N6570-DK", "mp2": "STM32MP257F-EV1", "mp1": "STM32MP157F-DK2", "mcu": "STM32H747I-DISCO"
}  # fmt: skip
OTHER_BOARDS = {"B-U585I-IOT02A": "B-U585I-IOT02A"}
KIB = 1024
NOTHING = Plan((), (), 0)

# Caveats that leave a value usable, by a piece of their text: (text, quantities that it spoils).
HARMLESS = (
    ("weights equal the STM32H7", ("weights",)),
    ("inf/s", ()),
    ("labelled per-channel", ()),
    ("memory identical to 4.0.0", ("weights",)),
)


def validate(published: Path) -> EstimatorReport:
    """Re-computes everything; the folder as `golden_rows` takes it."""
    found = [row for golden in golden_rows(published) for row in estimated(golden)]
    keys = sorted({(r.target, r.quantity, r.version, r.split) for r in found})
    groups = [[r for r in found if (r.target, r.quantity, r.version, r.split) == key and r.used] for key in keys]
    merged = [[r for r in found if (r.target, r.quantity, r.split) == key and r.used] for key in _pairs(found)]
    exact = [(_exact(group), "") for group in groups] + [(_exact(group), "all") for group in merged]
    return EstimatorReport(
        tables=(tables().version, latency_tables().version),
        errors=tuple(_error(group) for group in groups if group)
        + tuple(_error(g, "all") for g in merged if g)
        + tuple(dataclasses.replace(_error(g, version), split="report, exact file") for g, version in exact if g),
        rows=tuple(found),
    )


def _pairs(rows: Iterable[EstimateRow]) -> list[tuple[str, str, str]]:
    return sorted({(r.target, r.quantity, r.split) for r in rows})


def _exact(rows: Sequence[EstimateRow]) -> list[EstimateRow]:
    """Those of the reporting split whose file is certainly the measured one."""
    return [r for r in rows if r.split == "report" and r.match == "exact"]


def _error(rows: Sequence[EstimateRow], version: str = "") -> EstimateError:
    errors = sorted(100 * abs(r.estimated / r.published - 1) for r in rows)
    inside = sum(1 for r in rows if r.low <= r.published <= r.high)
    first = rows[0]
    return EstimateError(
        target=first.target,
        version=version or first.version,
        quantity=first.quantity,
        split=first.split,
        n=len(rows),
        median=(errors[(len(errors) - 1) // 2] + errors[len(errors) // 2]) / 2,
        p90=errors[min(len(errors) - 1, -(-9 * len(errors) // 10) - 1)],
        worst=errors[-1],
        mean=sum(errors) / len(errors),
        covered=100 * inside / len(rows),
    )


def estimated(golden: GoldenRow) -> list[EstimateRow]:
    """One row for each published value of a golden row: Core RAM, Core flash, latency."""
    board, graph = board_of(golden), network(golden)
    found = []
    if golden.target not in ("mp1", "mp2"):
        try:
            memory = estimate_memory(graph, board, golden.version, NOTHING)
        except InputError:
            return []
        ram = golden.internal_kib if golden.target == "n6" else golden.activations_kib
        # an external figure would make the internal one meaningless: the pools are full then
        if ram and not golden.external_kib:
            found.append(_row(golden, "Core RAM KiB", ram, _scaled(memory.ram)))
        if golden.weights_kib:
            found.append(_row(golden, "Core flash KiB", golden.weights_kib, _scaled(memory.weights)))
    if golden.latency_ms and (golden.target != "mcu" or golden.board in (*BOARDS.values(), *OTHER_BOARDS)):
        latency = estimate_latency(graph, at_table_clock(board, golden), golden.version)
        found.append(_row(golden, _latency_name(golden, graph), golden.latency_ms, latency.ms))
    return found


def _latency_name(golden: GoldenRow, graph: Graph) -> str:
    """MP2's two kinds of files have errors of their own."""
    if golden.target != "mp2":
        return "latency ms"
    channel = sum(1 for op in graph.ops if (w := graph.weights(op)) is not None and w.per_channel)
    return "latency ms, per-channel" if channel > len(graph.ops) // 8 else "latency ms, per-tensor"


def board_of(golden: GoldenRow) -> Board:
    return load_board(OTHER_BOARDS.get(golden.board, BOARDS[golden.target]))


def at_table_clock(board: Board, golden: GoldenRow) -> Board:
    """ST measures the H747 at 400 MHz, whatever the profile's clock."""
    if golden.target == "mcu" and board.name == BOARDS["mcu"]:
        return dataclasses.replace(board, cpu=dataclasses.replace(board.cpu, clock_mhz=400.0))
    return board


def network(golden: GoldenRow) -> Graph:
    """The network of a golden row, scaled where the file is a stand-in."""
    graph = load_graph(golden.file, computing=False)
    graph = rescale(graph, golden.imgsz) if golden.imgsz else graph
    return with_granularity(graph, golden.granularity) if golden.granularity else graph


def _scaled(quantity: Quantity) -> Quantity:
    return Quantity(quantity.low / KIB, quantity.point / KIB, quantity.high / KIB, "KiB")


def _row(golden: GoldenRow, quantity: str, published: float, found: Quantity) -> EstimateRow:
    return EstimateRow(
        row=golden.row,
        model=golden.model,
        target=golden.target,
        version=golden.version,
        quantity=quantity,
        split=golden.split,
        match=golden.match,
        published=published,
        estimated=found.point,
        low=found.low,
        high=found.high,
        used=_usable(golden.caveat, quantity),
        caveat=golden.caveat,
    )


def _usable(caveat: str, quantity: str) -> bool:
    if not caveat:
        return True
    parts = [part for text, part in HARMLESS if text in caveat]
    return bool(parts) and not any(quantity.startswith(name) for names in parts for name in names)


HEAD = """Constants of the latency model, nanoseconds per unit of work: priors.toml, its rates fitted to the fit split.
Written by `edgeai validate-estimators --published DIR --refit`; do not edit."""


def refit(published: Path) -> str:
    """The text of latency.toml, fitted anew from priors.toml on the fit split. About half a minute."""
    rows = [g for g in golden_rows(published) if g.latency_ms and g.split == "fit" and _usable(g.caveat, "latency")]
    priors = prior_tables()
    found: list[LatencyTable] = []
    for i, table in enumerate(priors.table):
        if table.factor:
            found.append(scaled(table, found[-1]))
            continue
        followers = itertools.takewhile(lambda t: t.factor, priors.table[i + 1 :])
        factors = {_major(v): t.factor or 1.0 for t in (table, *followers) for v in t.versions}
        samples = [
            _sample(golden, table, factors[_major(golden.version)])
            for golden in rows
            if _unit(golden) == table.unit and _major(golden.version) in factors
        ]
        found.append(fit(table, samples) if samples else table)
    return as_toml(dataclasses.replace(priors, table=tuple(found)), HEAD)


def _sample(golden: GoldenRow, table: LatencyTable, factor: float) -> Sample:
    graph = network(golden)
    target = "mcu" if table.unit.startswith("Cortex") else table.unit
    return sample(graph, golden, table, target, factor, weights_are_far(graph, board_of(golden)))


def _major(version: str) -> str:
    return version.split(".", maxsplit=1)[0]


def _unit(golden: GoldenRow) -> str:
    return golden.target if golden.target in ("n6", "mp2") else board_of(golden).cpu.core
