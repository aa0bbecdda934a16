"""The object classes: outlines in a unit frame, each with a little variation, and how an outline becomes a sprite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Outline = tuple[Points, ...]

# pixels of a sprite are the mean of SUPERSAMPLE² samples: edges are anti-aliased, masks are cut at half coverage
SUPERSAMPLE = 4
FIXED_POINT_BITS = 4


@dataclass(frozen=True, slots=True)
class Sprite:
    """An object's coverage [h, w] in 0..1, and the image column and row of its upper left pixel."""

    coverage: NDArray[np.float32]
    left: int
    top: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.coverage >= 0.5


def _polar(radii: NDArray[np.float64], angles: NDArray[np.float64]) -> Points:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _circle(radius: float, points: int = 48) -> Points:
    return _polar(np.full(points, radius), np.linspace(0, 2 * math.pi, points, endpoint=False))


def _regular(sides: int, radius: float) -> Points:
    return _circle(radius, sides)


def _square(half: float) -> Points:
    return np.array([[-half, -half], [half, -half], [half, half], [-half, half]])


def _disc(rng: np.random.Generator) -> Outline:
    return (_circle(0.88),)


def _frame(rng: np.random.Generator) -> Outline:
    return (_square(0.8), _square(0.8 * rng.uniform(0.5, 0.62)))


def _triangle(rng: np.random.Generator) -> Outline:
    return (_regular(3, 1.05),)


def _star(rng: np.random.Generator) -> Outline:
    radii = np.where(np.arange(10) % 2 == 0, 1.08, 1.08 * rng.uniform(0.42, 0.5))
    return (_polar(radii, np.linspace(0, 2 * math.pi, 10, endpoint=False)),)


def _cross(rng: np.random.Generator) -> Outline:
    arm, end = rng.uniform(0.27, 0.36), 0.98
    quarter = np.array([[arm, arm], [arm, end], [-arm, end]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return (np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)]),)


def _nut(rng: np.random.Generator) -> Outline:
    return (_regular(6, 1.0), _circle(rng.uniform(0.46, 0.56)))


def _gear(rng: np.random.Generator) -> Outline:
    teeth = int(rng.integers(8, 11))
    steps = np.arange(teeth * 4)
    angles = 2 * math.pi * (steps + np.array([0.1, 0.3, -0.3, -0.1])[steps % 4]) / (teeth * 4)
    radii = np.where((steps % 4 == 0) | (steps % 4 == 3), 0.76, 1.04)
    return (_polar(radii, angles), _circle(rng.uniform(0.26, 0.34)))


def _crescent(rng: np.random.Generator) -> Outline:
    # two arcs through the same two tips: the outer circle, and an inner one pushed to the right
    shift, tip = rng.uniform(0.42, 0.55), 0.95 * math.radians(60)
    inner = math.hypot(math.cos(tip) - shift, math.sin(tip))
    inner_tip = math.atan2(math.sin(tip), math.cos(tip) - shift)
    outer_arc = _polar(np.ones(32), np.linspace(tip, 2 * math.pi - tip, 32))
    inner_arc = _polar(np.full(24, inner), np.linspace(2 * math.pi - inner_tip, inner_tip, 24))
    inner_arc[:, 0] += shift
    both = np.concatenate([outer_arc, inner_arc])
    both[:, 0] += 0.25
    return (both,)


def _arrow(rng: np.random.Generator) -> Outline:
    shaft, neck = rng.uniform(0.24, 0.32), rng.uniform(-0.05, 0.15)
    upper = [[1.05, 0.0], [neck, 0.8], [neck, shaft], [-1.05, shaft]]
    return (np.array([*upper, *([x, -y] for x, y in upper[:0:-1])]),)


def _leaf(rng: np.random.Generator) -> Outline:
    along = np.linspace(-1.1, 1.1, 24)
    width = rng.uniform(0.46, 0.58) * (1 - (along / 1.1) ** 2) * (1 + 0.35 * along)
    upper = np.stack([along, width], axis=1)
    return (np.concatenate([upper, (upper * [1, -1])[-2:0:-1]]),)


SHAPES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "disc": _disc,
    "frame": _frame,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "nut": _nut,
    "gear": _gear,
    "crescent": _crescent,
    "arrow": _arrow,
    "leaf": _leaf,
}
CLASSES: tuple[str, ...] = tuple(SHAPES)


def sprite(name: str, rng: np.random.Generator, centre: tuple[float, float], radius: float) -> Sprite:
    """An object of a class at `centre` (x, y): turned, a little stretched and sheared, about 2·`radius` pixels wide."""
    import cv2

    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    stretch = rng.uniform(0.84, 1.0, 2)
    shear = np.array([[1.0, rng.uniform(-0.12, 0.12)], [0.0, 1.0]])
    matrix = np.diag(stretch) @ shear @ turn * radius
    contours = [points @ matrix + centre for points in SHAPES[name](rng)]
    corner = np.floor(contours[0].min(axis=0)).astype(int) - 2
    width, height = (np.ceil(contours[0].max(axis=0)).astype(int) + 3 - corner).tolist()
    scale = SUPERSAMPLE << FIXED_POINT_BITS
    # sample k of a pixel lies at (k + 0.5) / SUPERSAMPLE - 0.5 from its centre
    fixed = [np.rint((c - corner + 0.5) * scale - (scale / SUPERSAMPLE / 2)).astype(np.int32) for c in contours]
    canvas = np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)
    cv2.fillPoly(canvas, fixed, 255, lineType=cv2.LINE_8, shift=FIXED_POINT_BITS)  # even-odd: later contours are holes
    coverage = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return Sprite(coverage, int(corner[0]), int(corner[1]))
