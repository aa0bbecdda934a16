"""The licence that a model file states, whatever else it is: files that edgeai cannot decode may well say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeai.errors import EdgeAIError


@dataclass(frozen=True, slots=True)
class Statement:
    """A licence in the words of a file, empty where there is none; `known_from` says where they stand."""

    licence: str = ""
    known_from: str = ""


def stated_licence(path: Path) -> Statement:
    """What a .pt, .safetensors, .onnx or .tflite file states. A file that cannot be read states nothing."""
    suffix = path.suffix.lower()
    readers = {".onnx": _of_file, ".tflite": _of_file, ".safetensors": _of_weights}
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


def _of_file(path: Path) -> Statement:
    from edgeai.graph import load_graph
    from edgeai.recognise.words import read_words

    words = read_words(load_graph(path, computing=False))
    return Statement(words.licence, words.source) if words.licence else Statement()
