"""Is logit > 0 the best place to cut a mask? Other thresholds and half-pixel shifts, chosen on train, reported on val.

    python tests/bench/mask_threshold.py choose [--kit FOLDER] [--out FOLDER]
    python tests/bench/mask_threshold.py report [--kit FOLDER] [--out FOLDER]

A variant is a threshold t of the logit, or a shift of the mask right and down by half a pixel of the input or back, or
a way over whole pixels of the input: the mask is cut at the size of the input, and a pixel of the image is in it where
more than half, or all, of what is interpolated there is. All is what files written by `yolo val save_json=True` hold:
their bytes are cut off, not rounded, which takes half a pixel of the input off every edge.

The rule, fixed before val was read: `choose` takes the variant with the highest mask AP under pycocotools, mean of 256
and 320 px of the float network, on the 83 images of train_extra, and writes it to chosen.json. `report` reads the 171
images of val, for the chosen variant and for logit > 0 only: mask AP of both and the gain with its paired-bootstrap
interval, on the float network and on ST's int8 file, which had no part in the choice.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from edgeai.artifacts import Matches
from edgeai.cli.render import markdown_table
from edgeai.evaluate import masks
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.backends.base import Runner
from edgeai.evaluate.blas import one_blas_thread
from edgeai.evaluate.bootstrap import drop_interval
from edgeai.evaluate.coco import ImageDetections, decide_units, measure
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.decode import decode
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Detections, Thresholds, suppressed
from edgeai.files import write_text
from edgeai.imaging.images import letterbox, read_image

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
FLOAT, INT8 = "weights/yolov8n-seg.pt", "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
SIZES = (256, 320)
STRIDE = 4  # pixels of the input to one of the prototypes


@dataclass(frozen=True, slots=True)
class Variant:
    """Where a mask is cut: the logit it has to exceed, and pixels of the input that it is moved right and down."""

    threshold: float = 0.0
    shift: float = 0.0
    share: float = 0.0  # of the pixels of the input that must be in the mask; 0.0: they are left out

    def __str__(self) -> str:
        if self.share:
            return f"over pixels of the input, {'all' if self.share == ALL else 'more than half'} in"
        return f"logit > {self.threshold:g}" + (f", moved {self.shift:+g} px" if self.shift else "")


ALL = 0.999
USUAL = Variant()
VARIANTS = (
    *(Variant(threshold) for threshold in (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)),
    *(Variant(0.0, shift) for shift in (-0.5, 0.5)),
    *(Variant(share=share) for share in (0.5, ALL)),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Mask AP and AP50 in points, and the matches behind AP."""

    ap: float
    ap50: float
    matches: Matches


def figures(runner: Runner, dataset: Dataset, variants: Sequence[Variant]) -> dict[Variant, Figure]:
    """Mask AP of every variant; the network runs once an image, and its boxes are those of all."""
    found: dict[Variant, list[ImageDetections]] = {variant: [] for variant in variants}
    thresholds = Thresholds()
    with one_blas_thread():
        decide_units(runner, dataset)
        for image in dataset.images:
            canvas, transform = letterbox(read_image(image.path), runner.input_size)
            outputs = runner.infer(canvas)
            contract = runner.see(outputs, thresholds.conf)
            candidates = decode(outputs, contract, thresholds.conf)
            kept = suppressed(candidates, contract, thresholds)
            rows = candidates.rows[kept]
            boxes = transform.to_image(candidates.boxes[rows])
            scores, classes = candidates.scores[kept], candidates.classes[kept]
            assert candidates.proto is not None
            for variant in variants:
                drawn = cut(variant, boxes, candidates.coefs[rows], candidates.proto, image.height, image.width)
                found[variant].append(ImageDetections(image.id, Detections(boxes, scores, classes, drawn)))
    result = {}
    for variant, entries in found.items():
        accuracy = measure(dataset, entries, runner.contract.spec.names, masks=True)
        values = {metric.name: metric.value for metric in accuracy.metrics}
        (matches,) = (entry for entry in accuracy.matches if entry.metric == "mask_ap")
        result[variant] = Figure(values["mask_ap"], values["mask_ap50"], matches)
    return result


def cut(
    variant: Variant, boxes: np.ndarray, coefs: np.ndarray, proto: np.ndarray, height: int, width: int
) -> tuple[masks.Rle, ...]:
    """`masks.encode_masks` of a variant. The threshold is one more prototype of ones, with the coefficient -t: every
    logit falls by t, and so does what is interpolated between them."""
    if variant.share:
        return over_pixels(variant.share, boxes, coefs, proto, height, width)
    if variant.threshold:
        coefs = np.concatenate([coefs, np.full((len(coefs), 1), -variant.threshold, np.float32)], axis=1)
        proto = np.concatenate([proto, np.ones((*proto.shape[:2], 1), np.float32)], axis=2)
    shifted = mock.patch.object(masks, "_interpolation", Shifted(variant.shift / STRIDE))
    with shifted if variant.shift else nullcontext():
        return masks.encode_masks(boxes, coefs, proto, height, width)


def over_pixels(
    share: float, boxes: np.ndarray, coefs: np.ndarray, proto: np.ndarray, height: int, width: int
) -> tuple[masks.Rle, ...]:
    """Masks cut at the size of the input, inside their boxes, and brought to the size of the image from there."""
    import cv2

    rows, columns, _ = proto.shape
    size = (columns * STRIDE, rows * STRIDE)
    gain = min(size[1] / height, size[0] / width)
    left, top = (size[0] - round(width * gain)) // 2, (size[1] - round(height * gain)) // 2
    pixel, limit = np.array([-1, -1, 1, 1]) / gain, np.array([width, height] * 2)
    result: list[masks.Rle] = []
    for box, coef in zip(boxes, coefs, strict=True):
        inside = cv2.resize(proto @ coef, size, interpolation=cv2.INTER_LINEAR) > 0
        x1, y1, x2, y2 = np.ceil(box * gain + np.array([left, top] * 2)).astype(int).tolist()
        inside[:y1] = inside[y2:] = False
        inside[:, :x1] = inside[:, x2:] = False
        value = inside[:, :, None].astype(np.float32) - np.float32(share)
        around = np.clip(box + pixel, 0, limit).astype(np.float32)[None]  # nothing lies further out
        result += masks.encode_masks(around, np.ones((1, 1), np.float32), value, height, width)
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Shifted:
    """`masks._interpolation` of logits that lie `cells` further right or down."""

    cells: float

    def __call__(self, size: int, source: int) -> masks._Interpolation:
        position = np.clip((np.arange(size) + 0.5) * source / size - 0.5 - self.cells, 0, source - 1)
        first = np.floor(position).astype(np.int64)
        last = np.minimum(first + 1, source - 1)
        weights = np.zeros((size, source), np.float32)
        weights[np.arange(size), first] = 1 - (position - first)
        weights[np.arange(size), last] += (position - first).astype(np.float32)
        return masks._Interpolation(weights, tuple(first.tolist()), tuple(last.tolist()))


def part(kit: Path, name: str) -> Dataset:
    return read_dataset(kit / "coco" / name / "images", kit / "coco" / name / "instances.json")


def choose(kit: Path, out: Path) -> str:
    """The table of all variants on train_extra; the best is written to chosen.json."""
    dataset = part(kit, "train_extra")
    by_size = {}
    for size in SIZES:
        with open_runner(kit / FLOAT, imgsz=size, threads=1) as runner:
            by_size[size] = figures(runner, dataset, VARIANTS)
    mean = {variant: float(np.mean([by_size[size][variant].ap for size in SIZES])) for variant in VARIANTS}
    best = max(VARIANTS, key=lambda variant: mean[variant])
    write_text(out / "chosen.json", json.dumps(asdict(best)) + "\n")
    rows = [
        [str(v), *(f"{by_size[size][v].ap:.2f} / {by_size[size][v].ap50:.2f}" for size in SIZES), f"{mean[v]:.2f}"]
        for v in VARIANTS
    ]
    head = ["mask", *(f"{size} px, mask AP / AP50" for size in SIZES), "mean AP"]
    return f"{markdown_table(head, rows)}\n\nChosen on {len(dataset.images)} images of train_extra: {best}.\n"


def report(kit: Path, out: Path) -> str:
    """The chosen variant against logit > 0 on val."""
    chosen = Variant(**json.loads((out / "chosen.json").read_text()))
    dataset = part(kit, "val")
    rows = []
    for model, size in ((FLOAT, 256), (FLOAT, 320), (INT8, 256)):
        with open_runner(kit / model, imgsz=size, threads=1) as runner:
            found = figures(runner, dataset, (USUAL, chosen))
        before, after = found[USUAL], found[chosen]
        # a gain is a negative drop
        interval = drop_interval(before.matches, after.matches)
        gain = f"{after.ap - before.ap:+.2f} [{-interval.high:+.2f}, {-interval.low:+.2f}]"
        plain, other = (f"{figure.ap:.2f} / {figure.ap50:.2f}" for figure in (before, after))
        rows.append([f"{Path(model).stem}, {size} px", plain, other, gain])
    return markdown_table(["network", str(USUAL), str(chosen), "AP gained"], rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["choose", "report"])
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--out", type=Path, default=Path("runs/mask-threshold"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    text = {"choose": choose, "report": report}[options.step](options.kit, options.out)
    write_text(options.out / f"{options.step}.md", text)
    print(text)


if __name__ == "__main__":
    main()
