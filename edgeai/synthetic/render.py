"""From a scene to a photo of it: surfaces, shadows, light and what a small camera adds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeai.synthetic.scene import Placed, Scene, window
from edgeai.synthetic.shapes import CLASSES
from edgeai.synthetic.textures import METALS, SURFACES, background, blend, object_colours, value_noise

Picture = NDArray[np.float32]


def render(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image [h, w, 3] (blue, green, red) of a scene."""
    picture = background(rng, scene.height, scene.width)
    _scratches(picture, rng)
    angle = rng.uniform(0, 2 * math.pi)
    light = (math.cos(angle), math.sin(angle))
    shadow = rng.uniform(0.15, 0.55)
    for placed in reversed(scene.objects):  # painter's order: the backmost first
        _cast_shadow(picture, placed, light, shadow)
        _paint(picture, placed, light, rng)
    return _camera(_illuminate(picture, light, rng), rng)


def _scratches(picture: Picture, rng: np.random.Generator) -> None:
    """Thin lines and soft stains on the ground, which are no objects."""
    import cv2

    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(0, 6))):
        ends = (rng.random((2, 2)) * (width, height)).astype(int).tolist()
        tone = np.clip(picture[ends[0][1], ends[0][0]] + rng.uniform(-50, 50), 0, 255).tolist()
        cv2.line(picture, ends[0], ends[1], tone, 1, cv2.LINE_AA)
    if rng.random() < 0.4:
        stain = value_noise(rng, height, width, rng.uniform(20, 50))
        picture *= (1 - 0.35 * np.clip((stain - 0.6) * 4, 0, 1))[..., None]


def _cast_shadow(picture: Picture, placed: Placed, light: tuple[float, float], strength: float) -> None:
    """Darken what lies below an object, on the side away from the light."""
    import cv2

    height, width = picture.shape[:2]
    coverage = placed.sprite.coverage
    pad = 8
    offset = 2.0 + 0.06 * max(coverage.shape)
    padded = cv2.copyMakeBorder(coverage, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0.0)
    shift = np.array([[1, 0, -light[0] * offset], [0, 1, -light[1] * offset]], np.float32)
    soft = cv2.blur(cv2.warpAffine(padded, shift, padded.shape[::-1]), (5, 5))
    moved = type(placed.sprite)(soft, placed.sprite.left - pad, placed.sprite.top - pad)
    part = window(moved, height, width)
    picture[part.image] *= (1 - np.float32(strength) * soft[part.sprite])[..., None]


def _paint(picture: Picture, placed: Placed, light: tuple[float, float], rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    part = window(placed.sprite, height, width)
    below = picture[part.image]
    name = CLASSES[placed.category]
    coverage = placed.sprite.coverage
    first, second = object_colours(rng, name, below.mean(axis=(0, 1)))
    textures = METALS if name in ("nut", "gear") else SURFACES
    field = textures[int(rng.integers(len(textures)))](rng, *coverage.shape)
    surface = blend(first, second, field) * _relief(coverage, light, rng)[..., None]
    alpha = coverage[part.sprite][..., None]
    below += alpha * (surface[part.sprite] - below)


def _relief(coverage: NDArray[np.float32], light: tuple[float, float], rng: np.random.Generator) -> Picture:
    """Brightness [h, w] of a plate with rounded edges: brighter towards the light, darker away from it."""
    import cv2

    width = rng.uniform(1.5, 5.0)
    inside = np.pad((coverage >= 0.5).astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    bulge = cv2.blur(np.minimum(depth, width) / np.float32(width), (3, 3))
    slope = cv2.Sobel(bulge, cv2.CV_32F, 1, 0) * light[0] + cv2.Sobel(bulge, cv2.CV_32F, 0, 1) * light[1]
    relief: Picture = np.clip(1 - np.float32(rng.uniform(0.08, 0.25)) * slope, 0.4, 1.5).astype(np.float32)
    return relief


def _illuminate(picture: Picture, light: tuple[float, float], rng: np.random.Generator) -> Picture:
    """Light that falls off across the image, and at times the shadow of something outside it."""
    height, width = picture.shape[:2]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    fall = 1 + np.float32(rng.uniform(0, 0.3)) * (columns * light[0] + rows * light[1]).astype(np.float32)
    fall *= 1 - np.float32(rng.uniform(0, 0.2)) * (columns**2 + rows**2) / 2  # vignette
    if rng.random() < 0.25:
        angle = rng.uniform(0, 2 * math.pi)
        edge = (columns * math.cos(angle) + rows * math.sin(angle) - rng.uniform(-0.4, 0.6)) * 8
        fall *= 1 - np.float32(rng.uniform(0.2, 0.45)) * np.clip(edge, 0, 1)
    tint = rng.uniform(0.92, 1.08, 3) * rng.uniform(0.8, 1.15)
    lit: Picture = (picture * fall[..., None] * tint.astype(np.float32)).astype(np.float32)
    return lit


def _camera(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur of the lens, at times of motion; noise that grows with the signal; 8 bits."""
    import cv2

    kind = rng.random()
    if kind < 0.6:
        picture = cv2.GaussianBlur(picture, (5, 5), rng.uniform(0.3, 1.1))
    elif kind < 0.7:
        picture = cv2.blur(picture, (3, 1) if rng.random() < 0.5 else (1, 3))
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    gain = np.float32(rng.uniform(0.5, 7.0))
    picture = picture + noise * gain * (0.5 + picture * np.float32(0.5 / 128))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
