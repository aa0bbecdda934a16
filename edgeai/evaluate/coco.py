"""Box and mask AP by pycocotools, on one data set under one protocol."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import ClassMetric, EvalProtocol, EvalResult, Fact, Matches, Metric, Provenance
from edgeai.errors import InputError
from edgeai.evaluate.backends.base import Runner, package_version
from edgeai.evaluate.blas import one_blas_thread
from edgeai.evaluate.bootstrap import packed_class
from edgeai.evaluate.classes import pair
from edgeai.evaluate.dataset import Dataset, Image
from edgeai.evaluate.nms import IOU, MAX_DETECTIONS
from edgeai.evaluate.postprocess import Detections, Thresholds, postprocess
from edgeai.evaluate.tta import View, describe, detect_views
from edgeai.imaging.images import DESCRIPTION, letterbox, read_image

# COCO's AP looks at the 100 best detections of a class in an image, and at objects of every size
COCO_MAX_DETECTIONS = 100
DECIDING_IMAGES = 32
EVERY_SIZE = [0.0, 1e10]


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """What a model found in one image of a data set."""

    image_id: int
    found: Detections


@dataclass(frozen=True, slots=True)
class Accuracy:
    """AP figures in percent points: overall, and AP per category that has objects; and the matches behind them."""

    metrics: tuple[Metric, ...]
    per_class: tuple[ClassMetric, ...]
    matches: tuple[Matches, ...]


def evaluate(
    runner: Runner,
    dataset: Dataset,
    *,
    conf: float = 0.001,
    iou: float = IOU,
    max_det: int = MAX_DETECTIONS,
    progress: Callable[[], object] | None = None,
    views: Sequence[View] = (),
) -> EvalResult:
    """Box AP, and mask AP of a segmentation model, of `runner` on `dataset`. Same inputs give the same result.

    `views` of every image are shown to the network and merged (test-time augmentation); by default the image itself.
    `progress` is called after every image. A data set is limited when it is read. Raises InputError where classes
    and categories do not correspond, an image is unreadable or not of its annotated size, or masks are not annotated.
    """
    thresholds = Thresholds(conf, iou, max_det)
    check(runner, dataset)
    found = detect(runner, dataset, thresholds, progress, views)
    return summarise(runner, dataset, found, thresholds, views)


def check(runner: Runner, dataset: Dataset) -> None:
    """Fail before the work, not after it: classes that do not correspond, masks that are not annotated."""
    pair(runner.contract.spec.names, dataset)
    if runner.contract.spec.task == "segment":
        dataset.need_masks("mask AP needs an outline of every object")


def detect(
    runner: Runner,
    dataset: Dataset,
    thresholds: Thresholds,
    progress: Callable[[], object] | None = None,
    views: Sequence[View] = (),
) -> tuple[ImageDetections, ...]:
    """The detections of every image, in the order of the data set; one image is in memory at a time."""
    results = []
    with one_blas_thread():
        decide_units(runner, dataset)
        for image in dataset.images:
            results.append(ImageDetections(image.id, _detect_one(runner, image, thresholds, views)))
            if progress is not None:
                progress()
    return tuple(results)


def decide_units(runner: Runner, dataset: Dataset) -> None:
    """The first pictures with a sure detection decide what the file leaves open, before a weak one does."""
    for image in dataset.images[:DECIDING_IMAGES]:
        if runner.contract.box_unit:
            return
        runner.see(runner.infer(letterbox(read_image(image.path), runner.input_size)[0]))


def read_as_annotated(image: Image) -> NDArray[np.uint8]:
    """The pixels of an image [H, W, 3]. Raises InputError where they are not of the annotated size."""
    pixels = read_image(image.path)
    if pixels.shape[:2] != (image.height, image.width):
        real = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise InputError(f"{image.path.name} is {real}, annotated as {image.width}x{image.height}")
    return pixels


def _detect_one(runner: Runner, image: Image, thresholds: Thresholds, views: Sequence[View]) -> Detections:
    pixels = read_as_annotated(image)
    if views:
        return detect_views(runner, pixels, thresholds, views)
    canvas, transform = letterbox(pixels, runner.input_size)
    outputs = runner.infer(canvas)
    return postprocess(outputs, runner.see(outputs, thresholds.conf), transform, thresholds)


def summarise(
    runner: Runner,
    dataset: Dataset,
    found: Sequence[ImageDetections],
    thresholds: Thresholds,
    views: Sequence[View] = (),
) -> EvalResult:
    """The result that the detections of `detect` amount to."""
    spec = runner.contract.spec
    protocol = protocol_of(
        runner,
        dataset,
        thresholds,
        letterbox=DESCRIPTION,
        metric_tool=f"pycocotools {package_version('pycocotools').value}",
        augmentation=describe(views, runner.input_size) if views else "none",
    )
    accuracy = measure(dataset, found, spec.names, masks=spec.task == "segment")
    return result_of(runner, dataset, protocol, accuracy, sum(len(entry.found.scores) for entry in found))


def protocol_of(
    runner: Runner,
    dataset: Dataset,
    thresholds: Thresholds,
    *,
    letterbox: str,
    metric_tool: str,
    augmentation: str = "none",
) -> EvalProtocol:
    """What a result of this runner on this data set was measured under."""
    return EvalProtocol(
        dataset=dataset.name,
        annotations_sha256=dataset.annotations.sha256,
        images_sha256=dataset.images_sha256,
        num_images=len(dataset.images),
        imgsz=runner.input_size,
        letterbox=letterbox,
        confidence=thresholds.conf,
        nms_iou=thresholds.iou,
        max_detections=thresholds.max_det,
        multi_label=True,
        metric_tool=metric_tool,
        augmentation=augmentation,
    )


def result_of(
    runner: Runner, dataset: Dataset, protocol: EvalProtocol, accuracy: Accuracy, detections: int
) -> EvalResult:
    """The artifact that says what was measured, of what and how."""
    contract = runner.contract
    pairing = pair(contract.spec.names, dataset)
    options = (("conf", protocol.confidence), ("iou", protocol.nms_iou), ("max_det", protocol.max_detections))
    opencv = package_version("opencv-python-headless", "opencv-python")
    provenance = Provenance(
        stage="evaluate",
        inputs=(runner.model, dataset.annotations),
        options=(*(Fact(name, str(value)) for name, value in options), *runner.options),
        versions=(package_version("pycocotools"), package_version("numpy"), opencv, *runner.versions),
        licence=contract.spec.licence,
    )
    return EvalResult(
        model=runner.model,
        name=runner.name,
        backend=runner.backend,
        precision=runner.precision,
        granularity=runner.granularity,
        layout=contract.layout,
        protocol=protocol,
        metrics=accuracy.metrics,
        per_class=accuracy.per_class,
        detections=detections,
        provenance=provenance,
        matches=accuracy.matches,
        classes_by=pairing.by,
        class_pairs=pairing.pairs,
        data=dataset.counts,
    )


def category_ids(names: Sequence[str], dataset: Dataset) -> tuple[int, ...]:
    """The category id of every class of a model (`classes.pair`). Raises InputError where they do not correspond."""
    return pair(names, dataset).ids


def measure(dataset: Dataset, found: Sequence[ImageDetections], names: Sequence[str], masks: bool) -> Accuracy:
    """AP of detections by pycocotools; of a model of fewer classes than categories, over the model's classes only.

    Metrics `box_ap` (IoU 0.50:0.95), `box_ap50`, `box_ap75`, and `mask_...` where `masks`. Raises InputError where
    masks are asked for and not annotated, or no category of the model has an object.
    """
    if masks:
        dataset.need_masks("mask AP needs an outline of every object")
    ids = category_ids(names, dataset)
    truth = _truth(dataset, masks)
    entries = [entry for image in found for entry in _results(image, ids)]
    metrics: list[Metric] = []
    per_class: list[ClassMetric] = []
    matches: list[Matches] = []
    category_names = {category.id: category.name for category in dataset.categories}
    for prefix, kind in (("box", "bbox"), ("mask", "segm"))[: 1 + masks]:
        evaluation = _matched(truth, entries, kind, dataset, ids)
        precision = _precision(evaluation)
        if not (precision > -1).any():
            raise InputError(f"{dataset.name} has no object of the model's classes", "use more images")
        for suffix, part in (("ap", precision), ("ap50", precision[:1]), ("ap75", precision[5:6])):
            metrics.append(Metric(f"{prefix}_{suffix}", _mean(part)))
        for place, category in enumerate(sorted(set(ids))):
            values = precision[:, :, place]
            if (values > -1).any():
                per_class.append(ClassMetric(category_names[category], f"{prefix}_ap", _mean(values)))
        matches.append(_matches(f"{prefix}_ap", evaluation, dataset, [category_names[i] for i in sorted(set(ids))]))
    return Accuracy(tuple(metrics), tuple(per_class), tuple(matches))


def _mean(precision: NDArray[np.float64]) -> float:
    """Mean precision in percent points; -1 marks categories without objects."""
    valid = precision[precision > -1]
    return float(valid.mean() * 100) if valid.size else 0.0


def _truth(dataset: Dataset, masks: bool) -> Any:
    from pycocotools.coco import COCO

    truth = COCO()
    truth.dataset = {
        "images": [{"id": image.id, "height": image.height, "width": image.width} for image in dataset.images],
        "categories": [{"id": category.id, "name": category.name} for category in dataset.categories],
        "annotations": [
            {
                "id": number,
                "image_id": entry.image_id,
                "category_id": entry.category_id,
                "bbox": list(entry.bbox),
                "area": entry.area,
                "iscrowd": int(entry.crowd),
                **({"segmentation": json.loads(entry.segmentation)} if masks else {}),
            }
            for number, entry in enumerate(dataset.objects, start=1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _results(image: ImageDetections, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The detections of an image as pycocotools wants them."""
    found = image.found
    corners = found.boxes.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    entries = [
        {"image_id": image.image_id, "category_id": ids[label], "bbox": box, "score": score}
        for box, score, label in zip(boxes, found.scores.tolist(), found.classes.tolist(), strict=True)
    ]
    for entry, mask in zip(entries, found.masks, strict=False):
        entry["segmentation"] = {"size": [mask.height, mask.width], "counts": mask.counts}
    return entries


def _precision(evaluation: Any) -> NDArray[np.float64]:
    """Precision [IoU 0.50:0.95, recall 0:0.01:1, category by ascending id]; -1 where it has no object."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    result: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, 0]
    return result


def _matches(metric: str, evaluation: Any, dataset: Dataset, names: Sequence[str]) -> Matches:
    """Which detections hit an object and at which IoU, image by image, category by category."""
    count = len(dataset.images)
    classes = tuple(
        packed_class(name, evaluation.evalImgs[place * count : (place + 1) * count]) for place, name in enumerate(names)
    )
    return Matches(metric, count, dataset.images_sha256, dataset.annotations.sha256, classes)


def _matched(truth: Any, entries: list[dict[str, Any]], kind: str, dataset: Dataset, ids: Sequence[int]) -> Any:
    """pycocotools' evaluation with every detection held against the objects of its image, before accumulation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        results = truth.loadRes(entries) if entries else COCO()
        evaluation = COCOeval(truth, results, kind)
        parameters = evaluation.params
        parameters.imgIds = [image.id for image in dataset.images]
        parameters.catIds = sorted(set(ids))
        parameters.areaRng, parameters.areaRngLbl = [EVERY_SIZE], ["all"]
        parameters.maxDets = [COCO_MAX_DETECTIONS]
        evaluation.evaluate()
    return evaluation


def match(dataset: Dataset, found: Sequence[ImageDetections], names: Sequence[str], masks: bool) -> tuple[Matches, ...]:
    """Which detections hit an object and at which IoU, image by image: for `box_ap`, and `mask_ap` where `masks`.

    This is all that AP is made of, so AP over any choice of the images follows from it (`evaluate.bootstrap`).
    Raises InputError as `measure` does.
    """
    return measure(dataset, found, names, masks).matches
