"""ONNX files on onnxruntime: float networks and QDQ int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef, from_json
from edgeai.errors import InputError, ToolError, need
from edgeai.evaluate.backends.base import Runner, package_version, weights_kind
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, sha256_bytes
from edgeai.graph import load_graph
from edgeai.graph.onnx_contract import OnnxOutput, onnx_contract
from edgeai.images import normalised

CONTRACT_KEY = "edgeai.contract"


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
        real = normalised(image, self.contract.mean, self.contract.std)
        pixels = real.transpose(2, 0, 1)[None].astype(self._dtype)
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
    outputs = tuple(OnnxOutput(entry.name, tuple(entry.shape)) for entry in session.get_outputs())
    contract = onnx_contract(outputs, metadata, imgsz, path.stem)
    if contract.spec.task == "features":
        shapes = ", ".join(f"{entry.name} {list(entry.shape)}" for entry in outputs)
        raise InputError(f"the outputs of {path.name} are of no known head layout: {shapes}", "export it with edgeai")
    return contract


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
