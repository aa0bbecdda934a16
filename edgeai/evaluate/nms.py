"""Class-aware greedy non-maximum suppression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IOU = 0.7
MAX_DETECTIONS = 300
MAX_CANDIDATES = 30000
BLOCK = 256


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    iou: float = IOU,
    max_det: int = MAX_DETECTIONS,
    max_candidates: int = MAX_CANDIDATES,
) -> NDArray[np.int64]:
    """Indices of the boxes that greedy NMS keeps, by descending score; of equal scores the later box comes first.

    `boxes` [K, 4] xyxy in any unit, `scores` [K], `classes` [K]. A box falls to a better one of its class with
    IoU > `iou`. Only the best `max_candidates` are looked at, and the first `max_det` that stay are returned.
    """
    # int8 scores tie often: the later anchor is of the coarser level, whose boxes are the better ones of the two
    order = np.argsort(scores, kind="stable")[::-1][:max_candidates]
    kept = np.empty(0, np.int64)
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        if len(kept):
            beaten = _conflicts(boxes, classes, kept, block, iou).any(axis=0)
            block = block[~beaten]
        block = block[_greedy(np.triu(_conflicts(boxes, classes, block, block, iou), 1))]
        kept = np.concatenate([kept, block])
        if len(kept) >= max_det:
            break
    return kept[:max_det]


def _greedy(conflicts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of B sorted boxes stay; `conflicts[i, j]` says that i, where it stays, removes j > i.

    Greedy NMS is the only fixed point of "j stays unless some i that stays removes it". Every pass settles at
    least one more box of the sorted list, in practice nearly all of them: two to four passes.
    """
    keep: NDArray[np.bool_] = np.ones(len(conflicts), np.bool_)
    while True:
        following = np.logical_not(conflicts[keep].any(axis=0))
        if np.array_equal(following, keep):
            return keep
        keep = following


def _conflicts(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], iou: float
) -> NDArray[np.bool_]:
    """[A, B]: same class and IoU above `iou`, for the boxes with indices `a` and `b`."""
    left, top, right, bottom = boxes[a].T[:, :, None]
    left_b, top_b, right_b, bottom_b = boxes[b].T[:, None, :]
    width = np.minimum(right, right_b) - np.maximum(left, left_b)
    height = np.minimum(bottom, bottom_b) - np.maximum(top, top_b)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    union = (right - left) * (bottom - top) + (right_b - left_b) * (bottom_b - top_b) - common
    same = classes[a][:, None] == classes[b][None, :]
    # a product instead of a quotient: boxes without area have IoU 0, not 0/0
    result: NDArray[np.bool_] = same & (common > np.float32(iou) * union)
    return result
