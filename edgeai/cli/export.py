"""`edgeai export`: a checkpoint as ONNX with a head layout of choice."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import ExportedModel, Layout, Upsample
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.listener import TerminalListener
from edgeai.cli.options import PathParam, imgsz_option, json_option, layout_option, model_path
from edgeai.cli.render import emit, facts
from edgeai.errors import InputError
from edgeai.graph.contract import ST_GAIN
from edgeai.pipeline.stages import Stages, deliver
from edgeai.project import load_project
from edgeai.quantize.ranges.calibration import open_calibration


@click.command(short_help="Export a model to ONNX with a chosen head layout.")
@click.argument("model", type=PathParam, required=False)
@click.option("-o", "--output", type=PathParam, metavar="OUT.onnx", help="Where to write the ONNX file.")
@imgsz_option
@layout_option
@click.option(
    "--calibration", type=PathParam, metavar="DIR|LIST", help="Images that balance the concat layout (see the docs)."
)
@click.option(
    "--upsample", type=click.Choice(["resize", "transposed"]), default="resize", show_default=True,
    help="transposed: by a convolution with fixed weights, which the NPU of an N6 runs.",
)  # fmt: skip
@head_options
@click.option("--part", is_flag=True, help="Of an ONNX file, only the part that an STM32 can run.")
@json_option
def command(
    model: Path | None,
    output: Path | None,
    imgsz: int | None,
    layout: Layout | None,
    calibration: Path | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    upsample: Upsample,
    head: str | None,
    boxes: str | None,
    input_range: str | None,
    part: bool,
    as_json: bool,
) -> None:
    """Export a checkpoint to ONNX: batch 1, fixed size, every output checked against PyTorch.

    \b
    edgeai export best.pt -o best.onnx --imgsz 256 --layout split
    edgeai export faster_rcnn.onnx --part -o backbone.onnx --imgsz 320
    """
    project = load_project()
    settings = project.settings
    source = model_path(project, model)
    chosen = layout or settings.model.layout
    size = imgsz or settings.model.imgsz
    stages = Stages(project.cache, TerminalListener())
    if source.suffix.lower() == ".onnx":
        if upsample != "resize":
            raise InputError("an ONNX file upsamples as it does", "pass the checkpoint, or no --upsample")
        path, exported = stages.imported_onnx(source, asked_of(head, boxes, input_range, mean, std, imgsz), part)
        target = output or Path(f"{source.stem}_static.onnx")
        deliver(path, target)
        emit(exported, describe(exported, target), as_json)
        return
    balance = open_calibration(calibration, settings.calibration.limit) if calibration is not None else None
    path, exported = stages.exported(source, chosen, size, balance, upsample=upsample, mask_gain=ST_GAIN)
    target = output or Path(f"{source.stem}_{size}_{chosen}.onnx")
    deliver(path, target)
    emit(exported, describe(exported, target), as_json)


def describe(exported: ExportedModel, target: Path) -> str:
    contract = exported.contract
    cosine = min((parity.cosine for parity in exported.parity), default=1.0)
    difference = max((parity.max_abs for parity in exported.parity), default=0.0)
    return facts(
        [
            ("file", f"{target} ({exported.file.bytes / 1e6:.1f} MB)"),
            ("network", f"{contract.spec.name}, {contract.spec.nc} classes"),
            ("layout", f"{contract.layout}, {len(contract.roles)} outputs, {contract.imgsz} px"),
            *([("coefficients", f"divided by {contract.coef_divisor:g}")] if contract.coef_divisor != 1 else []),
            *([("prototypes", f"times {contract.proto_factor:g}")] if contract.proto_factor != 1 else []),
            ("parity", f"cosine ≥ {cosine:.6f}, largest difference {difference:.1e}"),
            ("licence", contract.spec.licence),
        ]
    )
