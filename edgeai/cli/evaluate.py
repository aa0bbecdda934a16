"""`edgeai evaluate`: box and mask AP of one or several models on a COCO-format set."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgeai.artifacts import EvalResult, to_json
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.numbers import FINITE
from edgeai.cli.options import (
    kernels_for,
    kernels_option,
    model_path,
    open_evaluation,
    project_file,
    skip_bad_option,
)
from edgeai.cli.progress import Progress
from edgeai.cli.render import facts, shorten, table, width
from edgeai.errors import InputError
from edgeai.evaluate.remarks import remarks
from edgeai.files import existing_file, write_text
from edgeai.project import Project, load_project

if TYPE_CHECKING:
    from edgeai.evaluate.backends import Kernels, Runner
    from edgeai.evaluate.classify import ClassFolders
    from edgeai.evaluate.dataset import Dataset
    from edgeai.evaluate.postprocess import Thresholds
    from edgeai.recognise import Asked
    from edgeai.sweep.engine import Engine
    from edgeai.sweep.shards import Opening

Protocol = Literal["coco", "ultralytics"]
COLUMNS = 80
SHORTEST_NAME = 12
CHECKPOINTS = frozenset({".pt", ".pth", ".safetensors"})  # files that do not fix their input size
STRIDE = 32  # checkpoints take multiples of it
CLASSIFIER_FIGURES = ("top1", "top5")
FIGURES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


@click.command("evaluate")
@click.argument("models", nargs=-1, metavar="MODEL...", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images.")
@click.option(
    "--annotations", type=click.Path(path_type=Path),
    help="COCO instances.json of the images; or a YOLO data.yaml, which names its own (val).",
)  # fmt: skip
@click.option("--imgsz", type=click.IntRange(min=1), help="Input size, for models that do not fix it.")
@click.option("--classes", metavar="A,B,...", default="", help="Class names, for models that carry none.")
@head_options
@click.option("--limit", type=click.IntRange(min=1), help="Use the first N images, by id.")
@skip_bad_option
@kernels_option
@click.option("--threads", type=click.IntRange(min=1), default=min(4, os.cpu_count() or 1), show_default=True)
@click.option("--conf", type=FINITE, default=0.001, show_default=True, help="Lowest score that counts.")
@click.option("--iou", type=FINITE, default=0.7, show_default=True, help="NMS threshold, per class.")
@click.option("--as-on", "as_on_board", metavar="BOARD", help="Evaluate what this board would run, simulated.")
@click.option("--on", "on_board", metavar="BOARD", help="Run every image on this board; a stopped run goes on.")
@click.option("--port", default="", metavar="PORT[:BAUD]", help="The serial port of --on.  [default: found]")
@click.option("--max-det", type=int, default=300, show_default=True, help="Detections kept per image.")
@click.option(
    "--protocol", type=click.Choice(["coco", "ultralytics"]), default="coco", show_default=True,
    help="Whose AP: pycocotools', or as `yolo val` shows it.",
)  # fmt: skip
@click.option("--tta", is_flag=True, help="Show every image at two scales, mirrored and not, and merge what is found.")
@click.option("--shards", type=click.IntRange(min=1), metavar="N", help="Split the images into N pieces; same figures.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for the pieces.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", default="", help="A running Dask scheduler, instead.")
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
    head: str | None,
    boxes: str | None,
    input_range: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    limit: int | None,
    skip_bad: bool,
    kernels: Kernels | None,
    threads: int,
    conf: float,
    iou: float,
    as_on_board: str | None,
    on_board: str | None,
    port: str,
    max_det: int,
    protocol: Protocol,
    tta: bool,
    shards: int | None,
    workers: int,
    scheduler: str,
    out: Path | None,
) -> None:
    """Measure box and mask AP of MODELs (.tflite, .onnx, .pt, .safetensors) on a COCO-format set.

    Classifiers are measured on a folder with one folder of images per class, without annotations.

    \b
    edgeai evaluate model.tflite --images val/images \\
      --annotations val/instances.json
    edgeai evaluate classifier.onnx --images flowers/

    The set may come from an edgeai.toml:

    \b
    edgeai evaluate best.pt int8.tflite --imgsz 256 --json results/
    edgeai evaluate model.tflite --shards 8 --workers 2
    edgeai evaluate int8.tflite --on emulated-n6 --limit 5
    edgeai evaluate int8.tflite --as-on STM32MP257F-EV1
    edgeai evaluate best.pt --imgsz 640 --protocol ultralytics
    """
    from edgeai.evaluate.backends import open_runner
    from edgeai.evaluate.postprocess import Thresholds
    from edgeai.sweep.engine import open_engine
    from edgeai.sweep.shards import Opening

    _refuse_mixed(on_board, as_on_board, shards, workers, scheduler)
    if protocol == "ultralytics":
        _refuse_beside_ultralytics({"--tta": tta, "--shards": shards, "--on": on_board, "--as-on": as_on_board})
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    asked = asked_of(head, boxes, input_range, mean, std, names=names)
    project = load_project()
    models = tuple(model_path(project, model) for model in models) or (model_path(project, None), project_file(project))
    kernels = kernels_for(models, kernels, on_board)
    thresholds = Thresholds(conf, iou, max_det)
    targets = _targets(models, out)
    dataset = _dataset(project, images, annotations, limit, skip_bad)
    sizes = _sizes(models, imgsz, project)
    results = []
    with open_engine(workers, scheduler) as engine:
        for model, target, size in zip(models, targets, sizes, strict=True):
            opener = partial(open_runner, kernels=kernels, threads=threads, imgsz=size, names=names, asked=asked)
            if on_board is not None:
                opener = partial(_open_on_board, on_board, project.cache.root / "on-board", port, asked)
            if as_on_board is not None:
                result = _evaluate_as_on(as_on_board, model, opener, dataset, thresholds, tta)
            elif shards is not None:
                opening = Opening(model, kernels, max(1, threads // workers), size, names, asked)
                result = _evaluate_shards(opening, dataset, thresholds, tta, shards, engine)
            else:
                result = _evaluate_one(model, opener, dataset, thresholds, tta, protocol)
            results.append(result)
            if target is not None:
                write_text(target, to_json(result))
    if out == Path("-"):
        click.echo(to_json(results[0]), nl=False)
        for name, text in remarks(results[0]):
            click.echo(f"{name}: {text}", err=True)
    else:
        click.echo(render(results))


def _refuse_mixed(
    on_board: str | None, as_on_board: str | None, shards: int | None, workers: int, scheduler: str
) -> None:
    """Options that contradict each other."""
    if on_board is not None and as_on_board is not None:
        raise InputError("--on and --as-on exclude each other", "--on runs on the board, --as-on on this computer")
    if shards is not None and (on_board is not None or as_on_board is not None):
        option = "--on" if on_board is not None else "--as-on"
        raise InputError(f"--shards and {option} exclude each other", "leave out --shards")
    if shards is None and (workers > 1 or scheduler):
        raise InputError("--workers and --scheduler are for pieces, and --shards is missing", "add --shards 8")


def _refuse_beside_ultralytics(options: dict[str, object]) -> None:
    """What `yolo val` does not do has no figure of its to be held against."""
    given = next((name for name, value in options.items() if value), None)
    if given:
        raise InputError(f"--protocol ultralytics and {given} exclude each other", f"leave out {given}, or --protocol")


def render(results: list[EvalResult]) -> str:
    """The table of the results, and the protocol they share, within 80 columns."""
    classify = any(metric.name == "top1" for metric in results[0].metrics)
    figures = CLASSIFIER_FIGURES if classify else FIGURES
    shown_as = ["top-1", "top-5"] if classify else ["box AP", "AP50", "mask AP", "AP50"]
    sizes = sorted({result.protocol.imgsz for result in results})
    header = ["model", "backend", "weights", "layout", *(["px"] if len(sizes) > 1 else []), *shown_as]
    rows = [_row(result, figures, len(sizes) > 1) for result in results]
    others = sum(max(width(line[i]) for line in [header, *rows]) + 2 for i in range(1, len(header)))
    room = max(SHORTEST_NAME, COLUMNS - others)
    names = [shorten(row[0], room) for row in rows]
    if len(set(names)) < len({row[0] for row in rows}):  # two rows that nothing tells apart are worse than a wide table
        names = [row[0] for row in rows]
    shown = [[name, *row[1:]] for name, row in zip(names, rows, strict=True)]
    protocol = results[0].protocol
    digest = protocol.annotations_sha256[:12]
    limits = f"conf {protocol.confidence:g}, IoU {protocol.nms_iou:g} per class, at most {protocol.max_detections}"
    views = [text for text in dict.fromkeys(r.protocol.augmentation for r in results) if text != "none"]
    lines = [
        ("data", f"{protocol.dataset}, {protocol.num_images} images, annotations {digest}"),
        ("input", f"{', '.join(map(str, sizes))} px, {'' if classify else 'letterbox '}{protocol.letterbox}"),
    ]
    if not classify:
        lines += [("NMS", limits), ("AP", f"IoU 0.50:0.95, percent points, {protocol.metric_tool}")]
    lines += [("as on", note) for note in dict.fromkeys(_as_on_notes(results))]
    lines += [("views", text) for text in views]
    lines += list(dict.fromkeys(line for result in results for line in remarks(result)))
    if len(sizes) > 1:
        free = any(Path(result.model.name).suffix.lower() in CHECKPOINTS for result in results)
        advice = "pass --imgsz" if free else "pass files of one size"
        lines.append(("WARNING", f"rows of {', '.join(map(str, sizes))} px do not compare: {advice}"))
    if len({result.protocol.letterbox for result in results}) > 1:
        lines.append(("WARNING", "some rows saw rectangles, others squares: they do not compare"))
    return f"{table(header, shown, right=range(4, len(header)))}\n\n{facts(lines)}"


def _as_on_notes(results: list[EvalResult]) -> list[str]:
    return [fact.value for result in results for fact in result.provenance.options if fact.name == "as_on"]


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


def _sizes(models: tuple[Path, ...], imgsz: int | None, project: Project) -> list[int | None]:
    """The input size to ask of every model; None where it is the file's own.

    Accuracies stand side by side for one size only: a checkpoint beside a file of a fixed size is measured at that.
    """
    usual = project.settings.model.imgsz if project.found else None
    own = [usual if model.suffix.lower() in CHECKPOINTS else None for model in models]
    if imgsz is not None or len(models) < 2:
        return [imgsz or size for size in own]
    fixed = [_fixed_size(model) for model in models]
    sizes = {size for size in fixed if size is not None}
    one = sizes.pop() if len(sizes) == 1 and not max(sizes) % STRIDE else None
    return [None if have is not None else one or size for have, size in zip(fixed, own, strict=True)]


def _fixed_size(model: Path) -> int | None:
    """The input size that a file has; None where it takes any."""
    from edgeai.graph import load_graph
    from edgeai.graph.contract import input_size

    if model.suffix.lower() in CHECKPOINTS:
        return None
    return input_size(load_graph(existing_file(model, "a .tflite, .onnx, .pt or .safetensors file")))


def _dataset(
    project: Project, images: Path | None, annotations: Path | None, limit: int | None, skip_bad: bool
) -> Dataset | ClassFolders:
    """What to evaluate on: images with annotations, or the folders of a classifier."""
    from edgeai.evaluate.classify import is_class_folders

    count = limit or project.settings.evaluation.limit or None
    if images is not None and annotations is None and not project.settings.evaluation.annotations:
        return _class_folders(images, count, skip_bad)
    try:
        return open_evaluation(project, images, annotations, limit, skip_bad)
    except InputError:
        # the project's annotations are of its own images, which these need not be
        if images is None or annotations is not None or not is_class_folders(images):
            raise
        return _class_folders(images, count, skip_bad)


def _class_folders(images: Path, limit: int | None, skip_bad: bool) -> ClassFolders:
    """Images without annotations: the folders of a classifier."""
    from edgeai.evaluate.classify import read_class_folders

    try:
        return read_class_folders(images, limit, skip_bad)
    except InputError as error:
        if "--skip-bad" in error.hint:  # folders of a classifier they are
            raise
        raise InputError(f"--annotations is missing, and {error.message}", "pass instances.json") from None


def _evaluate_one(
    model: Path,
    opener: Callable[[Path], Runner],
    dataset: Dataset | ClassFolders,
    thresholds: Thresholds,
    tta: bool,
    protocol: Protocol = "coco",
) -> EvalResult:
    from edgeai.evaluate.classify import ClassFolders, evaluate_classes
    from edgeai.evaluate.coco import evaluate
    from edgeai.evaluate.tta import VIEWS
    from edgeai.evaluate.yolo_protocol import evaluate_as_ultralytics

    with (
        opener(model) as runner,
        Progress(f"evaluate {model.name}", len(dataset.images)) as progress,
    ):
        if isinstance(dataset, ClassFolders):
            if tta:
                raise InputError("--tta is for detection and segmentation networks", "leave it out for a classifier")
            if protocol == "ultralytics":
                what = "--protocol ultralytics is for detection and segmentation networks"
                raise InputError(what, "leave it out for a classifier")
            return evaluate_classes(runner, dataset, progress.advance)
        if protocol == "ultralytics":
            return evaluate_as_ultralytics(runner, dataset, thresholds, progress.advance)
        return evaluate(
            runner,
            dataset,
            conf=thresholds.conf,
            iou=thresholds.iou,
            max_det=thresholds.max_det,
            progress=progress.advance,
            views=VIEWS if tta else (),
        )


def _evaluate_shards(
    opening: Opening, dataset: Dataset | ClassFolders, thresholds: Thresholds, tta: bool, shards: int, engine: Engine
) -> EvalResult:
    from edgeai.evaluate.classify import ClassFolders
    from edgeai.evaluate.tta import VIEWS
    from edgeai.sweep.shards import evaluate_shards

    if isinstance(dataset, ClassFolders):
        raise InputError("--shards is for detection and segmentation networks", "leave it out for a classifier")
    with Progress(f"evaluate {opening.model.name}") as progress:
        return evaluate_shards(opening, dataset, thresholds, shards, engine, progress.report, VIEWS if tta else ())


def _open_on_board(board: str, store: Path, port: str, asked: Asked, model: Path) -> Runner:
    """The board as a runner; what it has answered is kept in `store`."""
    from edgeai.board import load_board
    from edgeai.device.runner import DeviceRunner
    from edgeai.evaluate.backends import with_names

    runner = DeviceRunner(model, load_board(board), store, port, asked=asked)
    return with_names(runner, asked.names, model)


def _evaluate_as_on(
    board: str,
    model: Path,
    opener: Callable[..., Runner],
    dataset: Dataset | ClassFolders,
    thresholds: Thresholds,
    tta: bool,
) -> EvalResult:
    """The accuracy of a TFLite file as a board's compiler changes it; float networks are measured as they are."""
    from edgeai.board import load_board
    from edgeai.quantize.requantize import as_on, as_there, converts

    profile = load_board(board)
    if model.suffix.lower() != ".tflite":
        with opener(model) as runner:
            if converts(profile, runner.granularity):
                what = f"what {profile.name} makes of the per-channel weights of {model.name} is not known"
                raise InputError(what, "pass the TFLite file, or quantise with --per-tensor")
        return _evaluate_one(model, opener, dataset, thresholds, tta)
    with tempfile.TemporaryDirectory() as folder:
        run = as_on(existing_file(model, "a .tflite file"), profile, Path(folder))
        result = _evaluate_one(run.path, opener, dataset, thresholds, tta)
    return as_there(result, model, profile, run.note)


def _row(result: EvalResult, figures: tuple[str, ...], sized: bool) -> list[str]:
    values = {entry.name: f"{entry.value:.2f}" for entry in result.metrics}
    runtime, _, kernels = result.backend.partition("/")
    weights = result.granularity.removeprefix("per-")
    return [
        result.model.name,
        kernels if runtime == "litert" else runtime if kernels in ("cpu", "cuda") else result.backend,
        result.precision if result.granularity == "float" else f"{result.precision}/{weights}",
        result.layout,
        *([str(result.protocol.imgsz)] if sized else []),
        *[values.get(name, "-") for name in figures],
    ]
