"""Memory, latency and operator support of a model on a board, and how wrong the estimates are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import Count, FileRef, Provenance


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Bytes of one memory pool that the model needs. `kind` is `ram`, `external-ram` or `flash`."""

    pool: str
    kind: str
    capacity: int
    used: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of one model on one board. `source` says who computed it: `estimate` or `ST Edge AI Core x.y`.

    `fits` is the whole verdict; `memory_fits` that of the memory alone, None where an older version left it out.
    """

    model: FileRef
    board: str
    target: str
    source: str
    weights_bytes: int
    activations_bytes: int
    io_bytes: int
    peak_operator: str
    peak_tensors: tuple[Count, ...]
    pools: tuple[PoolUse, ...]
    fits: bool
    reasons: tuple[str, ...]
    provenance: Provenance
    memory: MemoryEstimate | None = None
    latency: LatencyEstimate | None = None
    support: SupportSummary | None = None
    what_if: tuple[WhatIf, ...] = ()
    memory_fits: bool | None = None

    @property
    def too_slow(self) -> bool:
        """Whether the model fits the memory, and is only over the latency budget."""
        return not self.fits and self.memory_fits is True


@dataclass(frozen=True, slots=True)
class Quantity:
    """A prediction with the interval in which the true value lies, both in `unit`."""

    low: float
    point: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What ST's tools of `version` will report for a network, in bytes: `ram` on chip, inputs and outputs included;
    `external` RAM beyond it; `weights` and `code` in flash. `table` names the constants it was computed with.

    `lower_bound` is the live peak, `planned` what edgeai's own placement uses: the gap between them is its quality.
    """

    version: str
    table: str
    ram: Quantity
    weights: Quantity
    external: int
    code: int
    lower_bound: int
    planned: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpLatency:
    """Milliseconds of one operator; `bound` is `compute`, `weights`, `overhead`, `software` or `gpu`."""

    index: int
    kind: str
    unit: str
    bound: str
    macs: int
    ms: float


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """How long one inference takes. `table` names the constants; `notes` say what widens the interval."""

    board: str
    version: str
    table: str
    ms: Quantity
    bound: str
    ops: tuple[OpLatency, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftwareOperator:
    """Operators of one kind that the accelerator does not run as a whole: how many, where, why, what avoids it."""

    kind: str
    count: int
    unit: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class SupportSummary:
    """Predicted runs of the accelerator (epochs), and those of them in software or partly so."""

    epochs: int
    software_epochs: int
    hybrid_epochs: int
    software: tuple[SoftwareOperator, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same network changed in one way: `change` reads `imgsz=192` or `layout=raw`. Bytes and milliseconds.

    `software` counts the operators that the accelerator does not run.
    """

    change: str
    ram: float
    weights: float
    external: int
    ms: float
    fits: bool
    software: int = 0


@dataclass(frozen=True, slots=True)
class EstimateError:
    """How far estimates lie from published figures: relative errors in per cent, of `n` rows.

    `covered` is the share of rows in per cent whose value lies in the stated interval.
    """

    target: str
    version: str
    quantity: str
    split: str
    n: int
    median: float
    p90: float
    worst: float
    mean: float
    covered: float


@dataclass(frozen=True, slots=True)
class EstimatorReport:
    """The error table of the estimators on published rows; `tables` names the constants."""

    tables: tuple[str, ...]
    errors: tuple[EstimateError, ...]
    rows: tuple[EstimateRow, ...]


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """One published value beside its estimate. `used` is false where a caveat keeps it out of the error table."""

    row: str
    model: str
    target: str
    version: str
    quantity: str
    split: str
    match: str
    published: float
    estimated: float
    low: float
    high: float
    used: bool
    caveat: str


@dataclass(frozen=True, slots=True)
class BoardAdvice:
    """Whether a board suits a network: `recommended`, `supported` or `no`, with the reason and the figures."""

    board: str
    family: str
    verdict: Literal["recommended", "supported", "no"]
    reason: str
    ram: float
    flash: float
    ms: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    model: FileRef
    boards: tuple[BoardAdvice, ...]
    provenance: Provenance
