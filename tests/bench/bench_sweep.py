"""A sweep of 24 points one after the other and on two workers: the same table, and how much sooner.

    python tests/bench/bench_sweep.py [--images 40] [--workers 2]

Needs nothing but edgeai itself: the bundled network on pictures made on the spot. Every run starts with an empty
cache. Tuning, calibration and evaluation use two cores by themselves, so one after the other already keeps more than
one core busy: processor time over wall time says how many, and what a second worker can gain at most.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Cost:
    """Of one sweep: seconds of wall time, and of all its processes on the processor."""

    wall: float
    processor: float

    @property
    def cores(self) -> float:
        return self.processor / self.wall


def run(folder: Path, *options: str, cache: str) -> Cost:
    environment = {**os.environ, "EDGEAI_CACHE": str(folder / cache)}
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "edgeai", "sweep", "sweep.toml", "--out", cache + "-out", *options]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - begin, processor)


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
    print(f"24 points, {options.images} images")
    print(f"sequential {one.wall:.1f} s, {one.cores:.2f} cores busy")
    print(f"{options.workers} workers {several.wall:.1f} s, {several.cores:.2f} cores busy")
    bound = one.cores / min(options.workers, os.cpu_count() or 1)
    print(f"ratio {several.wall / one.wall:.2f}, with all cores busy {bound:.2f}")
    print(f"tables {'equal' if same else 'DIFFER'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
