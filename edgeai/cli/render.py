"""What commands print: aligned tables and the JSON form of an artifact."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import click

from edgeai.artifacts import to_json
from edgeai.files import write_text


def kib(count: float) -> str:
    """Bytes as KiB with one decimal, as ST's tables print them."""
    return f"{count / 1024:.1f}"


def width(text: str) -> int:
    """Columns a text takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(name: str, room: int) -> str:
    """`name` with its middle left out: families differ at the start, variants at the end."""
    name = name if len(name) <= room else Path(name).stem  # the back-end tells the format
    if len(name) <= room:
        return name
    head = (room - 1) // 2
    return f"{name[:head]}…{name[len(name) - (room - 1 - head) :]}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A plain text table; `right` names the columns that are aligned to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(width(line[i]) for line in lines) for i in range(len(header))]

    def render(line: Sequence[str]) -> str:
        cells = [
            " " * (widths[i] - width(cell)) + cell if i in right else cell + " " * (widths[i] - width(cell))
            for i, cell in enumerate(line)
        ]
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([render(lines[0]), rule, *[render(line) for line in lines[1:]]])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; what would end a cell is escaped."""
    lines = [list(header), ["---"] * len(header), *[list(row) for row in rows]]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """`name  value` lines with the values aligned."""
    left = max((width(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name}{' ' * (left - width(name))}  {value}" for name, value in pairs)


def emit(artifact: object, text: str, as_json: bool, out: Path | None = None) -> None:
    """Print an artifact: as JSON for machines, as text for people; and write its JSON where asked."""
    if out is not None:
        write_text(out, to_json(artifact))
    click.echo(to_json(artifact) if as_json else text, nl=not as_json)
