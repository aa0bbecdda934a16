"""`edgeai card`: a model card in the format of ST's model zoo."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import to_json
from edgeai.cli.again import as_typed
from edgeai.cli.options import PathParam, dossier_of
from edgeai.errors import InputError
from edgeai.files import file_ref, write_text
from edgeai.project import load_project

DEFAULT_BOARDS = ("stm32n6", "stm32mp2")


@click.command(short_help="Write a model card.")
@click.argument("targets", nargs=-1, type=PathParam, metavar="[RUN|MODEL...]")
@click.option("--board", "boards", multiple=True, metavar="B", help="Board of the estimates; may be repeated.")
@click.option("--measurements", type=PathParam, multiple=True, metavar="CSV", help="Measured or published rows.")
@click.option("--core", default="", metavar="V", help="Only measurements of this version of ST Edge AI Core.")
@click.option("--artifacts", type=PathParam, multiple=True, metavar="PATH", help="Further artifacts: file or folder.")
@click.option("--licence", default="", metavar="SPDX", help="Licence of the weights, where you know it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.md", help="The card.  [default: README.md of the run]")
@click.pass_context
def command(
    context: click.Context,
    targets: tuple[Path, ...],
    boards: tuple[str, ...],
    measurements: tuple[Path, ...],
    core: str,
    artifacts: tuple[Path, ...],
    licence: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Write the model card of a run, or of model files, in Markdown.

    \b
    edgeai card                       the latest run, into its folder
    edgeai card model.tflite          to the terminal
    edgeai card a_256.tflite a_320.tflite --measurements n6.csv -o card.md
    """
    from edgeai.report.card import make_card
    from edgeai.report.dossier import of_models
    from edgeai.report.markdown import card_markdown
    from edgeai.report.measurements import read_measurements
    from edgeai.report.subject import boards_of

    if len(targets) > 1 and any(path.is_dir() for path in targets):
        raise InputError("one run, or several model files", "make a card for every run")
    dossier = of_models(targets, artifacts) if len(targets) > 1 else dossier_of(next(iter(targets), None), artifacts)
    project = load_project()
    default = project.settings.boards.targets if project.found else DEFAULT_BOARDS
    rows = [row for file in measurements for row in read_measurements(file)]
    files = [file_ref(file) for file in measurements]
    again = as_typed(context, targets or dossier.models if dossier.folder is None else [dossier.folder])
    card = make_card(dossier, boards_of(dossier, boards, default), rows, core, licence, files, again)
    text = card_markdown(card)
    target = output or (dossier.folder / "README.md" if dossier.folder is not None else None)
    if target is not None:
        write_text(target, text)
    if as_json:
        click.echo(to_json(card), nl=False)
    elif target is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"card of {card.title}: {target}")
