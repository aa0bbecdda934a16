"""What the gate says: accuracy against a baseline, budgets of memory and latency, and the history of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.accuracy import DropInterval, EvalProtocol, EvalResult
from edgeai.artifacts.base import Provenance

Status = Literal["progress", "same", "regress", "missing", "new"]
Figure = Literal["memory", "latency"]


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One metric held against one limit, in points. `note` says why there is no interval where one was wanted."""

    name: str
    baseline: float
    candidate: float
    drop: float
    limit: float
    passed: bool
    interval: DropInterval | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassDrop:
    """The drop of one category, in points of `metric`. `passed` is true where no limit for categories was set."""

    category: str
    metric: str
    baseline: float
    candidate: float
    drop: float
    passed: bool
    interval: DropInterval | None = None


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """One figure of memory or latency held against its budget, both in `unit`; `source` says who measured it.

    A limit of 0.0 is that of the board: `note` has its reasons where it does not fit.
    """

    name: str
    kind: Figure
    subject: str
    unit: str
    measured: float
    limit: float
    passed: bool
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class BaselineFigure:
    """A stored figure of memory or latency: less is better. `subject` is the model, and the board where it matters."""

    subject: str
    name: str
    kind: Figure
    unit: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class BaselineStore:
    """What later results are held against: accuracy results by their name, and figures by subject and name."""

    results: tuple[EvalResult, ...] = ()
    figures: tuple[BaselineFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class BaselineChange:
    """One stored figure and the new one; `before` is None where it is new, `after` where it is missing."""

    subject: str
    name: str
    unit: str
    before: float | None
    after: float | None
    status: Status
    passed: bool
    interval: DropInterval | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One verdict for accuracy, memory and latency.

    `baseline` and `candidate` are names, empty where only budgets or a store of baselines were checked; then there is
    no `protocol` either. `decided_by` says what a drop had to do to fail: exceed the limit, exceed it significantly
    at `confidence`, or (strict) fail to stay significantly below it.
    """

    passed: bool
    baseline: str
    candidate: str
    checks: tuple[GateCheck, ...]
    protocol: EvalProtocol | None
    provenance: Provenance
    decided_by: Literal["drop", "significant drop", "no significant pass"] = "drop"
    confidence: float = 0.0
    classes: tuple[ClassDrop, ...] = ()
    class_limit: float | None = None
    budgets: tuple[BudgetCheck, ...] = ()
    changes: tuple[BaselineChange, ...] = ()
    notes: tuple[str, ...] = ()
