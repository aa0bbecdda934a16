"""What the tests of card and report share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import RunRecord

SEED_256 = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
SEED_320 = "yolov8n_320_quant_pc_ii_seg_coco-st.tflite"
IMAGES = 10


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, and the images its networks were measured on."""

    folder: Path
    images: Path
    record: RunRecord
