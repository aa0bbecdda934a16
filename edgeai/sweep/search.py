"""The cheapest way to quantise a model that loses no more than a given accuracy."""

from __future__ import annotations

from pathlib import Path

from edgeai.artifacts import Granularity, Layout, SweepFigures, SweepResult, SweepRow
from edgeai.files import file_ref
from edgeai.project import CalibrationSection, EvaluationSection
from edgeai.sweep.plan import Axes, Plan, SweepFile

LAYOUTS: tuple[Layout, ...] = ("raw", "split", "concat")
GRAINS: tuple[Granularity, ...] = ("per-channel", "per-tensor")


def search_plan(
    model: Path,
    imgsz: int,
    board: str,
    layout: Layout | None,
    granularity: Granularity | None,
    recipe: Path | None,
    calibration: CalibrationSection,
    evaluation: EvaluationSection,
) -> Plan:
    """Every layout and granularity, but for those that are given; an ONNX file has the outputs it has."""
    fixed = layout or ("raw" if model.suffix.lower() == ".onnx" else None)
    axes = Axes(
        models=(str(model.resolve()),),
        imgsz=(imgsz,),
        layout=(fixed,) if fixed else LAYOUTS,
        granularity=(granularity,) if granularity else GRAINS,
        recipes=(str(recipe.resolve()) if recipe else "",),
        boards=(board,),
    )
    return Plan("search", Path.cwd(), file_ref(model), SweepFile(axes, calibration, evaluation))


def cheapest(result: SweepResult, max_drop: float) -> SweepRow | None:
    """The row that loses at most `max_drop` points, fits, and is fastest; of equals the one with least RAM, then the
    more accurate. None where there is no such row; rows that failed are passed over."""
    within = [(row, row.figures) for row in result.rows if row.figures and row.figures.fits]
    allowed = [(row, found) for row, found in within if found.drop <= max_drop]
    return min(allowed, key=lambda pair: _price(pair[1]), default=(None, None))[0]


def _price(found: SweepFigures) -> tuple[float, float, float]:
    return found.latency.point if found.latency else 0.0, found.ram.point, -found.accuracy
