"""Whether training learns: fine-tuning against the same network from scratch, after equally many epochs.

    python tests/bench/learning.py [--kit DIR] [--epochs N] [--out DIR]

Trains on the ten most frequent classes of the kit's train_extra and calibration images, once from its YOLOv8n-seg and
once from fresh weights, and prints box and mask AP50 of both on the kit's val images, for those classes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.coco import evaluate
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.training.data import open_datasets
from edgeai.training.loop import Silent
from edgeai.training.record import EpochRecord
from edgeai.training.run import Inputs, train
from edgeai.training.settings import Augmentation, TrainSettings

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
NEEDED_POINTS = 10.0


class Lines(Silent):
    """A line for every epoch."""

    def done(self, record: EpochRecord, seconds: float) -> None:
        terms = f"box {record.box:.3f} seg {record.seg:.3f} cls {record.cls:.3f} dfl {record.dfl:.3f}"
        print(f"  epoch {record.epoch:3d}  {terms}  {seconds:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "edgeai-learning")
    options = parser.parse_args()
    coco = options.kit / "coco"
    folders = (coco / "train_extra", coco / "calibration")
    classes = frequent_classes(folders, 10)
    print(f"classes: {', '.join(classes)}; {options.epochs} epochs")
    inputs = Inputs(tuple((folder, None) for folder in folders), classes=classes)
    settings = TrainSettings(imgsz=256, epochs=options.epochs, augmentation=Augmentation(close_mosaic=3))
    scores = {}
    for label, model in (("fine-tuned", str(options.kit / "weights" / "yolov8n-seg.pt")), ("scratch", "yolov8n-seg")):
        print(label, flush=True)
        out = options.out / f"{label}.safetensors"
        start = time.perf_counter()
        trained = train(model, inputs, settings, out, listener=Lines())
        assert trained is not None
        dataset = read_dataset(coco / "val" / "images", coco / "val" / "instances.json")
        with open_runner(out, imgsz=256) as runner:
            result = evaluate(runner, dataset)
        scores[label] = result.metric("mask_ap50")
        print(
            f"{label}: mask AP50 {scores[label]:.2f}, mask AP {result.metric('mask_ap'):.2f}, "
            f"box AP50 {result.metric('box_ap50'):.2f}; {time.perf_counter() - start:.0f} s, "
            f"{trained.images_per_s:.1f} images/s, {trained.waited * 100:.1f} % waiting",
            flush=True,
        )
    gain = scores["fine-tuned"] - scores["scratch"]
    print(f"gain {gain:+.2f} points, needed {NEEDED_POINTS:+.1f}: {'ok' if gain >= NEEDED_POINTS else 'FAILED'}")


def frequent_classes(folders: tuple[Path, ...], count: int) -> tuple[str, ...]:
    counter: Counter[str] = Counter()
    for folder in folders:
        for dataset in open_datasets(folder, None):
            names = {category.id: category.name for category in dataset.categories}
            counter.update(names[entry.category_id] for entry in dataset.objects)
    return tuple(name for name, _ in counter.most_common(count))


if __name__ == "__main__":
    main()
