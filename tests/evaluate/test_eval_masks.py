"""Masks against a plain implementation on whole images, and run lengths against pycocotools' own encoder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from edgeai.evaluate.masks import encode_masks
from edgeai.imaging.images import letterbox


def plain_mask(
    box: NDArray[np.float32], coefs: NDArray[np.float32], proto: NDArray[np.float32], height: int, width: int
) -> NDArray[np.bool_]:
    """Logits of the whole prototype, padding cut off, resized to the whole image, cropped by the box."""
    rows, columns, _ = proto.shape
    logits = proto @ coefs
    gain = min(rows / height, columns / width)
    pad_y, pad_x = (rows - height * gain) / 2, (columns - width * gain) / 2
    top, left = round(pad_y - 0.1), round(pad_x - 0.1)
    logits = logits[top : rows - round(pad_y + 0.1), left : columns - round(pad_x + 0.1)]
    large = cv2.resize(np.ascontiguousarray(logits), (width, height), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[:height, :width]
    return (large > 0) & (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(480, 640, 64), (640, 425, 64), (427, 640, 80), (33, 500, 40), (200, 200, 64), (50, 30, 64), (640, 480, 160)],
)
def test_equals_the_plain_implementation(height: int, width: int, grid: int) -> None:
    rng = np.random.default_rng(height * width)
    proto = cv2.GaussianBlur(rng.normal(size=(grid, grid, 8)).astype(np.float32), (0, 0), 1.5)
    coefs = rng.normal(size=(12, 8)).astype(np.float32)
    corners = np.sort(rng.uniform(0, 1, (12, 2, 2)), axis=1).reshape(12, 4) * [width, height, width, height]
    corners[0] = [0, 0, width, height]
    corners[1] = [width / 3, 0, width / 2, height]  # full height: runs cross columns
    corners[2] = [5, 5, 5, 9]
    coefs[3] = 0
    boxes = corners.astype(np.float32)
    masks = encode_masks(boxes, coefs, proto, height, width)
    for k, mask in enumerate(masks):
        found = coco_mask.decode({"size": [mask.height, mask.width], "counts": mask.counts})
        expected = plain_mask(boxes[k], coefs[k], proto, height, width)
        assert (mask.height, mask.width) == (height, width)
        assert (found != expected).mean() <= 1e-4  # pixels whose logit is 0 up to rounding
        canonical = coco_mask.encode(np.asfortranarray(found))["counts"]
        assert mask.counts == canonical


def test_all_ones_and_nothing() -> None:
    proto = np.ones((4, 4, 1), np.float32)
    boxes = np.array([[0, 0, 7, 5]], np.float32)
    full = encode_masks(boxes, np.ones((1, 1), np.float32), proto, 5, 7)[0]
    assert full.counts == coco_mask.encode(np.ones((5, 7), np.uint8, order="F"))["counts"]
    empty = encode_masks(boxes, -np.ones((1, 1), np.float32), proto, 5, 7)[0]
    assert empty.counts == coco_mask.encode(np.zeros((5, 7), np.uint8, order="F"))["counts"]
    assert encode_masks(boxes[:0], np.zeros((0, 1), np.float32), proto, 5, 7) == ()


def test_a_mask_lies_where_its_object_is() -> None:
    """An object painted into the prototypes of a letterboxed image comes back at its place in the image."""
    image = np.zeros((300, 500, 3), np.uint8)
    image[60:180, 100:350] = 255
    canvas, way = letterbox(image, 256)
    proto = cv2.resize(canvas, (64, 64), interpolation=cv2.INTER_AREA)[:, :, :1].astype(np.float32) - 127.5
    boxes = way.to_image(np.array([[0, 0, 256, 256]], np.float32))
    mask = encode_masks(boxes, np.ones((1, 1), np.float32), proto, 300, 500)[0]
    found = coco_mask.decode({"size": [300, 500], "counts": mask.counts}).astype(bool)
    expected = image[:, :, 0] > 0
    assert (found & expected).sum() / (found | expected).sum() > 0.97
