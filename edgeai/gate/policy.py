"""The accuracy gate: two results under one protocol in, a verdict out. No file, no terminal, no exit code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts import (
    BaselineChange,
    BudgetCheck,
    ClassDrop,
    DropInterval,
    EvalProtocol,
    EvalResult,
    Fact,
    GateCheck,
    GateVerdict,
    Matches,
    Provenance,
)
from edgeai.errors import AccuracyError, InputError
from edgeai.evaluate.remarks import blind
from edgeai.provenance import versions

DEFAULT_METRICS = ("box_ap", "mask_ap", "top1")
DIGITS = 9  # a drop of exactly the limit passes, whatever the last bit of a difference of floats says
SHOWN_HASH = 12


@dataclass(frozen=True, slots=True)
class Rule:
    """How a drop is judged.

    `interval` is the probability of the paired-bootstrap interval that is computed beside every drop; 0.0 computes
    none. `significant`: a drop fails only where the whole interval lies over the limit. `strict`: it passes only where
    the whole interval lies within it. `max_class_drop` is the limit for single categories, None for no limit.
    """

    interval: float = 0.0
    significant: bool = False
    strict: bool = False
    max_class_drop: float | None = None

    @property
    def decided_by(self) -> Literal["drop", "significant drop", "no significant pass"]:
        if self.strict:
            return "no significant pass"
        return "significant drop" if self.significant else "drop"


DROP_ALONE = Rule()
USUAL_INTERVAL = 0.95  # where no confidence is asked for


def rule_of(confidence: float, strict: bool, max_class_drop: float | None = None) -> Rule:
    """The rule of a user's settings; `confidence` 0.0 lets the drop itself decide, its interval is only shown."""
    return Rule(confidence or USUAL_INTERVAL, bool(confidence), strict, max_class_drop)


def judge(
    baseline: EvalResult,
    candidate: EvalResult,
    max_drop: float,
    metrics: tuple[str, ...] = (),
    rule: Rule = DROP_ALONE,
) -> GateVerdict:
    """Whether the candidate lost at most `max_drop` points against the baseline in every metric.

    A drop is baseline − candidate in percent points; a gain is a negative drop. Without `metrics`: `box_ap`,
    `mask_ap` and `top1`, as far as both results hold them. Raises InputError where the results were made under
    different protocols, where a metric is missing or not a percentage, where the limit is not a number >= 0, or where
    a strict rule finds no interval to decide by; AccuracyError where the baseline finds nothing.
    """
    _check_limit(max_drop)
    if rule.max_class_drop is not None:
        _check_limit(rule.max_class_drop)
    if rule.interval and not 0.5 <= rule.interval < 1:
        raise InputError(f"a confidence of {rule.interval:g} makes no sense", "pass a number such as 0.95")
    same_protocol(baseline, candidate)
    if text := blind(baseline):
        raise AccuracyError(f"the baseline says nothing: {text}", "no drop from it would: check its data set")
    chosen = tuple(dict.fromkeys(metrics)) or _common(baseline, candidate)
    checks = tuple(check(name, baseline, candidate, max_drop, rule) for name in chosen)
    classes = tuple(drop for name in chosen for drop in _class_drops(name, baseline, candidate, rule))
    return GateVerdict(
        passed=all(entry.passed for entry in checks) and all(entry.passed for entry in classes),
        baseline=baseline.name,
        candidate=candidate.name,
        checks=checks,
        protocol=candidate.protocol,
        provenance=Provenance(
            stage="gate",
            inputs=(baseline.model, candidate.model),
            options=(
                Fact("max_drop", f"{max_drop:g}"),
                Fact("metrics", ",".join(chosen)),
                Fact("decided_by", rule.decided_by),
                Fact("confidence", f"{rule.interval:g}"),
            ),
            versions=versions(("numpy",)),
            licence=candidate.provenance.licence,
        ),
        decided_by=rule.decided_by,
        confidence=rule.interval,
        classes=classes,
        class_limit=rule.max_class_drop,
        notes=tuple(dict.fromkeys(entry.note for entry in checks if entry.note)),
    )


def joined(
    verdict: GateVerdict | None, budgets: Sequence[BudgetCheck], changes: Sequence[BaselineChange], notes: Sequence[str]
) -> GateVerdict:
    """One verdict of accuracy, budgets and stored baselines; any part may be absent."""
    base = verdict or GateVerdict(True, "", "", (), None, Provenance(stage="gate", versions=versions(())))
    within = all(entry.passed for entry in budgets)
    kept = all(entry.passed for entry in changes)
    merged = tuple(dict.fromkeys((*base.notes, *notes)))
    return dataclasses.replace(
        base, passed=base.passed and within and kept, budgets=tuple(budgets), changes=tuple(changes), notes=merged
    )


def accuracy_passed(verdict: GateVerdict) -> bool:
    """Whether all of the accuracy part passed, the stored accuracy included."""
    return (
        all(entry.passed for entry in verdict.checks)
        and all(entry.passed for entry in verdict.classes)
        and all(entry.passed for entry in verdict.changes if entry.unit == "points")
    )


def check(name: str, baseline: EvalResult, candidate: EvalResult, limit: float, rule: Rule) -> GateCheck:
    """One metric of two results under one protocol."""
    before, after = _percentage(baseline, name), _percentage(candidate, name)
    drop = round(before - after, DIGITS)
    interval, note = None, ""
    if rule.interval:
        interval, note = _interval(name, baseline, candidate, limit, rule.interval)
    if rule.strict and interval is None:
        again = "evaluate both models again with this edgeai"
        coco = "evaluate both models again without --protocol"
        hint = coco if baseline.protocol.as_ultralytics else again
        raise InputError(f"--strict needs an interval, and {note}", hint)
    return GateCheck(name, before, after, drop, limit, _passes(drop, limit, interval, rule), interval, note)


def _passes(drop: float, limit: float, interval: DropInterval | None, rule: Rule) -> bool:
    allowed = round(limit, DIGITS)
    if interval is not None and rule.strict:
        return round(interval.high, DIGITS) <= allowed
    if interval is not None and rule.significant:
        return round(interval.low, DIGITS) <= allowed
    return drop <= allowed


def _interval(
    name: str, baseline: EvalResult, candidate: EvalResult, limit: float, confidence: float
) -> tuple[DropInterval | None, str]:
    """The interval of a drop, or why there is none."""
    from edgeai.evaluate.bootstrap import drop_interval

    pair = [_matches(result, name) for result in (baseline, candidate)]
    for result, found in zip((baseline, candidate), pair, strict=True):
        if found is None:
            kept = ", ".join(entry.metric for entry in result.matches)
            old = "it comes from an older edgeai, or is no detector's"
            own = "AP as Ultralytics counts it is not made of COCO's matches"
            why = f"it keeps those of {kept}" if kept else own if result.protocol.as_ultralytics else old
            return None, f"no interval for {name}: the result of {result.name} has no matches per image ({why})"
    before, after = pair
    assert before is not None and after is not None
    return drop_interval(before, after, confidence=confidence, limit=limit), ""


def _matches(result: EvalResult, name: str) -> Matches | None:
    return next((entry for entry in result.matches if entry.metric == name), None)


# --- categories ---------------------------------------------------------------------------------


def _class_drops(name: str, baseline: EvalResult, candidate: EvalResult, rule: Rule) -> list[ClassDrop]:
    """The drop of every category that both results hold, largest first."""
    after = {entry.category: entry.value for entry in candidate.per_class if entry.metric == name}
    found = []
    for entry in baseline.per_class:
        if entry.metric != name or entry.category not in after:
            continue
        drop = round(entry.value - after[entry.category], DIGITS)
        interval, passed = None, True
        if rule.max_class_drop is not None:
            interval = _class_interval(name, entry.category, baseline, candidate, rule)
            passed = _passes(drop, rule.max_class_drop, interval, rule)
        found.append(ClassDrop(entry.category, name, entry.value, after[entry.category], drop, passed, interval))
    return sorted(found, key=lambda one: (-one.drop, one.category))


def _class_interval(
    name: str, category: str, baseline: EvalResult, candidate: EvalResult, rule: Rule
) -> DropInterval | None:
    """The interval of one category's drop; None where there are no matches or no interval is wanted."""
    from edgeai.evaluate.bootstrap import drop_interval

    pair = [_matches(result, name) for result in (baseline, candidate)]
    if not rule.interval or pair[0] is None or pair[1] is None:
        return None
    alone = [
        dataclasses.replace(one, classes=tuple(entry for entry in one.classes if entry.category == category))
        for one in pair
        if one is not None
    ]
    limit = rule.max_class_drop or 0.0
    return drop_interval(alone[0], alone[1], confidence=rule.interval, limit=limit)


# --- what may be compared -----------------------------------------------------------------------


def _check_limit(limit: float) -> None:
    if not math.isfinite(limit) or limit < 0:
        raise InputError(f"a largest drop of {limit:g} points makes no sense", "pass a number from 0 to 100")


def _common(baseline: EvalResult, candidate: EvalResult) -> tuple[str, ...]:
    """The default metrics that both results hold."""
    held = {entry.name for entry in baseline.metrics} & {entry.name for entry in candidate.metrics}
    chosen = tuple(name for name in DEFAULT_METRICS if name in held)
    if not chosen:
        known = ", ".join(sorted(held)) or "none"
        raise InputError(
            f"{baseline.name} and {candidate.name} share none of {', '.join(DEFAULT_METRICS)}",
            f"choose with --metric; they share: {known}",
        )
    return chosen


def _percentage(result: EvalResult, name: str) -> float:
    value = result.metric(name)
    # pycocotools answers -1 where a set has no object to find; a gate on that would pass anything
    if not math.isfinite(value) or not 0 <= value <= 100:
        raise InputError(
            f"{name} of {result.name} is {value:g}, which is not a percentage",
            "a set without such objects has no AP: evaluate on images that have some",
        )
    return value


def same_protocol(baseline: EvalResult, candidate: EvalResult) -> None:
    """Raises InputError, naming every difference, where two results may not be compared."""
    differences = [
        f"{field.name} {_shown(baseline.protocol, field.name)} and {_shown(candidate.protocol, field.name)}"
        for field in dataclasses.fields(EvalProtocol)
        if getattr(baseline.protocol, field.name) != getattr(candidate.protocol, field.name)
    ]
    if differences:
        raise InputError(
            f"{baseline.name} and {candidate.name} were measured differently: {'; '.join(differences)}",
            "evaluate both on the same images, at the same size, with the same thresholds",
        )


def _shown(protocol: EvalProtocol, name: str) -> str:
    text = " ".join(str(getattr(protocol, name)).split())
    return text[:SHOWN_HASH] if name.endswith("_sha256") else text
