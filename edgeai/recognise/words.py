"""What a file says about itself: ONNX metadata properties, and the metadata of TFLite files.

Ultralytics writes one set of keys in three places: as properties of an ONNX file, as `metadata.json` (before:
`temp_meta.txt`) in a zip archive behind a TFLite file. TFLite's own metadata (the buffer TFLITE_METADATA, schema
metadata_schema.fbs) names label files in that archive and the normalisation of the input.
"""

from __future__ import annotations

import ast
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeai.errors import InputError
from edgeai.graph.flatbuffer import DAMAGED, Table, root_table
from edgeai.graph.types import Graph

MOST_BYTES = 1 << 20  # of one text inside a file
MOST_NAMES = 100_000
ULTRALYTICS = ("metadata.json", "temp_meta.txt")
TFLITE_METADATA = "TFLITE_METADATA"
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
NORMALISATION = 1  # ProcessUnitOptions.NormalizationOptions


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a file about itself; empty or None where it says nothing.

    `source` says where they stand. `stride` is the largest, `imgsz` (height, width). `mean` and `std` are of RGB / 255.
    """

    source: str = ""
    task: str = ""
    names: tuple[str, ...] = ()
    imgsz: tuple[int, int] | None = None
    stride: int = 0
    kpt_shape: tuple[int, int] | None = None
    end2end: bool | None = None
    licence: str = ""
    description: str = ""
    channels: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def read_words(graph: Graph) -> Words:
    """What the file of `graph` says. Raises InputError where it contradicts itself or its metadata are damaged."""
    if graph.format == "onnx":
        return _fields({key: bytes(value).decode("utf-8", "replace") for key, value in graph.metadata}, "its metadata")
    files = _attached(graph)
    for name in ULTRALYTICS:
        if name in files:
            return _fields(_mapping(files[name], name), f"{name} in the file")
    raw = graph.lookup(TFLITE_METADATA)
    return _tflite_words(raw, files) if raw else Words()


def _attached(graph: Graph) -> dict[str, str]:
    """The small texts in the archive behind a TFLite file, by name."""
    if graph.attached is None:
        return {}
    try:
        archive = zipfile.ZipFile(io.BytesIO(graph.attached))
        found = {}
        for entry in archive.infolist():
            wanted = entry.filename in ULTRALYTICS or entry.filename.lower().endswith(".txt")
            if wanted and entry.file_size <= MOST_BYTES:
                with archive.open(entry) as stream:
                    found[entry.filename] = stream.read(MOST_BYTES).decode("utf-8", "replace")
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError, ValueError):
        return {}
    return found


def _mapping(text: str, name: str) -> Mapping[str, Any]:
    """A JSON object or a Python literal."""
    for reader in (json.loads, ast.literal_eval):
        try:
            found = reader(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if isinstance(found, dict):
            return {str(key): value for key, value in found.items()}
    raise InputError(f"{name} in the file is damaged", "export the model again")


def _fields(values: Mapping[str, Any], source: str) -> Words:
    """Ultralytics' keys; the values are texts in ONNX and JSON values in TFLite."""

    def value(key: str) -> Any:
        found = values.get(key)
        return _literal(found) if isinstance(found, str) else found

    known = {"task", "names", "imgsz", "stride", "kpt_shape", "end2end", "license", "licence", "License"} & set(values)
    return Words(
        source=source if known else "",
        task=str(values.get("task") or "").strip().lower(),
        names=class_names(value("names")),
        imgsz=_pair(value("imgsz")),
        stride=_stride(value("stride")),
        kpt_shape=_pair(value("kpt_shape")),
        end2end=_flag(value("end2end")),
        licence=_text(values, "license", "licence", "License"),
        description=str(values.get("description") or "").strip(),
        channels=_whole(value("channels")),
    )


def _text(values: Mapping[str, Any], *keys: str) -> str:
    return next((found.strip() for key in keys if isinstance(found := values.get(key), str) and found.strip()), "")


def _literal(text: str) -> Any:
    if len(text) > MOST_BYTES:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None


def class_names(value: Any) -> tuple[str, ...]:
    """Class names in the order of their numbers, from {0: 'person', ...}, {"0": ...} or a list; none from other things.

    Raises InputError where a number is missing.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))[:MOST_NAMES]
    if not isinstance(value, dict) or not value:
        return ()
    try:
        numbered = {int(key): str(name) for key, name in value.items()}
    except (TypeError, ValueError):
        return ()
    missing = next((i for i in range(len(numbered)) if i not in numbered), None)
    if missing is not None:
        raise InputError(f"the class names in the file have no number {missing}", "pass --classes, every name in order")
    return tuple(numbered[i] for i in range(len(numbered)))


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = (value, value)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = (value[0], value[0])
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    first, second = (_whole(v) for v in value)
    return (first, second) if first > 0 and second > 0 else None


def _stride(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return max((_whole(v) for v in value), default=0)
    return _whole(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        return 0
    return int(value) if value == int(value) else 0


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return bool(value)
    return {"true": True, "false": False}.get(str(value).strip().lower())


# --- TFLite's own metadata ------------------------------------------------------------------------


def _tflite_words(raw: bytes, files: Mapping[str, str]) -> Words:
    """Labels of the outputs, and the normalisation of the input: metadata_schema.fbs."""
    try:
        root = root_table(raw)
        subgraph = next(root.tables(3), None)
        licence, description = root.text(5), root.text(1)
        labels = () if subgraph is None else _labels(subgraph, files)
        mean, std = ((), ()) if subgraph is None else _normalisation(subgraph)
    except DAMAGED:
        raise InputError("the TFLite metadata in the file are damaged", "export the model again") from None
    known = labels or licence or std
    return Words(
        source="the TFLite metadata" if known else "",
        names=labels,
        licence=licence,
        description=description,
        mean=mean,
        std=std,
    )


def _labels(subgraph: Table, files: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of the first label file that an output names."""
    for name in _label_files(subgraph):
        if name in files:
            lines = [line.strip() for line in files[name].splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return tuple(lines)[:MOST_NAMES]
    return ()


def _label_files(subgraph: Table) -> Iterator[str]:
    for output in subgraph.tables(3):
        for entry in output.tables(6):
            if entry.scalar(2, "b") == AXIS_LABELS:
                yield entry.text(0)


def _normalisation(subgraph: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of RGB / 255; the metadata have them for pixels of 0..255, one for all channels or three."""
    image = next(subgraph.tables(2), None)
    for unit in image.tables(4) if image is not None else ():
        options = unit.table(1)
        if unit.scalar(0, "B") != NORMALISATION or options is None:
            continue
        mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        if len(mean) in (1, 3) and len(std) in (1, 3) and all(0 < s < 1e6 for s in std):
            return _three(mean), _three(std)
    return (), ()


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(v) / 255 for v in (values * 3 if len(values) == 1 else values))
