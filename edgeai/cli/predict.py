"""`edgeai predict`: pictures with what a model finds in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.artifacts import Prediction, to_json
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.numbers import FINITE
from edgeai.cli.options import PathParam, kernels_for, kernels_option, model_path
from edgeai.cli.progress import Progress
from edgeai.cli.render import facts, shorten, table
from edgeai.project import load_project

if TYPE_CHECKING:
    from edgeai.evaluate.backends import Kernels, Runner
    from edgeai.recognise import Asked

SHOWN = 40  # lines of the table
CAMERA_FRAMES = 100


@click.command(short_help="Draw what a model finds in images, a video or a camera.")
@click.argument("sources", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--model", type=PathParam, metavar="FILE", help="A .tflite, .onnx, .pt or .safetensors file.")
@click.option("--save", type=PathParam, metavar="DIR", help="Write the pictures there.")
@click.option("--conf", type=FINITE, default=0.25, show_default=True, help="Lowest score that counts.")
@click.option("--iou", type=FINITE, default=0.7, show_default=True, help="NMS threshold, per class.")
@click.option("--max-det", type=int, default=300, show_default=True, help="Detections kept per image.")
@click.option("--imgsz", type=click.IntRange(min=1), metavar="N", help="Input size, for models that do not fix it.")
@click.option("--classes", metavar="A,B,...", default="", help="Class names, for models that carry none.")
@head_options
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Frames of a video or camera.")
@click.option("--tta", is_flag=True, help="Look at several views of every image and merge them.")
@kernels_option
@click.option("--on", "on_board", metavar="BOARD", help="Run the network on this board.")
@click.option("--port", default="", metavar="PORT[:BAUD]", help="The serial port of --on.  [default: found]")
@click.option("--threads", type=click.IntRange(min=1), default=min(4, os.cpu_count() or 1), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the detections as JSON.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.json", help="Write the detections there.")
def command(
    sources: tuple[str, ...],
    model: Path | None,
    save: Path | None,
    conf: float,
    iou: float,
    max_det: int,
    imgsz: int | None,
    classes: str,
    head: str | None,
    boxes: str | None,
    input_range: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    frames: int | None,
    tta: bool,
    kernels: Kernels | None,
    on_board: str | None,
    port: str,
    threads: int,
    as_json: bool,
    output: Path | None,
) -> None:
    """Find objects in IMAGES: files, folders, videos, or `camera` (`camera:1` for the second one).

    \b
    edgeai predict photo.jpg --model model.tflite --save found/
    edgeai predict val/images --model best.pt --imgsz 320 --json
    edgeai predict street.mp4 --model model.tflite --save found/ --frames 50
    """
    from edgeai.evaluate.backends import open_runner
    from edgeai.evaluate.postprocess import Thresholds
    from edgeai.evaluate.tta import VIEWS
    from edgeai.files import write_text
    from edgeai.predict.predict import predict
    from edgeai.predict.sources import Moving, count, open_sources

    thresholds = Thresholds(conf, iou, max_det)
    opened = open_sources(sources)
    camera = any(isinstance(source, Moving) and source.path is None for source in opened)
    limit = frames or (CAMERA_FRAMES if camera else None)
    project = load_project()
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    chosen = model_path(project, model)
    asked = asked_of(head, boxes, input_range, mean, std, names=names)
    kernels = kernels_for([chosen], kernels, on_board)
    opener: Callable[[Path], Runner] = partial(
        open_runner, kernels=kernels, threads=threads, imgsz=imgsz, names=names, asked=asked
    )
    if on_board is not None:
        opener = partial(_open_on_board, on_board, project.cache.root / "on-board", port, asked)
    with (
        opener(chosen) as runner,
        Progress(f"predict {chosen.name}", sum(count(source, limit) for source in opened)) as progress,
    ):
        found = predict(
            runner,
            opened,
            thresholds=thresholds,
            views=VIEWS if tta else (),
            limit=limit,
            save=save,
            progress=progress.advance,
        )
    if output is not None:
        write_text(output, to_json(found))
    click.echo(to_json(found) if as_json else render(found, save), nl=not as_json)


def _open_on_board(board: str, store: Path, port: str, asked: Asked, model: Path) -> Runner:
    """The board as a runner; what it has answered is kept in `store`."""
    from edgeai.board import load_board
    from edgeai.device.runner import DeviceRunner
    from edgeai.evaluate.backends import with_names

    runner = DeviceRunner(model, load_board(board), store, port, asked=asked)
    return with_names(runner, asked.names, model)


def render(found: Prediction, save: Path | None) -> str:
    """One line for each picture, and a summary."""
    rows = []
    for image in found.images[:SHOWN]:
        counts = Counter(entry.category for entry in image.objects)
        what = ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.most_common()) or "nothing"
        best = f"{image.objects[0].score:.2f}" if image.objects else "-"
        name = f"{image.name} #{image.frame}" if image.frame else image.name
        rows.append((shorten(name, 28), str(len(image.objects)), best, shorten(what, 36)))
    rest = len(found.images) - len(rows)
    lines = [table(("picture", "objects", "best", "what"), rows, right=(1, 2))]
    lines += [f"... and {rest} more"] if rest > 0 else []
    summary = [
        ("model", f"{found.model.name}, {found.backend}, {found.imgsz} px"),
        ("kept", f"score over {found.confidence:g}, NMS IoU {found.nms_iou:g} per class"),
    ]
    summary += [("pictures", str(save))] if save is not None else []
    return "\n".join([*lines, "", facts(summary)])
