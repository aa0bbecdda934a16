"""Where an int8 file loses accuracy, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import FileRef, Provenance
from edgeai.artifacts.model import AuditReport


@dataclass(frozen=True, slots=True)
class Divergence:
    """An int8 tensor against its float counterpart over all images.

    `sqnr_db` 10 log10(sum float² / sum difference²), at most 300; `cosine` -1..1; `kl` the Kullback-Leibler divergence
    in nats of the histogram of the int8 values from that of the float values.
    """

    sqnr_db: float
    cosine: float
    kl: float


@dataclass(frozen=True, slots=True)
class LayerError:
    """One operator of the int8 file; its output against the float tensor.

    `stepwise`: the layer alone, fed with the float tensors quantised as its inputs are. `cumulative`: in the running
    network, with the errors of all layers before it. `minimum`, `maximum` and `rms` are those of the float values.
    `saturated` is the share of float values more than half a step beyond the ends of the int8 grid, `range_use` the
    part of the grid that the float values span (over 1 where they do not fit). `gain` is rms out / rms in of the float
    layer where it has weights, else 0. `stepwise` of a concatenation is that of its worst input. `float_sqnr_db` is the
    SQNR of the layer alone in float arithmetic, its inputs, weights and result rounded as the file says: what kernels
    should give.
    """

    index: int
    kind: str
    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    minimum: float
    maximum: float
    rms: float
    saturated: float
    range_use: float
    stepwise: Divergence
    cumulative: Divergence
    gain: float = 0.0
    float_sqnr_db: float | None = None


@dataclass(frozen=True, slots=True)
class ConcatInput:
    """One input of a concatenation: who made it, its float extremes, and its SQNR under the scale it must share."""

    producer: str
    name: str
    minimum: float
    maximum: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class ConcatSpread:
    """A concatenation whose inputs share one scale and differ in range; `ratio` is the widest over the narrowest."""

    index: int
    name: str
    ratio: float
    inputs: tuple[ConcatInput, ...]


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first bad layer, by its operator's place in the int8 file, and what is wrong with it."""

    index: int
    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DebugReport:
    """An int8 file against its float network. `against` says which: `float model`, or `own simulation` (the file with
    its rounded weights and no rounding of activations) where no float network was given or none matched."""

    model: FileRef
    reference: FileRef | None
    against: Literal["float model", "own simulation"]
    images: tuple[FileRef, ...]
    kernels: str
    threshold_db: float
    layers: tuple[LayerError, ...]
    unmatched: tuple[str, ...]
    concats: tuple[ConcatSpread, ...]
    first_bad: Culprit | None
    findings: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class RequantizedModel:
    """A per-channel file with its weights per tensor: a simulation of what a board's compiler makes of it.

    `tensors` weight tensors were converted; `clipped` is the share of their weights beyond the chosen ranges.
    """

    file: FileRef
    source: FileRef
    method: str
    tensors: int
    clipped: float
    audit: AuditReport
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class MaskedModel:
    """A concat file whose prototypes were multiplied by `factor` for ST's applications.

    They set a mask pixel from a logit on: `logit_before` of the source, `logit_after` of the file.
    """

    file: FileRef
    source: FileRef
    factor: float
    logit_before: float
    logit_after: float
    provenance: Provenance
