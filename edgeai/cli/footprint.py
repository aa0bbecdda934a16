"""`edgeai footprint`: whether a model fits a board's memory."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from edgeai.artifacts import Footprint, PoolUse
from edgeai.cli.options import project_file
from edgeai.cli.render import emit, facts, kib, table
from edgeai.errors import BudgetError
from edgeai.project import load_project

WIDTH = 80
PEAK_TENSORS = 5
NAME_WIDTH = 50


@click.command(short_help="Say whether a model fits a board's memory.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--board", required=True, metavar="B", help="Board: a name, an alias, or a profile file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.json", help="Write the result there.")
def command(file: Path | None, board: str, as_json: bool, output: Path | None) -> int:
    """Place the activations of FILE in the memory pools of a board and say what is used.

    \b
    edgeai footprint model.tflite --board stm32n6

    Exit code 3 where it does not fit.
    """
    from edgeai.board import load_board
    from edgeai.footprint.estimate import estimate

    result = estimate(_model(file), load_board(board))
    emit(result, render(result), as_json, output)
    return 0 if result.fits else BudgetError.exit_code


def _model(given: Path | None) -> Path:
    """The model of the command line, else the int8 file of the project."""
    return given if given is not None else project_file(load_project())


def render(result: Footprint) -> str:
    """The verdict, the pools, the peak and the reasons, in 80 columns."""
    verdict = "fits" if result.fits else "DOES NOT FIT"
    peak_bytes = sum(tensor.count for tensor in result.peak_tensors)
    summary = facts(
        [
            ("verdict", f"{verdict} {result.board} ({result.source})"),
            ("weights", f"{kib(result.weights_bytes)} KiB"),
            ("activations", f"{kib(result.activations_bytes)} KiB (inputs and outputs: {kib(result.io_bytes)} KiB)"),
            ("peak", f"{kib(peak_bytes)} KiB in {result.peak_operator}"),
        ]
    )
    pools = table(
        ["pool", "kind", "used KiB", "of KiB", "used"],
        [[p.pool, p.kind, kib(p.used), kib(p.capacity), _share(p)] for p in result.pools],
        right=(2, 3, 4),
    )
    live = "live at the peak\n" + facts(
        [(f"  {kib(t.count):>9} KiB", _short(t.name)) for t in result.peak_tensors[:PEAK_TENSORS]]
    )
    parts = [f"{result.model.name} on {result.board}", summary, pools, live]
    if result.reasons:
        parts.append("notes\n" + "\n".join(_bullet(reason) for reason in result.reasons))
    return "\n\n".join(parts)


def _share(pool: PoolUse) -> str:
    return f"{100 * pool.used / pool.capacity:.0f} %" if pool.capacity else "-"


def _short(name: str) -> str:
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= NAME_WIDTH else "…" + clean[-(NAME_WIDTH - 1) :]


def _bullet(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
