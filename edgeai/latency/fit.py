"""Fits the constants of the latency model to the fit split of the published rows.

Coordinate descent on the mean squared logarithm of predicted over published, each constant held near its
physical starting value by a charge (`prior_weight`): there are fewer rows than would determine them all.
Same rows, same priors: same constants, to the last digit that the data file holds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.footprint.golden import GoldenRow
from edgeai.graph.types import Graph
from edgeai.latency.constants import LatencyTable, LatencyTables, Rates
from edgeai.latency.model import FREE, counted_works, time_of
from edgeai.latency.work import Work

STEPS = (1.6, 1.25, 1.1, 1.04, 1.015)
DIGITS = 4
SCALARS = ("low", "high", "min_mmac", "max_mmac", "clock_mhz", "prior_weight", "factor", "gpu_mac", "gpu_op")
REQUIRED = frozenset(f.name for f in dataclasses.fields(Rates) if f.default is dataclasses.MISSING)
NAMES = tuple(f.name for f in dataclasses.fields(Rates))


@dataclass(frozen=True, slots=True)
class Sample:
    """A network whose time was published: its work by operator, and the factor of its version."""

    works: tuple[Work, ...]
    published_ms: float
    target: str
    scale: float = 1.0
    far: bool = False


def sample(graph: Graph, row: GoldenRow, table: LatencyTable, target: str, scale: float, far: bool) -> Sample:
    """What a fit needs of a published row. Where nothing overlaps, operators of a kind are one sum."""
    found = [w for w in counted_works(graph, target, row.version) if w.kind not in FREE]
    if not table.overlapped:
        groups: dict[tuple[str, str], list[Work]] = {}
        for work in found:
            groups.setdefault((work.kind, work.where.unit), []).append(work)
        found = [_sum(group) for group in groups.values()]
    return Sample(tuple(found), row.latency_ms or 1.0, target, scale, far)


def _sum(works: Sequence[Work]) -> Work:
    totals = {name: sum(getattr(w, name) for w in works) for name in ("amount", "macs", "weights", "outputs", "count")}
    return dataclasses.replace(works[0], **totals)


def predict(found: Sample, table: LatencyTable) -> float:
    """Milliseconds."""
    return sum(time_of(work, table, found.target, found.scale, found.far).ms for work in found.works)


def fit(prior: LatencyTable, samples: Sequence[Sample]) -> LatencyTable:
    """The table with its rates fitted to the samples, starting from `prior`; rounded as the data file holds them."""
    names = [*NAMES, *(name for name in ("gpu_mac", "gpu_op") if getattr(prior, name))]
    best, score = prior, _score(prior, prior, samples)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for name in names:
                for factor in (step, 1 / step):
                    tried = _changed(best, name, factor)
                    found = _score(tried, prior, samples) if tried is not best else score
                    if found < score - 1e-7:
                        best, score, improved = tried, found, True
    return _rounded(best)


def scaled(table: LatencyTable, by: LatencyTable) -> LatencyTable:
    """`table` with the rates of another, times its factor."""
    rates = {name: getattr(by.rates, name) * table.factor for name in NAMES}
    return _rounded(dataclasses.replace(table, rates=Rates(**rates)))


def _changed(table: LatencyTable, name: str, factor: float) -> LatencyTable:
    value = getattr(table.rates, name) if name in NAMES else getattr(table, name)
    if not value:
        return table
    if name in NAMES:
        changed = {n: getattr(table.rates, n) * factor for n in (table.tied if name in table.tied else (name,))}
        return dataclasses.replace(table, rates=dataclasses.replace(table.rates, **changed))
    return dataclasses.replace(table, **{name: value * factor})


def _rounded(table: LatencyTable) -> LatencyTable:
    rates = {name: _round(getattr(table.rates, name)) for name in NAMES}
    return dataclasses.replace(table, rates=Rates(**rates), gpu_mac=_round(table.gpu_mac), gpu_op=_round(table.gpu_op))


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _score(table: LatencyTable, prior: LatencyTable, samples: Sequence[Sample]) -> float:
    error = 0.0
    for found in samples:
        error += math.log(max(predict(found, table), 1e-9) / found.published_ms) ** 2 / len(samples)
    pairs = [(getattr(table.rates, name), getattr(prior.rates, name)) for name in NAMES]
    pairs += [(table.gpu_mac, prior.gpu_mac), (table.gpu_op, prior.gpu_op)]
    charge = sum(math.log(a / b) ** 2 for a, b in pairs if a > 0 and b > 0 and a != b)
    return error + table.prior_weight / len(samples) * charge


def as_toml(tables: LatencyTables, head: str) -> str:
    """The data file: `head` as a comment, then every table without what has its default."""
    parts = ["".join(f"# {line}\n" for line in head.splitlines()) + f'version = "{tables.version}"']
    for table in tables.table:
        versions = ", ".join(f'"{v}"' for v in table.versions)
        lines = ["[[table]]", f'unit = "{table.unit}"', f"versions = [{versions}]", f'source = "{table.source}"']
        lines += ["overlapped = true"] if table.overlapped else []
        lines += ["tied = [" + ", ".join(f'"{name}"' for name in table.tied) + "]"] if table.tied else []
        lines += [f"{name} = {getattr(table, name):g}" for name in SCALARS if getattr(table, name)]
        lines.append("[table.rates]")
        lines += [f"{name} = {getattr(table.rates, name):g}" for name in NAMES if _is_needed(table, name)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _is_needed(table: LatencyTable, name: str) -> bool:
    return bool(getattr(table.rates, name)) or name in REQUIRED
