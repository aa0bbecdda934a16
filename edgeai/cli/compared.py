"""How commands print estimate and compiler side by side."""

from __future__ import annotations

import textwrap

from edgeai.artifacts import ComparedQuantity, FootprintComparison
from edgeai.cli.render import table

WIDTH = 80


def render(compared: FootprintComparison) -> str:
    """A table: estimate with its interval, compiler, difference."""
    rows = [[_label(row), _value(row, row.estimate), _interval(row), _value(row, row.compiler), _difference(row)]
            for row in compared.quantities]  # fmt: skip
    title = f"estimate against {compared.toolchain} {compared.version} on {compared.board}"
    listed = table(["", "estimate", "interval", "compiler", "difference"], rows, right=(1, 2, 3, 4))
    notes = [
        textwrap.fill(note, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
        for note in compared.notes
    ]
    return "\n".join([title, "", listed, *(["", "notes", *notes] if notes else [])])


def _label(row: ComparedQuantity) -> str:
    return f"{row.name}, KiB" if row.unit == "bytes" else row.name


def _value(row: ComparedQuantity, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1024:.1f}" if row.unit == "bytes" else f"{value:.0f}"


def _interval(row: ComparedQuantity) -> str:
    return f"{_value(row, row.low)} to {_value(row, row.high)}" if row.low is not None else ""


def _difference(row: ComparedQuantity) -> str:
    if row.difference is not None:
        return f"{round(row.difference, 1) + 0.0:+.1f} %"  # no minus zero
    if row.estimate is not None and row.compiler is not None:
        return "same" if row.estimate == row.compiler else _value(row, row.estimate - row.compiler)
    return ""
