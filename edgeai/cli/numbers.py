"""Numbers of the command line: finite ones. NaN would pass every comparison, and infinity every limit."""

from __future__ import annotations

import math
from typing import Any

import click


class _FiniteFloat(click.types.FloatParamType):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return _finite(self, super().convert(value, param, ctx), param, ctx)


class FiniteRange(click.FloatRange):
    """A finite number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return _finite(self, super().convert(value, param, ctx), param, ctx)


def _finite(
    kind: click.ParamType[Any], value: float, param: click.Parameter | None, ctx: click.Context | None
) -> float:
    if not math.isfinite(value):
        kind.fail(f"{value} is no number to compare with.", param, ctx)
    return value


FINITE = _FiniteFloat()
