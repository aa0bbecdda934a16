"""Stored baselines: every new result against the stored one of the same name; what is missing and what is new."""

from __future__ import annotations

from collections.abc import Sequence

from edgeai.artifacts import BaselineChange, BaselineFigure, BaselineStore, EvalResult, GateCheck
from edgeai.artifacts.verdict import Status
from edgeai.errors import InputError
from edgeai.gate.policy import DEFAULT_METRICS, Rule, check, same_protocol

TOLERANCE_PERCENT = 2.0  # of a stored figure of memory or latency


def compare(
    store: BaselineStore,
    results: Sequence[EvalResult],
    figures: Sequence[BaselineFigure],
    max_drop: float,
    rule: Rule,
    tolerance: float = TOLERANCE_PERCENT,
    metrics: tuple[str, ...] = (),
) -> tuple[BaselineChange, ...]:
    """What became of every stored figure, in the order of the store, then what is new.

    Accuracy regresses where `rule` says that the drop from the stored result is too large; memory and latency where
    they grow by more than `tolerance` per cent. What is stored and not given is missing, and fails: a model that is
    no longer measured looks like one that is fine. Of figures, only those from a source (the estimator, a board) that
    now says anything are expected: a job without a board misses no latency. Raises InputError for two results of one
    name, and where a result was measured differently from the stored one.
    """
    _once([result.name for result in results])
    _once([f"{figure.name} of {figure.subject} ({figure.source})" for figure in figures])
    changes = _accuracy(store.results, results, max_drop, rule, metrics) if results else []
    sources = {(figure.kind, figure.source) for figure in figures}
    stored = [figure for figure in store.figures if (figure.kind, figure.source) in sources]
    return (*changes, *_less_is_better(stored, figures, tolerance))


def updated(
    store: BaselineStore, results: Sequence[EvalResult], figures: Sequence[BaselineFigure]
) -> BaselineStore:
    """`store` with the given results and figures in the place of the old ones of the same name."""
    named = {result.name: result for result in (*store.results, *results)}
    measured = {_key(figure): figure for figure in (*store.figures, *figures)}
    return BaselineStore(
        tuple(named[name] for name in sorted(named)), tuple(measured[key] for key in sorted(measured))
    )


def _once(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice", "pass every result once")


def _accuracy(
    stored: Sequence[EvalResult], results: Sequence[EvalResult], limit: float, rule: Rule, metrics: tuple[str, ...]
) -> list[BaselineChange]:
    given = {result.name: result for result in results}
    changes = []
    for old in stored:
        new = given.pop(old.name, None)
        if new is not None:
            same_protocol(old, new)
        for metric in _metrics(old, metrics):
            before = old.metric(metric)
            if new is None or not any(entry.name == metric for entry in new.metrics):
                changes.append(BaselineChange(old.name, metric, "points", before, None, "missing", False))
                continue
            found = check(metric, old, new, limit, rule)
            changes.append(
                BaselineChange(
                    subject=old.name,
                    name=metric,
                    unit="points",
                    before=before,
                    after=found.candidate,
                    status=_status(found),
                    passed=found.passed,
                    interval=found.interval,
                    note=found.note,
                )
            )
    for new in given.values():
        changes += [
            BaselineChange(new.name, metric, "points", None, new.metric(metric), "new", True)
            for metric in _metrics(new, metrics)
        ]
    return changes


def _status(found: GateCheck) -> Status:
    """Progress is what is sure: the whole interval is a gain; without one, a gain of more than the limit."""
    if not found.passed:
        return "regress"
    gained = found.interval.high < 0 if found.interval is not None else found.drop < -found.limit
    return "progress" if gained else "same"


def _metrics(result: EvalResult, wanted: tuple[str, ...]) -> tuple[str, ...]:
    held = {entry.name for entry in result.metrics}
    return tuple(name for name in wanted or DEFAULT_METRICS if name in held)


def _less_is_better(
    stored: Sequence[BaselineFigure], given: Sequence[BaselineFigure], tolerance: float
) -> list[BaselineChange]:
    new = {_key(figure): figure for figure in given}
    changes = []
    for old in stored:
        now = new.pop(_key(old), None)
        if now is None:
            changes.append(_change(old, old.value, None, "missing"))
            continue
        room = old.value * tolerance / 100
        status: Status = "same"
        if abs(now.value - old.value) > room:
            status = "regress" if now.value > old.value else "progress"
        changes.append(_change(old, old.value, now.value, status))
    return [*changes, *(_change(figure, None, figure.value, "new") for figure in new.values())]


def _key(figure: BaselineFigure) -> tuple[str, str, str, str]:
    """Figures of different sources or units are different figures."""
    return figure.subject, figure.name, figure.source, figure.unit


def _change(figure: BaselineFigure, before: float | None, after: float | None, status: Status) -> BaselineChange:
    return BaselineChange(
        figure.subject,
        f"{figure.name} ({figure.source})",
        figure.unit,
        before,
        after,
        status,
        status not in ("regress", "missing"),
    )
