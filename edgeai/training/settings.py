"""What a training run can be told. Plain data without torch, so that the command line can build it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgeai.errors import InputError

OptimizerName = Literal["auto", "sgd", "adamw"]
Schedule = Literal["cosine", "linear"]
QatMode = Literal["", "per-channel", "per-tensor"]

NOMINAL_BATCH = 64  # SGD's published learning rate belongs to this many images per update


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far images are changed. Probabilities in 0..1; `scale`, `translate` and the colours are relative."""

    mosaic: float = 1.0
    close_mosaic: int = 10
    copy_paste: float = 0.1
    flip: float = 0.5
    degrees: float = 0.0
    shear: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    hue: float = 0.015
    saturation: float = 0.7
    value: float = 0.4


NO_AUGMENTATION = Augmentation(0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One training run. `lr`, `accumulate` and `workers` choose for themselves at 0 (`workers`: at -1).

    `schedule` falls from `lr` to `lr * final_lr` over the epochs, after `warmup_epochs`. `freeze` counts layers from
    the input. `patience` epochs without a better validation end the run; 0 never does. `qat` is empty for float.
    """

    imgsz: int = 256
    epochs: int = 100
    batch: int = 8
    optimizer: OptimizerName = "auto"
    lr: float = 0.0
    final_lr: float = 0.01
    schedule: Schedule = "cosine"
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    accumulate: int = 0
    clip: float = 10.0
    seed: int = 0
    freeze: int = 0
    patience: int = 0
    val_every: int = 1
    device: str = "auto"
    threads: int = 2
    workers: int = -1
    cache_mib: int = 2048
    qat: QatMode = ""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def check(self, stride: int) -> None:
        """Raises InputError for the first setting that cannot be."""
        if self.imgsz < stride or self.imgsz % stride:
            raise InputError(f"imgsz {self.imgsz} is not a multiple of {stride}", "256, 320 and 640 are usual")
        for name in ("epochs", "batch", "val_every", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not at least 1")
        for name in ("lr", "final_lr", "weight_decay", "warmup_epochs", "accumulate", "clip", "freeze", "patience"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} {getattr(self, name)} is negative or not a number")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum {self.momentum} is not in 0..1")
        for name in ("mosaic", "copy_paste", "flip"):
            if not 0 <= getattr(self.augmentation, name) <= 1:
                raise InputError(f"{name} {getattr(self.augmentation, name)} is not a probability in 0..1")
        if not 0 <= self.augmentation.scale < 1:
            raise InputError(f"scale {self.augmentation.scale} is not in 0..1")
