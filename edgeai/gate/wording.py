"""A verdict in words and cells, for every writer and the terminal."""

from __future__ import annotations

from edgeai.artifacts import (
    BaselineChange,
    BudgetCheck,
    ClassDrop,
    DropInterval,
    EvalProtocol,
    GateCheck,
    GateVerdict,
)

DECISIONS = {
    "drop": "a metric fails where its drop is over the limit",
    "significant drop": "a metric fails where the whole interval of its drop is over the limit",
    "no significant pass": "a metric passes only where the whole interval of its drop is within the limit",
}


def headline(verdict: GateVerdict) -> str:
    """What was held against what."""
    if verdict.candidate:
        return f"{verdict.candidate} against {verdict.baseline}"
    return "stored baselines" if verdict.changes else "budgets"


def sentence(check: GateCheck) -> str:
    """One check in words."""
    change = f"dropped by {drop_text(check)}" if check.drop >= 0 else f"rose by {-check.drop:.2f}"
    interval = f" ({percent(check.interval)} {interval_text(check.interval)})" if check.interval else ""
    return (
        f"{check.name} {change} points{interval}, from {check.baseline:.2f} to {check.candidate:.2f}; "
        f"at most {check.limit:g} allowed"
    )


def drop_text(check: GateCheck) -> str:
    """The drop with two decimals, or with as many as show that it is over the limit."""
    for digits in range(2, 10):
        text = f"{check.drop:.{digits}f}"
        if check.passed or check.drop <= check.limit or float(text) > check.limit:
            return text
    return f"{check.drop:.9f}"


def interval_text(interval: DropInterval | None) -> str:
    return "" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def percent(interval: DropInterval) -> str:
    """The name of an interval: `95 % interval`."""
    return f"{100 * interval.confidence:g} % interval"


def class_sentence(drop: ClassDrop, limit: float | None) -> str:
    allowed = "" if limit is None else f"; at most {limit:g} allowed"
    interval = f" ({percent(drop.interval)} {interval_text(drop.interval)})" if drop.interval else ""
    return (
        f"{drop.metric} of {drop.category} dropped by {drop.drop:.2f} points{interval}, from {drop.baseline:.2f} to "
        f"{drop.candidate:.2f}{allowed}"
    )


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit; bytes in KiB, as tables have them."""
    if value is None:
        return "–"
    if unit == "bytes":
        return f"{value / 1024:.1f} KiB"
    return f"{value:.2f}" if unit == "points" else f"{value:.2f} {unit}"


def budget_sentence(check: BudgetCheck) -> str:
    if not check.limit and check.kind == "latency":
        return f"{check.subject} fits, and is over its latency budget: {check.note}"
    if not check.limit:
        return f"{check.subject} does not fit: {check.note}" if not check.passed else f"{check.subject} fits"
    side = "within" if check.passed else "over"
    values = f"{amount(check.measured, check.unit)} of {amount(check.limit, check.unit)}"
    return f"{check.name} of {check.subject} is {side} its budget: {values} ({check.source})"


def change_sentence(change: BaselineChange) -> str:
    before, after = amount(change.before, change.unit), amount(change.after, change.unit)
    text = f"{change.name} of {change.subject}: {change.status}, {before} before, {after} now"
    if change.interval is None:
        return text
    return f"{text} ({percent(change.interval)} of the drop {interval_text(change.interval)})"


def failed_classes(verdict: GateVerdict) -> tuple[ClassDrop, ...]:
    return tuple(entry for entry in verdict.classes if not entry.passed)


def protocol_facts(protocol: EvalProtocol | None) -> tuple[tuple[str, str], ...]:
    if protocol is None:
        return ()
    return (
        ("dataset", protocol.dataset),
        ("images", str(protocol.num_images)),
        ("annotations", protocol.annotations_sha256[:12]),
        ("imgsz", str(protocol.imgsz)),
        ("letterbox", protocol.letterbox),
        ("confidence", f"{protocol.confidence:g}"),
        ("nms_iou", f"{protocol.nms_iou:g}"),
        ("max_detections", str(protocol.max_detections)),
        ("multi_label", str(protocol.multi_label).lower()),
        ("metric_tool", protocol.metric_tool),
    )
