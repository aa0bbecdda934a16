"""The table of kernels: what was measured of every kernel set, operator by operator (docs/kernels.md).

`data/kernels.json` is made by `make kernels`. Figures are in steps of the output's scale, against float arithmetic.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DATA = Path(__file__).parent / "data" / "kernels.json"
Set = Literal["reference", "builtin", "xnnpack"]
# in the order of preference: the reference kernels give the same bytes on every machine
SETS: tuple[Set, ...] = ("reference", "builtin", "xnnpack")
RIGHT = 1.0  # steps: one rounding costs half a step, and no kernel here rounds more than twice
RUNTIME = "ai-edge-litert"


@dataclass(frozen=True, slots=True)
class Figures:
    """One kernel set on one row. `worst` and `bias` in steps, `differing` the share of codes that are not the rounded
    result; `fails` says why it could not run, always (`worst` is None) or in some of the draws."""

    worst: float | None = None
    bias: float = 0.0
    differing: float = 0.0
    fails: str = ""
    fails_in: int = 0
    equals: Mapping[str, float | None] | None = None

    @property
    def right(self) -> bool:
        """Whether it ran every time and computed what the operator says."""
        return self.worst is not None and self.worst <= RIGHT and not self.fails

    @property
    def flaw(self) -> str:
        """What is wrong with it, as the end of a sentence; empty where nothing is."""
        if self.worst is None:
            return "do not run it"
        if self.worst > RIGHT:
            return f"are off by up to {self.worst:.0f} steps"
        return "end the process on some inputs" if self.fails else ""


@functools.cache
def _content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return found


def other_version() -> str:
    """A note where the LiteRT that is installed is not the one that was measured; empty where it is, or none is."""
    measured = str(_content()["versions"][RUNTIME])
    try:
        here = importlib.metadata.version(RUNTIME)
    except importlib.metadata.PackageNotFoundError:
        return ""
    return "" if here == measured else f"the kernels of {RUNTIME} {here} are taken to be those of {measured}"


@functools.cache
def rows() -> Mapping[str, Mapping[str, Figures]]:
    """By row (`variants.variant_of`), by kernel set: `SETS`, `micro` (TFLite Micro) and `firmware` (ours)."""
    return {row: {name: Figures(**entry) for name, entry in sets.items()} for row, sets in _content()["rows"].items()}


def named(row: str) -> Set | None:
    """The first kernel set that computes a row right; None where none does, and for a row that was not measured."""
    return next((kernels for kernels in SETS if row in rows() and rows()[row][kernels].right), None)
