"""`edgeai report`: one HTML file with everything a run found out."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import HtmlReport
from edgeai.cli.again import as_typed
from edgeai.cli.options import PathParam, dossier_of
from edgeai.cli.progress import Progress
from edgeai.cli.render import emit, facts, kib
from edgeai.project import load_project

DEFAULT_BOARDS = ("stm32n6", "stm32mp2")


@click.command(short_help="Write an HTML report of a run.")
@click.argument("target", type=PathParam, required=False, metavar="[RUN|MODEL]")
@click.option("--board", "boards", multiple=True, metavar="B", help="Board of the estimates; may be repeated.")
@click.option("--images", type=PathParam, metavar="DIR", help="Images for the examples.  [default: the project's]")
@click.option("--reference", type=PathParam, metavar="FILE", help="Float model of the examples.  [default: the run's]")
@click.option("--artifacts", type=PathParam, multiple=True, metavar="PATH", help="Further artifacts: file or folder.")
@click.option("--licence", default="", metavar="SPDX", help="Licence of the weights, where you know it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.html", help="Where.  [default: report.html of the run]")
@click.pass_context
def command(
    context: click.Context,
    target: Path | None,
    boards: tuple[str, ...],
    images: Path | None,
    reference: Path | None,
    artifacts: tuple[Path, ...],
    licence: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Write accuracy, examples, memory, latency, licences and provenance of a run into one HTML file.

    The file loads nothing from anywhere: it can be mailed, archived and printed.

    \b
    edgeai report                     the latest run of the project
    edgeai report runs/best -o best.html
    edgeai report model.tflite --board stm32n6
    """
    from edgeai.report.build import Extras, write_report
    from edgeai.report.examples import LOOKED_AT
    from edgeai.report.subject import boards_of

    project = load_project()
    dossier = dossier_of(target, artifacts)
    default = project.settings.boards.targets if project.found else DEFAULT_BOARDS
    extras = Extras(images or project.path(project.settings.evaluation.images), reference)
    folder = dossier.folder if dossier.folder is not None else Path()
    again = as_typed(context, [dossier.folder] if dossier.folder is not None else dossier.models)
    file = output or folder / "report.html"
    with Progress("report", LOOKED_AT) as progress:
        targets = boards_of(dossier, boards, default)
        result = write_report(dossier, targets, file, extras, licence, progress.advance, again)
    emit(result, render(result, file), as_json)


def render(result: HtmlReport, file: Path) -> str:
    """Where it is, what is in it, and what is not."""
    lines = [
        ("report", f"{file} ({kib(result.file.bytes)} KiB)"),
        ("verdict", result.verdict),
        ("sections", ", ".join(result.sections)),
    ]
    lines += [("absent", f"{fact.name}: {fact.value}") for fact in result.absent]
    return facts(lines)
