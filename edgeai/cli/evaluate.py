"""`edgeai evaluate`: box and mask AP of one or several models on a COCO-format set."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.artifacts import EvalResult, to_json
from edgeai.cli.options import evaluation_set, model_path, project_file
from edgeai.cli.render import facts, shorten, table, width
from edgeai.errors import InputError
from edgeai.files import write_text
from edgeai.progress import Progress
from edgeai.project import load_project

if TYPE_CHECKING:
    from edgeai.evaluate.backends import Kernels, Runner
    from edgeai.evaluate.classify import ClassFolders
    from edgeai.evaluate.dataset import Dataset
    from edgeai.evaluate.postprocess import Thresholds

COLUMNS = 80
SHORTEST_NAME = 12
CHECKPOINTS = frozenset({".pt", ".pth", ".safetensors"})  # files that do not fix their input size
CLASSIFIER_FIGURES = ("top1", "top5")
FIGURES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


@click.command("evaluate")
@click.argument("models", nargs=-1, metavar="MODEL...", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images.")
@click.option("--annotations", type=click.Path(path_type=Path), help="COCO instances.json of the images.")
@click.option("--imgsz", type=click.IntRange(min=1), help="Input size, for models that do not fix it.")
@click.option("--classes", metavar="A,B,...", default="", help="Class names, for models that carry none.")
@click.option("--limit", type=click.IntRange(min=1), help="Use the first N images, by id.")
@click.option(
    "--kernels", type=click.Choice(["xnnpack", "builtin", "reference"]), default="xnnpack", show_default=True,
    help="Kernel set for TFLite files; reference is slow, and the same on every machine.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=min(4, os.cpu_count() or 1), show_default=True)
@click.option("--conf", type=float, default=0.001, show_default=True, help="Lowest score that counts.")
@click.option("--iou", type=float, default=0.7, show_default=True, help="NMS threshold, per class.")
@click.option("--max-det", type=int, default=300, show_default=True, help="Detections kept per image.")
@click.option(
    "--json", "out", type=click.Path(path_type=Path, allow_dash=True), metavar="OUT",
    help="Write the result: a file, or - for stdout; a folder where there are several models.",
)  # fmt: skip
def command(
    models: tuple[Path, ...],
    images: Path | None,
    annotations: Path | None,
    imgsz: int | None,
    classes: str,
    limit: int | None,
    kernels: Kernels,
    threads: int,
    conf: float,
    iou: float,
    max_det: int,
    out: Path | None,
) -> None:
    """Measure box and mask AP of MODELs (.tflite, .onnx, .pt, .safetensors) on a COCO-format set.

    Classifiers are measured on a folder with one folder of images per class, without annotations.

    \b
    edgeai evaluate model.tflite --images val/images --annotations val/instances.json
    edgeai evaluate best.pt int8.tflite --imgsz 256 --json results/ ...
    edgeai evaluate classifier.tflite --images val/
    """
    from edgeai.evaluate.backends import open_runner
    from edgeai.evaluate.dataset import read_dataset
    from edgeai.evaluate.postprocess import Thresholds

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    project = load_project()
    models = models or (model_path(project, None), project_file(project))
    thresholds = Thresholds(conf, iou, max_det)
    targets = _targets(models, out)
    count = limit or project.settings.evaluation.limit or None
    dataset: Dataset | ClassFolders
    if images is not None and annotations is None and not project.settings.evaluation.annotations:
        dataset = _class_folders(images, count)
    else:
        dataset = read_dataset(*evaluation_set(project, images, annotations), count)
    results = []
    for model, target in zip(models, targets, strict=True):
        size = imgsz or (project.settings.model.imgsz if project.found and model.suffix in CHECKPOINTS else None)
        opener = partial(open_runner, kernels=kernels, threads=threads, imgsz=size, names=names)
        result = _evaluate_one(model, opener, dataset, thresholds)
        results.append(result)
        if target is not None:
            write_text(target, to_json(result))
    if out == Path("-"):
        click.echo(to_json(results[0]), nl=False)
    else:
        click.echo(render(results))


def render(results: list[EvalResult]) -> str:
    """The table of the results, and the protocol they share, within 80 columns."""
    classify = any(metric.name == "top1" for metric in results[0].metrics)
    figures = CLASSIFIER_FIGURES if classify else FIGURES
    shown_as = ["top-1", "top-5"] if classify else ["box AP", "AP50", "mask AP", "AP50"]
    header = ["model", "backend", "weights", "layout", *shown_as]
    rows = [_row(result, figures) for result in results]
    others = sum(max(width(line[i]) for line in [header, *rows]) + 2 for i in range(1, len(header)))
    room = max(SHORTEST_NAME, COLUMNS - others)
    shown = [[shorten(row[0], room), *row[1:]] for row in rows]
    protocol = results[0].protocol
    digest = protocol.annotations_sha256[:12]
    limits = f"conf {protocol.confidence:g}, IoU {protocol.nms_iou:g} per class, at most {protocol.max_detections}"
    sizes = sorted({result.protocol.imgsz for result in results})
    lines = [
        ("data", f"{protocol.dataset}, {protocol.num_images} images, annotations {digest}"),
        ("input", f"{', '.join(map(str, sizes))} px, {'' if classify else 'letterbox '}{protocol.letterbox}"),
    ]
    if not classify:
        lines += [("NMS", limits), ("AP", f"IoU 0.50:0.95, percent points, {protocol.metric_tool}")]
    return f"{table(header, shown, right=range(4, len(header)))}\n\n{facts(lines)}"


def _targets(models: tuple[Path, ...], out: Path | None) -> list[Path | None]:
    """The JSON file of every model."""
    if out is None or (out == Path("-") and len(models) == 1):
        return [None] * len(models)
    if len(models) == 1:
        return [out / f"{models[0].stem}.json" if out.is_dir() else out]
    if out == Path("-") or out.is_file():
        raise InputError(f"{len(models)} results do not fit into {out}", "pass a folder to --json")
    stems = [model.stem for model in models]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise InputError(f"two models are called {twice}", "evaluate them one at a time with --json")
    return [out / f"{stem}.json" for stem in stems]


def _class_folders(images: Path, limit: int | None) -> ClassFolders:
    """Images without annotations: the folders of a classifier."""
    from edgeai.evaluate.classify import read_class_folders

    try:
        return read_class_folders(images, limit)
    except InputError as error:
        raise InputError(f"--annotations is missing, and {error.message}", "pass instances.json") from None


def _evaluate_one(
    model: Path, opener: Callable[[Path], Runner], dataset: Dataset | ClassFolders, thresholds: Thresholds
) -> EvalResult:
    from edgeai.evaluate.classify import ClassFolders, evaluate_classes
    from edgeai.evaluate.coco import evaluate

    with (
        opener(model) as runner,
        Progress(f"evaluate {model.name}", len(dataset.images)) as progress,
    ):
        if isinstance(dataset, ClassFolders):
            return evaluate_classes(runner, dataset, progress.advance)
        return evaluate(
            runner,
            dataset,
            conf=thresholds.conf,
            iou=thresholds.iou,
            max_det=thresholds.max_det,
            progress=progress.advance,
        )


def _row(result: EvalResult, figures: tuple[str, ...]) -> list[str]:
    values = {entry.name: f"{entry.value:.2f}" for entry in result.metrics}
    runtime, _, kernels = result.backend.partition("/")
    weights = result.granularity.removeprefix("per-")
    return [
        result.model.name,
        kernels if runtime == "litert" else runtime,
        result.precision if result.granularity == "float" else f"{result.precision}/{weights}",
        result.layout,
        *[values.get(name, "-") for name in figures],
    ]
