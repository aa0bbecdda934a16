"""Example images: what the float and the int8 network find in the same photo, and where they differ."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.backends.base import Runner
from edgeai.evaluate.postprocess import Detections
from edgeai.imaging.images import read_image
from edgeai.predict.draw import draw, mask_pixels
from edgeai.predict.predict import APPLICATION, detect, jpeg

Pixels = NDArray[np.uint8]

LOOKED_AT = 24  # images from which the shown ones are chosen
SHOWN = 4
SIDE = 360  # pixels of the longer side in the page
QUALITY = 78
SAME_IOU = 0.5
ONLY_FLOAT, ONLY_INT8 = (51, 117, 184), (214, 93, 30)  # blue and orange: told apart without red and green


@dataclass(frozen=True, slots=True)
class Example:
    """One photo: three JPEGs, and how many objects both, only the float or only the int8 network found."""

    name: str
    float_picture: bytes
    int8_picture: bytes
    difference: bytes
    both: int
    only_float: int
    only_int8: int

    @property
    def agreement(self) -> float:
        """Twice the common objects over all objects found, 0..1."""
        total = 2 * self.both + self.only_float + self.only_int8
        return 2 * self.both / total if total else 1.0


def examples(
    reference: Path, candidate: Path, images: Sequence[Path], progress: Callable[[], object] | None = None
) -> tuple[Example, ...]:
    """Of the first 24 images in which either network finds something: the two on which they agree least, and the two
    nearest to the median. Raises InputError where a model or an image cannot be read."""
    found = []
    fixed = reference.suffix.lower() == ".tflite"
    with open_runner(candidate) as int8, open_runner(reference, imgsz=None if fixed else int8.input_size) as float_:
        for path in images[:LOOKED_AT]:
            example = _example(path, float_, int8)
            found += [example] if example.both + example.only_float + example.only_int8 else []
            if progress is not None:
                progress()
    ranked = sorted(found, key=lambda e: (e.agreement, e.name))
    worst, rest = ranked[: SHOWN // 2], ranked[SHOWN // 2 :]
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    return (*rest[middle : middle + SHOWN - len(worst)], *worst)


def _example(path: Path, reference: Runner, candidate: Runner) -> Example:
    pixels = read_image(path)
    before, after = detect(reference, pixels, APPLICATION), detect(candidate, pixels, APPLICATION)
    pairs = _common(before, after)
    return Example(
        name=path.name,
        float_picture=jpeg(small(draw(pixels, before, reference.contract.spec.names)), QUALITY),
        int8_picture=jpeg(small(draw(pixels, after, candidate.contract.spec.names)), QUALITY),
        difference=jpeg(small(_difference(pixels, before, after)), QUALITY),
        both=pairs,
        only_float=len(before.scores) - pairs,
        only_int8=len(after.scores) - pairs,
    )


def _common(a: Detections, b: Detections) -> int:
    """Objects in both: same class, boxes that overlap by half, each used once, best first."""
    free = set(range(len(b.scores)))
    count = 0
    for box, label in zip(a.boxes, a.classes, strict=True):
        near = [(float(_iou(box, b.boxes[i])), i) for i in free if b.classes[i] == label]
        overlap, index = max(near, default=(0.0, -1))
        if overlap > SAME_IOU:
            free.remove(index)
            count += 1
    return count


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(float(width), 0.0) * max(float(height), 0.0)
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0


def _difference(pixels: Pixels, before: Detections, after: Detections) -> Pixels:
    """The photo in pale grey; blue where only the float network sees an object, orange where only the int8 one does."""
    grey = pixels.astype(np.float32).mean(axis=2, keepdims=True)
    canvas = np.broadcast_to(grey * np.float32(0.45) + np.float32(130), pixels.shape).copy()
    one, other = _covered(before, pixels.shape), _covered(after, pixels.shape)
    canvas[one & other] *= np.float32(0.72)
    for area, rgb in ((one & ~other, ONLY_FLOAT), (other & ~one, ONLY_INT8)):
        canvas[area] = canvas[area] * np.float32(0.25) + np.array(rgb, np.float32) * np.float32(0.75)
    return np.asarray(np.clip(canvas, 0, 255), np.uint8)


def _covered(found: Detections, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of any mask, or of any box where there are no masks."""
    area = np.zeros(shape[:2], np.bool_)
    for mask in found.masks:
        area |= mask_pixels(mask)
    if not found.masks:
        for x1, y1, x2, y2 in found.boxes.round().astype(int).tolist():
            area[y1:y2, x1:x2] = True
    return area


def small(pixels: Pixels) -> Pixels:
    """An image whose longer side is at most 360 pixels."""
    import cv2

    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def data_uri(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
