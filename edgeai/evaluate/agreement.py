"""How far two runs of one tensor agree: cosine, signal-to-noise ratio, share of equal values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.errors import InputError
from edgeai.export.parity import compare


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
