"""Options that several commands share, and what a bare command takes from the project file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from edgeai.artifacts import Granularity, Layout
from edgeai.cli.heads import DECODED, TRIPLE, asked_of
from edgeai.cli.listener import TerminalListener
from edgeai.errors import InputError
from edgeai.models.bundled import bundled_model
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.project import Project, load_project
from edgeai.quantize.ptq import InputType, OutputType
from edgeai.quantize.ranges.calibration import CalibrationSource, open_calibration
from edgeai.recognise import RANGES

if TYPE_CHECKING:
    from edgeai.evaluate.backends import Kernels
    from edgeai.evaluate.dataset import Dataset
    from edgeai.report.dossier import Dossier

F = TypeVar("F", bound=Callable[..., Any])

PathParam = click.Path(path_type=Path)




imgsz_option = click.option("--imgsz", type=int, metavar="N", help="Input size in pixels, a multiple of 32.")
layout_option = click.option("--layout", type=click.Choice(["raw", "split", "concat"]), help="Head layout.")
skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Leave out unreadable pictures and objects without area, and count them."
)
kernels_option = click.option(
    "--kernels", type=click.Choice(["xnnpack", "builtin", "reference", "integer", "float"]),
    help="For TFLite: xnnpack (default where it is right), builtin or reference, which is slow and the same on every "
    "machine. For ONNX with int8 activations: integer (default), or float with every rounding that the file asks for.",
)  # fmt: skip
overlap_option = click.option("--allow-overlap", is_flag=True, help="Let calibration images be evaluation images.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def kernels_for(models: Sequence[Path], kernels: Kernels | None, board: str | None) -> Kernels | None:
    """`kernels`. Raises InputError where none of the files has such a set, or a board computes."""
    from edgeai.kernels.table import SETS

    if kernels is not None and board is not None:
        raise InputError("--kernels and --on exclude each other", "--kernels are those of this computer")
    suffix = ".tflite" if kernels in SETS else ".onnx"
    if kernels is not None and not any(model.suffix.lower() == suffix for model in models):
        raise InputError(f"--kernels {kernels} is for {suffix} files", "leave it out")
    return kernels


def quantize_options(function: F) -> F:
    """The options that say what to quantise to and with which images."""
    for option in reversed(
        [
            click.option("--per-channel", "granularity", flag_value="per-channel", help="One weight scale a channel."),
            click.option("--per-tensor", "granularity", flag_value="per-tensor", help="One weight scale a tensor."),
            imgsz_option,
            layout_option,
            click.option("--mean", type=TRIPLE, metavar="R,G,B", help="Mean of RGB / 255 an ONNX file expects."),
            click.option("--std", type=TRIPLE, metavar="R,G,B", help="Deviation of RGB / 255 an ONNX file expects."),
            click.option("--input-range", type=click.Choice(list(RANGES)), help="What an ONNX file takes pixels in."),
            click.option("--head", type=click.Choice(DECODED), metavar="NAME", help="What an ONNX file gives."),
            click.option("--boxes", type=click.Choice(["pixels", "unit"]), help="What boxes of an ONNX file are in."),
            click.option("--calibration", type=PathParam, metavar="DIR|LIST|MANIFEST", help="Calibration images."),
            click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N calibration images."),
            click.option("--seed", type=int, metavar="S", help="Seed of the choice of calibration images."),
            click.option("--input-type", type=click.Choice(["int8", "uint8", "float32"]), help="Input of the file."),
            click.option("--output-type", type=click.Choice(["int8", "float32"]), help="Outputs of the file."),
        ]
    ):
        function = option(function)
    return function


def model_path(project: Project, given: Path | None) -> Path:
    """The model of the command line, else of the project file. Raises InputError where there is none."""
    chosen = given or project.path(project.settings.model.path)
    name = str(given) if given is not None else project.settings.model.path
    if (bundled := bundled_model(name)) is not None and (chosen is None or not chosen.exists()):
        return bundled
    if chosen is None:
        raise InputError("no model given", "pass a .pt, .safetensors or .onnx file, or set [model] path in edgeai.toml")
    return chosen


def evaluation_set(
    project: Project, images: Path | None, annotations: Path | None
) -> tuple[Path | None, Path]:
    """Images and annotations of the command line, else of the project file; a YOLO data.yaml names its own images.
    Raises InputError where one is missing."""
    from edgeai.evaluate.yolo import is_yolo

    settings = project.settings.evaluation
    file = annotations or project.path(settings.annotations)
    if file is not None and is_yolo(file):
        return images, file
    folder = images or project.path(settings.images)
    if folder is None or file is None:
        missing = "--images DIR" if folder is None else "--annotations instances.json"
        raise InputError(f"no evaluation set: {missing} is missing", f"pass {missing}, or set it in edgeai.toml")
    return folder, file


def open_evaluation(
    project: Project, images: Path | None, annotations: Path | None, limit: int | None, skip_bad: bool
) -> Dataset:
    """The evaluation set of the command line, else of the project file, checked."""
    from edgeai.evaluate.ground_truth import read_dataset

    settings = project.settings.evaluation
    return read_dataset(
        *evaluation_set(project, images, annotations), limit or settings.limit or None, skip_bad or settings.skip_bad
    )


def calibration_set(project: Project, given: Path | None, limit: int | None, seed: int | None) -> CalibrationSource:
    """The calibration images of the command line, else of the project file."""
    settings = project.settings.calibration
    return open_calibration(
        given or project.path(settings.images),
        limit or settings.limit,
        settings.seed if seed is None else seed,
    )


def dossier_of(target: Path | None, extra: Sequence[Path] = ()) -> Dossier:
    """The run or model of the command line, else the latest run of the project with its latest sweep."""
    from edgeai.report.dossier import latest_run, latest_sweep, open_dossier

    if target is not None:
        return open_dossier(target, extra)
    runs = load_project().runs
    return open_dossier(latest_run(runs), (*extra, *latest_sweep(runs)))


def project_file(project: Project) -> Path:
    """The int8 file that the project file describes, made where it is not there yet."""
    source = model_path(project, None)
    made = Stages(project.cache, TerminalListener()).quantized(
        source,
        recipe(project, source),
        calibration_set(project, None, None, None),
    )
    return made[0]


def recipe(
    project: Project,
    source: Path,
    granularity: Granularity | None = None,
    imgsz: int | None = None,
    layout: Layout | None = None,
    input_type: str | None = None,
    output_type: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_range: str | None = None,
    head: str | None = None,
    boxes: str | None = None,
) -> Recipe:
    """What to quantise `source` to: the command line, else the project file, else the defaults."""
    settings = project.settings
    chosen_input = input_type or settings.quantize.input_type
    chosen_output = output_type or settings.quantize.output_type
    if chosen_input not in ("int8", "uint8", "float32") or chosen_output not in ("int8", "float32"):
        raise InputError(
            f"edgeai.toml: input_type {chosen_input!r} / output_type {chosen_output!r} is not known",
            "input_type: int8, uint8 or float32; output_type: int8 or float32",
        )
    asked = asked_of(head, boxes, input_range, mean, std)
    if input_range:
        low, high = RANGES[input_range]
        asked = replace(asked, mean=low or (0.0, 0.0, 0.0), std=high or (1.0, 1.0, 1.0))
    own_size = source.suffix.lower() == ".onnx" and not project.found  # the file may fix its size
    return Recipe(
        granularity=granularity or settings.quantize.granularity,
        layout=layout or settings.model.layout,
        imgsz=imgsz or (0 if own_size else settings.model.imgsz),
        input_type=cast(InputType, chosen_input),
        output_type=cast(OutputType, chosen_output),
        mean=asked.mean,
        std=asked.std,
        head=asked.head,
        boxes=asked.boxes,
    )
