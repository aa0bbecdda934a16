"""Matching and average precision as `yolo val` counts them, told by Ultralytics' source and written anew.

What differs from COCO's: precision runs in straight lines between the points of its curve instead of in steps; the area
is that under 101 points of it; an object that a better detection has taken leaves the next one to look at the rest; and
nothing is ignored, be it a crowd or the 101st detection of a class in an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10, dtype=np.float32)
RECALLS = np.linspace(0.0, 1.0, 101)
TINY = np.float32(1e-7)  # keeps two empty areas from being divided by each other


@dataclass(frozen=True, slots=True)
class Hits:
    """What AP is made of, of one image: K detections, best first. `right` [K, 10] says at which IoU threshold a
    detection hit an object; `scores` [K]; `classes` [K]; `objects`: the class of every object."""

    right: NDArray[np.bool_]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    objects: NDArray[np.int64]


def box_ious(objects: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU [M, K] of boxes xyxy [M, 4] and [K, 4]."""
    low = np.maximum(objects[:, None, :2], found[None, :, :2])
    high = np.minimum(objects[:, None, 2:], found[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    area, other = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (objects, found))
    result: NDArray[np.float32] = common / (area[:, None] + other[None] - common + TINY)
    return result


def mask_ious(objects: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """IoU [M, K] of masks [M, h, w] and [K, h, w]."""
    size = objects.shape[1] * objects.shape[2]
    one, other = (masks.reshape(len(masks), size).astype(np.float32) for masks in (objects, found))
    common = one @ other.T
    result: NDArray[np.float32] = common / (one.sum(axis=1)[:, None] + other.sum(axis=1)[None] - common + TINY)
    return result


def hits(ious: NDArray[np.float32], objects: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of K detections, best first, hit one of M objects of their class: [K, 10], by IoU threshold.

    `ious` [M, K]; `objects` [M] and `classes` [K] are classes. A detection takes, of the objects nobody has taken at
    that threshold, the one that it overlaps most.
    """
    result = np.zeros((len(classes), len(THRESHOLDS)), np.bool_)
    overlap = np.where(objects[:, None] == classes[None], ious, np.float32(0))
    free = np.ones((len(objects), len(THRESHOLDS)), np.bool_)
    levels = np.arange(len(THRESHOLDS))
    for place in np.flatnonzero((overlap >= THRESHOLDS[0]).any(axis=0)):
        left = np.where(free, overlap[:, place, None], np.float32(0))  # [M, 10]
        best = left.argmax(axis=0)
        result[place] = left[best, levels] >= THRESHOLDS
        free[best[result[place]], levels[result[place]]] = False
    return result


def average_precisions(images: Sequence[Hits]) -> dict[int, NDArray[np.float64]]:
    """AP [10] in 0..1 at the IoU thresholds, of every class that has an object."""
    right = np.concatenate([image.right for image in images])
    scores = np.concatenate([image.scores for image in images])
    classes = np.concatenate([image.classes for image in images])
    counts = np.bincount(np.concatenate([image.objects for image in images]))
    order = (-scores).argsort()  # numpy's own sort, as there: int8 scores tie often, and ties in no order move AP
    right, classes = right[order], classes[order]
    result = {}
    for label in np.flatnonzero(counts).tolist():
        mine = right[classes == label]
        result[label] = np.array([area(mine[:, level], counts[label]) for level in range(len(THRESHOLDS))])
    return result


def area(right: NDArray[np.bool_], objects: int) -> float:
    """The area under precision over recall, of detections by descending score and `objects` objects.

    Precision at a recall is the highest from there on; it starts at 1, falls to 0 behind the last recall reached, and
    is read at 101 recalls between which it is taken for straight.
    """
    if not len(right):
        return 0.0
    true = np.cumsum(right)
    recall = true / objects
    precision = true / np.arange(1, len(right) + 1)
    across = np.concatenate([[0.0], recall, [recall[-1], 1.0]])
    up = np.concatenate([[1.0], precision, [0.0, 0.0]])
    highest = np.maximum.accumulate(up[::-1])[::-1]
    return float(np.trapezoid(np.interp(RECALLS, across, highest), RECALLS))
