"""The table of a sweep: one row per model, size, layout, granularity, recipe and board."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.base import FileRef, Provenance
from edgeai.artifacts.estimate import Quantity
from edgeai.artifacts.model import Granularity, Layout


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination of a sweep. `model` and `recipe` are the names the sweep file uses; "" is the default recipe."""

    model: str
    imgsz: int
    layout: Layout
    granularity: Granularity
    recipe: str
    board: str


@dataclass(frozen=True, slots=True)
class SweepFigures:
    """What a point measured and is estimated to need.

    `metric` names the accuracy of the row (`mask_ap` where the model has masks, else `box_ap` or `top1`); `accuracy`
    and `drop` against the float model are in points. `ram` and `flash` are in bytes, `latency` in milliseconds; both
    are estimates for the board. A point is on the `front` where no other that fits the same board is at least as good
    in accuracy, latency and RAM and better in one.
    """

    file: FileRef
    metric: str
    accuracy: float
    drop: float
    ram: Quantity
    flash: Quantity
    latency: Quantity | None
    fits: bool
    front: bool


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A point and what came of it: `figures`, or the one line of `error` that says why there are none."""

    point: SweepPoint
    figures: SweepFigures | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All rows of a sweep in the order of its file."""

    name: str
    rows: tuple[SweepRow, ...]
    provenance: Provenance
