"""Letterbox: bit-equal with an independent implementation, and the way back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeai.errors import InputError
from edgeai.imaging.images import PAD_VALUE, decode_image, letterbox, read_image


def test_equals_the_reference_images(kit: Path) -> None:
    with np.load(kit / "reference_outputs" / "yolov8n-seg_256.npz") as reference:
        for name, expected in zip(reference["names"], reference["images_rgb_u8"], strict=True):
            canvas, _ = letterbox(read_image(kit / "coco" / "val" / "images" / str(name)), 256)
            np.testing.assert_array_equal(canvas, expected)


@pytest.mark.parametrize(
    ("height", "width", "imgsz", "ratio", "left", "top"),
    [
        (480, 640, 256, 0.4, 0, 32),
        (640, 425, 256, 0.4, 43, 0),
        (427, 640, 256, 0.4, 0, 42),  # odd padding of 85: 42 above, 43 below
        (256, 256, 256, 1.0, 0, 0),
        (100, 50, 320, 3.2, 80, 0),  # small images are enlarged
        (4000, 1, 64, 0.016, 31, 0),  # and nothing shrinks to no pixels
    ],
)
def test_geometry(height: int, width: int, imgsz: int, ratio: float, left: int, top: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    canvas, way = letterbox(image, imgsz)
    assert canvas.shape == (imgsz, imgsz, 3)
    assert (way.ratio, way.pad_left, way.pad_top) == (pytest.approx(ratio), left, top)
    inside = (canvas != PAD_VALUE).any(axis=2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (rows[0], columns[0]) == (top, left)
    assert len(rows) == max(1, round(height * ratio)) and len(columns) == max(1, round(width * ratio))


def test_boxes_return_to_the_image_and_are_clipped() -> None:
    _, way = letterbox(np.zeros((480, 640, 3), np.uint8), 256)
    boxes = np.array([[0, 32, 256, 224], [40, 72, 80, 112], [-9, 0, 300, 256]], np.float32)
    np.testing.assert_allclose(
        way.to_image(boxes), [[0, 0, 640, 480], [100, 100, 200, 200], [0, 0, 640, 480]], rtol=1e-6
    )


def test_images_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_no_image_is_named(data: bytes) -> None:
    with pytest.raises(InputError, match=r"photo\.jpg"):
        decode_image(data, "photo.jpg")


def test_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
