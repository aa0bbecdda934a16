"""`edgeai quantize --search`: every layout and granularity, and the cheapest that is accurate enough."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import Granularity, Layout, SweepResult
from edgeai.cli.progress import Progress
from edgeai.cli.sweep import trade_off
from edgeai.errors import AccuracyError
from edgeai.project import CalibrationSection, EvaluationSection, Project


def search(
    project: Project,
    model: Path,
    imgsz: int,
    board: str,
    layout: Layout | None,
    granularity: Granularity | None,
    recipe: Path | None,
    calibration: CalibrationSection,
    evaluation: EvaluationSection,
    max_drop: float,
) -> tuple[Layout, Granularity, SweepResult]:
    """Layout and granularity of the cheapest file within the budget, and the whole table.

    Raises AccuracyError where none is accurate enough and fits the board; the table was shown then.
    """
    from edgeai.sweep.engine import Inline
    from edgeai.sweep.run import run_sweep
    from edgeai.sweep.search import cheapest, search_plan

    plan = search_plan(model, imgsz, board, layout, granularity, recipe, calibration, evaluation)
    with Progress("search") as progress:

        def show(done: int, total: int) -> None:
            progress.total = total
            progress.advance(done - progress.done)

        result = run_sweep(plan, project.cache, Inline(), show)
    click.echo(trade_off(result), err=True)
    best = cheapest(result, max_drop)
    if best is None:
        raise AccuracyError(
            f"nothing that fits {board} loses at most {max_drop:g} points",
            "allow more with --max-drop, or a larger --imgsz; edgeai debug names the layer that loses most",
        )
    return best.point.layout, best.point.granularity, result
