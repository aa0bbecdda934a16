"""COCO's segmentations, checked before pycocotools sees them: its C code neither checks nor always stops."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RELATIVE = 1.05  # a polygon that nowhere reaches further is not in pixels
SMALLEST = 4  # pixels of an image side from which that can be told
LONGEST = 7  # characters of one run length: 35 bits, more than any image has pixels


@dataclass(frozen=True, slots=True)
class Outline:
    """A mask as COCO's JSON text, clipped to its image. `overhang` says how far it reached out of it, in pixels;
    `empty`: it has no pixel."""

    text: str
    overhang: float
    empty: bool


def read_outline(value: Any, height: int, width: int, scaled: bool = False) -> Outline | None:
    """The value of `segmentation` for an image of this size; None where there is no mask. `scaled`: known to be in
    pixels.

    Raises ValueError, in words, for what is no mask of the image.
    """
    if value is None or value == []:
        return None
    if isinstance(value, dict):
        return Outline(json.dumps(value), 0.0, empty=not sum(read_runs(value, height, width)[1::2]))
    if not isinstance(value, list):
        raise ValueError(f"a segmentation of type {type(value).__name__}")
    if not all(isinstance(part, list) for part in value):
        raise ValueError("a segmentation that is no list of polygons")
    polygons = [_polygon(part) for part in value]
    every = np.concatenate(polygons)
    x1, y1 = map(float, every.min(axis=0))
    x2, y2 = map(float, every.max(axis=0))
    if not scaled and max(x2, y2) <= RELATIVE and min(height, width) >= SMALLEST:
        raise ValueError(f"a polygon within 0..1 (up to {x2:g}, {y2:g}): it is relative, pixels are expected")
    overhang = max(-x1, -y1, x2 - width, y2 - height)
    if overhang > 0:
        polygons = [np.clip(part, 0, (width, height)) for part in polygons]
        value = [part.ravel().tolist() for part in polygons]
    text = json.dumps(value)
    return Outline(text, max(overhang, 0.0), _covers_nothing(value, polygons, height, width))


def _polygon(part: list[Any]) -> NDArray[np.float64]:
    """The points of one polygon, [K, 2]."""
    if len(part) < 6 or len(part) % 2:
        raise ValueError(f"a polygon of {len(part)} numbers: fewer than three points, or half a point")
    if not set(map(type, part)) <= {int, float}:
        part = [numeral(value) for value in part]
    try:
        points = np.array(part, np.float64)
    except OverflowError:
        raise ValueError("a number too large to be one") from None
    if not np.isfinite(points).all():
        raise ValueError(f"{points[~np.isfinite(points)][0]} is not a finite number")
    return points.reshape(-1, 2)


def _covers_nothing(value: list[Any], polygons: list[NDArray[np.float64]], height: int, width: int) -> bool:
    """Whether polygons hold no pixel; only those of less than a pixel's area are drawn to find out."""
    if any(area_of(part) >= 1 for part in polygons):
        return False
    from pycocotools import mask

    return not mask.area(mask.merge(mask.frPyObjects(value, height, width)))


def area_of(points: NDArray[np.float64]) -> float:
    """The area that a polygon [K, 2] encloses (shoelace formula)."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.sum(np.roll(x, 1) * y - x * np.roll(y, 1)))) / 2


def numeral(value: Any) -> float:
    """A finite number of the JSON file. Raises ValueError for anything else, text that looks like one included."""
    if type(value) is not float and type(value) is not int:
        raise ValueError(f"{_shown(value)} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number too large to be one") from None
    if not -np.inf < number < np.inf:
        raise ValueError(f"{number} is not a finite number")
    return number


def whole(value: Any) -> int:
    """A whole number of the JSON file. Raises ValueError for anything else."""
    if type(value) is not int:
        raise ValueError(f"{_shown(value)} is not a whole number")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def read_runs(value: dict[str, Any], height: int, width: int) -> list[int]:
    """The run lengths of {"size": [height, width], "counts": list or text}. Raises ValueError, in words."""
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("run lengths without a size [height, width]")
    rows, columns = whole(size[0]), whole(size[1])
    if (rows, columns) != (height, width):
        raise ValueError(f"a mask of {columns}x{rows} pixels, and its image has {width}x{height}")
    if isinstance(counts, list):
        runs = [whole(count) for count in counts]
    elif isinstance(counts, str):
        runs = decode_counts(counts)
    else:
        raise ValueError(f"run lengths of type {type(counts).__name__}")
    if any(run < 0 for run in runs):
        raise ValueError("a run length below zero")
    if sum(runs) != rows * columns:
        raise ValueError(f"run lengths that add up to {sum(runs)}: they do not add up to the size of their mask")
    return runs


def decode_counts(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character and a sign, differences to the last but one from the
    fourth on (`rleFrString` of pycocotools). Raises ValueError where the text is none."""
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("compressed run lengths that hold a character of no code") from None
    if not codes.size:
        raise ValueError("run lengths of no run")
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("compressed run lengths that are damaged")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if int((last - first).max()) >= LONGEST:
        raise ValueError("compressed run lengths that are damaged")
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, 1 << (5 * (last - first + 1)), 0)
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    runs: list[int] = values.tolist()
    return runs
