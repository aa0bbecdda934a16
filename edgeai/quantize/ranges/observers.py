"""From the histogram of a tensor to its range, [low <= 0, high >= 0]: the observers a recipe can name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeai.quantize.ranges.histogram import Histogram, least_squares_range
from edgeai.quantize.recipe import Observer

PERCENTILE = 99.99
CODES = 128  # entropy: levels a side of the histogram is merged to, as in NVIDIA's 8-bit inference (Migacz, GTC 2017)
ENTROPY_STEPS = 48


def range_of(histogram: Histogram, observer: Observer) -> tuple[float, float]:
    """The range that `observer` reads from `histogram`."""
    low, high = RULES[observer](histogram)
    return min(low, 0.0), max(high, 0.0)


def _extremes(histogram: Histogram) -> tuple[float, float]:
    return histogram.low, histogram.high


def _moving_average(histogram: Histogram) -> tuple[float, float]:
    """Means of the images' own extremes: no image alone sets the range."""
    return histogram.mean_low, histogram.mean_high


def _percentile(histogram: Histogram) -> tuple[float, float]:
    """What holds PERCENTILE % of the values, the rest cut off on both sides evenly."""
    cumulative = np.cumsum(histogram.counts)
    tail = (1 - PERCENTILE / 100) / 2 * max(1, int(cumulative[-1]))
    centres = histogram.centres()
    low = centres[int(np.searchsorted(cumulative, tail))]
    high = centres[min(int(np.searchsorted(cumulative, cumulative[-1] - tail)), len(centres) - 1)]
    return max(float(low), histogram.low), min(float(high), histogram.high)


def _entropy(histogram: Histogram) -> tuple[float, float]:
    """Each side by itself: the end at which the clipped and merged distribution diverges least from the true one."""
    counts, middle = histogram.counts.astype(np.float64), len(histogram.counts) // 2
    width = histogram.centres()[1] - histogram.centres()[0]
    high = _least_divergence(counts[middle:]) * width
    low = -_least_divergence(counts[:middle][::-1]) * width
    return max(low, histogram.low), min(high, histogram.high)


def _least_divergence(counts: NDArray[np.float64]) -> int:
    """The number of bins, from zero, that one side should keep."""
    used = np.flatnonzero(counts)
    if not used.size or used[-1] < CODES:
        return int(used[-1]) + 1 if used.size else 0
    ends = np.unique(np.linspace(CODES, used[-1] + 1, ENTROPY_STEPS).astype(int))
    return int(min(ends, key=lambda end: _divergence(counts, int(end))))


def _divergence(counts: NDArray[np.float64], end: int) -> float:
    kept = counts[:end].copy()
    kept[-1] += counts[end:].sum()  # what is clipped lands on the last code
    groups = np.minimum(np.arange(end) * CODES // end, CODES - 1)
    nonzero = counts[:end] > 0
    mass = np.bincount(groups, weights=counts[:end], minlength=CODES)
    share = np.bincount(groups, weights=nonzero.astype(float), minlength=CODES)
    merged = np.where(nonzero, (mass / np.maximum(share, 1))[groups], 0.0)
    if not merged.sum():
        return float("inf")
    p, q = kept / kept.sum(), merged / merged.sum()
    valid = p > 0
    return float(np.sum(p[valid] * np.log(p[valid] / np.maximum(q[valid], 1e-12))))


RULES: dict[Observer, Callable[[Histogram], tuple[float, float]]] = {
    "least-squares": least_squares_range,
    "min-max": _extremes,
    "moving-average": _moving_average,
    "percentile": _percentile,
    "entropy": _entropy,
    "effect": least_squares_range,  # of a histogram weighted by effect
}
