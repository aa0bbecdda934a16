"""ONNX files on onnxruntime: float networks and QDQ int8."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef, ModelSpec, OutputRole, Task, from_json
from edgeai.errors import InputError, ToolError, need
from edgeai.evaluate.backends.base import Runner, package_version, weights_kind
from edgeai.evaluate.backends.pytorch import raw_contract
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, sha256_bytes
from edgeai.graph import load_graph

CONTRACT_KEY = "edgeai.contract"
DEFAULT_SIZE = 640
NUM_COEFS = 32
# YOLOv5's anchors in pixels, per level; the published networks all share them
V5_ANCHORS = (
    (10.0, 13.0, 16.0, 30.0, 33.0, 23.0),
    (30.0, 61.0, 62.0, 45.0, 59.0, 119.0),
    (116.0, 90.0, 156.0, 198.0, 373.0, 326.0),
)


class OnnxRunner(Runner):
    """An ONNX file with one float image input [1, 3, H, W], RGB / 255. Raises InputError where it cannot be run.

    `imgsz` is for files of dynamic height and width.
    """

    def __init__(
        self, path: Path, contract: Contract | None = None, imgsz: int | None = None, threads: int = 1
    ) -> None:
        data = existing_file(path, "an .onnx file").read_bytes()
        self.model = FileRef(name=path.name, sha256=sha256_bytes(data), bytes=len(data))
        self.name = path.stem
        self.backend = "onnxruntime/cpu"
        self.options = (Fact("kernels", "cpu"),)
        self.versions = (package_version("onnxruntime"),)
        self._session = _session(data, path.name, threads)
        entry = self._session.get_inputs()[0]
        size = _input_size(entry, path.name)
        if size and imgsz and size != imgsz:
            raise InputError(f"{path.name} has an input of {size} pixels, not {imgsz}", f"use --imgsz {size}")
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.contract = contract or _contract(self._session, metadata, size or imgsz, path)
        self._input, self._dtype = entry.name, np.float16 if "float16" in entry.type else np.float32
        self.precision, self.granularity = weights_kind(load_graph(path))

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        pixels = (image.transpose(2, 0, 1)[None] / np.float32(255)).astype(self._dtype)
        try:
            arrays = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        except Exception as error:  # its errors share no base class
            raise ToolError(f"onnxruntime failed on {self.model.name}: {_line(error)}") from None
        return tuple(Output(array) for array in arrays)

    def close(self) -> None:
        self._session = None


def _session(data: bytes, name: str, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise need("onnxruntime", "convert") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise InputError(f"onnxruntime cannot run {name}: {_line(error)}", "is the file complete?") from None


def _input_size(entry: Any, name: str) -> int | None:
    """Side of the square input; None where height and width are dynamic."""
    shape = entry.shape
    if len(shape) != 4 or shape[1] != 3 or "float" not in entry.type:
        raise InputError(f"the input of {name} is {entry.type} {shape}", "a float image [1, 3, H, W] is expected")
    if isinstance(shape[2], int) and isinstance(shape[3], int):
        if shape[2] != shape[3]:
            raise InputError(f"the input of {name} is {shape[2]}x{shape[3]}", "only square inputs are supported")
        return shape[2]
    return None


def _contract(session: Any, metadata: dict[str, str], imgsz: int | None, path: Path) -> Contract:
    if CONTRACT_KEY in metadata:
        stored = from_json(Contract, metadata[CONTRACT_KEY], f"the contract in {path.name}")
        return replace(stored, imgsz=imgsz or stored.imgsz)
    outputs = tuple(_Shape(entry.name, tuple(entry.shape)) for entry in session.get_outputs())
    names = _class_names(metadata)
    contract = _heads_contract(outputs, names, imgsz, path.stem) or _pred_contract(outputs, names, imgsz, path.stem)
    if contract is None:
        shapes = ", ".join(f"{entry.name} {list(entry.shape)}" for entry in outputs)
        raise InputError(f"the outputs of {path.name} are of no known head layout: {shapes}", "export it with edgeai")
    return contract


@dataclass(frozen=True, slots=True)
class _Shape:
    name: str
    shape: tuple[int | str | None, ...]


def _heads_contract(
    outputs: tuple[_Shape, ...], names: tuple[str, ...], imgsz: int | None, stem: str
) -> Contract | None:
    """Three raw heads of YOLOv5 [1, 3*(5+nc+nm), h, w], finest first, and prototypes or none."""
    heads = [entry for entry in outputs if len(entry.shape) == 4 and entry.name != "proto"]
    channels = {entry.shape[1] for entry in heads}
    coefs = NUM_COEFS if len(outputs) == 4 and outputs[-1].shape[1:2] == (NUM_COEFS,) else 0
    count = channels.pop() if len(channels) == 1 else None
    if len(heads) != 3 or len(outputs) != 3 + bool(coefs) or not isinstance(count, int) or count % 3:
        return None
    nc = count // 3 - 5 - coefs
    if nc < 1:
        return None
    spec = replace(_spec(stem, names, nc, coefs, imgsz), family="yolov5", anchors=V5_ANCHORS)
    return raw_contract(spec, spec.imgsz)


def _pred_contract(
    outputs: tuple[_Shape, ...], names: tuple[str, ...], imgsz: int | None, stem: str
) -> Contract | None:
    """One prediction [1, 4+nc+nm, N] with boxes in pixels, as YOLOv8 is usually exported, and prototypes or none."""
    coefs = NUM_COEFS if len(outputs) == 2 and outputs[1].shape[1:2] == (NUM_COEFS,) else 0
    shape = outputs[0].shape
    if len(outputs) != 1 + bool(coefs) or len(shape) != 3 or not isinstance(shape[1], int):
        return None
    nc = shape[1] - 4 - coefs
    if nc < 1:
        return None
    spec = _spec(stem, names, nc, coefs, imgsz)
    roles = (OutputRole(0, "pred"), *((OutputRole(1, "proto"),) if coefs else ()))
    return Contract(spec=spec, layout="concat", imgsz=spec.imgsz, roles=roles, box_unit=1.0)


def _spec(stem: str, names: tuple[str, ...], nc: int, coefs: int, imgsz: int | None) -> ModelSpec:
    task: Task = "segment" if coefs else "detect"
    known = names if len(names) == nc else tuple(f"class{i}" for i in range(nc))
    size = imgsz or DEFAULT_SIZE
    return ModelSpec(name=stem, family="yolo", task=task, scale="", names=known, imgsz=size, num_coefs=coefs)


def _class_names(metadata: dict[str, str]) -> tuple[str, ...]:
    """The class names that exporters leave in the metadata as a Python literal {0: 'person', ...}; or none."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    values = list(names.values()) if isinstance(names, dict) else names
    return tuple(map(str, values)) if isinstance(values, list) else ()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
