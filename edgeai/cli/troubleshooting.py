"""`edgeai troubleshooting`: the page that errors point to."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import click

from edgeai.errors import InputError, ToolError

WIDTH, INDENT = 80, "    "
PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (PACKAGE / "data" / "troubleshooting.md", PACKAGE.parent / "docs" / "troubleshooting.md")


@click.command(short_help="Say what an error means and what helps.")
@click.argument("section", required=False)
def command(section: str | None) -> None:
    """Print docs/troubleshooting.md, or one SECTION of it: input, budget, accuracy, tool, device, cache.

    \b
    edgeai troubleshooting tool
    """
    found = sections(page())
    if section is not None and section not in found:
        raise InputError(f"there is no section {section!r}", f"sections are {', '.join(filter(None, found))}")
    chosen = found.values() if section is None else [found[section]]
    click.echo("\n\n".join(map(render, chosen)))


def render(section: str) -> str:
    """A section within 80 columns: a table becomes its rows, the first cell above the second."""
    parts = []
    for block in section.split("\n\n"):
        if not block.startswith("|"):
            parts.append(block if block.startswith("#") else textwrap.fill(block, WIDTH))
            continue
        for row in block.splitlines()[2:]:
            first, *others = (cell.strip() for cell in row.strip("|").split("|"))
            rest = re.sub(r"\[(\w+)\]\(#\w+\)", r"(section \1)", " ".join(others))
            meaning = textwrap.fill(rest, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
            parts.append(f"{first}\n{meaning}")
    return "\n\n".join(parts)


def page() -> str:
    """The page: of the wheel, or of the checkout. Raises ToolError where it is missing."""
    file = next((place for place in PLACES if place.is_file()), None)
    if file is None:
        raise ToolError("the troubleshooting page is missing", "reinstall edgeai")
    return file.read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """The sections of a page by heading; what stands before the first one under the empty name."""
    start, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {"": start.strip(), **{part.partition("\n")[0]: f"## {part.strip()}" for part in parts}}
