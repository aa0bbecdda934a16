"""What a training step costs next to its forward pass, and whether the loader keeps up.

    python tests/bench/bench_training.py [--kit DIR] [--steps N]

YOLOv8n-seg, batch 8, 256 px, the kit's train_extra and calibration images with every augmentation, on the CPU with two
threads. The forward pass is that of the network as torch builds it, in training mode. The step runs channels last,
which makes it faster and its own forward pass faster still, so the share of that one is shown too. Passes and steps
take turns, and the smallest time of each counts: the machine may be doing something else. The wait is measured over an
ordinary run.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from edgeai.models import build
from edgeai.training.data import TrainingSet, class_names, open_datasets
from edgeai.training.loader import DetectionSource
from edgeai.training.loop import Job, Trainer
from edgeai.training.prepare import start
from edgeai.training.settings import Augmentation, TrainSettings

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
MOST_FORWARDS = 3.5
MOST_WAITING = 0.10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--steps", type=int, default=24)
    options = parser.parse_args()
    sets = [s for name in ("train_extra", "calibration") for s in open_datasets(options.kit / "coco" / name, None)]
    names = class_names(sets)
    data = TrainingSet(sets, names, 256, masks=True)
    settings = TrainSettings(imgsz=256, epochs=1, batch=8)
    source = DetectionSource(data, Augmentation(), 100, 0, masks=True)
    trainer = Trainer(Job(start("yolov8n-seg", names, 256, 0), source, (), None), settings, Path("unused.safetensors"))
    for index in range(len(data)):
        data.scene(index)  # later epochs find the images in memory

    plain = build("yolov8n-seg", names=names)[0].train()
    forward, own, step, waited = measure(trainer, plain, options.steps)
    print(f"step {step * 1e3:.0f} ms, its own forward pass {own * 1e3:.0f} ms ({step / own:.2f})")
    report("step / forward", step / forward, MOST_FORWARDS, f"{step * 1e3:.0f} ms / {forward * 1e3:.0f} ms")
    report("waiting for images", waited, MOST_WAITING, f"{8 / step:.1f} images/s at best")


def measure(trainer: Trainer, plain: torch.nn.Module, steps: int) -> tuple[float, float, float, float]:
    """Seconds of a plain forward pass, of the step's own and of the step at best; the share of time spent waiting."""
    trainer.network.train()
    forwards, owns, whole = [], [], []
    batches = list(zip(trainer.loader.epoch(0), range(4), strict=False))
    for number in range(steps):
        batch = batches[number % len(batches)][0]
        pixels = trainer._pixels(batch)
        forwards.append(timed(plain, pixels.contiguous()))
        owns.append(timed(trainer.network, pixels))
        begin = time.perf_counter()
        trainer._batch(batch, step=True)
        whole.append(time.perf_counter() - begin)
    trainer.loader.waited = 0.0
    begin = time.perf_counter()
    for batch, _ in zip(trainer.loader.epoch(1), range(steps), strict=False):
        trainer._batch(batch, step=True)
    return min(forwards), min(owns), min(whole), trainer.loader.waited / (time.perf_counter() - begin)


def timed(network: torch.nn.Module, pixels: torch.Tensor) -> float:
    begin = time.perf_counter()
    outputs = network(pixels)
    seconds = time.perf_counter() - begin
    del outputs
    return seconds


def report(label: str, value: float, limit: float, note: str) -> None:
    print(f"{label:20s} {value:6.3f}  (at most {limit:.2f}: {'ok' if value <= limit else 'FAILED'})  {note}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
