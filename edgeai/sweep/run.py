"""A whole sweep on an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.artifacts import SweepPoint, SweepResult, SweepRow
from edgeai.board import Board, load_board
from edgeai.cache import StageCache
from edgeai.errors import EdgeAIError
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.files import existing_file, file_ref
from edgeai.models.bundled import bundled_model
from edgeai.pipeline.stages import Recipe
from edgeai.provenance import EVALUATE_TOOLS, provenance
from edgeai.quantize.ranges.calibration import check_overlap, open_calibration
from edgeai.quantize.recipe import DEFAULT, Method, read_recipe
from edgeai.quantize.requantize import converts
from edgeai.sweep import tasks
from edgeai.sweep.engine import Engine
from edgeai.sweep.plan import Plan
from edgeai.sweep.table import figures, with_front


@dataclass(frozen=True, slots=True)
class _Handles:
    """The tasks of one point."""

    reference: Any
    quantized: Any
    evaluated: Any
    assessed: Any

    @property
    def all(self) -> tuple[Any, ...]:
        return self.reference, self.quantized, self.evaluated, self.assessed


def run_sweep(plan: Plan, cache: StageCache, engine: Engine, progress: Callable[[int, int], None]) -> SweepResult:
    """Every point of the plan. A point that cannot be made becomes a row with its error; the others go on.

    `progress` hears of tasks done and tasks in all. Raises InputError where a board or a model of the plan does not
    exist, ToolError where the cluster is lost; run again, the sweep goes on where it was.
    """
    body = plan.body
    site = tasks.Site(
        cache=cache.root.resolve(),
        calibration=plan.path(body.calibration.images),
        calibration_limit=body.calibration.limit,
        calibration_seed=body.calibration.seed,
        images=plan.path(body.evaluation.images) if body.evaluation.images else None,
        annotations=plan.path(body.evaluation.annotations),
        image_limit=body.evaluation.limit,
        skip_bad=body.evaluation.skip_bad,
    )
    overlap = _check_sets(site, body.evaluation.allow_overlap)
    boards = {name: load_board(name) for name in body.sweep.boards}
    models = {name: _model(plan, name) for name in body.sweep.models}
    methods = {name: read_recipe(plan.path(name)) if name else DEFAULT for name in body.sweep.recipes}
    handles = {
        point: _submit(engine, site, point, models[point.model], boards[point.board], methods[point.recipe])
        for point in plan.points
    }
    every = list(dict.fromkeys(handle for group in handles.values() for handle in group.all))
    progress(0, len(every))
    for done, _ in enumerate(engine.finished(every), start=1):
        progress(done, len(every))
    rows = [_row(engine, point, group) for point, group in handles.items()]
    recipes = [file_ref(plan.path(name)) for name in body.sweep.recipes if name]
    inputs = [plan.file, *recipes, *(file_ref(path) for path in models.values()), file_ref(site.annotations)]
    options: list[tuple[str, object]] = [("points", len(rows)), ("evaluation_limit", site.image_limit)]
    options += [("overlap", overlap)] if overlap else []
    return SweepResult(plan.name, with_front(rows), provenance("sweep", inputs, options, EVALUATE_TOOLS))


def _check_sets(site: tasks.Site, allow_overlap: bool) -> str:
    """Both sets read before the first task, and what there is to say of images that are in both."""
    photos = open_calibration(site.calibration, site.calibration_limit, site.calibration_seed)
    dataset = read_dataset(site.images, site.annotations, site.image_limit or None, site.skip_bad)
    return check_overlap(photos.set, dataset, allow_overlap)


def _submit(
    engine: Engine, site: tasks.Site, point: SweepPoint, model: Path, board: Board, method: Method
) -> _Handles:
    recipe = Recipe(layout=point.layout, imgsz=point.imgsz, method=method)
    prepared = engine.submit(tasks.prepare, site, model, recipe)
    quantized = engine.submit(tasks.quantize, site, prepared, point.granularity)
    changing = (board,) if converts(board, point.granularity) else ()  # else one evaluation does for all boards
    return _Handles(
        reference=engine.submit(tasks.reference, site, model, Recipe(layout="raw", imgsz=point.imgsz)),
        quantized=quantized,
        evaluated=engine.submit(tasks.evaluate, site, quantized, *changing),
        assessed=engine.submit(tasks.assess, quantized, board),
    )


def _row(engine: Engine, point: SweepPoint, handles: _Handles) -> SweepRow:
    try:
        reference, quantized, evaluated, assessed = map(engine.outcome, handles.all)
    except EdgeAIError as error:
        return SweepRow(point, None, error.message)
    return SweepRow(point, figures(file_ref(quantized), reference, evaluated, assessed))


def _model(plan: Plan, name: str) -> Path:
    path = plan.path(name)
    if not path.exists() and (bundled := bundled_model(name)) is not None:
        return bundled
    return existing_file(path, "a checkpoint or ONNX file")
