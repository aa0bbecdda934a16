"""The fitted constants of the memory estimators, by target and version of ST Edge AI Core: data with stated errors."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeai.artifacts import decode
from edgeai.errors import InputError

FILE = Path(__file__).resolve().parent / "data" / "memory.toml"


@dataclass(frozen=True, slots=True)
class Table:
    """Constants of one target at the versions it covers.

    `spread_weight` blends the two placements of edgeai.footprint.n6 (0: tight, 1: spread), `ram_scale` multiplies the
    result where it needs more than one pool. `filling_kib` > 0: where the live peak u exceeds one pool, all pools fill
    up as 1 - exp(-u / filling) of their capacity. `ram_low` and `ram_high`: the interval as multiples of the estimate.
    `keeps_input`: the buffer of an input that is quantised first is not used for anything else; `copies_input`: it
    stays until the first convolution, which reads a padded copy; `folds_constants`: outputs that follow from constants
    alone take no RAM; `fused_activations`: activation functions are fused. `unpacked_share`: constants that are only
    dequantised are stored as float32 (1) or as they are (0). `code_bytes` and `epoch_bytes` are flash of the code.
    `source` says what the constants were fitted on.
    """

    target: str
    versions: tuple[str, ...]
    source: str
    ram_low: float
    ram_high: float
    weights_factor: float = 1.0
    depthwise_extra: float = 0.0
    unpacked_share: float = 0.0
    spread_weight: float = 0.0
    ram_scale: float = 1.0
    filling_kib: float = 0.0
    keeps_input: bool = False
    copies_input: bool = False
    folds_constants: bool = True
    fused_activations: bool = True
    code_bytes: float = 0.0
    epoch_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Tables:
    """`version` names this data: every estimate prints it."""

    version: str
    table: tuple[Table, ...]


@cache
def tables() -> Tables:
    """The data file, checked."""
    return decode(Tables, tomllib.loads(FILE.read_text(encoding="utf-8")), FILE.name)


def table_for(target: str, version: str = "") -> Table:
    """Constants of `n6`, `mcu` or `mp2` at a version such as `4.0.0`; the newest where none is given.

    A version without a table of its own takes that of the same major number. Raises InputError for an unknown one.
    """
    known = [table for table in tables().table if table.target == target]
    if not known:
        raise InputError(f"no memory estimator for the target {target!r}")
    if not version:
        return known[-1]
    major = version.lstrip("v").split(".")[0]
    for table in known:
        if any(v.split(".")[0] == major for v in table.versions):
            return table
    offered = ", ".join(v for table in known for v in table.versions)
    raise InputError(f"no table of constants for version {version!r} on {target}", f"known versions: {offered}")
