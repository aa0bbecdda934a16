"""`edgeai validate-estimators`: how far the estimates are from published figures."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import EstimatorReport
from edgeai.cli.render import emit, table


@click.command(short_help="Compare the estimators with published figures.")
@click.option("--published", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Tables n6.csv, …")
@click.option("--refit", is_flag=True, help="Fit the latency constants anew and print their file.")
@click.option("--rows", is_flag=True, help="Print every row too.")
@click.option("--compact", is_flag=True, help="All versions of a tool in one line.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.json", help="Write the result there.")
def command(published: Path, refit: bool, rows: bool, compact: bool, as_json: bool, output: Path | None) -> None:
    """Estimate every row of published tables whose model file is at hand, and print the errors.

    \b
    edgeai validate-estimators --published kit/published

    The columns: median, 90th percentile and worst relative error in per cent, mean, and the share of rows whose
    published value lies in the stated interval; for the rows the constants were fitted on and for all others.
    """
    from edgeai.latency.validate import refit as fit_anew
    from edgeai.latency.validate import validate

    if refit:
        click.echo(fit_anew(published), nl=False)
        return
    report = validate(published)
    emit(report, render(report, rows, compact), as_json, output)


def render(report: EstimatorReport, rows: bool = False, compact: bool = False) -> str:
    """The error table; with `rows` also every row; `compact` leaves the single versions out."""
    found = [e for e in report.errors if e.version == "all" or not compact]
    found.sort(key=lambda e: (e.target, e.quantity, e.version != "all", e.version, e.split))
    header = ["target", "quantity", "version", "split", "n", "median", "p90", "worst", "mean", "covered"]
    lines = [
        [
            e.target, e.quantity, e.version, e.split, str(e.n),
            f"{e.median:.1f}", f"{e.p90:.1f}", f"{e.worst:.1f}", f"{e.mean:.1f}", f"{e.covered:.0f} %",
        ]
        for e in found
    ]  # fmt: skip
    right: tuple[int, ...] = (4, 5, 6, 7, 8, 9)
    if compact:
        header, right = header[:2] + header[3:], (3, 4, 5, 6, 7, 8)
        lines = [line[:2] + line[3:] for line in lines]
    parts = [f"tables: {', '.join(report.tables)}; errors in %", table(header, lines, right)]
    if rows:
        parts.append(_rows(report))
    return "\n\n".join(parts)


def _rows(report: EstimatorReport) -> str:
    header = ["row", "model", "target", "version", "split", "quantity", "published", "estimate", "error", "used"]
    lines = [
        [
            r.row, r.model[:44], r.target, r.version, r.split, r.quantity, f"{r.published:.2f}", f"{r.estimated:.2f}",
            f"{100 * (r.estimated / r.published - 1):+.1f} %", "yes" if r.used else "no",
        ]
        for r in report.rows
    ]  # fmt: skip
    return table(header, lines, right=(6, 7, 8))
