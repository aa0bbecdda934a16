"""Versions of the tools a result depends on, and of edgeai's own code."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeai import __version__
from edgeai.artifacts import Fact, FileRef, Provenance
from edgeai.files import sha256_bytes

EXPORT_TOOLS = ("torch", "onnx")
CONVERT_TOOLS = ("tensorflow", "onnx2tf", "onnx", "onnxruntime")
EVALUATE_TOOLS = ("ai-edge-litert", "onnxruntime", "numpy", "opencv-python-headless", "pycocotools")
QUANTIZE_TOOLS = ("tensorflow", "ai-edge-litert", "numpy", "opencv-python-headless")


def versions(packages: Iterable[str]) -> tuple[Fact, ...]:
    """edgeai's version and that of every named package that is installed."""
    found = [Fact("edgeai", __version__)]
    for package in packages:
        try:
            found.append(Fact(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def provenance(
    stage: str,
    inputs: Sequence[FileRef],
    options: Sequence[tuple[str, object]],
    packages: Iterable[str],
    licence: str = "unknown",
) -> Provenance:
    return Provenance(
        stage=stage,
        inputs=tuple(inputs),
        options=tuple(Fact(name, str(value)) for name, value in options),
        versions=versions(packages),
        licence=licence,
    )


@functools.cache
def code_digest() -> str:
    """A hash over edgeai's own sources: a changed stage must not be answered from the cache."""
    root = Path(__file__).resolve().parent
    sources = sorted(path for path in root.rglob("*.py") if path.parent.name != "cli")
    return sha256_bytes(b"".join(path.relative_to(root).as_posix().encode() + path.read_bytes() for path in sources))
