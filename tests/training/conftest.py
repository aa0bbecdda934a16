"""Small sets made on the spot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: tests run beside each other

import cv2
import numpy as np
import pytest

COLOURS = {1: (220, 40, 40), 2: (40, 80, 220)}


def make_coco(folder: Path, count: int = 8, side: int = 96, crowd: bool = False) -> Path:
    """Rectangles (class square) and discs (class disc) on noise; returns the annotation file."""
    rng = np.random.default_rng(7)
    (folder / "images").mkdir(parents=True)
    images, objects = [], []
    for number in range(1, count + 1):
        height, width = (side, side * 3 // 4) if number % 2 else (side * 3 // 4, side)
        pixels = rng.integers(60, 120, (height, width, 3), dtype=np.uint8)
        for kind in (1, 2):
            size = int(rng.integers(20, 34))
            x, y = int(rng.integers(0, width - size)), int(rng.integers(0, height - size))
            polygon = outline(kind, x, y, size)
            cv2.fillPoly(pixels, [np.rint(np.array(polygon).reshape(-1, 2)).astype(np.int32)], COLOURS[kind])
            objects.append(
                {
                    "id": len(objects) + 1, "image_id": number, "category_id": kind, "iscrowd": 0,
                    "bbox": [x, y, size, size], "area": size * size, "segmentation": [polygon],
                }
            )  # fmt: skip
        if crowd:
            objects.append({**objects[-1], "id": len(objects) + 1, "iscrowd": 1})
        name = f"{number:03d}.png"
        cv2.imwrite(str(folder / "images" / name), pixels[..., ::-1])
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return file


def outline(kind: int, x: float, y: float, size: float) -> list[float]:
    if kind == 1:
        return [x, y, x + size, y, x + size, y + size, x, y + size]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.stack([x + size / 2 * (1 + np.cos(angles)), y + size / 2 * (1 + np.sin(angles))], 1)
    return [float(value) for value in points.ravel()]


@pytest.fixture(scope="session")
def write_coco() -> Callable[..., Path]:
    """Writes a COCO set into a folder, returns its annotation file."""
    return make_coco


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a COCO set of eight images and two classes."""
    folder = tmp_path_factory.mktemp("shapes")
    make_coco(folder)
    return folder
