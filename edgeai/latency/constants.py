"""The fitted constants of the latency model: versioned data with their stated errors."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeai.artifacts import decode
from edgeai.errors import InputError

FILE = Path(__file__).resolve().parent / "data" / "latency.toml"
PRIORS = FILE.with_name("priors.toml")


@dataclass(frozen=True, slots=True)
class Rates:
    """Time per unit of work, in nanoseconds: per MAC of each kind of convolution, per element of the rest.

    `output` is per number that a convolution or a matrix product writes: scaled, rounded and clipped to int8. `weight`
    is per byte of weights that is streamed, `far` per MAC on top where the weights lie in external flash, `op` per
    operator, `software` per element of an operator that the accelerator does not run (`bilinear` where it
    interpolates), `external` per byte of activations that lives in external RAM.
    """

    conv: float
    pointwise: float
    first: float
    depthwise: float
    dense: float
    activation: float
    element: float
    move: float
    weight: float
    op: float
    output: float = 0.0
    software: float = 0.0
    external: float = 0.0
    far: float = 0.0
    bilinear: float = 0.0


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Constants of one kind of processor at the versions it covers.

    `clock_mhz` is what the rates hold for, 0 where they are not scaled. `overlapped` says that weights stream while the
    unit computes. `low` and `high` are the interval as multiples of the prediction. `min_mmac` and `max_mmac` is the
    range of the rows it was fitted on. `prior_weight` is what a fit charges for leaving the starting values: at 0.004 a
    constant that is off by a factor e costs as much as an error of 6 % in one row. `gpu_mac` and `gpu_op` are the rates
    of the MP2's GPU. `tied`: rates that a fit changes together, because its rows tell only one of them. A table with a
    `factor` is the one before it, that many times slower: it has no fit of its own.
    """

    unit: str
    versions: tuple[str, ...]
    source: str
    rates: Rates
    low: float
    high: float
    min_mmac: float
    max_mmac: float
    clock_mhz: float = 0.0
    overlapped: bool = False
    gpu_mac: float = 0.0
    prior_weight: float = 0.004
    gpu_op: float = 0.0
    factor: float = 0.0
    tied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyTables:
    version: str
    table: tuple[LatencyTable, ...]


@cache
def latency_tables() -> LatencyTables:
    """The fitted constants, checked."""
    return decode(LatencyTables, tomllib.loads(FILE.read_text(encoding="utf-8")), FILE.name)


def prior_tables() -> LatencyTables:
    """What a fit starts from, in the same form."""
    return decode(LatencyTables, tomllib.loads(PRIORS.read_text(encoding="utf-8")), PRIORS.name)


def latency_table(unit: str, version: str = "") -> LatencyTable:
    """Constants of a unit (`n6`, `mp2`, `Cortex-M7`, …) at a version; the newest, which
    stands first in the data, where none is given or the version has no figures of its own.

    Raises InputError where there are none.
    """
    known = [table for table in latency_tables().table if table.unit == unit]
    if not known:
        units = ", ".join(dict.fromkeys(table.unit for table in latency_tables().table))
        raise InputError(f"no latency figures were published for {unit}", f"estimated are: {units}")
    major = version.lstrip("v").split(".")[0]
    return next((t for t in known if any(v.split(".")[0] == major for v in t.versions)), known[0])
