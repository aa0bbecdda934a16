"""The networks whose outputs the C code reads: our three layouts of the kit's YOLOv8n-seg, and ST's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import Silent

from edgeai.cache import StageCache
from edgeai.quantize.calibration import open_calibration
from edgeai.stages import Recipe, Stages

IMGSZ = 256
# split with uint8 outputs: so that both types are read
OUTPUT_TYPE = {"raw": "int8", "split": "uint8", "concat": "int8"}


class Models:
    """int8 files by name: raw, split, concat and st. Ours are made when they are first asked for."""

    def __init__(self, kit: Path, folder: Path) -> None:
        self._kit, self._stages = kit, Stages(StageCache(folder), Silent())
        self._made = {"st": kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"}

    def __getitem__(self, name: str) -> Path:
        if name not in self._made:
            photos = open_calibration(self._kit / "coco" / "calibration" / "images", limit=8)
            recipe = Recipe(imgsz=IMGSZ, layout=name, output_type=OUTPUT_TYPE[name])
            self._made[name] = self._stages.quantized(self._kit / "weights" / "yolov8n-seg.pt", recipe, photos)[0]
        return self._made[name]


@pytest.fixture(scope="session")
def models(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(kit, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photos(kit: Path) -> list[Path]:
    return sorted((kit / "coco" / "val" / "images").glob("*.jpg"))
