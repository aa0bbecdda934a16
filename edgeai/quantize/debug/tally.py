"""Sums over images, of which signal-to-noise ratio, cosine and divergence are made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts.debug import Divergence

BINS = 128  # over the float range: two steps of an int8 grid that fits it
SAMPLE = 1 << 15  # values of a tensor and image that enter the histogram; a fixed stride picks them
PERFECT_DB = 300.0
PSEUDO_COUNT = 0.5  # in every bin, so that an empty one does not make the divergence infinite

Floats = NDArray[np.float32]


class Tally:
    """One tensor against its float counterpart; `low` and `high` are the extremes of the float values.

    `step` is the scale of the int8 tensor. In the histogram every code stands for its whole step, not for a point: a
    grid that does not fit the bins would otherwise look like another distribution.
    """

    __slots__ = ("_actual", "_cross", "_expected", "_high", "_low", "_noise", "_p", "_q", "_step")

    def __init__(self, low: float, high: float, step: float) -> None:
        self._low, self._high, self._step = low, high, step
        self._expected = self._actual = self._cross = self._noise = 0.0
        self._p, self._q = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, expected: Floats, actual: Floats) -> None:
        """Count one image's values, arrays of one shape."""
        a, b = expected.ravel(), actual.ravel()
        difference = a - b
        self._expected += float(a @ a)
        self._actual += float(b @ b)
        self._cross += float(a @ b)
        self._noise += float(difference @ difference)
        stride = max(1, a.size // SAMPLE)
        self._p += self._histogram(a[::stride])
        sample = b[::stride]
        self._q += self._histogram(sample + np.float32(self._step) * _spread(sample.size))

    def _histogram(self, values: Floats) -> NDArray[Any]:
        """Values outside of the float range count at its ends."""
        span = self._high - self._low
        if span <= 0:
            return np.bincount([0], weights=[len(values)], minlength=BINS).astype(np.int64)
        place = ((values - np.float32(self._low)) * np.float32(BINS / span)).clip(0, BINS - 1).astype(np.int32)
        return np.bincount(place, minlength=BINS)

    @property
    def sqnr_db(self) -> float:
        if self._noise <= 0:
            return PERFECT_DB
        if self._expected <= 0:
            return -PERFECT_DB
        return float(min(PERFECT_DB, 10 * np.log10(self._expected / self._noise)))

    def divergence(self) -> Divergence:
        norm = float(np.sqrt(self._expected * self._actual))
        cosine = self._cross / norm if norm else float(self._noise <= 0)
        p, q = self._p + PSEUDO_COUNT, self._q + PSEUDO_COUNT
        p, q = p / p.sum(), q / q.sum()
        kl = float(np.sum(p * np.log(p / q)))
        return Divergence(round(self.sqnr_db, 3), round(cosine, 6), round(max(kl, 0.0), 6))


def _spread(count: int) -> Floats:
    """`count` numbers that fill -0.5..0.5 evenly: the golden ratio's multiples, modulo 1."""
    return np.asarray((np.arange(count) * ((np.sqrt(5) - 1) / 2) % 1 - 0.5).astype(np.float32))
