"""From the results of the tasks to rows, and which of them are worth choosing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgeai.artifacts import EvalResult, FileRef, Footprint, Quantity, SweepFigures, SweepPoint, SweepRow

HEADLINE = ("mask_ap", "box_ap", "top1")  # the accuracy a row is judged by: the first that the model has


def figures(file: FileRef, baseline: EvalResult, result: EvalResult, need: Footprint) -> SweepFigures:
    """What a point amounts to; whether it is on the front is known only when all rows are."""
    names = {metric.name for metric in result.metrics}
    metric = next(name for name in HEADLINE if name in names)
    accuracy = result.metric(metric)
    exact = Quantity(need.activations_bytes, need.activations_bytes, need.activations_bytes, "B")
    weights = Quantity(need.weights_bytes, need.weights_bytes, need.weights_bytes, "B")
    return SweepFigures(
        file=file,
        metric=metric,
        accuracy=accuracy,
        drop=baseline.metric(metric) - accuracy,
        ram=need.memory.ram if need.memory else exact,
        flash=need.memory.weights if need.memory else weights,
        latency=need.latency.ms if need.latency else None,
        fits=need.fits,
        front=False,
    )


def label(point: SweepPoint) -> str:
    """A point in words, without its board."""
    parts = (point.model, str(point.imgsz), point.layout, point.granularity, point.recipe)
    return " ".join(part for part in parts if part)


def with_front(rows: Sequence[SweepRow]) -> tuple[SweepRow, ...]:
    """The rows, with those marked that nothing beats on their board (Pareto front of accuracy, latency and RAM)."""
    return tuple(_marked(row, rows) for row in rows)


def _marked(row: SweepRow, rows: Sequence[SweepRow]) -> SweepRow:
    mine = row.figures
    if mine is None or not mine.fits:
        return row
    beaten = any(
        other.figures is not None and other.figures.fits and row.point.board == other.point.board
        and _beats(other.figures, mine)
        for other in rows
    )  # fmt: skip
    return dataclasses.replace(row, figures=dataclasses.replace(mine, front=not beaten))


def _beats(one: SweepFigures, other: SweepFigures) -> bool:
    """Whether `one` is as good in everything and better in something."""
    mine, theirs = _costs(one), _costs(other)
    return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _costs(row: SweepFigures) -> tuple[float, float, float]:
    return -row.accuracy, row.latency.point if row.latency else 0.0, row.ram.point
