"""One typed, read-only `Graph`, read from TFLite or ONNX; and the audit of what a file really is."""

from __future__ import annotations

from pathlib import Path

from edgeai.errors import InputError
from edgeai.files import existing_file
from edgeai.graph.types import Graph

# Larger than any model that an STM32 could hold; keeps a wrong argument (a video, a device) from filling the memory.
MAX_FILE_BYTES = 256 * 1024 * 1024


def load_graph(path: Path, imgsz: int = 0, computing: bool = True) -> Graph:
    """The network in a TFLite or ONNX file; the content decides which, not the suffix.

    `imgsz` is the side of the input of an ONNX file that leaves it open. `computing` says that numbers are to be
    computed with the scales in it; what only looks or counts passes False.
    Raises InputError where the file is neither, is damaged or is too large, or (computing) where scales or zero points
    are none; ToolError where onnx is not installed.
    """
    graph = _graph(path, _read(path), imgsz)
    if computing:
        from edgeai.graph.scales import check_quantization

        check_quantization(graph, str(path))
    return graph


def _graph(path: Path, data: bytes, imgsz: int) -> Graph:
    from edgeai.graph.tflite import is_tflite, read_tflite

    if is_tflite(data):
        return read_tflite(data, str(path))
    # An ONNX file is a protobuf message without any mark; it starts with the field ir_version.
    if data[:1] == b"\x08" or (path.suffix.lower() == ".onnx" and data[:7] != b"version"):
        from edgeai.graph.onnx import UNFOLDED, read_folded, read_onnx

        graph = read_onnx(data, str(path), imgsz)
        unfolded = any(op.kind in UNFOLDED for op in graph.ops) and not graph.tensors[graph.inputs[0]].dynamic
        return (read_folded(data, imgsz) if unfolded else None) or graph
    raise InputError(f"{path} is neither a TFLite nor an ONNX file", _hint(data))


def _read(path: Path) -> bytes:
    existing_file(path, "a TFLite or ONNX file")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file", "pass a TFLite or ONNX file")
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if not data:
        raise InputError(f"{path} is empty", "copy or convert it again")
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: no model for an STM32")
    return data


def _hint(data: bytes) -> str:
    if data[:7] == b"version":
        return "it looks like a Git LFS pointer: fetch the file itself with `git lfs pull`"
    if data[:4] == b"VPMN":
        return "it is a network binary (.nb) for the NPU of an STM32MP2: pass the .tflite or .onnx it was made from"
    if data[:2] == b"PK":
        return "it looks like a checkpoint or a SavedModel archive: `edgeai import` reads checkpoints"
    return "pass a .tflite or .onnx file"
