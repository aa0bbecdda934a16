"""The text of `validate`: what was timed on the device and how the outputs compare; versions 2.1 to 4.0.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.artifacts import LayerTiming, OutputMetric, TargetProfile
from edgeai.stedgeai.report import Summary, read_target, source_model
from edgeai.stedgeai.text import CoreVersion, Segment, integer, key_value

_DURATION = re.compile(
    r"([\d.]+)\s*(ms|us|s)\b\s*by sample(?:\s*\(\s*([\d.]+)\s*/\s*([\d.]+)\s*/\s*([\d.]+)\s*\))?"
)
_ROW = re.compile(
    r"^\s*(\d+)\s+(\S+)\s+(.+?)\s+([\d,]+\.\d+)\s+([\d.]+)\s*%(?:\s+[\d.]+\s*%)?\s*(?:\[([^\]]*)\])?\s*(.*)$"
)
_SHARES = re.compile(r"^\s*HW:\s*([\d.]+)\s*%,\s*SW:\s*([\d.]+)\s*%,\s*SW ctrl:\s*([\d.]+)\s*%")
_MODE = re.compile(r"\(AI RUNNER\).*mode=(\w+)")
_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_METRICS = ("rmse", "mae", "l2r", "mean", "std", "nse", "cos")


@dataclass(frozen=True, slots=True)
class ValidateText:
    """One run on the device or the host. `profile` is None where it did not get that far."""

    version: CoreVersion | None
    mode: str
    profile: TargetProfile | None
    metrics: tuple[OutputMetric, ...]
    gaps: tuple[str, ...]
    model: str = ""
    model_hash: str = ""
    target: str = ""


def read_validate(segment: Segment, summary: Summary | None = None) -> ValidateText:
    """What one `validate` printed, or one mode of it, whose `summary` stands before. Missing parts are in `gaps`."""
    lines = segment.lines
    mode = next((m[1].lower() for line in lines if (m := _MODE.search(line))), "")
    profile = _profile(lines)
    metrics = metric_table(lines)
    gaps = []
    if profile is None:
        gaps.append("no duration: the run did not get as far as the profile")
    elif not profile.layers:
        gaps.append("no time per node")
    if not metrics:
        gaps.append("no comparison of the outputs")
    return ValidateText(
        segment.version, mode, profile, metrics, tuple(gaps),
        model=source_model(summary, segment.parameters),
        model_hash=summary.model_hash if summary is not None else "",
        target=read_target(lines, segment.parameters, summary),
    )  # fmt: skip


def _profile(lines: Sequence[str]) -> TargetProfile | None:
    facts = _facts(lines)
    duration = _DURATION.search(facts.get("duration", ""))
    if duration is None:
        return None
    unit = _UNIT[duration[2]]
    shares = next((m for line in lines if (m := _SHARES.match(line))), None)
    samples = facts.get("nb sample(s)", "")
    spread = [float(duration[i]) * unit if duration[i] else None for i in (3, 4, 5)]
    initialize = facts.get("network initialize time (ms)", "")
    return TargetProfile(
        samples=integer(samples) if re.fullmatch(r"[\d,]+", samples) else None,
        ms=float(duration[1]) * unit,
        ms_min=spread[0],
        ms_max=spread[1],
        ms_std=spread[2],
        cycles=_integers(facts.get("CPU cycles", "")),
        initialize_ms=float(initialize) if re.fullmatch(r"[\d.]+", initialize) else None,
        shares=tuple(float(part) for part in shares.groups()) if shares else (),
        device=facts.get("device.desc", ""),
        attributes=facts.get("device.attrs", ""),
        runtime=facts.get("runtime lib", ""),
        protocol=facts.get("protocol", ""),
        layers=layer_times(lines),
    )


def _facts(lines: Sequence[str]) -> dict[str, str]:
    """`key : value` lines from the device's summary to the table of nodes."""
    facts: dict[str, str] = {}
    for line in lines:
        if "Inference time per" in line or "Statistic per tensor" in line:
            break
        if found := key_value(line):
            facts[found[0]] = found[1]
    return facts


def _integers(text: str) -> tuple[int, ...]:
    """`[8,398 105,738 2,599]`, or one number before its explanation."""
    inside = re.match(r"\s*\[([^\]]*)\]", text)
    words = inside[1].split() if inside else text.split()[:1]
    return tuple(integer(word) for word in words if re.fullmatch(r"[\d,]+", word))


def layer_times(lines: Sequence[str]) -> tuple[LayerTiming, ...]:
    """The table `c_id m_id type dur (ms) % cumul CPU cycles name`."""
    head = next((i for i, line in enumerate(lines) if line.split()[:1] == ["c_id"] and "dur (" in line), None)
    if head is None:
        return ()
    unit = _UNIT.get((re.search(r"dur \((\w+)\)", lines[head]) or ["", "ms"])[1], 1.0)
    out = []
    for line in lines[head + 1 :]:
        if line.strip().startswith("total"):
            break
        if row := _ROW.match(line):
            cycles = tuple(integer(word) for word in (row[6] or "").split() if re.fullmatch(r"[\d,]+", word))
            ms = float(row[4].replace(",", "")) * unit
            out.append(LayerTiming(int(row[1]), row[7].strip(), row[3].strip(), ms, float(row[5]), cycles))
    return tuple(out)


def metric_table(lines: Sequence[str]) -> tuple[OutputMetric, ...]:
    """The table below `Evaluation report (summary)`: columns by their header, whatever their order."""
    start = next((i for i, line in enumerate(lines) if "Evaluation report (summary)" in line), None)
    if start is None:
        return ()
    header: list[str] = []
    out: list[OutputMetric] = []
    for line in lines[start + 1 :]:
        cells = re.split(r"\s{2,}", line.strip())
        if cells[0] == "Output":
            header = cells
        elif out and set(line.strip()) == {"-"}:
            break
        elif header and len(cells) > len(_METRICS):
            row = dict(zip(header, cells, strict=False))
            if metric := _metric(row):
                out.append(metric)
    return tuple(out)


def _metric(row: dict[str, str]) -> OutputMetric | None:
    values = {name: _float(row.get(name, "")) for name in (*_METRICS, "acc", "snr")}
    if any(values[name] is None for name in _METRICS):
        return None
    named = {name: values[name] or 0.0 for name in _METRICS}
    return OutputMetric(
        name=row["Output"], tensor=row.get("tensor", ""), acc=values["acc"], snr_db=values["snr"], **named
    )


def _float(text: str) -> float | None:
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
