"""Scenes: which objects lie where, and what of each is visible."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeai.synthetic.shapes import CLASSES, Sprite, sprite

SIDES = (256, 288, 320)
MIN_VISIBLE_FRACTION = 0.4
MIN_VISIBLE_AREA = 100  # pixels: 10 x 10
OBJECTS = (3, 9)
# how often objects are small, medium and large, and their half widths in pixels of a 320-pixel image
SIZES = ((0.2, 11.0, 18.0), (0.45, 18.0, 36.0), (0.35, 36.0, 64.0))
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """One object of a scene: its class, its sprite, and the visible part of its mask [h, w] in the image."""

    category: int
    sprite: Sprite
    visible: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects of an image of `height` x `width` pixels, the frontmost first."""

    height: int
    width: int
    objects: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a sprite that lies in the image: slices into the image and into the sprite."""

    image: tuple[slice, slice]
    sprite: tuple[slice, slice]


def window(placed: Sprite, height: int, width: int) -> Window:
    rows, columns = placed.coverage.shape
    top, left = max(placed.top, 0), max(placed.left, 0)
    bottom, right = min(placed.top + rows, height), min(placed.left + columns, width)
    inner = (slice(top - placed.top, bottom - placed.top), slice(left - placed.left, right - placed.left))
    return Window((slice(top, bottom), slice(left, right)), inner)


def compose(rng: np.random.Generator) -> Scene:
    """A random scene. Objects are placed from front to back: one that would be hidden too much is placed anew, so
    that nothing is in the image that is not annotated."""
    width, height = (SIDES[int(k)] for k in rng.integers(len(SIDES), size=2))
    taken = np.zeros((height, width), np.bool_)
    objects: list[Placed] = []
    for _ in range(int(rng.integers(*OBJECTS))):
        category = int(rng.integers(len(CLASSES)))  # kept over the attempts: no class is rarer for being awkward
        for _ in range(ATTEMPTS):
            placed = _place(rng, category, taken)
            if placed is not None:
                objects.append(placed)
                taken |= placed.visible
                break
    return Scene(height, width, tuple(objects))


def _place(rng: np.random.Generator, category: int, taken: NDArray[np.bool_]) -> Placed | None:
    """An object below those that have `taken` their pixels, or None where too little of it shows."""
    height, width = taken.shape
    radius = _radius(rng) * max(height, width) / 320
    reach = 0.6 * radius  # at most a part of an object is outside
    centre = (rng.uniform(reach, width - reach), rng.uniform(reach, height - reach))
    drawn = sprite(CLASSES[category], rng, centre, radius)
    part = window(drawn, height, width)
    mask = drawn.mask
    visible = np.zeros_like(taken)
    visible[part.image] = mask[part.sprite]
    visible &= ~taken
    area = int(visible.sum())
    if area < max(MIN_VISIBLE_AREA, MIN_VISIBLE_FRACTION * int(mask.sum())):
        return None
    return Placed(category, drawn, visible)


def _radius(rng: np.random.Generator) -> float:
    shares = [share for share, _, _ in SIZES]
    _, low, high = SIZES[int(rng.choice(len(SIZES), p=shares))]
    return math.exp(rng.uniform(math.log(low), math.log(high)))
