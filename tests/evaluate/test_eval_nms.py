"""NMS against a plain loop, with ties, touching boxes and many classes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeai.evaluate.nms import nms


def brute_force(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64], iou: float, max_det: int
) -> list[int]:
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], -i))
    kept: list[int] = []
    for i in order:
        if all(classes[i] != classes[j] or overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept[:max_det]


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(float(width), 0.0) * max(float(height), 0.0)
    union = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - common
    return common / union if union > 0 else 0.0


@pytest.mark.parametrize("seed", range(24))
def test_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 700))
    # few centres and few levels of score: chains of overlaps and many ties, as int8 outputs have them
    centres = rng.uniform(20, 200, (8, 2))[rng.integers(0, 8, count)] + rng.normal(0, 3, (count, 2))
    sizes = rng.uniform(15, 40, (count, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
    scores = (rng.integers(1, 20, count) / 20).astype(np.float32)
    classes = rng.integers(0, 3, count)
    iou, max_det = float(rng.choice([0.3, 0.5, 0.7])), int(rng.choice([5, 60, 300]))
    assert nms(boxes, scores, classes, iou, max_det).tolist() == brute_force(boxes, scores, classes, iou, max_det)


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (3, 1))
    kept = nms(boxes, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 1, 0]))
    assert kept.tolist() == [1, 2]


def test_boxes_without_area_and_no_boxes() -> None:
    boxes = np.zeros((2, 4), np.float32)
    assert nms(boxes, np.array([0.2, 0.1], np.float32), np.zeros(2, np.int64)).tolist() == [0, 1]
    assert nms(boxes[:0], np.zeros(0, np.float32), np.zeros(0, np.int64)).tolist() == []


def test_only_the_best_candidates_are_looked_at() -> None:
    boxes = np.arange(40, dtype=np.float32).reshape(10, 4) + np.array([0, 0, 5, 5], np.float32) * 100
    scores = np.linspace(0.1, 1, 10, dtype=np.float32)
    assert set(nms(boxes, scores, np.arange(10), max_candidates=3).tolist()) == {7, 8, 9}
