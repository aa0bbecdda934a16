"""The networks whose outputs the C code reads: our three layouts of the kit's YOLOv8n-seg, and ST's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
from layout_models import write_layouts

from edgeai import worker
from edgeai.artifacts import Layout
from edgeai.quantize.ptq import OutputType

IMGSZ = 256
# split with uint8 outputs: so that both types are read
LAYOUTS: tuple[tuple[Layout, OutputType], ...] = (("raw", "int8"), ("split", "uint8"), ("concat", "int8"))


@pytest.fixture(scope="session")
def models(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """int8 files by name: raw, split, concat and st."""
    folder = tmp_path_factory.mktemp("layouts")
    checkpoint, photos = kit / "weights" / "yolov8n-seg.pt", kit / "coco" / "calibration" / "images"
    worker.run(write_layouts, folder / "log.txt", checkpoint, photos, IMGSZ, LAYOUTS, folder)
    made = {layout: folder / f"{layout}.tflite" for layout, _ in LAYOUTS}
    return made | {"st": kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"}


@pytest.fixture(scope="session")
def photos(kit: Path) -> list[Path]:
    return sorted((kit / "coco" / "val" / "images").glob("*.jpg"))
