"""Accuracy over a large data set in pieces: the detections of every piece, and one accumulation over all of them.

AP is computed once, from the detections in the order of the data set, so the figures are those of a single process
to the last bit, whatever the number of pieces.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import EvalResult
from edgeai.evaluate.backends import Kernels, Runner, open_runner
from edgeai.evaluate.coco import ImageDetections, check, detect, summarise
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.postprocess import Thresholds
from edgeai.evaluate.tta import View
from edgeai.recognise import NOTHING, Asked
from edgeai.sweep.engine import Engine


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a model: the arguments of `open_runner`."""

    model: Path
    kernels: Kernels | None = None
    threads: int = 1
    imgsz: int | None = None
    names: tuple[str, ...] = ()
    asked: Asked = NOTHING


def evaluate_shards(
    opening: Opening,
    dataset: Dataset,
    thresholds: Thresholds,
    shards: int,
    engine: Engine,
    progress: Callable[[int, int], None],
    views: Sequence[View] = (),
) -> EvalResult:
    """What `evaluate` gives, from `shards` pieces run by the engine. `progress` hears of pieces done and in all.

    Workers must see model and images under the same paths. Raises what `evaluate` raises; ToolError where the cluster
    is lost.
    """
    opening = dataclasses.replace(opening, model=opening.model.resolve())
    with _open(opening) as runner:
        check(runner, dataset)
        handles = [engine.submit(detect_shard, opening, piece, thresholds, views) for piece in pieces(dataset, shards)]
        progress(0, len(handles))
        for done, _ in enumerate(engine.finished(handles), start=1):
            progress(done, len(handles))
        found = [entry for handle in handles for entry in engine.outcome(handle)]
        return summarise(runner, dataset, found, thresholds, views)


def detect_shard(
    opening: Opening, piece: Dataset, thresholds: Thresholds, views: Sequence[View] = ()
) -> tuple[ImageDetections, ...]:
    """The detections of the images of a piece, in their order."""
    with _open(opening) as runner:
        return detect(runner, piece, thresholds, views=views)


def pieces(dataset: Dataset, count: int) -> list[Dataset]:
    """The images in at most `count` runs of nearly equal length, none empty, in order; without their objects."""
    images = [dataclasses.replace(image, path=image.path.resolve()) for image in dataset.images]
    count = min(count, len(images))
    bounds = [len(images) * place // count for place in range(count + 1)]
    return [
        dataclasses.replace(dataset, images=tuple(images[start:end]), objects=())
        for start, end in itertools.pairwise(bounds)
    ]


def _open(opening: Opening) -> Runner:
    return open_runner(
        opening.model,
        kernels=opening.kernels,
        threads=opening.threads,
        imgsz=opening.imgsz,
        names=opening.names,
        asked=opening.asked,
    )
