"""`edgeai run`: from checkpoint to verdict, ending in one table."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import click

from edgeai.artifacts import EvalResult, Footprint, Granularity, Layout, RunRecord, to_json
from edgeai.cli.listener import TerminalListener
from edgeai.cli.options import (
    PathParam,
    calibration_set,
    json_option,
    model_path,
    open_evaluation,
    overlap_option,
    quantize_options,
    recipe,
    skip_bad_option,
)
from edgeai.cli.render import kib, markdown_table, shorten, table, width
from edgeai.files import write_text
from edgeai.project import load_project
from edgeai.stages import Recipe, Stages, deliver

ACCURACY = ("model", "precision", "granularity", "layout", "box AP", "mask AP", "drop")
MEMORY = ("file KiB", "weights KiB", "peak RAM KiB", "ms", "fits")
NARROW_NAME = 16  # columns of the name in a terminal that does not hold the whole table


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
@click.option("--max-drop", type=float, metavar="P", help="Points of AP that int8 may lose.")
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

    \b
    edgeai run best.pt --calibration photos/ \\
      --images val/images --annotations val/instances.json
    edgeai run          with an edgeai.toml

    Exit codes: 0 passed, 3 does not fit, 4 lost too much accuracy.
    """
    from edgeai.board import load_board
    from edgeai.gate.policy import DROP_ALONE, rule_of
    from edgeai.run import Limits, run

    project = load_project()
    settings = project.settings
    source = model_path(project, model)
    one = recipe(project, source, granularity, imgsz, layout, input_type, output_type, mean, std)
    photos = calibration_set(project, calibration, limit, seed)
    dataset = open_evaluation(project, images, annotations, eval_limit, skip_bad)
    targets = [load_board(name) for name in boards or settings.boards.targets]
    gate = settings.gate
    # an interval costs seconds for each file: only where it decides; `edgeai gate` shows it of any two results
    rule = rule_of(gate.confidence, gate.strict) if gate.confidence or gate.strict else DROP_ALONE
    limits = Limits(gate.max_drop if max_drop is None else max_drop, gate.metrics, rule)
    stages = Stages(project.cache, TerminalListener())
    recipes = _variants(one) if everything else [one]
    overlap = allow_overlap or settings.evaluation.allow_overlap
    finished = run(stages, source, recipes, photos, dataset, targets, limits, compare, overlap)
    folder = out or project.runs / source.stem
    for path in (*finished.files, finished.reference):
        deliver(path, folder / path.name)
    _write(finished.record, folder)
    if markdown is not None:
        write_text(markdown, as_markdown(finished.record))
    click.echo(to_json(finished.record) if as_json else _text(finished.record, folder), nl=not as_json)
    return exit_code(finished.record)


def _variants(one: Recipe) -> list[Recipe]:
    layouts: tuple[Layout, ...] = ("raw", "split", "concat")
    grains: tuple[Granularity, ...] = ("per-channel", "per-tensor")
    return [
        replace(one, granularity=grain, layout=layout)
        for layout, grain in itertools.product(layouts, grains)
    ]


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
    for need in record.footprints:
        write_text(folder / f"{Path(need.model.name).stem}.{need.board}.footprint.json", to_json(need))
    write_text(folder / "run.json", to_json(record))


def rows(record: RunRecord) -> list[tuple[str, ...]]:
    """The closing table, float model first: the columns of ACCURACY, then those of MEMORY."""
    baseline = record.results[0]
    needs: dict[str, list[Footprint]] = {}
    for need in record.footprints:
        needs.setdefault(need.model.sha256, []).append(need)
    found: list[tuple[str, ...]] = []
    for result in record.results:
        footprint = needs.get(result.model.sha256, [])
        found.append((*_accuracy(result, baseline, record), *_memory(result, footprint)))
    return found


def _accuracy(result: EvalResult, baseline: EvalResult, record: RunRecord) -> tuple[str, ...]:
    float_model = result is baseline
    ours = float_model or result.model.sha256 in {made.file.sha256 for made in record.quantized}
    return (
        Path(record.model.name).stem if ours else Path(result.model.name).stem,
        "fp32" if float_model else result.precision,
        "–" if float_model else result.granularity,
        result.layout,
        f"{result.metric('box_ap'):.1f}",
        _mask(result),
        "" if float_model else _drop(baseline.metric("box_ap") - result.metric("box_ap"), baseline, result),
    )


def _memory(result: EvalResult, footprint: list[Footprint]) -> tuple[str, ...]:
    if not footprint:
        return ("", "", "", "", "")
    return (
        f"{result.model.bytes / 1024:.0f}",
        kib(footprint[0].weights_bytes),
        kib(footprint[0].activations_bytes),
        f"{latency.ms.point:.1f}" if (latency := footprint[0].latency) else "–",
        ", ".join(f"{need.board} {'yes' if need.fits else 'NO'}" for need in footprint),
    )


def _mask(result: EvalResult) -> str:
    return next((f"{m.value:.1f}" for m in result.metrics if m.name == "mask_ap"), "–")


def _drop(box: float, baseline: EvalResult, result: EvalResult) -> str:
    """Points lost, box / mask."""
    if any(m.name == "mask_ap" for m in result.metrics):
        return f"{box:+.1f} / {baseline.metric('mask_ap') - result.metric('mask_ap'):+.1f}"
    return f"{box:+.1f}"


def _text(record: RunRecord, folder: Path) -> str:
    protocol = record.results[0].protocol
    lines = [
        *_tables(rows(record), shutil.get_terminal_size().columns),
        "",
        f"AP on {protocol.num_images} images of {protocol.dataset} at {protocol.imgsz} px;",
        f"drop in points, box / mask; weights, RAM and ms are estimates{_first_board(record)}",
        *_verdicts(record),
        f"results: {folder}",
    ]
    return "\n".join(lines)


def _first_board(record: RunRecord) -> str:
    """Which board the columns are for, where there are several."""
    boards = list(dict.fromkeys(need.board for need in record.footprints))
    return f" for {boards[0]}" if len(boards) > 1 else ""


def _tables(found: list[tuple[str, ...]], columns: int) -> list[str]:
    """One table where the terminal is wide enough, else accuracy and memory one above the other."""
    whole = table((*ACCURACY, *MEMORY), found, right=(4, 5, 6, 7, 8, 9, 10))
    if max(map(width, whole.splitlines())) <= columns:
        return [whole]
    names = [shorten(row[0], NARROW_NAME) for row in found]
    accuracy = [(name, *row[1 : len(ACCURACY)]) for name, row in zip(names, found, strict=True)]
    memory = [
        (name, row[2], row[3], *row[len(ACCURACY) : -1], "NO" if " NO" in row[-1] else "yes")
        for name, row in zip(names, found, strict=True)
        if row[-1]
    ]
    return [
        table(ACCURACY, accuracy, right=(4, 5, 6)),
        "",
        table(("model", "granularity", "layout", *MEMORY), memory, right=(3, 4, 5, 6)),
    ]


def _verdicts(record: RunRecord) -> list[str]:
    lines = []
    for verdict in record.verdicts:
        if not verdict.passed:
            worst = max(verdict.checks, key=lambda check: check.drop)
            lines.append(
                f"gate FAILED for {verdict.candidate}: {worst.name} lost {worst.drop:.2f}, limit {worst.limit:g}"
            )
    for need in record.footprints:
        if not need.fits:
            lines.append(f"{need.model.name} does NOT fit {need.board}: {'; '.join(need.reasons)}")
    first = record.verdicts[0]
    surely = "significantly " if first.decided_by == "significant drop" else ""
    return lines or [f"gate passed: no file lost {surely}more than {first.checks[0].limit:g} points"]


def as_markdown(record: RunRecord) -> str:
    """The closing table in Markdown."""
    return markdown_table((*ACCURACY, *MEMORY), rows(record))
