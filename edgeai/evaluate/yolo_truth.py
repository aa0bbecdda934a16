"""Ground truth as `yolo val` sees it: COCO's objects as label lines of YOLO, drawn at the size of the prototypes.

Told by Ultralytics' converter and loader, and written anew. A line holds one outline in parts of the image with six
digits, so an object in several parts becomes one outline, joined where its parts are nearest; run lengths become the
outer contours of their pixels; crowds are left out. The box is that of the outline. Every outline is sampled at 1000
points, cut to whole pixels of the padded image and filled, and the picture is scaled down to a quarter; where objects
overlap, a pixel belongs to the smallest of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.evaluate.dataset import Annotation
from edgeai.evaluate.yolo_frames import Frame

DIGITS = 6  # that label lines hold
POINTS = 1000
RATIO = 4  # pixels of the input to one of the prototypes

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Label:
    """One object: its class in the model; `box` xyxy [4] and `outline` [P, 2] in 0..1 of the image. Without an outline
    P is 0."""

    label: int
    box: Floats
    outline: Floats


def as_label(entry: Annotation, label: int, height: int, width: int, outlined: bool) -> Label:
    """An object of an image of this size as a label line says it; `outlined`: the lines of the set hold outlines."""
    x, y, w, h = entry.bbox
    corners = np.array([[x, y], [x + w, y + h]])
    if not outlined:
        return Label(label, _written(corners / (width, height)).ravel(), np.zeros((0, 2), np.float32))
    parts = _parts(json.loads(entry.segmentation), height, width)
    if not parts:  # run lengths of single pixels enclose nothing
        parts = [corners[[[0, 0], [1, 0], [1, 1], [0, 1]], [0, 1]]]
    outline = _written(joined(parts) / (width, height))
    return Label(label, np.concatenate([outline.min(axis=0), outline.max(axis=0)]), outline)


def _parts(value: Any, height: int, width: int) -> list[NDArray[np.float64]]:
    """The outlines [P, 2] of a segmentation, in pixels."""
    if isinstance(value, list):
        return [np.array(part, np.float64).reshape(-1, 2) for part in value]
    import cv2
    from pycocotools import mask

    runs = mask.frPyObjects(value, height, width) if isinstance(value["counts"], list) else value
    found = cv2.findContours(mask.decode(runs), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return [part.reshape(-1, 2).astype(np.float64) for part in found if len(part) >= 3]


def _written(values: NDArray[np.float64]) -> Floats:
    """Values as a label line holds them, read back."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.ravel()], np.float32).reshape(values.shape)


def joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One outline [P, 2] of several: from each a bridge leads to the next and back, between their nearest points.

    It starts where the first bridge does, and a part in the middle is walked so that its two bridges come in the order
    of its points: where an outline starts decides where it is sampled.
    """
    if len(parts) == 1:
        return parts[0]
    links = [_nearest(part, following) for part, following in pairwise(parts)]
    walk = _ring(parts[-1], links[-1][1])
    for place in range(len(parts) - 2, 0, -1):
        part, enter, leave = parts[place], links[place - 1][1], links[place][0]
        if enter > leave:
            part, enter, leave = part[::-1], len(part) - 1 - enter, len(part) - 1 - leave
        ring = _ring(part, enter)
        walk = np.concatenate([ring[: leave - enter + 1], walk, ring[leave - enter :]])
    return np.concatenate([_ring(parts[0], links[0][0]), walk])


def _ring(part: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """A closed outline from one of its points on, with that point again at the end."""
    return np.concatenate([part[start:], part[:start], part[start : start + 1]])


def _nearest(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[int, int]:
    """The points of two outlines that are nearest to each other."""
    distance = np.square(one[:, None] - other[None]).sum(axis=2)
    place, opposite = np.unravel_index(int(distance.argmin()), distance.shape)
    return int(place), int(opposite)


def boxes(labels: Sequence[Label], frame: Frame) -> Floats:
    """The boxes xyxy [M, 4] of objects, in pixels of the padded image."""
    if not labels:
        return np.zeros((0, 4), np.float32)
    return np.stack([label.box for label in labels]) * np.array(frame.size * 2, np.float32) + np.array(
        frame.start * 2, np.float32
    )


def masks(labels: Sequence[Label], frame: Frame) -> NDArray[np.bool_]:
    """The masks [M, h, w] of objects at the size of the prototypes; of overlapping ones the smallest has the pixel."""
    shape = (frame.rows // RATIO, frame.columns // RATIO)
    if not labels:
        return np.zeros((0, *shape), np.bool_)
    longest = max(len(label.outline) for label in labels)
    count = longest + 1 if longest > POINTS else POINTS
    drawn = np.stack([_drawn(sampled(label.outline, count), frame) for label in labels])
    owner = np.full(shape, -1)
    for place in (-drawn.sum(axis=(1, 2), dtype=np.int64)).argsort():  # numpy's own sort, as there
        owner[drawn[place]] = place
    result: NDArray[np.bool_] = owner[None] == np.arange(len(labels))[:, None, None]
    return result


def sampled(outline: Floats, count: int) -> Floats:
    """`count` points along a closed outline [P, 2]: its own and, evenly by their number, others between them."""
    ring = np.concatenate([outline, outline[:1]])
    own = np.arange(len(ring))
    if len(ring) < count:
        places = np.sort(np.concatenate([own, np.linspace(0, own[-1], count - len(ring))]))
    else:
        places = np.linspace(0, own[-1], count)
    return np.stack([np.interp(places, own, ring[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


def _drawn(outline: Floats, frame: Frame) -> NDArray[np.bool_]:
    """An outline in 0..1 of the image, filled in the padded image and scaled down."""
    import cv2

    points = outline * np.array(frame.size, np.float32) + np.array(frame.start, np.float32)
    canvas = np.zeros((frame.rows, frame.columns), np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], color=1)
    # bilinear: the mean of the four pixels in the middle of sixteen, rounded
    small = np.asarray(cv2.resize(canvas, (frame.columns // RATIO, frame.rows // RATIO)))
    return small > 0
