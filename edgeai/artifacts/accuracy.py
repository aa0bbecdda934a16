"""Accuracy under a protocol, and how sure a difference of two such figures is."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.base import Count, Fact, FileRef, Provenance
from edgeai.errors import InputError

ULTRALYTICS = "Ultralytics"  # how the metric tool of results counted as `yolo val` counts begins


@dataclass(frozen=True, slots=True)
class EvalProtocol:
    """Everything two accuracy figures must have in common before they may be compared."""

    dataset: str
    annotations_sha256: str
    images_sha256: str
    num_images: int
    imgsz: int
    letterbox: str
    confidence: float
    nms_iou: float
    max_detections: int
    multi_label: bool
    metric_tool: str
    augmentation: str = "none"

    @property
    def as_ultralytics(self) -> bool:
        """Whether AP was counted as `yolo val` counts it, which is not COCO's AP."""
        return self.metric_tool.startswith(ULTRALYTICS)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric in percent points (0..100), named as on the command line: `mask_ap`, `box_ap50`, ..."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class ClassMetric:
    category: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """Detections and objects of one category over a data set, as AP needs them.

    `detections`: base64 of little-endian uint32, by descending score: image << 20 | ignored << 10 | hit, where `hit`
    and `ignored` have a bit for each IoU 0.50, 0.55 ... 0.95 (lowest first). `objects`: base64 of uint32, the image of
    every object. Images count from 0 in the order of the data set.
    """

    category: str
    detections: str
    objects: str


@dataclass(frozen=True, slots=True)
class Matches:
    """What AP of one metric (`box_ap`, `mask_ap`) was computed from, image by image."""

    metric: str
    num_images: int
    images_sha256: str
    annotations_sha256: str
    classes: tuple[ClassMatches, ...]


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Accuracy of one model under one protocol. `matches`, of AP, lets intervals be computed; older results lack it.

    `classes_by` says how classes and categories were paired: by `name`, or where no name matches by `category id` or
    `folder order`, and then `class_pairs` names the pairs. `data` counts the objects, and what was found with them:
    crowd, clipped, left out. Older results say none of it.
    """

    model: FileRef
    name: str
    backend: str
    precision: str
    granularity: str
    layout: str
    protocol: EvalProtocol
    metrics: tuple[Metric, ...]
    per_class: tuple[ClassMetric, ...]
    detections: int
    provenance: Provenance
    matches: tuple[Matches, ...] = ()
    classes_by: str = ""
    class_pairs: tuple[Fact, ...] = ()
    data: tuple[Count, ...] = ()

    def metric(self, name: str) -> float:
        """The value of a metric; raises InputError where the result does not hold it."""
        for entry in self.metrics:
            if entry.name == name:
                return entry.value
        known = ", ".join(entry.name for entry in self.metrics)
        raise InputError(f"no metric {name!r} in the result of {self.name}", f"it holds: {known}")


@dataclass(frozen=True, slots=True)
class DropInterval:
    """The drop of a metric in points (baseline - candidate) with its paired-bootstrap interval over images.

    `low` and `high` enclose the drop with probability `confidence`; `over` is the share of resamples whose drop is
    above `limit` points.
    """

    metric: str
    baseline: float
    candidate: float
    drop: float
    low: float
    high: float
    confidence: float
    resamples: int
    seed: int
    limit: float = 0.0
    over: float = 0.0
