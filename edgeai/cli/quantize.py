"""`edgeai quantize`: an int8 TFLite file, read back and audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from edgeai.artifacts import Granularity, Layout, QuantizedModel
from edgeai.cli.listener import TerminalListener
from edgeai.cli.numbers import FINITE
from edgeai.cli.options import (
    PathParam,
    calibration_set,
    evaluation_set,
    json_option,
    model_path,
    overlap_option,
    quantize_options,
    recipe,
    skip_bad_option,
)
from edgeai.cli.render import emit, facts, kib
from edgeai.cli.search import search
from edgeai.pipeline.stages import Stages, deliver
from edgeai.project import CalibrationSection, EvaluationSection, Project, load_project
from edgeai.quantize.recipe import DEFAULT, read_recipe


@click.command(short_help="Make an int8 TFLite file and audit it.")
@click.argument("model", type=PathParam, required=False)
@quantize_options
@click.option("--recipe", "recipe_file", type=PathParam, metavar="TOML", help="How to quantise; see docs/accuracy.md.")
@click.option(
    "--format", "form", type=click.Choice(["tflite", "qdq"]), default="tflite", show_default=True,
    help="TFLite, or ONNX with QuantizeLinear and DequantizeLinear: the same codes, float input and outputs.",
)  # fmt: skip
@click.option("--search", "searching", is_flag=True, help="Try layouts and granularities; take the cheapest.")
@click.option("--max-drop", type=FINITE, default=0.5, show_default=True, help="Points of AP a search may lose.")
@click.option("--board", default="stm32n6", show_default=True, help="The board a search counts the cost on.")
@click.option("--images", type=PathParam, metavar="DIR", help="Images a search measures on.")
@click.option("--annotations", type=PathParam, metavar="JSON", help="Their annotations in COCO format.")
@skip_bad_option
@overlap_option
@click.option("-o", "--output", type=PathParam, metavar="OUT.tflite", help="Where to write the file.")
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
    recipe_file: Path | None,
    form: str,
    searching: bool,
    max_drop: float,
    board: str,
    images: Path | None,
    annotations: Path | None,
    skip_bad: bool,
    allow_overlap: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Quantise a model to int8 with calibration images, and say what the file turned out to be.

    \b
    edgeai quantize best.pt --per-channel --imgsz 256 \\
      --calibration photos/ -o best_int8.tflite
    edgeai quantize best.pt --per-tensor --layout concat --calibration photos/
    edgeai quantize best.pt --recipe recipe.toml --calibration photos/
    edgeai quantize best.pt --search --max-drop 0.5 --calibration photos/ \\
      --images val/images --annotations val/instances.json

    A search measures layouts and granularities, shows accuracy, estimated latency
    and RAM, and keeps the cheapest file within --max-drop (exit code 4 where there
    is none). Report its accuracy on images that it did not choose by.
    """
    project = load_project()
    source = model_path(project, model)
    method = read_recipe(recipe_file) if recipe_file is not None else DEFAULT
    granularity = granularity or method.granularity
    wanted = recipe(
        project, source, granularity, imgsz, layout, input_type, output_type, mean, std, input_range, head, boxes
    )
    wanted = replace(wanted, method=method)
    photos = calibration_set(project, calibration, limit, seed)
    if searching:
        folder, file = evaluation_set(project, images, annotations)
        chosen_layout, chosen_grain, _ = search(
            project, source, wanted.imgsz, board, layout, granularity, recipe_file,
            _calibration(project, calibration, limit, seed),
            EvaluationSection(
                str(folder.resolve()) if folder else "", str(file.resolve()), 0,
                skip_bad or project.settings.evaluation.skip_bad,
                allow_overlap or project.settings.evaluation.allow_overlap,
            ), max_drop,
        )  # fmt: skip
        wanted = replace(wanted, layout=chosen_layout, granularity=chosen_grain)
    stages = Stages(project.cache, TerminalListener())
    path, made, _ = stages.quantized(source, wanted, photos)
    if form == "qdq":
        path, made = stages.qdq(path, made)
    target = output or (project.runs / path.name if project.found else Path(path.name))
    deliver(path, target)
    emit(made, describe(made, target), as_json)


def _calibration(project: Project, given: Path | None, limit: int | None, seed: int | None) -> CalibrationSection:
    """The calibration set of the command line, else of the project, by its full path."""
    settings = project.settings.calibration
    source = given or project.path(settings.images)
    chosen = settings.seed if seed is None else seed
    return CalibrationSection(str(source.resolve()) if source else "", limit or settings.limit, chosen)


def describe(made: QuantizedModel, target: Path) -> str:
    """The audit of the file that was written, not the options that were asked for."""
    audit = made.audit
    steps = []
    if audit.box_step_px:
        steps.append(f"box {audit.box_step_px:.2f} px")
    if audit.score_step_percent:
        steps.append(f"score {audit.score_step_percent:.2f} %")
    rows = [
        ("file", f"{target} ({made.file.bytes:,} bytes)"),
        ("sha256", made.file.sha256),
        (
            "weights",
            f"{audit.granularity}: {audit.weights_per_channel} per-channel, {audit.weights_per_tensor} per-tensor, "
            f"{audit.weights_float} float; {kib(audit.weights_bytes + audit.bias_bytes)} KiB",
        ),
        ("layout", f"{audit.layout}, {len(audit.outputs)} outputs"),
        ("steps", ", ".join(steps) or "no decoded output in the file"),
        ("operators", f"{sum(c.count for c in audit.operators)}, {audit.float_tensors} float tensors"),
        ("calibration", f"{len(made.calibration.images)} images of {made.calibration.name}"),
        *[("note", finding) for finding in audit.findings],
    ]
    return facts(rows)
