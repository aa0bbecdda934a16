"""What the user says of a model file that does not say it itself: the options, and `Asked`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeai.errors import InputError
from edgeai.recognise import HEADS, RANGES, Asked

F = TypeVar("F", bound=Callable[..., Any])

class _Triple(click.ParamType[tuple[float, float, float]]):
    """Three numbers, separated by commas."""

    name = "r,g,b"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        try:
            red, green, blue = (float(part) for part in str(value).split(","))
            if not all(math.isfinite(part) for part in (red, green, blue)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is not three numbers, as in 0.485,0.456,0.406", param, ctx)
        return red, green, blue


TRIPLE = _Triple()
DECODED = [name for name, (_, decoded) in HEADS.items() if decoded]


def head_options(function: F) -> F:
    """What the user says of a file that does not say it itself."""
    for option in (
        click.option("--std", type=TRIPLE, metavar="R,G,B", help="Deviation of RGB / 255 that the input takes."),
        click.option("--mean", type=TRIPLE, metavar="R,G,B", help="Mean of RGB / 255 that the input takes."),
        click.option("--input-range", type=click.Choice(list(RANGES)), help="What the input takes pixels in."),
        click.option("--boxes", type=click.Choice(["pixels", "unit"]), help="What boxes are in; unit is 0..1."),
        click.option("--head", type=click.Choice(DECODED), metavar="NAME", help="What the outputs are."),
    ):
        function = option(function)
    return function


def asked_of(
    head: str | None = None,
    boxes: str | None = None,
    input_range: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    imgsz: int | None = None,
    names: tuple[str, ...] = (),
) -> Asked:
    """What the options of a command say of a file."""
    if (mean is None) != (std is None) or any(value <= 0 for value in std or ()):
        raise InputError("--mean and --std go together, and std is positive", "as in --mean 0,0,0 --std 1,1,1")
    if input_range and std:
        raise InputError("--input-range and --mean exclude each other", "leave out one of them")
    return Asked(head or "", boxes or "", input_range or "", mean or (), std or (), names, imgsz or 0)
