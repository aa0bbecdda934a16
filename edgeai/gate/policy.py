"""The accuracy gate: two results under one protocol in, a verdict out. No file, no terminal, no exit code."""

from __future__ import annotations

import dataclasses
import math

from edgeai.artifacts import EvalProtocol, EvalResult, Fact, GateCheck, GateVerdict, Provenance
from edgeai.errors import InputError
from edgeai.provenance import versions

DEFAULT_METRICS = ("box_ap", "mask_ap", "top1")
DIGITS = 9  # a drop of exactly the limit passes, whatever the last bit of a difference of floats says
SHOWN_HASH = 12


def judge(baseline: EvalResult, candidate: EvalResult, max_drop: float, metrics: tuple[str, ...] = ()) -> GateVerdict:
    """Whether the candidate lost at most `max_drop` points against the baseline in every metric.

    A drop is baseline − candidate in percent points; a gain is a negative drop. Without `metrics`: `box_ap`,
    `mask_ap` and `top1`, as far as both results hold them. Raises InputError where the results were made under
    different protocols, where a metric is missing or not a percentage, or where the limit is not a number >= 0.
    """
    if not math.isfinite(max_drop) or max_drop < 0:
        raise InputError(f"a largest drop of {max_drop:g} points makes no sense", "pass a number from 0 to 100")
    _same_protocol(baseline, candidate)
    chosen = tuple(dict.fromkeys(metrics)) or _common(baseline, candidate)
    checks = tuple(_check(name, baseline, candidate, max_drop) for name in chosen)
    return GateVerdict(
        passed=all(check.passed for check in checks),
        baseline=baseline.name,
        candidate=candidate.name,
        checks=checks,
        protocol=candidate.protocol,
        provenance=Provenance(
            stage="gate",
            inputs=(baseline.model, candidate.model),
            options=(Fact("max_drop", f"{max_drop:g}"), Fact("metrics", ",".join(chosen))),
            versions=versions(()),
            licence=candidate.provenance.licence,
        ),
    )


def _check(name: str, baseline: EvalResult, candidate: EvalResult, max_drop: float) -> GateCheck:
    before, after = _percentage(baseline, name), _percentage(candidate, name)
    drop = round(before - after, DIGITS)
    return GateCheck(
        name=name, baseline=before, candidate=after, drop=drop, limit=max_drop, passed=drop <= round(max_drop, DIGITS)
    )


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


def _same_protocol(baseline: EvalResult, candidate: EvalResult) -> None:
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
