"""Instance masks at the size of the image, as run lengths.

A mask is `coefs · proto > 0`, brought from the size of the prototypes to the size of the image by bilinear
interpolation of the logits (half-pixel centres), inside its box. Only the part of the image under the box is computed,
and straight in column order, which is the order of COCO's run lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask of `height` x `width` pixels in COCO's compressed run-length form."""

    height: int
    width: int
    counts: bytes


def encode_masks(
    boxes: NDArray[np.float32], coefs: NDArray[np.float32], proto: NDArray[np.float32], height: int, width: int
) -> tuple[Rle, ...]:
    """The masks of K detections, each `height` x `width` pixels of the image.

    `boxes` [K, 4] xyxy in image pixels, within the image; `coefs` [K, nm]; `proto` [h, w, nm] of the letterboxed input.
    A pixel x belongs to a box where x1 <= x < x2, as in the YOLO frameworks.
    """
    if not len(boxes):
        return ()
    rows, columns, _ = proto.shape
    top, bottom, left, right = _content(rows, columns, height, width)
    logits = (coefs @ proto.reshape(rows * columns, -1).T).reshape(-1, rows, columns)[:, top:bottom, left:right]
    down, across = _interpolation(height, bottom - top), _interpolation(width, right - left)
    edges = np.ceil(boxes).astype(np.int64).tolist()
    runs = [_runs(logits[k], down, across, box, height, width) for k, box in enumerate(edges)]
    return _compress(runs, height, width)


def _content(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The part of the prototypes that the image covers (top, bottom, left, right): the rest is letterbox padding."""
    gain = min(rows / height, columns / width)
    pad_y, pad_x = (rows - height * gain) / 2, (columns - width * gain) / 2
    top, left = round(pad_y - 0.1), round(pad_x - 0.1)
    bottom, right = rows - round(pad_y + 0.1), columns - round(pad_x + 0.1)
    return top, max(bottom, top + 1), left, max(right, left + 1)


@dataclass(frozen=True, slots=True)
class _Interpolation:
    """One axis of a bilinear resize as a matrix [size, source]; row i reads sources first[i] .. last[i]."""

    weights: NDArray[np.float32]
    first: tuple[int, ...]
    last: tuple[int, ...]


@lru_cache(maxsize=64)
def _interpolation(size: int, source: int) -> _Interpolation:
    position = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    first = np.floor(position).astype(np.int64)
    last = np.minimum(first + 1, source - 1)
    weights = np.zeros((size, source), np.float32)
    weights[np.arange(size), first] = 1 - (position - first)
    weights[np.arange(size), last] += (position - first).astype(np.float32)
    return _Interpolation(weights, tuple(first.tolist()), tuple(last.tolist()))


def _runs(
    logits: NDArray[np.float32],
    down: _Interpolation,
    across: _Interpolation,
    box: Sequence[int],
    height: int,
    width: int,
) -> NDArray[np.int64]:
    """Run lengths of one mask, zeros first, in column order. `box` is xyxy in whole pixels, ends excluded."""
    x1, y1, x2, y2 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    if x1 >= x2 or y1 >= y2:
        return np.array([height * width])
    c1, c2 = across.first[x1], across.last[x2 - 1] + 1
    r1, r2 = down.first[y1], down.last[y2 - 1] + 1
    patch = logits[r1:r2, c1:c2]
    if patch.max() <= 0:  # bilinear interpolation stays within the range of what it reads
        return np.array([height * width])
    mask = np.matmul(across.weights[x1:x2, c1:c2] @ patch.T, down.weights[y1:y2, r1:r2].T)
    return _column_runs(mask, x1, y1, height, width)


def _column_runs(mask: NDArray[np.float32], x: int, y: int, height: int, width: int) -> NDArray[np.int64]:
    """Run lengths of a whole image that is `mask` > 0 (given as [columns, rows]) at x, y and zero elsewhere."""
    columns, rows = mask.shape
    # a zero before every column and one at the end: no run crosses from one column to the next
    flat = np.zeros(columns * (rows + 1) + 1, np.bool_)
    np.greater(mask, 0, out=flat[:-1].reshape(columns, rows + 1)[:, 1:])
    change = np.flatnonzero(flat[1:] != flat[:-1])
    place = change + change // (rows + 1) * (height - rows - 1) + (x * height + y)
    if rows == height:  # here columns do touch: a run that ends where the next begins is one run
        touch = place[1:] == place[:-1]
        keep = np.ones(len(place), np.bool_)
        keep[1:][touch] = False
        keep[:-1][touch] = False
        place = place[keep]
    ends = np.concatenate([[0], place, [height * width]])
    runs: NDArray[np.int64] = ends[1:] - ends[:-1]
    return runs[:-1] if runs[-1] == 0 else runs


def _compress(runs: Sequence[NDArray[np.int64]], height: int, width: int) -> tuple[Rle, ...]:
    from pycocotools import mask as coco_mask

    coded = coco_mask.frPyObjects([{"size": [height, width], "counts": run} for run in runs], height, width)
    return tuple(Rle(height=height, width=width, counts=entry["counts"]) for entry in coded)
