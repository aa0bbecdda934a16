"""`edgeai postprocess`: the C code that reads a model's outputs on a device."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts.postprocess import PostprocessSources
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.numbers import FINITE
from edgeai.cli.render import emit, facts, kib
from edgeai.files import existing_file


@click.command(short_help="Write the C post-processing of a model.")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.tflite")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write.")
@click.option("--conf", type=FINITE, default=0.25, show_default=True, help="Lowest score that counts, by default.")
@click.option("--iou", type=FINITE, default=0.7, show_default=True, help="NMS threshold, per class, by default.")
@click.option("--max-det", type=int, default=100, show_default=True, help="Detections there is memory for.")
@click.option("--max-candidates", type=int, default=512, show_default=True, help="Scores there is memory for.")
@head_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: Path,
    output: Path,
    conf: float,
    iou: float,
    max_det: int,
    max_candidates: int,
    head: str | None,
    boxes: str | None,
    input_range: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    as_json: bool,
) -> None:
    """Write C sources that turn the int8 outputs of MODEL into boxes, classes and masks on the device.

    No heap, no libm, bounded work; the thresholds can still be changed when it runs. Add the .c files to the
    application's build and read edgeai_postprocess.h.

    \b
    edgeai postprocess model.tflite -o Src/postprocess
    edgeai postprocess model.tflite -o Src/postprocess \\
      --max-det 20 --max-candidates 200
    """
    existing_file(model, "a .tflite file")
    from edgeai.firmware.postprocess import write_postprocess
    from edgeai.firmware.postprocess_text import Limits

    asked = asked_of(head, boxes, input_range, mean, std)
    made = write_postprocess(model, output, Limits(conf, iou, max_det, max_candidates), asked)
    emit(made, render(made, output), as_json)


def render(made: PostprocessSources, folder: Path) -> str:
    ram = made.workspace_bytes + made.result_bytes + made.mask_bytes
    names = [file.name for file in made.files]
    parts = f"candidates {kib(made.workspace_bytes)} + detections {kib(made.result_bytes)}"
    return facts(
        [
            ("folder", str(folder)),
            ("sources", ", ".join(names[:3])),
            ("this model", ", ".join(names[3:])),
            ("layout", made.layout),
            ("thresholds", f"score {made.confidence:g}, NMS IoU {made.nms_iou:g} per class"),
            ("limits", f"{made.max_candidates} candidates, {made.max_detections} detections"),
            ("RAM", f"{kib(ram)} KiB ({parts} + mask {kib(made.mask_bytes)})"),
            ("tables", f"{kib(made.table_bytes)} KiB of constants"),
        ]
    )
