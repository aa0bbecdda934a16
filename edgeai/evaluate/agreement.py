"""How far two runs of one tensor agree: cosine, signal-to-noise ratio, share of equal values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Parity
from edgeai.errors import InputError


@dataclass(frozen=True, slots=True)
class Agreement:
    """`cosine` -1..1; `sqnr_db` 10 log10(Σ expected² / Σ difference²), None where no value differs, at most 300;
    `bit_equal` the share of equal values, 0..1."""

    cosine: float
    sqnr_db: float | None
    bit_equal: float


def agreement(expected: NDArray[Any], actual: NDArray[Any], scale: float = 0.0, zero_point: int = 0) -> Agreement:
    """`actual` against `expected`, arrays of one shape.

    Values are compared as they are, cosine and SQNR on scale * (value - zero point) where a scale is given: cosine
    depends on where zero lies. Raises InputError where the shapes differ.
    """
    if expected.shape != actual.shape:
        raise InputError(f"tensors of shape {list(expected.shape)} and {list(actual.shape)} cannot be compared")
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    if scale:
        a, b = scale * (a - zero_point), scale * (b - zero_point)
    equal = np.equal(expected, actual) | (np.isnan(a) & np.isnan(b))
    found = compare("", "", a, b)
    whole = bool(equal.all())
    return Agreement(
        cosine=1.0 if whole else found.cosine,
        sqnr_db=None if whole else found.sqnr_db,
        bit_equal=float(equal.mean()) if equal.size else 1.0,
    )


def compare(step: str, output: str, expected: NDArray[Any], actual: NDArray[Any]) -> Parity:
    """Cosine, largest absolute difference and signal-to-noise ratio (dB) of `actual` against `expected`."""
    a, b = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    noise, signal = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    sqnr = 10 * np.log10(signal / noise) if noise > 0 and signal > 0 else 300.0
    return Parity(
        step=step,
        output=output,
        cosine=round(float(a @ b) / norm, 9) if norm else float(not noise),
        max_abs=float(np.abs(a - b).max(initial=0.0)),
        sqnr_db=round(float(min(sqnr, 300.0)), 2),
    )
