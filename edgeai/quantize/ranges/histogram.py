"""Histograms of activations that grow with their values, and the range that loses least when 8 bits must hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096  # over a power of two on both sides of zero: at least 8 bins to a step of an int8 range that uses them all
FIRST_EXPONENT = -8
SAMPLE = 1 << 16  # values looked at per tensor and image; a fixed stride picks them
LEVELS = 255
SHRINK_STEPS = 50  # candidates for each end of the range, in steps of 2 % of the extreme
ROUNDS = 3  # low end and high end in turn; the third round changes little


class Histogram:
    """Counts of one tensor's values, and its extremes. The memory is fixed; bins widen by two as values grow."""

    __slots__ = ("counts", "exponent", "high", "images", "low", "mean_high", "mean_low", "zeros")

    def __init__(self) -> None:
        self.counts = np.zeros(BINS)
        self.exponent = FIRST_EXPONENT
        self.low = self.high = 0.0
        self.mean_low = self.mean_high = self.zeros = 0.0
        self.images = 0

    def add(self, values: NDArray[np.float32], weights: NDArray[np.float64] | None = None) -> None:
        """Count one image's values, each by its weight where there are `weights` of the same shape. The extremes see
        all of them, the counts a strided sample."""
        flat = values.ravel()
        lowest, highest = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, lowest), max(self.high, highest)
        self.images += 1
        self.mean_low += (lowest - self.mean_low) / self.images
        self.mean_high += (highest - self.mean_high) / self.images
        if not np.isfinite(self.high - self.low):
            return
        while max(-self.low, self.high) >= 2.0**self.exponent:
            self._widen()
        stride = max(1, flat.size // SAMPLE)
        sample = flat[::stride]
        weight = None if weights is None else weights.ravel()[::stride]
        self.zeros += sample.size - np.count_nonzero(sample) if weight is None else float(weight[sample == 0].sum())
        index = (sample * np.float32(BINS / 2 / 2.0**self.exponent) + np.float32(BINS / 2)).astype(np.int32)
        self.counts += np.bincount(index, weight, minlength=BINS)[:BINS]

    def between(self, low: float, high: float) -> Histogram:
        """These counts with the extremes of a larger set of values."""
        wider = Histogram()
        wider.low, wider.high = min(self.low, low), max(self.high, high)
        wider.counts, wider.exponent, wider.zeros, wider.images = self.counts, self.exponent, self.zeros, self.images
        return wider

    def merged(self, other: Histogram) -> Histogram:
        """The histogram of both together."""
        both = Histogram()
        both.low, both.high = min(self.low, other.low), max(self.high, other.high)
        both.zeros, both.images = self.zeros + other.zeros, self.images + other.images
        share = other.images / max(1, both.images)
        both.mean_low = self.mean_low + share * (other.mean_low - self.mean_low)
        both.mean_high = self.mean_high + share * (other.mean_high - self.mean_high)
        both.exponent = max(self.exponent, other.exponent)
        for one in (self, other):
            both.counts += one._counts_at(both.exponent)
        return both

    def _counts_at(self, exponent: int) -> NDArray[np.float64]:
        copy = Histogram()
        copy.counts, copy.exponent = self.counts, self.exponent
        while copy.exponent < exponent:
            copy._widen()
        return copy.counts

    def _widen(self) -> None:
        folded = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros(BINS)
        self.counts[BINS // 4 : 3 * BINS // 4] = folded
        self.exponent += 1

    def centres(self) -> NDArray[np.float64]:
        width = 2.0**self.exponent / (BINS / 2)
        return np.asarray((np.arange(BINS) + 0.5 - BINS / 2) * width)


def least_squares_range(histogram: Histogram) -> tuple[float, float]:
    """The range [low <= 0, high >= 0] whose 8-bit grid has the least mean squared error on the histogram.

    Inside the range a value errs by step^2 / 12 on average (uniform rounding), outside by its distance to the end.
    An exact zero, which a ReLU makes many of, is always on the grid and does not err.
    """
    used = np.nonzero(histogram.counts)[0]
    values = histogram.centres()[used]
    total = float(histogram.counts.sum()) or 1.0
    weights = histogram.counts[used] / total
    rounded = 1.0 - histogram.zeros / total
    shrink = np.linspace(0.0, 1.0, SHRINK_STEPS + 1)
    lows, highs = histogram.low * shrink, histogram.high * shrink
    below = _clipping(-values, -lows, weights)
    above = _clipping(values, highs, weights)
    low, high = len(lows) - 1, len(highs) - 1
    for _ in range(ROUNDS):
        high = int(np.argmin(above + rounded * _rounding(lows[low], highs)))
        low = int(np.argmin(below + rounded * _rounding(lows, highs[high])))
    return float(lows[low]), float(highs[high])


def _clipping(
    values: NDArray[np.float64], ends: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared error of clipping at each of `ends`, for one side."""
    excess = np.maximum(values[None, :] - ends[:, None], 0.0)
    return np.asarray((excess**2) @ weights)


def _rounding(low: NDArray[np.float64] | float, high: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Mean squared rounding error; the few values that clip are counted too, which changes nothing that matters."""
    return np.asarray(((np.asarray(high) - np.asarray(low)) / LEVELS) ** 2 / 12)
