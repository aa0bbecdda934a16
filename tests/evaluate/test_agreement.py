"""Agreement of two runs of a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from edgeai.errors import InputError
from edgeai.evaluate.agreement import Agreement, agreement


def test_equal_tensors() -> None:
    values = np.arange(-8, 8, dtype=np.int8)
    assert agreement(values, values.copy(), 0.5, -128) == Agreement(1.0, None, 1.0)
    nothing = np.zeros(4, np.float32)
    assert agreement(nothing, nothing) == Agreement(1.0, None, 1.0)
    with_nan = np.array([np.nan, 1.0], np.float32)
    assert agreement(with_nan, with_nan.copy()).bit_equal == 1.0


def test_figures_by_hand() -> None:
    expected, actual = np.array([3, 4, 0, 0], np.int8), np.array([3, 4, 0, 1], np.int8)
    found = agreement(expected, actual)
    assert found.bit_equal == 0.75
    assert found.sqnr_db == pytest.approx(10 * np.log10(25 / 1), abs=0.01)
    assert found.cosine == pytest.approx(25 / (5 * np.sqrt(26)), abs=1e-8)


def test_the_zero_point_is_where_zero_lies() -> None:
    expected, actual = np.array([-128, -127], np.int8), np.array([-127, -128], np.int8)
    assert agreement(expected, actual).cosine > 0.9999  # near each other only because both are far from zero
    assert agreement(expected, actual, 0.1, -128).cosine == pytest.approx(0.0)
    assert agreement(expected, actual, 0.1, -128).sqnr_db == pytest.approx(-3.01, abs=0.01)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        agreement(np.zeros(3), np.zeros(4))
