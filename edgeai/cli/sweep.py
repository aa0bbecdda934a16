"""`edgeai sweep`: many combinations, one table."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import SweepResult, SweepRow, to_json
from edgeai.cli.options import PathParam, json_option, overlap_option, skip_bad_option
from edgeai.cli.progress import Progress
from edgeai.cli.render import kib, markdown_table, shorten, table
from edgeai.errors import ToolError
from edgeai.files import write_text
from edgeai.project import load_project

HEADER = ("model", "size", "layout", "weights", "board", "AP", "drop", "ms", "Core RAM", "Core flash", "fits", "front")
FIRST_NUMBER = 5
NAME = 22  # columns of a model's name


@click.command(short_help="Combine models, sizes, layouts and boards in one table.")
@click.argument("file", type=PathParam, metavar="SWEEP.toml")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes here.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", default="", help="A running Dask scheduler, instead.")
@skip_bad_option
@overlap_option
@click.option("--out", type=PathParam, metavar="DIR", help="Where table and picture go.  [default: runs/SWEEP]")
@json_option
def command(
    file: Path, workers: int, scheduler: str, skip_bad: bool, allow_overlap: bool, out: Path | None, as_json: bool
) -> int:
    """Quantise, evaluate and assess every combination that SWEEP.toml names.

    Finished stages are kept, so a sweep that was killed goes on where it was. Exit code 5 where a point failed.

    \b
    edgeai sweep sweep.toml --workers 2
    edgeai sweep sweep.toml --scheduler tcp://10.0.0.7:8786
    """
    from edgeai.sweep.engine import open_engine
    from edgeai.sweep.picture import picture
    from edgeai.sweep.plan import read_plan, relaxed
    from edgeai.sweep.run import run_sweep

    plan = relaxed(read_plan(file), skip_bad, allow_overlap)
    project = load_project()
    with open_engine(workers, scheduler) as engine, Progress(f"sweep {plan.name}") as progress:
        result = run_sweep(plan, project.cache, engine, progress.report)
    folder = out or project.runs / plan.name
    write_text(folder / "sweep.json", to_json(result))
    write_text(folder / "sweep.svg", picture(result))
    write_text(folder / "sweep.md", markdown_table(HEADER, rows(result)))
    click.echo(to_json(result) if as_json else render(result, folder), nl=not as_json)
    return ToolError.exit_code if any(row.error for row in result.rows) else 0


def render(result: SweepResult, folder: Path) -> str:
    """The table, what failed, and where the files are."""
    return f"{trade_off(result)}\nin {folder}"


def trade_off(result: SweepResult) -> str:
    """The table and what failed."""
    shown = [[shorten(line[0], NAME), *line[1:]] for line in rows(result)]
    same = [i for i in range(FIRST_NUMBER) if len({line[i] for line in shown}) == 1]  # said once, above the table
    kept = [i for i in range(len(HEADER)) if i not in same]
    right = [place for place, i in enumerate(kept) if i == 1 or FIRST_NUMBER <= i < len(HEADER) - 2]
    parts = [", ".join(f"{HEADER[i]} {shown[0][i]}" for i in same)] if same else []
    parts.append(table([HEADER[i] for i in kept], [[line[i] for i in kept] for line in shown], right))
    failed = [row for row in result.rows if row.error]
    if failed:
        parts.append("\n".join(f"{_name(row)}: {row.error}" for row in failed))
    front = "front: nothing else that fits the board is as good in AP, latency and Core RAM"
    parts.append(f"Core RAM and Core flash in KiB\n{front}")
    return "\n\n".join(parts)


def rows(result: SweepResult) -> list[list[str]]:
    """One line per point; the figures of a failed one are empty."""
    return [_cells(row) for row in result.rows]


def _cells(row: SweepRow) -> list[str]:
    point, found = row.point, row.figures
    grain = point.granularity.removeprefix("per-")
    weights = f"{grain} {Path(point.recipe).stem}" if point.recipe else grain
    cells = [Path(point.model).name, str(point.imgsz), point.layout, weights, point.board]
    if found is None:
        return [*cells, "", "", "", "", "", "failed", ""]
    return [
        *cells,
        f"{found.accuracy:.1f}",
        f"{found.drop:+.1f}",
        f"{found.latency.point:.1f}" if found.latency else "–",
        kib(found.ram.point),
        kib(found.flash.point),
        "yes" if found.fits else "no",
        "*" if found.front else "",
    ]


def _name(row: SweepRow) -> str:
    return " ".join(_cells(row)[:FIRST_NUMBER])
