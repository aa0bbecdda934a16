"""`edgeai` alone: where one stands in this folder, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeai.artifacts import RunRecord, from_json
from edgeai.cli.render import facts
from edgeai.errors import EdgeAIError
from edgeai.models.bundled import bundled_model
from edgeai.project import FILE_NAME, Project, load_project

CHECKPOINTS = (".pt", ".pth", ".safetensors", ".onnx")
RUN = "run.json"


def status() -> str:
    """Project, inputs, last run and the next command."""
    project = load_project()
    if not project.found:
        return _without_project(project.root)
    missing = [name for name, path in _inputs(project) if path is None or not path.exists()]
    pairs = [("project", str(project.root / FILE_NAME)), *((name, _state(path)) for name, path in _inputs(project))]
    pairs.append(("boards", ", ".join(project.settings.boards.targets)))
    last = _last_run(project.runs)
    pairs.append(("last run", _summary(last) if last else "none"))
    pairs.append(("next", _next(missing, last)))
    return facts(pairs) + "\n\nedgeai --help lists the commands"


def _without_project(here: Path) -> str:
    shown = [path for path in here.iterdir() if not path.name.startswith(".")]
    models = sorted(path.name for path in shown if path.suffix.lower() in CHECKPOINTS)
    files = sorted(path.name for path in shown if path.suffix == ".tflite")
    if files:
        advice = f"edgeai footprint {files[0]} --board stm32n6, edgeai inspect {files[0]}, or edgeai init"
    elif models:
        advice = f"edgeai init --model {models[0]} --calibration DIR --images DIR --annotations JSON"
    else:
        advice = "edgeai run yolov8n-seg-synthetic ... works without a checkpoint; edgeai synth writes pictures for it"
    found = ", ".join([*models, *files][:4]) or "no model"
    pairs = [("project", f"none ({FILE_NAME} is not here or above)"), ("found", found), ("next", advice)]
    return facts(pairs) + "\n\nedgeai --help lists the commands"


def _inputs(project: Project) -> Iterator[tuple[str, Path | None]]:
    settings = project.settings
    yield "model", bundled_model(settings.model.path) or project.path(settings.model.path)
    yield "calibration", project.path(settings.calibration.images)
    yield "images", project.path(settings.evaluation.images)
    yield "annotations", project.path(settings.evaluation.annotations)


def _state(path: Path | None) -> str:
    if path is None:
        return f"not set in {FILE_NAME}"
    if path == bundled_model(path.stem):
        return f"{path.stem}, which comes with edgeai"
    return str(path) if path.exists() else f"{path} is missing"


def _last_run(runs: Path) -> tuple[Path, RunRecord | None] | None:
    """The newest run folder; without its record where that cannot be read."""
    found = sorted(runs.glob(f"*/{RUN}"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    try:
        return found[-1].parent, from_json(RunRecord, found[-1].read_text(), found[-1].name)
    except (EdgeAIError, OSError, UnicodeDecodeError):
        return found[-1].parent, None


def _summary(last: tuple[Path, RunRecord | None]) -> str:
    folder, record = last
    if record is None:
        return f"{folder}, of another version of edgeai"
    passed = all(verdict.passed for verdict in record.verdicts)
    words = f"{len(record.quantized)} int8 file{'s' if len(record.quantized) != 1 else ''}"
    verdict = "accuracy passed" if passed else "lost too much"
    return f"{folder}: {words}, {verdict}, {_fitting(record)}"


def _fitting(record: RunRecord) -> str:
    unfit = [need for need in record.footprints if not need.fits]
    if not unfit:
        return "fits"
    return "over the latency budget" if all(need.too_slow for need in unfit) else "does not fit"


def _next(missing: list[str], last: tuple[Path, RunRecord | None] | None) -> str:
    if missing:
        return f"set {', '.join(missing)} in {FILE_NAME}"
    if last is None or last[1] is None:
        return "edgeai run"
    record = last[1]
    if not all(verdict.passed for verdict in record.verdicts):
        return "edgeai debug shows the first layer that loses accuracy"
    if not all(need.fits for need in record.footprints):
        return "edgeai footprint --board ... --what-if imgsz=192,256 shows what would fit"
    return "edgeai report, edgeai card; with a board: edgeai compile, edgeai bench"
