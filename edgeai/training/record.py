"""What a training run was and how it went: JSON for machines, CSV for spreadsheets, PNG for the eye."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.artifacts import FileRef, Metric, ModelSpec, Provenance, to_json
from edgeai.files import write_text, write_with


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch: mean loss terms with their gains, per image; `lr` at its end; metrics in percent points, empty where
    the epoch was not validated."""

    epoch: int
    lr: float
    box: float
    seg: float
    cls: float
    dfl: float
    metrics: tuple[Metric, ...] = ()

    def metric(self, name: str) -> float | None:
        return next((entry.value for entry in self.metrics if entry.name == name), None)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """A finished run. `source` is the checkpoint it started from, None from scratch; `weights` are those of
    `best_epoch` by `criterion`, of the last epoch where nothing was validated (`best_epoch` 0)."""

    spec: ModelSpec
    weights: FileRef
    source: FileRef | None
    images: int
    parameters: int
    criterion: str
    best_epoch: int
    epochs: tuple[EpochRecord, ...]
    stopped_early: bool
    provenance: Provenance


def record_paths(out: Path) -> tuple[Path, Path, Path]:
    """The JSON, CSV and PNG that belong to a weight file."""
    return out.with_suffix(".training.json"), out.with_suffix(".training.csv"), out.with_suffix(".training.png")


def write_record(record: TrainingRecord, out: Path) -> tuple[Path, ...]:
    """Write JSON and CSV, and PNG where matplotlib is installed; returns what was written."""
    json_path, csv_path, png_path = record_paths(out)
    write_text(json_path, to_json(record))
    write_text(csv_path, as_csv(record.epochs))
    written = (json_path, csv_path)
    return (*written, png_path) if write_curves(record, png_path) else written


def as_csv(epochs: tuple[EpochRecord, ...]) -> str:
    names = list(dict.fromkeys(metric.name for entry in epochs for metric in entry.metrics))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["epoch", "lr", "box", "seg", "cls", "dfl", *names])
    for entry in epochs:
        values = [entry.metric(name) for name in names]
        figures = [f"{value:.6g}" for value in (entry.lr, entry.box, entry.seg, entry.cls, entry.dfl)]
        writer.writerow([entry.epoch, *figures, *["" if value is None else f"{value:.4f}" for value in values]])
    return stream.getvalue()


def write_curves(record: TrainingRecord, path: Path) -> bool:
    """Losses and metrics over the epochs as a PNG; False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, metrics = figure.subplots(1, 2)
    numbers = [entry.epoch for entry in record.epochs]
    for name in ("box", "seg", "cls", "dfl"):
        values = [getattr(entry, name) for entry in record.epochs]
        if any(values):
            losses.plot(numbers, values, label=name)
    for name in dict.fromkeys(metric.name for entry in record.epochs for metric in entry.metrics):
        points = [(entry.epoch, entry.metric(name)) for entry in record.epochs if entry.metrics]
        metrics.plot(*zip(*points, strict=True), label=name.replace("_", " "))
    _finish(losses, "loss")
    _finish(metrics, "percent points")
    write_with(path, lambda temporary: figure.savefig(temporary, format="png", metadata={"Software": None}))
    return True


def _finish(axes: Any, label: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
