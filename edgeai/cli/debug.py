"""`edgeai debug`: where an int8 file loses accuracy, layer by layer."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgeai.artifacts.debug import ConcatSpread, DebugReport, LayerError
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.listener import TerminalListener
from edgeai.cli.numbers import FINITE
from edgeai.cli.options import PathParam, calibration_set, json_option
from edgeai.cli.progress import Progress
from edgeai.cli.render import emit, facts, shorten, table
from edgeai.errors import InputError
from edgeai.files import file_ref, write_text
from edgeai.project import Project, load_project
from edgeai.recognise import Asked

if TYPE_CHECKING:
    from edgeai.artifacts import Contract, Layout, Upsample
    from edgeai.kernels.table import Set

IMAGES = 8
COLUMNS = 78
KIND = 14


@click.command("debug")
@click.argument("model", type=PathParam)
@click.option("--float", "reference", type=PathParam, metavar="MODEL", help="The float network: .pt, .onnx or .tflite.")
@click.option("--images", type=PathParam, metavar="DIR|LIST|MANIFEST", help="Photos.  [default: calibration images]")
@click.option("--limit", type=click.IntRange(min=1), default=IMAGES, show_default=True, help="At most N images.")
@click.option("--seed", type=int, metavar="S", help="Seed of the choice of images.")
@click.option("--threshold", type=FINITE, metavar="DB", help="Stepwise SQNR below which a layer is bad.  [default: 10]")
@click.option("--layers", type=click.IntRange(min=0), default=12, show_default=True, help="Rows of the table; 0: all.")
@head_options
@click.option("--kernels", type=click.Choice(["reference", "builtin"]),
              help="One kernel set for all operators.  [default: a right one for each]")  # fmt: skip
@click.option("--svg", type=PathParam, metavar="OUT.svg", help="Write a picture.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.json", help="Write the report as JSON.")
@json_option
def command(
    model: Path,
    reference: Path | None,
    images: Path | None,
    limit: int,
    seed: int | None,
    threshold: float | None,
    layers: int,
    head: str | None,
    boxes: str | None,
    input_range: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    kernels: Set | None,
    svg: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare every layer of an int8 TFLite with its float counterpart, and name the first bad one.

    Each layer is run alone, on float tensors quantised (stepwise), and in the network (cumulative). Without --float
    the file is compared with its own simulation: its rounded weights, activations not rounded.

    \b
    edgeai debug best_int8.tflite --float best.pt --images photos/
    edgeai debug somebody_elses_int8.tflite --images photos/ --svg layers.svg
    """
    from edgeai.quantize.debug import debug
    from edgeai.quantize.debug.blame import THRESHOLD_DB
    from edgeai.quantize.debug.picture import picture

    project = load_project()
    chosen = calibration_set(project, images, limit, seed)
    paths = chosen.paths[:limit]
    floats = _float_tflite(project, model, reference) if reference is not None else None
    with Progress("compare layers", 2 * len(paths)) as progress:
        limit_db = THRESHOLD_DB if threshold is None else threshold
        asked = asked_of(head, boxes, input_range, mean, std)
        report = debug(model, floats, paths, limit_db, progress.advance, asked, kernels)
    if reference is not None:
        report = replace(report, reference=file_ref(reference))
    if svg is not None:
        write_text(svg, picture(report))
    emit(report, render(report, layers), as_json, output)


def _float_tflite(project: Project, model: Path, reference: Path) -> Path:
    """The float TFLite of `reference`, converted the way `model` was: layout, size, upsampling, coefficient
    divisor and prototype factor, equalisation."""
    from edgeai.files import existing_file
    from edgeai.pipeline.stages import Stages

    existing_file(reference, "a float network: .pt, .safetensors, .onnx or .tflite")
    if reference.suffix.lower() == ".tflite":
        return reference
    stages, contract = Stages(project.cache, TerminalListener()), _contract(model)
    if reference.suffix.lower() == ".onnx":
        asked = Asked(mean=contract.mean, std=contract.std, imgsz=contract.imgsz)
        onnx, exported = stages.imported_onnx(reference, asked, separate=contract.layout == "split")
    else:
        onnx, exported = stages.exported(
            reference,
            cast("Layout", contract.layout),  # a checkpoint's file has one of these
            contract.imgsz,
            None,
            contract.coef_divisor,
            _upsampling(model),
            contract.proto_factor / contract.coef_divisor if contract.proto_factor != 1.0 else 0.0,
        )
    return stages.levelled_as(stages.converted(onnx, exported.contract)[0], model)


def _upsampling(model: Path) -> Upsample:
    from edgeai.graph import load_graph

    return "resize" if any(op.kind == "RESIZE_NEAREST_NEIGHBOR" for op in load_graph(model).ops) else "transposed"


def _contract(model: Path) -> Contract:
    from edgeai.recognise.know import know_file

    known = know_file(model)
    if known.refusal is not None:
        raise InputError(f"{model.name} does not say how it was made", "pass the float TFLite it was made from")
    return known.contract


# --- text ---------------------------------------------------------------------------------------


def render(report: DebugReport, rows: int) -> str:
    """The verdict, the worst layers and the concatenations, within 80 columns."""
    from edgeai.quantize.debug.picture import worst

    shown = report.layers if rows == 0 else worst(report, rows)
    reference = report.reference.name if report.reference and report.against == "float model" else report.against
    head = [
        ("file", report.model.name),
        ("against", reference),
        ("images", f"{len(report.images)}, {report.kernels} kernels"),
        ("layers", f"{len(report.layers)} compared" + _left_out(report)),
    ]
    title = "every layer" if rows == 0 else f"the {len(shown)} layers of least stepwise SQNR"
    parts = [facts(head), f"{title} (SQNR in dB; KL in nats)", _layers(shown)]
    parts += [_spread(entry) for entry in report.concats]
    parts += [_wrapped(finding) for finding in report.findings]
    return "\n\n".join([*parts, _verdict(report)])


def _left_out(report: DebugReport) -> str:
    return f", {len(report.unmatched)} without a float counterpart" if report.unmatched else ""


def _layers(layers: tuple[LayerError, ...]) -> str:
    header = ("#", "layer", "alone", "in net", "cosine", "KL", "clip %", "range %", "float range")
    body = [
        (
            str(entry.index),
            shorten(entry.kind, KIND),
            f"{entry.stepwise.sqnr_db:.1f}",
            f"{entry.cumulative.sqnr_db:.1f}",
            f"{entry.cumulative.cosine:.4f}",
            f"{entry.cumulative.kl:.2f}",
            f"{100 * entry.saturated:.1f}",
            f"{100 * entry.range_use:.0f}",
            f"{entry.minimum:.3g}..{entry.maximum:.3g}",
        )
        for entry in layers
    ]
    return table(header, body, right=(0, 2, 3, 4, 5, 6, 7))


def _spread(entry: ConcatSpread) -> str:
    lines = [f"CONCATENATION #{entry.index} joins ranges that differ {entry.ratio:g} times:"]
    lines += [
        f"  {one.producer:<20} {one.minimum:.3g}..{one.maximum:.3g}, {one.sqnr_db:.1f} dB under the shared scale"
        for one in entry.inputs
    ]
    return "\n".join(lines)


def _verdict(report: DebugReport) -> str:
    if report.first_bad is None:
        return f"no bad layer (limit {report.threshold_db:g} dB, each layer alone)"
    bad = report.first_bad
    return _wrapped(f"first bad layer: {bad.kind} #{bad.index} ({bad.name.partition(';')[0]}): {bad.reason}")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, COLUMNS, subsequent_indent="  ", break_long_words=False)
