"""`edgeai run`: from checkpoint to verdict, ending in one table."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import click

from edgeai.artifacts import Granularity, Layout, RunRecord, to_json
from edgeai.cli.again import line
from edgeai.cli.listener import TerminalListener
from edgeai.cli.numbers import FINITE
from edgeai.cli.options import (
    PathParam,
    calibration_set,
    evaluation_set,
    json_option,
    model_path,
    open_evaluation,
    overlap_option,
    quantize_options,
    recipe,
    skip_bad_option,
)
from edgeai.cli.run_table import as_markdown, said, text
from edgeai.files import write_text
from edgeai.pipeline.stages import Recipe, Stages, deliver
from edgeai.project import load_project


@click.command(short_help="The whole job: import, quantize, evaluate, footprint, gate.")
@click.argument("model", type=PathParam, required=False)
@quantize_options
@click.option("--all", "everything", is_flag=True, help="Every layout and granularity, not one.")
@click.option("--images", type=PathParam, metavar="DIR", help="Evaluation images.")
@click.option("--annotations", type=PathParam, metavar="JSON", help="Their annotations in COCO format.")
@click.option("--eval-limit", type=click.IntRange(min=1), metavar="N", help="Evaluate on the first N images.")
@skip_bad_option
@overlap_option
@click.option("--board", "boards", multiple=True, metavar="B", help="Board or family; may be repeated.")
@click.option("--max-drop", type=FINITE, metavar="P", help="Points of AP that int8 may lose.")
@click.option("--compare", type=PathParam, multiple=True, metavar="FILE", help="Another TFLite for the table.")
@click.option("--out", type=PathParam, metavar="DIR", help="The run folder.  [default: runs/MODEL]")
@click.option("--markdown", type=PathParam, metavar="OUT.md", help="Write the table as Markdown, too.")
@json_option
def command(
    model: Path | None,
    granularity: Granularity | None,
    imgsz: int | None,
    layout: Layout | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    input_range: str | None,
    head: str | None,
    boxes: str | None,
    calibration: Path | None,
    limit: int | None,
    seed: int | None,
    input_type: str | None,
    output_type: str | None,
    everything: bool,
    images: Path | None,
    annotations: Path | None,
    eval_limit: int | None,
    skip_bad: bool,
    allow_overlap: bool,
    boards: tuple[str, ...],
    max_drop: float | None,
    compare: tuple[Path, ...],
    out: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Import, export, quantise, evaluate, footprint and gate in one go.

    Each board gets the file that suits it: weights per channel, or per tensor for
    an STM32MP2; --per-channel or --per-tensor makes one file for all of them.

    \b
    edgeai run best.pt --calibration photos/ \\
      --images val/images --annotations val/instances.json
    edgeai run          with an edgeai.toml

    Exit codes: 0 passed, 3 does not fit, 4 lost too much accuracy.
    """
    from edgeai.board import load_board
    from edgeai.gate.policy import DROP_ALONE, rule_of
    from edgeai.pipeline.run import Job, Limits, jobs_of, run

    project = load_project()
    settings = project.settings
    source = model_path(project, model)
    one = recipe(
        project, source, granularity, imgsz, layout, input_type, output_type, mean, std, input_range, head, boxes
    )
    photos = calibration_set(project, calibration, limit, seed)
    dataset = open_evaluation(project, images, annotations, eval_limit, skip_bad)
    targets = [load_board(name) for name in boards or settings.boards.targets]
    gate = settings.gate
    # an interval costs seconds for each file: only where it decides; `edgeai gate` shows it of any two results
    rule = rule_of(gate.confidence, gate.strict) if gate.confidence or gate.strict else DROP_ALONE
    limits = Limits(gate.max_drop if max_drop is None else max_drop, gate.metrics, rule)
    stages = Stages(project.cache, TerminalListener())
    # the project file always names a granularity: it is meant for its one board, not for boards that differ
    fixed = granularity is not None or (project.found and len(targets) == 1)
    jobs = [Job(each, tuple(targets)) for each in _variants(one)] if everything else jobs_of(one, targets, fixed)
    overlap = allow_overlap or settings.evaluation.allow_overlap
    again = _again(source, one, fixed and not everything, [
        ("--all", everything),
        ("--calibration", calibration or project.path(settings.calibration.images)),
        ("--limit", limit or settings.calibration.limit), ("--seed", photos.set.seed),
        *zip(("--images", "--annotations"), evaluation_set(project, images, annotations), strict=True),
        ("--eval-limit", eval_limit or settings.evaluation.limit or None),
        ("--skip-bad", skip_bad or settings.evaluation.skip_bad), ("--allow-overlap", overlap),
        *(("--board", board.name) for board in targets), ("--max-drop", f"{limits.max_drop:g}"),
        *(("--compare", path) for path in compare), ("--out", out),
    ])  # fmt: skip
    finished = run(stages, source, jobs, photos, dataset, limits, compare, overlap, again)
    folder = out or project.runs / source.stem
    for path in (*finished.files, finished.reference):
        deliver(path, folder / path.name)
    _write(finished.record, folder)
    if markdown is not None:
        write_text(markdown, as_markdown(finished.record))
    click.echo(to_json(finished.record) if as_json else text(finished.record, folder), nl=not as_json)
    if as_json:
        click.echo("\n".join(said(finished.record)), err=True)
    return exit_code(finished.record)


def _again(source: Path, one: Recipe, fixed: bool, more: list[tuple[str, object]]) -> str:
    """The line of shell that makes this run again, with what came from the project file written out."""
    given = (("--mean", one.mean), ("--std", one.std))
    triples = [(name, ",".join(map(repr, values))) for name, values in given]
    return line("run", [source], [
        ("--imgsz", one.imgsz or None), ("--layout", one.layout), (f"--{one.granularity}", fixed),
        ("--input-type", one.input_type), ("--output-type", one.output_type), *triples,
        ("--head", one.head), ("--boxes", one.boxes), *more,
    ])  # fmt: skip


def _variants(one: Recipe) -> list[Recipe]:
    layouts: tuple[Layout, ...] = ("raw", "split", "concat")
    grains: tuple[Granularity, ...] = ("per-channel", "per-tensor")
    return [replace(one, granularity=grain, layout=layout) for layout, grain in itertools.product(layouts, grains)]


def exit_code(record: RunRecord) -> int:
    """3 where one of our files does not fit, 4 where one lost too much, 0 otherwise."""
    ours = {made.file.sha256 for made in record.quantized}
    if any(not need.fits for need in record.footprints if need.model.sha256 in ours):
        return 3
    return 0 if all(verdict.passed for verdict in record.verdicts) else 4


def _write(record: RunRecord, folder: Path) -> None:
    """The record, and every artifact of it in a file of its own for `gate` and others."""
    for result in record.results:
        write_text(folder / f"{Path(result.model.name).stem}.eval.json", to_json(result))
    for entry in record.on_boards:
        write_text(folder / f"{Path(entry.result.model.name).stem}.{entry.board}.eval.json", to_json(entry.result))
    for need in record.footprints:
        write_text(folder / f"{Path(need.model.name).stem}.{need.board}.footprint.json", to_json(need))
    write_text(folder / "run.json", to_json(record))
