"""What a machine has of the tools that edgeai calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for. `found` says what and where; `hint` how to get it where it is not `ok`.

    `needed_for` names the commands that cannot work without it.
    """

    name: str
    state: Literal["ok", "missing", "warning"]
    found: str
    hint: str
    needed_for: str


@dataclass(frozen=True, slots=True)
class DoctorReport:
    checks: tuple[Check, ...]
