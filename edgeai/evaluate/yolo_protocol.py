"""Box and mask AP as `yolo val` shows them: the pictures, the truth and the counting of Ultralytics, on any runner.

For comparison with figures of Ultralytics only; how far these lie from COCO's, and why, is in docs/evaluation.md. The
rules are those of version 8.4.190, told by its source; figures of other versions differ by their own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import ULTRALYTICS, ClassMetric, Contract, EvalResult, Metric
from edgeai.errors import InputError
from edgeai.evaluate.backends.base import Runner
from edgeai.evaluate.blas import one_blas_thread
from edgeai.evaluate.classes import pair
from edgeai.evaluate.coco import Accuracy, check, decide_units, protocol_of, read_as_annotated, result_of
from edgeai.evaluate.dataset import Annotation, Dataset, Image
from edgeai.evaluate.decode import Candidates, Indices, decode
from edgeai.evaluate.postprocess import Thresholds, suppressed
from edgeai.evaluate.yolo_ap import Hits, average_precisions, box_ious, hits, mask_ious
from edgeai.evaluate.yolo_frames import BATCH, STRIDE, Frame, frames, picture
from edgeai.evaluate.yolo_truth import Label, as_label, boxes, masks
from edgeai.imaging.images import DESCRIPTION

RULES = "8.4.190's rules"
RECTANGLES = f"rectangles, a shape for {BATCH} images, padded with 114"


def evaluate_as_ultralytics(
    runner: Runner, dataset: Dataset, thresholds: Thresholds, progress: Callable[[], object] | None = None
) -> EvalResult:
    """Box AP, and mask AP of a segmentation model, of `runner` on `dataset` as `yolo val` shows them.

    Metrics as of `coco.measure`, in percent points; no matches, since intervals are computed of COCO's AP. A runner of
    free input size is shown rectangles. `progress` is called after every image. Raises InputError as `coco.evaluate`.
    """
    check(runner, dataset)
    pairing = pair(runner.contract.spec.names, dataset)
    found: list[tuple[Hits, ...]] = []
    with one_blas_thread():
        decide_units(runner, dataset)
        # boxes as shares of a square would be something else in a rectangle
        rectangles = runner.any_shape and runner.contract.box_unit == 1.0
        for image, frame, labels in _shown(runner, dataset, pairing.ids, rectangles):
            found.append(_held_against(runner, image, frame, labels, thresholds))
            if progress is not None:
                progress()
    if not any(len(kinds[0].objects) for kinds in found):
        raise InputError(f"{dataset.name} has no object of the model's classes", "use more images")
    names = {category.id: category.name for category in dataset.categories}
    metrics, per_class = _figures(found, [names[number] for number in pairing.ids])
    protocol = protocol_of(
        runner,
        dataset,
        thresholds,
        letterbox=RECTANGLES if rectangles else DESCRIPTION,
        metric_tool=f"{ULTRALYTICS} {RULES}",
    )
    count = sum(len(kinds[0].scores) for kinds in found)
    return result_of(runner, dataset, protocol, Accuracy(metrics, per_class, ()), count)


def _shown(
    runner: Runner, dataset: Dataset, ids: Sequence[int], rectangles: bool
) -> Iterator[tuple[Image, Frame, list[Label]]]:
    """Every image with its frame and the objects of the model's classes in it, crowds and repetitions left out."""
    classes = {number: label for label, number in enumerate(ids)}
    inside: dict[int, list[Annotation]] = {image.id: [] for image in dataset.images}
    for entry in dataset.objects:
        if entry.category_id in classes and not entry.crowd:
            inside[entry.image_id].append(entry)
    outlined = dataset.has_masks
    stride = max((STRIDE, *runner.contract.spec.strides))
    for image, frame in frames(dataset.images, runner.input_size, rectangles, stride):
        labels = {}
        for entry in inside[image.id]:
            label = as_label(entry, classes[entry.category_id], image.height, image.width, outlined)
            labels[label.label, label.box.tobytes(), label.outline.tobytes()] = label
        yield image, frame, list(labels.values())


def _held_against(
    runner: Runner, image: Image, frame: Frame, labels: Sequence[Label], thresholds: Thresholds
) -> tuple[Hits, ...]:
    """The hits of boxes, and of masks where the network draws them, in one image."""
    outputs = runner.infer(picture(read_as_annotated(image), frame))
    contract = runner.see(outputs, thresholds.conf)
    found = decode(outputs, contract, thresholds.conf)
    kept = first_of_equals(found, contract, thresholds)
    scores, classes = found.scores[kept], found.classes[kept]
    objects = np.array([label.label for label in labels], np.int64)
    ious = [box_ious(boxes(labels, frame), found.boxes[found.rows[kept]])]
    if found.proto is not None:
        ious.append(mask_ious(masks(labels, frame), _masks(found, found.rows[kept], found.proto, frame)))
    return tuple(Hits(hits(each, objects, classes), scores, classes, objects) for each in ious)


def first_of_equals(found: Candidates, contract: Contract, thresholds: Thresholds) -> Indices:
    """The candidates that stay, best first. Of equal scores the earlier one is better, as in torchvision; `nms` takes
    the later one, and is shown them the other way round."""
    if contract.layout == "end2end":
        return suppressed(found, contract, thresholds)
    turned = replace(found, rows=found.rows[::-1], scores=found.scores[::-1], classes=found.classes[::-1])
    result: Indices = len(found.scores) - 1 - suppressed(turned, contract, thresholds)
    return result


def _masks(found: Candidates, rows: Indices, proto: NDArray[np.float32], frame: Frame) -> NDArray[np.bool_]:
    """Masks [K, h, w] at the size of the prototypes: where the logit is above 0, inside the box."""
    height, width, coefs = proto.shape
    logits = (found.coefs[rows] @ proto.reshape(-1, coefs).T).reshape(-1, height, width)
    x1, y1, x2, y2 = (found.boxes[rows] * np.array([width / frame.columns, height / frame.rows] * 2, np.float32)).T
    across, down = np.arange(width)[None], np.arange(height)[None]
    columns = (across >= x1[:, None]) & (across < x2[:, None])
    lines = (down >= y1[:, None]) & (down < y2[:, None])
    result: NDArray[np.bool_] = (logits > 0) & lines[:, :, None] & columns[:, None, :]
    return result


def _figures(
    found: Sequence[tuple[Hits, ...]], names: Sequence[str]
) -> tuple[tuple[Metric, ...], tuple[ClassMetric, ...]]:
    """The metrics, and AP of every class that has objects; `names` are those of the categories, by class."""
    metrics: list[Metric] = []
    per_class: list[ClassMetric] = []
    for prefix, images in zip(("box", "mask"), zip(*found, strict=True), strict=False):
        of_class = average_precisions(images)
        table = 100 * np.stack(list(of_class.values()))
        for suffix, part in (("ap", table), ("ap50", table[:, 0]), ("ap75", table[:, 5])):
            metrics.append(Metric(f"{prefix}_{suffix}", float(part.mean())))
        per_class += [
            ClassMetric(names[label], f"{prefix}_ap", float(line.mean()) * 100) for label, line in of_class.items()
        ]
    return tuple(metrics), tuple(per_class)
