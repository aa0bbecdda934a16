"""What `--what-if` asks for: changes of a file's own network, and other files to set beside it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from edgeai.artifacts import Granularity, Layout
from edgeai.cli.listener import TerminalListener
from edgeai.cli.options import calibration_set, model_path, recipe
from edgeai.errors import InputError
from edgeai.project import load_project

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
GRANULARITIES: tuple[Granularity, ...] = ("per-tensor", "per-channel")


def changes(asked: tuple[str, ...]) -> tuple[str, ...]:
    """What can be computed from the file itself: sizes and granularities."""
    plain = [change for change in asked if change.partition("=")[0] not in ("layout", "file")]
    return tuple(f"granularity={','.join(GRANULARITIES)}" if change == "granularity" else change for change in plain)


def other_files(
    asked: tuple[str, ...], file: Path, source: Path | None, calibration: Path | None
) -> tuple[tuple[str, Path], ...]:
    """Files to compare with, each with the change it stands for.

    `file=A.tflite,B.tflite` names them; `layout=raw,concat` makes them from the checkpoint of `file`.
    Raises InputError for an unknown layout, and where there is no checkpoint or nothing to calibrate with.
    """
    found: list[tuple[str, Path]] = []
    for change in asked:
        key, _, values = change.partition("=")
        if key == "file":
            found += [(f"file={Path(name).name}", Path(name)) for name in values.split(",") if name]
        elif key == "layout":
            found += _layouts(values, file, source, calibration)
    return tuple(found)


def _layouts(values: str, file: Path, source: Path | None, calibration: Path | None) -> list[tuple[str, Path]]:
    """The int8 files of other head layouts, at the size and granularity of `file`, from the stage cache or made."""
    wanted = [layout for layout in LAYOUTS if layout in values.split(",")] if values else list(LAYOUTS)
    unknown = set(values.split(",")) - set(LAYOUTS) if values else set()
    if unknown:
        raise InputError(f"--what-if layout={values}: no layout {min(unknown)!r}", f"known: {', '.join(LAYOUTS)}")
    from edgeai.footprint.rescale import image_size
    from edgeai.graph import load_graph
    from edgeai.pipeline.stages import Stages

    project = load_project()
    if source is None and not project.settings.model.path:
        raise InputError(
            "--what-if layout needs the checkpoint that the file was made from",
            "pass --source MODEL.pt and --calibration DIR, or compare files: --what-if file=A.tflite,B.tflite",
        )
    checkpoint = model_path(project, source)
    if checkpoint.suffix.lower() == ".onnx":
        raise InputError(f"{checkpoint} has one head layout, as an ONNX file does", "pass the checkpoint (.pt)")
    graph = load_graph(file, computing=False)
    size = image_size(graph)
    one_scale = not any(w.per_channel for op in graph.ops if (w := graph.weights(op)) is not None)
    granularity: Granularity = "per-tensor" if one_scale else "per-channel"
    images = calibration_set(project, calibration, None, None)
    stages = Stages(project.cache, TerminalListener())
    found = []
    for layout in wanted:
        chosen = recipe(project, checkpoint, granularity, max(size) if size else None, layout)
        found.append((f"layout={layout}", stages.quantized(checkpoint, chosen, images)[0]))
    return found
