"""Whether a calibration set is enough, from what the float network did on it: no annotations are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import CalibrationCheck, Contract

SEEN = 0.25  # score from which a class counts as seen in an image: the usual threshold of an application
FEW_IMAGES = 32
# Median disagreement of the halves; YOLOv8n-seg at 256 px on photos of COCO: 9 % of 2 and of 4 images, 4.9 of 8, 3.4 of
# 32, 2.2 of 128 (2026-11-21).
UNSTABLE = 0.05
FEW_CLASSES = 0.5  # of the network's


@dataclass(frozen=True, slots=True)
class Widths:
    """The width of one tensor's range over all images and over either half of them."""

    name: str
    whole: float
    first: float
    second: float

    @property
    def disagreement(self) -> float:
        return abs(self.first - self.second) / self.whole if self.whole > 0 else 0.0


class SeenClasses:
    """Counts, class by class, the images in which the float network of `contract` finds it."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.kind = next((r.kind for r in contract.roles if r.kind in ("logits", "scores", "pred", "pred5")), "")
        self.images = np.zeros(contract.spec.nc if self.kind else 0, np.int64)

    def add(self, outputs: Sequence[NDArray[Any]]) -> None:
        """Count one image; `outputs` in the file's order."""
        from edgeai.evaluate.decode import Output, OutputReader, sigmoid

        if not self.kind:
            return
        reader = OutputReader([Output(array) for array in outputs], self.contract)
        best = np.full(len(self.images), -np.inf, np.float32)
        for role in reader.roles(self.kind):
            values = reader.table(role).values
            if self.kind == "pred":
                values = values[:, 4 : 4 + len(self.images)]
            if self.kind == "pred5":
                values = values[:, 5 : 5 + len(self.images)] * values[:, 4:5]
            best = np.maximum(best, values.max(axis=0))
        self.images += (sigmoid(best) if self.kind == "logits" or self.contract.logits else best) > SEEN


class BoxReach:
    """How far the boxes reach of which the float network of `contract` is sure: `images` in sides of the input."""

    def __init__(self, contract: Contract) -> None:
        kinds = {role.kind for role in contract.roles}
        self.contract, self.images = contract, 0.0
        self.decoded = bool(kinds & {"boxes", "pred", "pred5"}) and bool(contract.box_unit)

    def add(self, outputs: Sequence[NDArray[Any]]) -> None:
        """Look at one image; `outputs` in the file's order."""
        from edgeai.evaluate.decode import Output, decode

        if not self.decoded:
            return
        found = decode([Output(array) for array in outputs], self.contract, SEEN)
        if len(found.rows):
            boxes = found.boxes[np.unique(found.rows)]
            wide = float((boxes[:, 2:] - boxes[:, :2]).max()) / self.contract.imgsz
            self.images = max(self.images, wide)


def check_of(widths: Sequence[Widths], seen: SeenClasses) -> CalibrationCheck:
    """The check of a set of two images or more."""
    worst = max(widths, key=lambda entry: entry.disagreement)
    middle = median(entry.disagreement for entry in widths)
    return CalibrationCheck(middle, worst.disagreement, worst.name, tuple(int(n) for n in seen.images))


def advice(check: CalibrationCheck | None, images: int, names: Sequence[str]) -> list[str]:
    """What to do about a calibration set that is not enough, one sentence each; none where it is."""
    found = []
    if images < FEW_IMAGES:
        found.append(f"{images} calibration images are few: 100 photos of what the camera will see are better")
    if check is None:
        return found
    if check.median > UNSTABLE:
        found.append(
            f"two halves of the calibration set give ranges that differ by {100 * check.median:.0f} % in the middle "
            f"({100 * check.worst:.0f} % at {check.worst_tensor[-40:]}): add images"
        )
    missing = [name for name, count in zip(names, check.seen, strict=False) if not count]
    if check.seen and len(missing) == len(check.seen):
        found.append(
            f"WARNING: the float network finds nothing in the {images} calibration images: are they photos of what it "
            "is to find, and is its input what it was trained with (--mean, --std)?"
        )
    elif check.seen and len(missing) > (1 - FEW_CLASSES) * len(check.seen):
        found.append(
            f"the network finds {len(check.seen) - len(missing)} of its {len(check.seen)} classes in the calibration "
            f"images; not {', '.join(missing[:3])}: add photos of what it is to find"
        )
    return found
