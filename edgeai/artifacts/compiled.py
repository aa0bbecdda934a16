"""What ST Edge AI Core made of a model, and what a board answered when that was run. Bytes, milliseconds, MACs.

None means that the tool's output does not say; `gaps` then names the missing section.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import Fact, FileRef, Provenance
from edgeai.artifacts.model import TensorAudit

Toolchain = Literal["ST Edge AI Core", "stand-in"]


@dataclass(frozen=True, slots=True)
class CompiledPool:
    """One memory pool as the compiler filled it; pools that only join others are left out.

    `resolution` is by how many bytes the figures may be off because the report rounds them; 0 where they are exact.
    `capacity` is None where the pool has no limit.
    """

    name: str
    kind: str
    address: int | None
    capacity: int | None
    used: int
    weights: int
    activations: int
    resolution: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """Consecutive runs of the accelerator, `first` to `last`; `kind` is `HW`, `SW`, `Hybrid`, `EC` or `?`."""

    first: int
    last: int
    kind: str
    operators: str = ""


@dataclass(frozen=True, slots=True)
class Epochs:
    """How the network was cut into epochs; `rows` lists them as the report does."""

    total: int
    software: int | None
    hybrid: int | None
    hardware: int | None
    controller_blobs: int | None
    rows: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class CompiledNode:
    """One row of the per-node table. `unit` is `HW` or `SW` where known."""

    index: int
    name: str
    kind: str
    unit: str
    shape: tuple[int, ...]
    parameters: int
    weights_bytes: int
    macs: int


@dataclass(frozen=True, slots=True)
class LibrarySize:
    """Runtime, kernels and generated code, without weights and activations."""

    flash: int
    ram: int


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A model as ST Edge AI Core compiled it for a target.

    `io_bytes` is memory for inputs and outputs outside the activations. `format_seen` is the tool's own word for the
    granularity; with the epoch controller it says `float` for int8 models. `files` are the generated ones.
    `source_model` and `source_hash` (MD5) are of the file that the tool itself names, `source_board` is the board in
    its log; `mismatches` say why the figures may be of another network or chip and were taken nevertheless.
    """

    model: FileRef | None
    board: str
    target: str
    toolchain: Toolchain
    version: str
    compiler: str
    weights_bytes: int | None
    activations_bytes: int | None
    io_bytes: int | None
    macs: int | None
    pools: tuple[CompiledPool, ...]
    runtime: LibrarySize | None
    epochs: Epochs | None
    nodes: tuple[CompiledNode, ...]
    inputs: tuple[TensorAudit, ...]
    outputs: tuple[TensorAudit, ...]
    format_seen: str
    files: tuple[FileRef, ...]
    warnings: tuple[str, ...]
    gaps: tuple[str, ...]
    provenance: Provenance
    source_model: str = ""
    source_hash: str = ""
    source_board: str = ""
    mismatches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """One node on the target. `cycles` are CPU cycles; on the N6 before, during and after the accelerator's work."""

    index: int
    name: str
    kind: str
    ms: float
    percent: float
    cycles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TargetProfile:
    """What was timed and where. `ms` is the mean; minimum, maximum and deviation as printed.

    `shares` of the time in per cent: accelerator, software, control of the accelerator; empty where not printed.
    """

    samples: int | None
    ms: float
    ms_min: float | None
    ms_max: float | None
    ms_std: float | None
    cycles: tuple[int, ...]
    initialize_ms: float | None
    shares: tuple[float, ...]
    device: str
    attributes: str
    runtime: str
    protocol: str
    layers: tuple[LayerTiming, ...]


@dataclass(frozen=True, slots=True)
class OutputMetric:
    """ST's own comparison of one output with the reference. `acc` is None where not computed.

    `snr_db` is None where it is not printed or infinite; `rmse` 0 says that both agree in every bit.
    """

    name: str
    tensor: str
    rmse: float
    mae: float
    l2r: float
    mean: float
    std: float
    nse: float
    cos: float
    acc: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """Our own comparison of one tensor on the target with the same tensor on the host, over all samples.

    `sqnr_db` is None where both are equal.
    """

    tensor: str
    values: int
    cosine: float
    sqnr_db: float | None
    bit_equal: float


@dataclass(frozen=True, slots=True)
class Departure:
    """The first operator whose output on the target departs from that on the host."""

    index: int
    operator: str
    agreement: OutputAgreement


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A model that ran on a board, or on the host's build of it, under ST's validation. The last four fields are those
    of CompiledModel.
    """

    model: FileRef | None
    board: str
    target: str
    mode: str
    toolchain: Toolchain
    version: str
    inputs_sha256: str
    profile: TargetProfile | None
    metrics: tuple[OutputMetric, ...]
    agreement: tuple[OutputAgreement, ...]
    departure: Departure | None
    warnings: tuple[str, ...]
    gaps: tuple[str, ...]
    provenance: Provenance
    source_model: str = ""
    source_hash: str = ""
    source_board: str = ""
    mismatches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparedQuantity:
    """One figure of the estimate beside that of the compiler, in bytes or epochs. `low` and `high` bound the estimate.

    `difference` is (estimate - compiler) / compiler in per cent; None where the compiler's figure is 0 or not known.
    """

    name: str
    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    compiler: float | None
    difference: float | None


@dataclass(frozen=True, slots=True)
class FootprintComparison:
    """Estimate, compiler and their difference for one model on one board."""

    model: FileRef
    board: str
    toolchain: Toolchain
    version: str
    quantities: tuple[ComparedQuantity, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What would be run: command lines, the files they need (path and text), and what to know beforehand."""

    commands: tuple[tuple[str, ...], ...]
    files: tuple[Fact, ...]
    warnings: tuple[str, ...]
