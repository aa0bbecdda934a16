"""The licence that a model file states, whatever else it is: files that edgeai cannot decode may well say it."""

from __future__ import annotations

import ast
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.errors import EdgeAIError

KEYS = ("license", "licence")
ULTRALYTICS = ("metadata.json", "temp_meta.txt")  # in the zip archive behind a TFLite file
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Statement:
    """A licence in the words of a file, empty where there is none; `known_from` says where they stand."""

    licence: str = ""
    known_from: str = ""


def stated_licence(path: Path) -> Statement:
    """What a .pt, .safetensors, .onnx or .tflite file states. A file that cannot be read states nothing."""
    suffix = path.suffix.lower()
    readers = {".onnx": _of_onnx, ".tflite": _of_tflite, ".safetensors": _of_weights}
    readers |= {".pt": _of_checkpoint, ".pth": _of_checkpoint}
    try:
        return readers[suffix](path) if suffix in readers else Statement()
    except EdgeAIError:
        return Statement()


def _of_checkpoint(path: Path) -> Statement:
    from edgeai.models.checkpoint import stated_licence as of_checkpoint

    found = of_checkpoint(path)
    return Statement(found.name, found.source or "the checkpoint")


def _of_weights(path: Path) -> Statement:
    from edgeai.models.weights import read_spec

    spec = read_spec(path)
    return Statement(spec.licence, spec.licence_source or "metadata in the file")


def _of_onnx(path: Path) -> Statement:
    from edgeai.graph import load_graph

    metadata = {key.lower(): bytes(value).decode("utf-8", "replace") for key, value in load_graph(path).metadata}
    return _first(metadata, "metadata in the file")


def _of_tflite(path: Path) -> Statement:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename in ULTRALYTICS and entry.file_size <= MOST_BYTES:
                    found = _mapping(archive.read(entry).decode("utf-8", "replace"))
                    return _first(found, f"{entry.filename} in the file")
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError, ValueError):
        pass
    return Statement()


def _mapping(text: str) -> dict[str, Any]:
    """A JSON object or a Python literal; empty where it is neither."""
    for reader in (json.loads, ast.literal_eval):
        try:
            found = reader(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if isinstance(found, dict):
            return {str(key).lower(): value for key, value in found.items()}
    return {}


def _first(values: dict[str, Any], known_from: str) -> Statement:
    found = next((value for key in KEYS if isinstance(value := values.get(key), str) and value.strip()), "")
    return Statement(found.strip(), known_from if found else "")
