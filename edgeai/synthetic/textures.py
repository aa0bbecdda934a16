"""Textures of objects and of what they lie on: fields [h, w] in 0..1, and colours."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Colour = NDArray[np.float32]


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Smooth noise in 0..1 whose features are about `cell` pixels wide."""
    import cv2

    coarse = rng.random((int(height / cell) + 2, int(width / cell) + 2), dtype=np.float32)
    noise: Field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return noise


def _along(rng: np.random.Generator, height: int, width: int, angle: float | None = None) -> Field:
    """The distance in pixels along a random direction."""
    if angle is None:
        angle = rng.uniform(0, math.pi)
    rows = np.arange(height, dtype=np.float32)[:, None] * np.float32(math.sin(angle))
    columns = np.arange(width, dtype=np.float32)[None] * np.float32(math.cos(angle))
    return rows + columns


def plain(rng: np.random.Generator, height: int, width: int) -> Field:
    return np.full((height, width), 0.3, np.float32)


def mottled(rng: np.random.Generator, height: int, width: int) -> Field:
    return 0.6 * value_noise(rng, height, width, rng.uniform(8, 24)) + 0.4 * value_noise(rng, height, width, 3)


def stripes(rng: np.random.Generator, height: int, width: int) -> Field:
    phase = _along(rng, height, width) * np.float32(2 * math.pi / rng.uniform(5, 14)) + np.float32(rng.uniform(0, 6))
    field: Field = np.clip(0.5 + np.sin(phase) * np.float32(rng.uniform(0.5, 2.0)), 0, 1)
    return field


def checker(rng: np.random.Generator, height: int, width: int) -> Field:
    angle, cell = rng.uniform(0, math.pi / 2), rng.uniform(4, 10)
    one = np.floor(_along(rng, height, width, angle) / cell)
    other = np.floor(_along(rng, height, width, angle + math.pi / 2) / cell)
    field: Field = ((one + other) % 2).astype(np.float32)
    return field


def gradient(rng: np.random.Generator, height: int, width: int) -> Field:
    ramp = _along(rng, height, width)
    low, high = float(ramp.min()), float(ramp.max())
    return ((ramp - low) / max(high - low, 1e-6)).astype(np.float32)


def speckle(rng: np.random.Generator, height: int, width: int) -> Field:
    return (rng.random((height, width), dtype=np.float32) > rng.uniform(0.6, 0.9)).astype(np.float32)


def brushed(rng: np.random.Generator, height: int, width: int) -> Field:
    """Fine parallel streaks, as on machined metal."""
    import cv2

    field: Field = cv2.resize(rng.random((height, max(width // 24, 2)), dtype=np.float32), (width, height))
    return field


def planks(rng: np.random.Generator, height: int, width: int) -> Field:
    """Boards with grain and dark joints."""
    import cv2

    pitch = int(rng.integers(24, 60))
    grain = cv2.resize(rng.random((height // 2 + 1, width // 40 + 2), dtype=np.float32), (width, height))
    tone = np.repeat(rng.random(height // pitch + 1, dtype=np.float32), pitch)[:height, None]
    joint = (np.arange(height) % pitch < 2)[:, None]
    return np.where(joint, np.float32(0), 0.25 + 0.4 * tone + 0.35 * grain).astype(np.float32)


def tiles(rng: np.random.Generator, height: int, width: int) -> Field:
    """Square tiles of varying tone with light grout."""
    import cv2

    pitch = int(rng.integers(28, 70))
    shape = (height // pitch + 1, width // pitch + 1)
    tone = cv2.resize(rng.random(shape, dtype=np.float32), None, fx=pitch, fy=pitch, interpolation=cv2.INTER_NEAREST)
    grout = (np.arange(height) % pitch < 2)[:, None] | (np.arange(width) % pitch < 2)[None]
    cloud = value_noise(rng, height, width, 9)
    field: Field = np.where(grout, np.float32(1), 0.5 * tone[:height, :width] + 0.3 * cloud).astype(np.float32)
    return field


def weave(rng: np.random.Generator, height: int, width: int) -> Field:
    pitch = rng.uniform(4, 9)
    one = np.sin(_along(rng, height, width, 0.0) * np.float32(2 * math.pi / pitch))
    other = np.sin(_along(rng, height, width, math.pi / 2) * np.float32(2 * math.pi / pitch))
    field: Field = (0.5 + 0.25 * one * other + 0.25 * value_noise(rng, height, width, 30)).astype(np.float32)
    return field


Texture = Callable[[np.random.Generator, int, int], Field]
SURFACES: tuple[Texture, ...] = (plain, plain, mottled, stripes, checker, gradient, speckle)
METALS: tuple[Texture, ...] = (plain, brushed, mottled, gradient)
GROUNDS: tuple[Texture, ...] = (mottled, gradient, brushed, planks, tiles, weave, stripes, checker)


def background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """What the objects lie on [h, w, 3] in 0..255: one structured texture between two near colours, and stains."""
    field = GROUNDS[int(rng.integers(len(GROUNDS)))](rng, height, width)
    if rng.random() < 0.3:
        field = np.ascontiguousarray(field[::-1, ::-1])
    field = 0.75 * field + 0.25 * value_noise(rng, height, width, rng.uniform(40, 120))
    first = hsv(rng.uniform(0, 1), rng.uniform(0, 0.5), rng.uniform(0.2, 0.85))
    second = np.clip(first + rng.uniform(-1, 1, 3) * 22 + rng.choice((-1, 1)) * rng.uniform(10, 45), 8, 247)
    return blend(first, second.astype(np.float32), field)


def blend(first: Colour, second: Colour, field: Field) -> NDArray[np.float32]:
    """`first` where the field is 0, `second` where it is 1."""
    return first + field[..., None] * (second - first)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour of hue, saturation and value in 0..1 as blue, green, red in 0..255."""
    sector = np.array([5.0, 3.0, 1.0]) + hue * 6
    distance = sector % 6
    part = np.clip(np.minimum(distance, 4 - distance), 0, 1)
    rgb = value - value * saturation * part
    return (rgb[::-1] * 255).astype(np.float32)


def object_colours(rng: np.random.Generator, name: str, ground: Colour) -> tuple[Colour, Colour]:
    """Two colours of an object's surface, the first clearly apart from the mean colour below it.

    Half of the machine parts are grey, most leaves are green to brown: what a thing is made of is a hint, as in life.
    """
    metal, plant = name in ("nut", "gear") and rng.random() < 0.5, name == "leaf" and rng.random() < 0.6
    best, distance = ground, -1.0
    for _ in range(6):
        hue = rng.uniform(0.06, 0.42) if plant else rng.uniform(0, 1)
        saturation = rng.uniform(0, 0.15) if metal else rng.uniform(0.35, 1.0)
        colour = hsv(hue, saturation, rng.uniform(0.25, 1.0))
        apart = float(np.abs(colour - ground).sum())
        if apart > distance:
            best, distance = colour, apart
        if distance > 150:
            break
    second = np.clip(best * rng.uniform(0.5, 0.8) if rng.random() < 0.5 else best + rng.uniform(25, 70), 0, 255)
    return best, second.astype(np.float32)
