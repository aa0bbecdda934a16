"""Fits the constants of the latency model to the fit split of the published rows.

Coordinate descent on the mean squared logarithm of predicted over published, each constant held near its
physical starting value by a charge (`prior_weight`): there are fewer rows than would determine them all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from edgeai.footprint.golden import GoldenRow
from edgeai.graph.types import Graph
from edgeai.latency.constants import LatencyTable, Rates
from edgeai.latency.model import op_times

STEPS = (1.6, 1.25, 1.1, 1.04, 1.015)

Sample = tuple[GoldenRow, Graph, float]  # the row, its network, the factor of its version or clock


def predict(graph: Graph, table: LatencyTable, target: str, version: str, scale: float) -> float:
    """Milliseconds."""
    return sum(entry.ms for entry in op_times(graph, table, target, version, scale))


def fit(table: LatencyTable, target: str, samples: Sequence[Sample]) -> LatencyTable:
    """The table with constants fitted to the samples, starting from its own as the prior."""
    names = [f.name for f in dataclasses.fields(Rates)]
    extra = [name for name in ("gpu_mac", "gpu_op") if getattr(table, name)]
    prior, best = table, table
    score = _score(best, prior, target, samples)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for name in (*names, *extra):
                for factor in (step, 1 / step):
                    tried = _changed(best, name, factor)
                    found = _score(tried, prior, target, samples)
                    if found < score - 1e-9:
                        best, score, improved = tried, found, True
    return best


def _changed(table: LatencyTable, name: str, factor: float) -> LatencyTable:
    if hasattr(table.rates, name):
        value = getattr(table.rates, name) * factor
        return dataclasses.replace(table, rates=dataclasses.replace(table.rates, **{name: value}))
    return dataclasses.replace(table, **{name: getattr(table, name) * factor})


def _score(table: LatencyTable, prior: LatencyTable, target: str, samples: Sequence[Sample]) -> float:
    error = 0.0
    for row, graph, scale in samples:
        found = predict(graph, table, target, row.version, scale)
        error += math.log(max(found, 1e-9) / (row.latency_ms or 1.0)) ** 2 / len(samples)
    pairs = [(getattr(table.rates, f.name), getattr(prior.rates, f.name)) for f in dataclasses.fields(Rates)]
    pairs += [(table.gpu_mac, prior.gpu_mac), (table.gpu_op, prior.gpu_op)]
    return error + table.prior_weight / len(samples) * sum(math.log(a / b) ** 2 for a, b in pairs if a > 0 and b > 0)
