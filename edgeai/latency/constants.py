"""The fitted constants of the latency model: versioned data with their stated errors."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeai.artifacts import decode
from edgeai.errors import InputError

FILE = Path(__file__).resolve().parent / "data" / "latency.toml"


@dataclass(frozen=True, slots=True)
class Rates:
    """Time per unit of work, in nanoseconds: per MAC of each kind of convolution, per element of the rest.

    `weight` is per byte of weights that is streamed, `op` per operator, `software` per element of an operator that the
    accelerator does not run, `external` per byte of activations that lives in external RAM.
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
    software: float = 0.0
    external: float = 0.0


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Constants of one kind of processor at the versions it covers.

    `clock_mhz` is what the rates hold for, 0 where they are not scaled. `overlapped` says that weights stream while the
    unit computes. `low` and `high` are the interval as multiples of the prediction. `min_mmac` and `max_mmac` is the
    range of the rows it was fitted on. `prior_weight` is what a fit charges for leaving the starting values: at 0.004 a
    constant that is off by a factor e costs as much as an error of 6 % in one row. `gpu_mac` and `gpu_op` are the rates
    of the MP2's GPU.
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


@dataclass(frozen=True, slots=True)
class LatencyTables:
    version: str
    table: tuple[LatencyTable, ...]


@cache
def latency_tables() -> LatencyTables:
    """The data file, checked."""
    return decode(LatencyTables, tomllib.loads(FILE.read_text(encoding="utf-8")), FILE.name)


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
