"""What a worker does: the cached stages of one point, as functions of plain data that can be sent to it.

A finished stage is in the cache, so whatever a lost worker had finished is there for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import EvalResult, Footprint, Granularity
from edgeai.board import Board
from edgeai.cache import StageCache, StageOutput
from edgeai.errors import InputError
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.quantize.ranges.calibration import open_calibration

if TYPE_CHECKING:
    from edgeai.evaluate.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Site:
    """Where the inputs and the cache are. Every worker must see them under the same paths."""

    cache: Path
    calibration: Path
    calibration_limit: int
    calibration_seed: int
    images: Path | None
    annotations: Path
    image_limit: int
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A point up to the ranges of its activations: what both granularities share."""

    model: Path
    recipe: Recipe


class SilentListener:
    """A worker has no terminal."""

    def start(self, stage: str) -> None: ...
    def tick(self, done: int, total: int) -> None: ...
    def end(self, stage: str, output: StageOutput, seconds: float) -> None: ...
    def fail(self) -> None: ...


def prepare(site: Site, model: Path, recipe: Recipe) -> Prepared:
    """Export, convert and calibrate, so that two granularities do not both start with it and one wait for the other."""
    stages, photos = _stages(site), open_calibration(site.calibration, site.calibration_limit, site.calibration_seed)
    _, tflite, converted = stages.float_tflite(model, recipe, photos)
    stages.ranges(tflite, converted.contract, photos, recipe.method)
    return Prepared(model, recipe)


def reference(site: Site, model: Path, recipe: Recipe) -> EvalResult:
    """Accuracy of the float network with raw outputs."""
    photos = open_calibration(site.calibration, site.calibration_limit, site.calibration_seed)
    onnx, _ = _stages(site).float_onnx(model, recipe, photos)
    return _evaluated(site, onnx)


def quantize(site: Site, prepared: Prepared, granularity: Granularity) -> Path:
    """The int8 file, in the cache."""
    photos = open_calibration(site.calibration, site.calibration_limit, site.calibration_seed)
    wanted = replace(prepared.recipe, granularity=granularity)
    return _stages(site).quantized(prepared.model, wanted, photos)[0]


def evaluate(site: Site, model: Path, board: Board | None = None) -> EvalResult:
    """Accuracy of an int8 file; with `board` as that runs it. Raises InputError where that is not known."""
    if board is None:
        return _evaluated(site, model)
    result = _stages(site).evaluated_on(model, board, _dataset(site))
    if result is None:
        raise InputError(f"what {board.name} makes of {model.name} is not known", "take per-tensor files for it")
    return result


def assess(model: Path, board: Board) -> Footprint:
    """Memory and latency of an int8 file on a board."""
    from edgeai.latency.estimate import assess as footprint

    return footprint(model, board)


def _evaluated(site: Site, model: Path) -> EvalResult:
    return _stages(site).evaluated(model, _dataset(site))


def _dataset(site: Site) -> Dataset:
    from edgeai.evaluate.ground_truth import read_dataset

    return read_dataset(site.images, site.annotations, site.image_limit or None, site.skip_bad)


def _stages(site: Site) -> Stages:
    return Stages(StageCache(site.cache), SilentListener())
