"""What post-processing costs next to the int8 inference that it follows, on this machine.

    python tests/bench/bench_postprocess.py [--kit DIR] [--limit N]

Prints the median and the mean per image, in milliseconds, of int8 inference (LiteRT, XNNPACK) with one and two threads,
and of decode + NMS + masks at image size with run-length coding, at an application's threshold and at that of AP.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from edgeai.artifacts import Contract, ModelSpec, OutputRole
from edgeai.evaluate.backends.litert import LiteRtRunner
from edgeai.evaluate.blas import one_blas_thread
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Thresholds, postprocess
from edgeai.imaging.images import letterbox, read_image

MODEL = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    folder = options.kit / "coco" / "val"
    dataset = read_dataset(folder / "images", folder / "instances.json", options.limit)
    inputs = [letterbox(read_image(image.path), 256) for image in dataset.images]
    names = tuple(category.name for category in dataset.categories)
    spec = ModelSpec(name="yolov8n-seg", family="yolov8", task="segment", scale="n", names=names, imgsz=256)
    roles = (OutputRole(0, "pred"), OutputRole(1, "proto"))
    contract = Contract(spec=spec, layout="concat", imgsz=256, roles=roles, box_unit=256.0)

    print(f"{MODEL}, {len(inputs)} images, best of {REPEATS} passes, ms per image")
    outputs = []
    for threads in (1, 2):
        with LiteRtRunner(options.kit / "tflite" / MODEL, contract, threads=threads) as runner:
            runner.infer(inputs[0][0])
            report(f"int8 inference, threads: {threads}", [[canvas] for canvas, _ in inputs], runner.infer)
            outputs = [runner.infer(canvas) for canvas, _ in inputs]
    for conf in (0.25, 0.001):
        thresholds = Thresholds(conf=conf)
        work = [[found, contract, way, thresholds] for found, (_, way) in zip(outputs, inputs, strict=True)]
        count = sum(len(postprocess(*arguments).scores) for arguments in work) / len(work)  # type: ignore[arg-type]
        report(f"decode + NMS + masks, conf {conf:g} ({count:.0f} detections)", work, postprocess)


def report(label: str, work, function) -> None:  # type: ignore[no-untyped-def]
    best = np.full(len(work), np.inf)
    for _ in range(REPEATS):
        for index, arguments in enumerate(work):
            start = time.perf_counter()
            function(*arguments)
            best[index] = min(best[index], (time.perf_counter() - start) * 1e3)
    print(f"{label:50s}  median {np.median(best):6.2f}  mean {best.mean():6.2f}  worst {best.max():6.2f}")


if __name__ == "__main__":
    with one_blas_thread():
        main()
