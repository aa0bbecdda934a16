"""Everything that is known about a run or a model: its record, its files, and the artifacts that lie beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeai import artifacts
from edgeai.artifacts import Fact, FileRef, RunRecord, from_json
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref, sha256_file

T = TypeVar("T")

RUN_FILE = "run.json"
SWEEP_FILE = "sweep.json"
MODELS = (".tflite", ".onnx")
MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Dossier:
    """`record` is None where a model file was given instead of a run. `models` are the files at hand, ours first.

    `found` are the artifacts read from JSON files, `skipped` the files that hold none, with the reason.
    """

    folder: Path | None
    record: RunRecord | None
    models: tuple[Path, ...]
    found: tuple[object, ...]
    skipped: tuple[Fact, ...] = ()

    def of(self, kind: type[T]) -> tuple[T, ...]:
        """The artifacts of one kind, equal ones once."""
        return tuple(dict.fromkeys(entry for entry in self.found if isinstance(entry, kind)))

    def file(self, ref: FileRef) -> Path | None:
        """The path of a file of the run, where it is at hand with the same content."""
        return next((path for path in self.models if path.name == ref.name and file_ref(path) == ref), None)


def open_dossier(given: Path, extra: Sequence[Path] = ()) -> Dossier:
    """The dossier of a run folder, its run.json, or a model file; `extra` are more artifacts, files or folders.

    Raises InputError where there is neither.
    """
    if given.is_dir() or given.name == RUN_FILE:
        return _of_run(given if given.is_dir() else given.parent, extra)
    if existing_file(given, "a run folder or a model").suffix.lower() in MODELS:
        return of_models([given], extra)
    raise InputError(f"{given} is neither a run folder nor a .tflite or .onnx file", "`edgeai run` makes a run folder")


def of_models(paths: Sequence[Path], extra: Sequence[Path] = ()) -> Dossier:
    """The dossier of model files without a run."""
    for path in paths:
        existing_file(path, "a .tflite or .onnx file")
    found, skipped = _read_all(extra)
    return Dossier(None, None, tuple(paths), tuple(found), tuple(skipped))


def latest_run(runs: Path) -> Path:
    """The folder of the newest run. Raises InputError where there is none."""
    records = sorted(runs.glob(f"*/{RUN_FILE}"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    if not records:
        raise InputError(f"no run in {runs}", "`edgeai run` makes one; or pass a run folder or a model")
    return records[-1].parent


def latest_sweep(runs: Path) -> list[Path]:
    """The file of the newest sweep, in a list; empty where there is none."""
    found = sorted(runs.glob(f"*/{SWEEP_FILE}"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    return found[-1:]


def _of_run(folder: Path, extra: Sequence[Path]) -> Dossier:
    file = existing_file(folder / RUN_FILE, "a run folder with a run.json")
    record = from_json(RunRecord, _text(file), file.name)
    wanted = [entry.file for entry in record.quantized] + [entry.model for entry in record.results]
    models = [path for ref in dict.fromkeys(wanted) if (path := _beside(folder, ref)) is not None]
    found, skipped = _read_all([folder, *extra])
    there = [entry.result for entry in record.on_boards]
    known = (record, *record.quantized, *record.results, *there, *record.footprints, *record.verdicts)
    return Dossier(folder, record, tuple(models), (*known, *found), tuple(skipped))


def _beside(folder: Path, ref: FileRef) -> Path | None:
    """A file of the record in the run folder; a name that is a path is not followed, another content is not taken."""
    path = folder / Path(ref.name).name
    if Path(ref.name).name != ref.name or not path.is_file() or sha256_file(path) != ref.sha256:
        return None
    return path


def _read_all(places: Iterable[Path]) -> tuple[list[object], list[Fact]]:
    found: list[object] = []
    skipped: list[Fact] = []
    for place in places:
        files = sorted([*place.glob("*.json"), *place.glob("*/*.json")]) if place.is_dir() else [place]
        for file in files:
            if file.name == RUN_FILE:
                continue
            try:
                found.append(read_artifact(file))
            except InputError as error:
                if not place.is_dir():
                    raise
                skipped.append(Fact(file.name, error.message))
    return found, skipped


def read_artifact(file: Path) -> object:
    """The artifact in a JSON file, whatever its kind. Raises InputError where it holds none that edgeai knows."""
    text = _text(existing_file(file, "a JSON file that edgeai wrote"))
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file.name} is not JSON: {error}") from None
    name = body.get("artifact") if isinstance(body, dict) else None
    kind = getattr(artifacts, name, None) if isinstance(name, str) and name in artifacts.__all__ else None
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise InputError(f"{file.name} holds no artifact of edgeai")
    return from_json(kind, text, file.name)


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_JSON_BYTES:
        raise InputError(f"{file.name} is too large for an artifact: {file.stat().st_size:,} bytes")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{file.name} is not text") from None
