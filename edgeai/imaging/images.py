"""Images as networks see them: read, letterboxed or cropped to a square, normalised, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract
from edgeai.errors import InputError
from edgeai.files import existing_file

PAD_VALUE = 114
DESCRIPTION = "centred, bilinear, padded with 114"


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where the image lies in its letterbox: `letterboxed = image * ratio + pad`. Sizes in pixels."""

    ratio: float
    pad_left: int
    pad_top: int
    height: int
    width: int

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes xyxy [K, 4] from letterboxed pixels to pixels of the image, clipped to it."""
        pad = np.array([self.pad_left, self.pad_top] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        result: NDArray[np.float32] = np.clip((boxes - pad) / np.float32(self.ratio), np.float32(0), limit)
        return result


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """The pixels of an encoded image, [H, W, 3] uint8 RGB. Raises InputError naming `name` where it is no image."""
    import cv2

    pixels = None
    if data:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise InputError(f"{name} is not an image that can be read", "use JPEG or PNG files")
    result: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return result


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image at `path`, [H, W, 3] uint8 RGB. Raises InputError where there is none."""
    return decode_image(existing_file(path, "an image").read_bytes(), str(path))


def letterbox(image: NDArray[np.uint8], imgsz: int) -> tuple[NDArray[np.uint8], Letterbox]:
    """`image` [H, W, 3] scaled into [imgsz, imgsz, 3] with its aspect kept, and the transform.

    Same geometry as the YOLO training frameworks: ratio min(imgsz/H, imgsz/W), sizes rounded, and an odd
    padding pixel goes to the right and bottom (round(d - 0.1) left, round(d + 0.1) right).
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(imgsz / height, imgsz / width)
    new_width, new_height = max(1, round(width * ratio)), max(1, round(height * ratio))
    left, top = round((imgsz - new_width) / 2 - 0.1), round((imgsz - new_height) / 2 - 0.1)
    canvas: NDArray[Any] = np.full((imgsz, imgsz, 3), PAD_VALUE, np.uint8)
    inside = canvas[top : top + new_height, left : left + new_width]
    same = (new_height, new_width) == (height, width)
    inside[:] = image if same else cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return canvas, Letterbox(ratio=ratio, pad_left=left, pad_top=top, height=height, width=width)


def centre_crop(image: NDArray[np.uint8], imgsz: int) -> NDArray[np.uint8]:
    """`image` [H, W, 3] scaled so that its shorter side is `imgsz`, and the square in its middle: for classifiers."""
    import cv2

    height, width = image.shape[:2]
    ratio = imgsz / min(height, width)
    size = (max(imgsz, round(width * ratio)), max(imgsz, round(height * ratio)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    top, left = (size[1] - imgsz) // 2, (size[0] - imgsz) // 2
    return np.ascontiguousarray(scaled[top : top + imgsz, left : left + imgsz])


def canvas(image: NDArray[np.uint8], contract: Contract) -> NDArray[np.uint8]:
    """`image` as the network of this contract sees it, [imgsz, imgsz, 3] uint8."""
    if contract.spec.task == "classify":
        return centre_crop(image, contract.imgsz)
    return letterbox(image, contract.imgsz)[0]


def normalised(image: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(RGB / 255 - mean) / std of an image [H, W, 3]; RGB / 255 where mean and std are empty."""
    real = image.astype(np.float32) / np.float32(255)
    if not std:
        return real
    return np.asarray((real - np.asarray(mean, np.float32)) / np.asarray(std, np.float32), np.float32)


def laid_out(images: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Images [N, H, W, 3] in the order of axes of an input of `shape`: as they are, or channels first."""
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        return np.ascontiguousarray(np.moveaxis(images, -1, 1))
    return images
