"""`edgeai recommend`: which boards suit a model."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import Recommendation
from edgeai.cli.render import emit, kib, table


@click.command(short_help="Say which boards suit a model.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.json", help="Write the result there.")
def command(file: Path, as_json: bool, output: Path | None) -> None:
    """Estimate FILE on every known board: recommended, supported or not, and why.

    \b
    edgeai recommend model.tflite
    """
    from edgeai.latency.recommend import recommend

    result = recommend(file)
    emit(result, render(result), as_json, output)


def render(result: Recommendation) -> str:
    """One line for each board, the best first."""
    rows = [
        [a.board, a.family, a.verdict, kib(a.ram), kib(a.flash), f"{a.ms:,.1f}" if a.ms else "-", a.reason]
        for a in result.boards
    ]
    header = ["board", "family", "verdict", "Core RAM KiB", "Core flash KiB", "ms", "reason"]
    return f"{result.model.name}\n\n{table(header, rows, right=(3, 4, 5))}"
