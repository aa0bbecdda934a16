"""The range of least squared error, against a search that quantises every value."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeai.quantize.ranges.histogram import Histogram, least_squares_range
from edgeai.quantize.ranges.observe import SIGMOID_SATURATION

RNG = np.random.default_rng(0)


def true_error(values: NDArray[np.float64], low: float, high: float) -> float:
    """Mean squared error of real 8-bit rounding and clipping."""
    step = (high - low) / 255
    codes = np.clip(np.round((values - low) / step), 0, 255)
    return float(np.mean((codes * step + low - values) ** 2))


def silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / (1 + np.exp(-x))


SAMPLES = {
    "normal": RNG.normal(0, 1, 60_000),
    "outlier": np.append(RNG.normal(0, 1, 60_000), [90.0, -70.0]),
    "silu": silu(RNG.normal(-1, 3, 60_000)),
    "sparse": np.where(RNG.random(60_000) < 0.9, 0.0, RNG.exponential(5.0, 60_000)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_close_to_the_best_of_a_brute_force_search(name: str) -> None:
    values = SAMPLES[name]
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part.astype(np.float32))
    low, high = least_squares_range(histogram)
    fractions = np.linspace(0.02, 1, 50)
    low_ends = [0.0] if values.min() >= 0 else fractions * values.min()
    best = min(true_error(values, a, b) for a in low_ends for b in fractions * values.max())
    assert true_error(values, low, high) <= 1.1 * best
    assert true_error(values, low, high) <= true_error(values, min(0, values.min()), values.max()) * (1 + 1e-9)


def test_extremes_and_counts_survive_growth() -> None:
    histogram = Histogram()
    for scale in (0.001, 1.0, 1000.0):
        histogram.add(np.linspace(-scale, 2 * scale, 999, dtype=np.float32))
    assert histogram.counts.sum() == 3 * 999
    assert (histogram.low, histogram.high) == (-1000.0, 2000.0)
    upper = histogram.counts[histogram.centres() > 1000].sum()
    assert upper == pytest.approx(999 / 3, abs=3)


def test_a_weight_counts_like_repetition() -> None:
    values, times = RNG.normal(0, 1, 4000).astype(np.float32), RNG.integers(0, 9, 4000)
    values[::5] = 0.0
    weighted, repeated = Histogram(), Histogram()
    weighted.add(values, times.astype(np.float64))
    repeated.add(np.repeat(values, times))
    weighted.low, weighted.high = repeated.low, repeated.high
    assert weighted.zeros == repeated.zeros
    assert least_squares_range(weighted) == least_squares_range(repeated)


@pytest.mark.parametrize("high", np.linspace(0.0, SIGMOID_SATURATION, 60))
def test_the_lowest_code_of_a_sigmoids_input_gives_nothing(high: float) -> None:
    """Wherever rounding of the zero point moves the low end (TFLite's LOGISTIC: scale 1/256, zero point -128)."""
    scale = (high + SIGMOID_SATURATION) / 255
    zero_point = round(-128 + SIGMOID_SATURATION / scale)
    lowest = scale * (-128 - zero_point)
    assert round(256 / (1 + np.exp(-lowest))) == 0


def test_all_zero_and_all_positive() -> None:
    flat = Histogram()
    flat.add(np.zeros(10, np.float32))
    assert least_squares_range(flat) == (0.0, 0.0)
    positive = Histogram()
    positive.add(np.linspace(0, 4, 500, dtype=np.float32))
    low, high = least_squares_range(positive)
    assert low == 0.0
    assert high == pytest.approx(4.0, rel=0.05)
