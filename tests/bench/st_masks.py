"""Masks of concat files under the rule of ST's applications beside our own: the table of docs/accuracy.md.

    python tests/bench/st_masks.py --kit ../shared/kit --out runs/st_masks.md A.tflite B.tflite ...

The rule and the detections are those of tests/postprocess/test_st_masks.py: LiteRT and numpy, none of edgeai's decode.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(TESTS), str(TESTS / "postprocess")]

from test_st_masks import Reader, contract_of, masks  # noqa: E402

from edgeai.imaging.images import letterbox, read_image  # noqa: E402

IMAGES = 60


def row(model: Path, photos: list[Path]) -> str:
    """Name, number of masks, mean and least IoU of both rules inside the boxes, masks without a pixel under ST's."""
    reader, contract = Reader(model), contract_of(model)
    unit = contract.coef_divisor / contract.proto_factor
    overlaps, empty = [], 0
    for photo in photos:
        pixels = letterbox(read_image(photo), contract.imgsz)[0]
        theirs = masks(reader, pixels, contract.spec.nc, 1.0, 0.5)
        ours = masks(reader, pixels, contract.spec.nc, unit, 1e-9)
        for a, b in zip(theirs, ours, strict=True):
            if b.any():
                empty += not a.any()
                overlaps.append((a & b).sum() / (a | b).sum())
    divided = f"k = {contract.coef_divisor:g}, prototypes x {contract.proto_factor:g}"
    return f"| {model.stem}, {divided} | {len(overlaps)} | {np.mean(overlaps):.3f} | {min(overlaps):.3f} | {empty} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    photos = sorted((asked.kit / "coco" / "val" / "images").glob("*.jpg"))[:IMAGES]
    lines = ["| file | masks | mean IoU | least IoU | empty |", "|---|---|---|---|---|"]
    lines += [row(model, photos) for model in asked.models]
    asked.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
