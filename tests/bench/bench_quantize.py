"""One int8 variant from the checkpoint with 100 photos, and onnx2tf's own `-oiqt` on the same ONNX as the peer.

Wall time and the peak memory of the whole process tree, both runs cold and on the same machine:

    python tests/bench/bench_quantize.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil

from edgeai.imaging.images import letterbox, read_image

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
IMAGES = 100
SIZE = 256


@dataclass(frozen=True)
class Cost:
    seconds: float
    peak_mib: float


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command; the memory is the largest sum over its process tree, sampled every 50 ms."""
    peak = 0.0
    begin = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            total = 0
            try:
                root = psutil.Process(process.pid)
                for member in (root, *root.children(recursive=True)):
                    try:
                        total += member.memory_info().rss
                    except psutil.Error:
                        continue
            except psutil.Error:
                continue
            peak = max(peak, total / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    done.set()
    watcher.join()
    if code:
        sys.exit(f"{command[0]} ended with {code}")
    return Cost(time.monotonic() - begin, peak)


def main() -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, photos = KIT / "weights/yolov8n-seg.pt", KIT / "coco/calibration/images"
        common = ["--imgsz", str(SIZE), "--calibration", str(photos)]
        ours = measure(
            [python, "-m", "edgeai", "quantize", str(model), *common, "--limit", str(IMAGES), "-o", "m.tflite"],
            folder, {"EDGEAI_CACHE": str(folder / "cache")},
        )  # fmt: skip
        onnx = next((folder / "cache/export").glob("*/*.onnx"))
        chosen = sorted(photos.iterdir())[:IMAGES]
        data = np.stack([letterbox(read_image(path), SIZE)[0] for path in chosen]).astype(np.float32) / 255
        np.save(folder / "calibration.npy", data)
        sample = np.stack([cv2.resize(image, (128, 128)) for image in data[:20]])
        np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", sample)
        quantise = ["-oiqt", "-cind", "images", "calibration.npy", "[[[[0,0,0]]]]", "[[[[1,1,1]]]]"]
        script = Path(python).with_name("onnx2tf")
        peer = measure(
            [str(script), "-i", str(onnx), "-o", "peer", *quantise, "-n"],
            folder, {"PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    print(f"{IMAGES} photos, {SIZE} px, {os.cpu_count()} cores, cold")
    print(f"edgeai quantize, checkpoint to int8   {ours.seconds:6.1f} s  {ours.peak_mib:6.0f} MiB")
    print(f"onnx2tf -oiqt, ONNX to int8           {peer.seconds:6.1f} s  {peer.peak_mib:6.0f} MiB")
    print(f"ratio                                 {peer.seconds / ours.seconds:6.1f} x")


if __name__ == "__main__":
    main()
