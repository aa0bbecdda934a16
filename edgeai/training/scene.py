"""An image with its objects as the augmentation sees them.

Coordinates are continuous: pixel i covers i..i+1. A mask is a soft patch (0..255 is coverage), so that its edge keeps
its sub-pixel place through resizing and warping, and so does the box that is read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 127.5

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Patch:
    """Coverage of a mask, [h, w] uint8, whose left upper corner lies at pixel (x, y) of its image."""

    x: int
    y: int
    pixels: Pixels

    @property
    def area(self) -> float:
        """Pixels covered."""
        return float(self.pixels.sum(dtype=np.int64)) / 255


@dataclass(frozen=True, slots=True)
class Instance:
    """One object. `ignore` marks a crowd or what is left of an object: a detection there is neither right nor wrong."""

    label: int
    ignore: bool
    mask: Patch


@dataclass(frozen=True, slots=True)
class Scene:
    """[H, W, 3] uint8 RGB with its objects."""

    pixels: Pixels
    instances: tuple[Instance, ...]


def crop_patch(full: Pixels, x: int = 0, y: int = 0) -> Patch | None:
    """The patch of what is covered in `full`, which lies at (x, y); None where nothing is."""
    rows, columns = np.flatnonzero(full.max(axis=1)), np.flatnonzero(full.max(axis=0))
    if not rows.size:
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return Patch(x + left, y + top, np.ascontiguousarray(full[top:bottom, left:right]))


def clip_patch(patch: Patch, left: int, top: int, right: int, bottom: int) -> Patch | None:
    """The part of a patch within a rectangle; None where there is none."""
    x1, y1 = max(patch.x, left), max(patch.y, top)
    x2 = min(patch.x + patch.pixels.shape[1], right)
    y2 = min(patch.y + patch.pixels.shape[0], bottom)
    if x1 >= x2 or y1 >= y2:
        return None
    return Patch(x1, y1, patch.pixels[y1 - patch.y : y2 - patch.y, x1 - patch.x : x2 - patch.x])


def box_of(patch: Patch) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 of a mask: where its coverage crosses one half; None where it never does."""
    across, down = patch.pixels.max(axis=0), patch.pixels.max(axis=1)
    if not across.size or across.max() < HALF:
        return None
    x1, x2 = _crossings(across)
    y1, y2 = _crossings(down)
    return patch.x + x1, patch.y + y1, patch.x + x2, patch.y + y2


def _crossings(profile: NDArray[Any]) -> tuple[float, float]:
    return _first_crossing(profile), len(profile) - _first_crossing(profile[::-1])


def _first_crossing(profile: NDArray[Any]) -> float:
    """Where linear interpolation between pixel centres first reaches one half; zero lies outside."""
    index = int(np.argmax(profile >= HALF))
    here, before = float(profile[index]), float(profile[index - 1]) if index else 0.0
    return index + 0.5 - (here - HALF) / (here - before)


def box_patch(box: tuple[float, float, float, float], height: int, width: int) -> Patch | None:
    """A rectangle x1, y1, x2, y2 as a patch, clipped to the image; for objects that have no mask."""
    across, down = _coverage(box[0], box[2], width), _coverage(box[1], box[3], height)
    return crop_patch(np.rint(np.outer(down, across) * 255).astype(np.uint8))


def _coverage(start: float, stop: float, size: int) -> NDArray[np.float64]:
    """How much of every pixel lies within start..stop."""
    edges = np.arange(size + 1, dtype=np.float64)
    covered: NDArray[np.float64] = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
    return np.maximum(covered, 0.0)
