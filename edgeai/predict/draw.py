"""Pictures of what a network found: boxes, masks, names and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.evaluate.masks import Rle
from edgeai.evaluate.postprocess import Detections

Pixels = NDArray[np.uint8]

# Paul Tol's qualitative schemes "bright" and "vibrant": told apart by most people with a colour-vision deficiency
PALETTE = ((68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119),
           (238, 119, 51), (0, 153, 136), (238, 51, 119), (51, 187, 238))  # fmt: skip
OPACITY = 0.45
LABEL_SIDE = 320  # an image of this side gets lines of one pixel and letters of 10


def colour(label: int) -> tuple[int, int, int]:
    """The RGB colour of a class."""
    return PALETTE[label % len(PALETTE)]


def mask_pixels(mask: Rle) -> NDArray[np.bool_]:
    """A mask as [H, W]."""
    from pycocotools import mask as coco_mask

    return np.asarray(coco_mask.decode({"size": [mask.height, mask.width], "counts": mask.counts}), np.bool_)


def draw(image: Pixels, found: Detections, names: Sequence[str]) -> Pixels:
    """A copy of `image` [H, W, 3] RGB with the detections drawn on it, the best on top."""
    canvas = image.copy()
    order = list(range(len(found.scores)))[::-1]
    for i in order:
        if found.masks:
            _tint(canvas, mask_pixels(found.masks[i]), colour(int(found.classes[i])))
    for i in order:
        label = int(found.classes[i])
        name = names[label] if label < len(names) else str(label)
        _box(canvas, found.boxes[i], f"{_ascii(name)} {found.scores[i]:.2f}", colour(label))
    return canvas


def _ascii(text: str) -> str:
    """The font of OpenCV has no other letters."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def _tint(canvas: Pixels, mask: NDArray[np.bool_], rgb: tuple[int, int, int]) -> None:
    import cv2

    colour_of_mask = np.array(rgb, np.float32)
    canvas[mask] = (canvas[mask] * np.float32(1 - OPACITY) + colour_of_mask * np.float32(OPACITY)).astype(np.uint8)
    outline: tuple[Any, Any] = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outline[0], -1, rgb, _thickness(canvas))


def _thickness(canvas: Pixels) -> int:
    return max(1, round(float(min(canvas.shape[:2])) / LABEL_SIDE))


def _box(canvas: Pixels, box: NDArray[np.float32], text: str, rgb: tuple[int, int, int]) -> None:
    import cv2

    thick = _thickness(canvas)
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), rgb, thick)
    scale = 0.38 * max(1.0, min(canvas.shape[:2]) / LABEL_SIDE)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    top = y1 - height - base if y1 - height - base >= 0 else y1
    left = max(0, min(x1, canvas.shape[1] - width))
    cv2.rectangle(canvas, (left, top), (left + width, top + height + base), rgb, cv2.FILLED)
    ink = (0, 0, 0) if sum(c * w for c, w in zip(rgb, (0.299, 0.587, 0.114), strict=True)) > 140 else (255, 255, 255)
    at = (left, top + height + base // 2)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)
