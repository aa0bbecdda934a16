"""The pictures that `yolo val` shows a network, told by Ultralytics' source and written anew.

Every image is scaled so that its longer side is the input size. A network of free input size sees rectangles: images
are sorted by their aspect and taken in sixteens; each sixteen has one shape, the smallest that holds its images, plus
half a stride, in whole strides. A file of fixed size sees squares. Padding is grey and on all sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeai.evaluate.dataset import Image
from edgeai.imaging.images import PAD_VALUE

BATCH = 16
STRIDE = 32
SPARE = 0.5  # strides of padding


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an image of `height` x `width` pixels, after scaling, lies in a picture of `rows` x `columns`."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image."""
        return self.width, self.height

    @property
    def start(self) -> tuple[int, int]:
        """Left and top of the image; an odd pixel of padding is on the other side."""
        return round((self.columns - self.width) / 2 - 0.1), round((self.rows - self.height) / 2 - 0.1)


def frames(
    images: Sequence[Image], imgsz: int, rectangles: bool, stride: int = STRIDE
) -> tuple[tuple[Image, Frame], ...]:
    """Every image with its frame, in the order in which `yolo val` takes them."""
    shown = sorted(images, key=lambda image: str(image.path))
    if not rectangles:
        return tuple((image, Frame(imgsz, imgsz, *_scaled(image, imgsz))) for image in shown)
    # numpy's own sort, as there: it leaves images of one aspect in no order, and which of them share a batch with
    # flatter ones moves AP50 by a quarter of a point
    shown = [shown[place] for place in np.array([_aspect(image) for image in shown]).argsort()]
    result: list[tuple[Image, Frame]] = []
    for start in range(0, len(shown), BATCH):
        batch = shown[start : start + BATCH]
        rows, columns = _shape(_aspect(batch[0]), _aspect(batch[-1]), imgsz, stride)
        result += [(image, Frame(rows, columns, *_scaled(image, imgsz))) for image in batch]
    return tuple(result)


def _aspect(image: Image) -> float:
    return image.height / image.width


def _scaled(image: Image, imgsz: int) -> tuple[int, int]:
    """Height and width with the longer side at `imgsz`; broken pixels are rounded up."""
    ratio = imgsz / max(image.height, image.width)
    return min(math.ceil(image.height * ratio), imgsz), min(math.ceil(image.width * ratio), imgsz)


def _shape(flattest: float, tallest: float, imgsz: int, stride: int) -> tuple[int, int]:
    """Rows and columns for images whose aspects (height by width) lie between these."""
    high, wide = (tallest, 1.0) if tallest < 1 else (1.0, 1 / flattest) if flattest > 1 else (1.0, 1.0)
    rows, columns = (math.ceil(side * imgsz / stride + SPARE) * stride for side in (high, wide))
    return rows, columns


def picture(pixels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """`pixels` [H, W, 3] in their frame: [rows, columns, 3]."""
    import cv2

    result: NDArray[np.uint8] = np.full((frame.rows, frame.columns, 3), PAD_VALUE, np.uint8)
    left, top = frame.start
    same = pixels.shape[:2] == (frame.height, frame.width)
    inside = pixels if same else cv2.resize(pixels, frame.size, interpolation=cv2.INTER_LINEAR)
    result[top : top + frame.height, left : left + frame.width] = inside
    return result
