"""From a dossier to an HTML report: what has to be computed for it is computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import EvalResult, HtmlReport, RunRecord
from edgeai.board import Board
from edgeai.errors import EdgeAIError, InputError
from edgeai.evaluate.bootstrap import drop_interval
from edgeai.files import file_ref, images_in, write_text
from edgeai.report import html
from edgeai.report.commands import reproduce
from edgeai.report.dossier import Dossier
from edgeai.report.examples import Example, examples
from edgeai.report.licences import review
from edgeai.report.page import Page, ResultInterval
from edgeai.report.subject import Subject, subjects

LEAD = {1: "box_ap", 2: "mask_ap"}  # the metric that the report leads with, by how many there are
NO_IMAGES = "pass --images, or set [evaluation] images in edgeai.toml"


@dataclass(frozen=True, slots=True)
class Extras:
    """What a record does not hold: the folder of evaluation images, and a float model for the examples."""

    images: Path | None = None
    reference: Path | None = None


def write_report(
    dossier: Dossier,
    boards: Sequence[Board],
    target: Path,
    extras: Extras | None = None,
    licence: str = "",
    progress: Callable[[], object] | None = None,
    again: str = "",
) -> HtmlReport:
    """Write the report to `target`; `again` is the command that does it. Raises InputError where there is no model to
    report on."""
    found = subjects(dossier, boards)
    if not found:
        raise InputError("there is no quantised model in this run", "`edgeai run` makes them")
    pictures, why = _examples(dossier, found[0], extras or Extras(), progress)
    page = Page(
        dossier=dossier,
        subjects=found,
        boards=tuple(boards),
        examples=pictures,
        no_examples=why,
        intervals=_intervals(dossier),
        licences=review(dossier, licence),
        commands=(*reproduce(dossier, [board.name for board in boards]), *([again] if again else [])),
    )
    text, titles, absent = html.render(page)
    write_text(target, text)
    inputs = [dossier.record.model] if dossier.record else []
    return HtmlReport(
        file=file_ref(target),
        verdict=html.headline(page),
        sections=titles,
        absent=absent,
        provenance=html.provenance(page, [*inputs, *(subject.file for subject in found)]),
    )


def _intervals(dossier: Dossier) -> tuple[ResultInterval, ...]:
    """The interval of every drop of AP against the float model, where both results tell what they are made of."""
    if dossier.record is None:
        return ()
    base = dossier.record.results[0]
    found = []
    for result in dossier.of(EvalResult):
        if result is base or result.protocol != base.protocol:
            continue
        for before in base.matches:
            after = next((entry for entry in result.matches if entry.metric == before.metric), None)
            if after is not None and before.metric == LEAD.get(len(base.matches)):
                found.append(ResultInterval(result, drop_interval(before, after)))
    return tuple(found)


def _examples(
    dossier: Dossier, main: Subject, extras: Extras, progress: Callable[[], object] | None
) -> tuple[tuple[Example, ...], str]:
    """The pictures, or why there are none: a report is worth having without them."""
    reference = extras.reference or (_float_file(dossier, dossier.record) if dossier.record else None)
    if main.path is None:
        return (), f"{main.file.name} is not in the run folder"
    if main.task not in ("segment", "detect"):
        return (), "the network finds no objects"
    if reference is None:
        return (), "the float model is not in the run folder: pass --reference"
    if extras.images is None or not extras.images.is_dir():
        return (), NO_IMAGES
    paths = [path for path in images_in(extras.images) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    try:
        return examples(reference, main.path, paths, progress), "the networks find nothing in the first images"
    except EdgeAIError as error:
        return (), error.message


def _float_file(dossier: Dossier, record: RunRecord) -> Path | None:
    return dossier.file(record.results[0].model)
