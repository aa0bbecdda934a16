"""A sweep of 24 points one after the other and on two workers: the same table, and how much sooner.

    python tests/bench/bench_sweep.py [--images 40] [--workers 2]

Needs nothing but edgeai itself: the bundled network on pictures made on the spot. Every run starts with an empty
cache. Steps that use several cores by themselves (TensorFlow's calibration and LiteRT's two inference threads) gain
less from a second worker than the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEP = """
[sweep]
models = ["yolov8n-seg-synthetic"]
imgsz = [128, 192]
layout = ["raw", "split", "concat"]
granularity = ["per-channel", "per-tensor"]
boards = ["stm32n6", "stm32mp2"]
[calibration]
images = "set/calibration/images"
[evaluation]
images = "set/val/images"
annotations = "set/val/instances.json"
"""


def run(folder: Path, *options: str, cache: str) -> float:
    """Seconds of wall time of one sweep."""
    environment = {**os.environ, "EDGEAI_CACHE": str(folder / cache)}
    begin = time.monotonic()
    command = [sys.executable, "-m", "edgeai", "sweep", "sweep.toml", "--out", cache + "-out", *options]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.toml").write_text(SWEEP)
        make = ["synth", "set", "--train", "0", "--val", str(options.images), "--calibration", "32", "--seed", "1"]
        subprocess.run([sys.executable, "-m", "edgeai", *make], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        one = run(folder, cache="one")
        several = run(folder, "--workers", str(options.workers), cache="several")
        same = (folder / "one-out/sweep.json").read_bytes() == (folder / "several-out/sweep.json").read_bytes()
    print(f"24 points, {options.images} images: sequential {one:.1f} s, {options.workers} workers {several:.1f} s")
    print(f"ratio {several / one:.2f}, tables {'equal' if same else 'DIFFER'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
