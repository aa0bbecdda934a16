"""Budgets: what a footprint or a bench result says, held against limits of memory and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.artifacts import BaselineFigure, BenchResult, BudgetCheck, Footprint
from edgeai.artifacts.verdict import Figure
from edgeai.errors import InputError


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits of a project: bytes and milliseconds; 0 for none."""

    ram: float = 0.0
    flash: float = 0.0
    latency: float = 0.0


def figures(footprints: Sequence[Footprint], benches: Sequence[BenchResult]) -> tuple[BaselineFigure, ...]:
    """RAM and flash in bytes, latency in ms (ticks of an emulator), as the results have them.

    RAM and flash of a footprint are those that ST's tools are expected to report, else its own placement.
    """
    found = []
    for need in footprints:
        subject = f"{need.model.name} on {need.board}"
        memory = need.memory
        ram = float(need.activations_bytes) if memory is None else memory.ram.point + memory.external
        flash = float(need.weights_bytes) if memory is None else memory.weights.point
        found += [_figure(subject, "ram", ram, need.source), _figure(subject, "flash", flash, need.source)]
        if need.latency is not None:
            found.append(BaselineFigure(subject, "latency", "latency", "ms", need.latency.ms.point, "estimate"))
    for run in benches:
        subject = f"{run.model.name} on {run.protocol.board}"
        source = f"{run.protocol.link} {run.protocol.mode}".strip()
        time = run.time.mean if run.time.median is None else run.time.median
        found.append(BaselineFigure(subject, "latency", "latency", run.protocol.unit, time, source))
        memory_now = (("ram", run.memory.activations), ("flash", run.memory.weights))
        found += [_figure(subject, name, float(value), source) for name, value in memory_now if value is not None]
    return tuple(found)


def _figure(subject: str, name: str, value: float, source: str) -> BaselineFigure:
    return BaselineFigure(subject, name, "memory", "bytes", value, source)


def budget_checks(
    footprints: Sequence[Footprint], benches: Sequence[BenchResult], budgets: Budgets
) -> tuple[BudgetCheck, ...]:
    """Every footprint against its board, every bench against the limits it was run with, all against `budgets`.

    Raises InputError where a budget has nothing to be held against, or milliseconds meet an emulator's ticks.
    """
    found = [_fits(need) for need in footprints]
    found += [
        BudgetCheck(
            name=check.name,
            kind="latency" if check.unit in ("ms", "ticks") else "memory",
            subject=f"{run.model.name} on {run.protocol.board}",
            unit=check.unit,
            measured=check.measured,
            limit=check.limit,
            passed=check.passed,
            source=f"{run.protocol.link} {run.protocol.mode}".strip(),
        )
        for run in benches
        for check in run.checks
    ]
    known = figures(footprints, benches)
    limits: tuple[tuple[str, Figure, float, str], ...] = (
        ("ram", "memory", budgets.ram, "--max-ram"),
        ("flash", "memory", budgets.flash, "--max-flash"),
        ("latency", "latency", budgets.latency, "--max-latency"),
    )
    for name, kind, limit, option in limits:
        if not limit:
            continue
        held = [figure for figure in known if figure.name == name]
        if not held:
            raise InputError(f"{option} has no figure to hold", "pass --footprint or --bench with one")
        found += [_within(figure, kind, limit, option) for figure in held]
    return tuple(found)


def _fits(need: Footprint) -> BudgetCheck:
    return BudgetCheck(
        name="latency" if need.too_slow else "fits",
        kind="latency" if need.too_slow else "memory",
        subject=f"{need.model.name} on {need.board}",
        unit="bytes",
        measured=float(need.activations_bytes + need.weights_bytes),
        limit=0.0,
        passed=need.fits,
        source=need.source,
        note="; ".join(need.reasons),
    )


def _within(figure: BaselineFigure, kind: Figure, limit: float, option: str) -> BudgetCheck:
    if kind == "latency" and figure.unit != "ms":
        raise InputError(
            f"{figure.subject} was measured in {figure.unit}, {option} is in ms",
            "an emulator's ticks say nothing of milliseconds: bench on the board",
        )
    return BudgetCheck(
        figure.name, kind, figure.subject, figure.unit, figure.value, limit, figure.value <= limit, figure.source
    )
