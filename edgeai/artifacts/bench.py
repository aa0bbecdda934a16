"""What a board, or an emulator of one, measured: time, memory, and whether it computes what the host computes.

A board's time is in `ms`. An emulator has no time of its own: it counts instructions, in `ticks`, and a tick says
nothing about milliseconds of any board. None means that the board does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import Count, Fact, FileRef, Provenance
from edgeai.artifacts.compiled import OutputAgreement
from edgeai.artifacts.model import Granularity, TensorAudit

TimeUnit = Literal["ms", "ticks"]
Engine = Literal["HW", "SW", "hybrid", "EC", "NPU", "GPU", "CPU", ""]


@dataclass(frozen=True, slots=True)
class BenchProtocol:
    """Everything two figures must have in common before they may be compared.

    `link` is the dialogue (`stm32msg 3.1`, `console`, `ssh`), `tool` what took the time on the board. `mode` is `io`
    (real inputs, outputs read back), `perf` (constant inputs made on the board) or the name of the vendor's loop.
    """

    board: str
    emulated: bool
    unit: TimeUnit
    link: str
    tool: str
    mode: str
    warmup: int
    runs: int


@dataclass(frozen=True, slots=True)
class BenchTime:
    """Whole inferences in the unit of the protocol, after the warm-up. Percentiles by linear interpolation.

    `values` holds every run in order; it is empty where the board tells only an average, and then `median`, `p95` and
    the extremes are None. `per_second` is 1000 / mean in ms, None for ticks.
    """

    mean: float
    minimum: float | None
    median: float | None
    p95: float | None
    maximum: float | None
    per_second: float | None
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchLayer:
    """One operator or epoch: mean over the per-layer runs, in the unit of the protocol; `share` in per cent of their
    sum. `cycles` are CPU cycles as counted (N6: before, during, after the accelerator's work)."""

    index: int
    name: str
    kind: str
    engine: Engine
    time: float
    share: float
    cycles: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineShare:
    """Per cent of the time that an engine worked."""

    engine: Engine
    percent: float


@dataclass(frozen=True, slots=True)
class BenchDevice:
    """The board as it describes itself. Clocks in Hz. `facts`: caches, driver and runtime versions, governor."""

    name: str
    cpu_hz: int | None
    bus_hz: int | None
    accelerator_hz: int | None
    runtime: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchMemory:
    """Bytes as the board reports them. `peak` is the process's peak under Linux; stack and heap as measured there."""

    activations: int | None = None
    weights: int | None = None
    peak: int | None = None
    stack: int | None = None
    heap: int | None = None


@dataclass(frozen=True, slots=True)
class BenchComparison:
    """A figure of the board beside one from elsewhere. `ratio` is measured / reference; `source` names the row, the
    file or the estimator, `note` what makes the comparison doubtful."""

    figure: str
    unit: str
    measured: float
    reference: float
    ratio: float
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class BenchCheck:
    """One limit. All values in `unit`."""

    name: str
    unit: str
    measured: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One model on one board.

    `images` are the inputs in the order of use, empty where they were random or constant. `kernels` names the kernel
    set of the host that `agreement` was made against, empty where outputs were not compared. `faults` counts what went
    wrong on the line and was mended.
    """

    model: FileRef
    granularity: Granularity
    protocol: BenchProtocol
    device: BenchDevice
    time: BenchTime
    layers: tuple[BenchLayer, ...]
    engines: tuple[EngineShare, ...]
    memory: BenchMemory
    inputs: tuple[TensorAudit, ...]
    outputs: tuple[TensorAudit, ...]
    images: tuple[FileRef, ...]
    kernels: str
    agreement: tuple[OutputAgreement, ...]
    comparisons: tuple[BenchComparison, ...]
    checks: tuple[BenchCheck, ...]
    faults: tuple[Count, ...]
    notes: tuple[str, ...]
    provenance: Provenance
