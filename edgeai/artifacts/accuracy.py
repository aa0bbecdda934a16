"""Accuracy under a protocol, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.base import FileRef, Provenance
from edgeai.errors import InputError


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
class EvalResult:
    """Accuracy of one model under one protocol."""

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

    def metric(self, name: str) -> float:
        """The value of a metric; raises InputError where the result does not hold it."""
        for entry in self.metrics:
            if entry.name == name:
                return entry.value
        known = ", ".join(entry.name for entry in self.metrics)
        raise InputError(f"no metric {name!r} in the result of {self.name}", f"it holds: {known}")


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One figure held against one limit. All values in the metric's own unit."""

    name: str
    baseline: float
    candidate: float
    drop: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class GateVerdict:
    passed: bool
    baseline: str
    candidate: str
    checks: tuple[GateCheck, ...]
    protocol: EvalProtocol
    provenance: Provenance
