"""ONNX files on onnxruntime: float networks and QDQ int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef
from edgeai.errors import InputError, ToolError, need
from edgeai.evaluate.backends.base import (
    ONNX_KERNELS,
    Kernels,
    Runner,
    assumptions,
    input_table,
    package_version,
    weights_kind,
)
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, sha256_bytes
from edgeai.graph import load_graph
from edgeai.graph.types import QUANTIZERS, Graph, Op, Tensor
from edgeai.imaging.images import normalised
from edgeai.recognise import NOTHING, Asked
from edgeai.recognise.know import Known, know, know_file


class OnnxRunner(Runner):
    """An ONNX file with one float image input, [1, 3, S, S] or [1, S, S, 3]. Raises InputError where it cannot be run.

    `imgsz` is for files of dynamic height and width; without it their metadata decide. A quantised file runs on
    `integer` kernels, or on `float` ones: its operators in floating point, rounded where the file says.
    """

    def __init__(
        self,
        path: Path,
        contract: Contract | None = None,
        imgsz: int | None = None,
        threads: int = 1,
        asked: Asked = NOTHING,
        kernels: Kernels | None = None,
    ) -> None:
        data = existing_file(path, "an .onnx file").read_bytes()
        self.model = FileRef(name=path.name, sha256=sha256_bytes(data), bytes=len(data))
        self.name = path.stem
        graph = load_graph(path)
        chosen = _kernels(graph, path.name, kernels)
        self.backend = f"onnxruntime/{chosen}"
        self.options = (Fact("kernels", chosen),)
        self.versions = (package_version("onnxruntime"),)
        self._session = _session(data, path.name, threads, SETTINGS[chosen](codes_of(graph)))
        entry = self._session.get_inputs()[0]
        self._dtype = _image_type(entry, path.name)
        fixed = _fixed_size(entry)
        if fixed and imgsz and fixed != imgsz:
            raise InputError(f"{path.name} has an input of {fixed} pixels, not {imgsz}", f"use --imgsz {fixed}")
        self.any_shape = not any(isinstance(side, int) and side != 3 for side in entry.shape[1:])
        self._input = entry.name
        self._image = graph.tensors[graph.inputs[0]]
        self.precision, self.granularity = weights_kind(graph)
        self._grids = [graph.on_grid(graph.tensors[t]) for t in graph.outputs]
        if contract is None:
            self.known = self._recognised(path, replace(asked, imgsz=0 if fixed else imgsz or asked.imgsz))
            contract = self.known.decodable(path.name)
        self.contract = contract if not imgsz else replace(contract, imgsz=imgsz)
        self.options += assumptions(self.known)
        self._channels_last = list(entry.shape)[3:] == [3] and list(entry.shape)[1:2] != [3]

    def _recognised(self, path: Path, asked: Asked) -> Known:
        """What the file is; where its graph leaves shapes of outputs open, one run on a grey picture shows them."""
        known = know_file(path, asked)
        size = known.contract.imgsz
        if known.own or known.refusal is None or not size or len(self._session.get_inputs()) != 1:
            return known
        graph = load_graph(path, size)
        if all(d > 0 for t in graph.outputs for d in graph.tensors[t].shape) and all(
            graph.tensors[t].shape for t in graph.outputs
        ):
            return known
        try:
            grey = np.full((1, 3, size, size), 0.5).astype(self._dtype)
            shapes = tuple(array.shape for array in self._session.run(None, {self._input: grey}))
        except Exception:  # its errors share no base class; what is known without a run is said
            return known
        return know(graph, path.stem, asked, shapes)

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        pixels = self._pixels(image)
        pixels = (pixels if self._channels_last else pixels.transpose(2, 0, 1))[None].astype(self._dtype)
        try:
            arrays = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        except Exception as error:  # its errors share no base class
            raise ToolError(f"onnxruntime failed on {self.model.name}: {_line(error)}") from None
        return tuple(self._output(array, tensor) for array, tensor in zip(arrays, self._grids, strict=True))

    def close(self) -> None:
        self._session = None

    def _pixels(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        if np.issubdtype(self._dtype, np.floating):
            return normalised(image, self.contract.mean, self.contract.std)
        at, contract = self._image, self.contract
        table = input_table(np.dtype(self._dtype), at.scale, at.zero_point, contract.mean, contract.std)
        return table[image] if table.ndim == 1 else table[image, np.arange(3)]

    def _output(self, array: NDArray[Any], grid: Tensor) -> Output:
        """Integers with their scale; floats with the step of the integers they were."""
        if np.issubdtype(array.dtype, np.floating):
            return Output(array, step=grid.scale)
        if not grid.quantized:
            raise InputError(f"an output of {self.model.name} is {array.dtype} without a scale", "export it as float")
        return Output(array, grid.scale, grid.zero_point)


def codes_of(graph: Graph) -> set[str]:
    """The integer types that the activations of a QDQ file, or one of QLinear operators, are coded in."""
    coding = [op for op in graph.ops if op.kind in QUANTIZERS and not graph.tensors[op.inputs[0]].is_constant]
    return {graph.tensors[t].dtype for op in (*coding, *_linear(graph)) for t in op.outputs}


def _linear(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.kind.startswith("QLinear")]


def _kernels(graph: Graph, name: str, asked: Kernels | None) -> str:
    """`integer`, `float`, or `cpu` for a file without quantised activations. Raises InputError where it has no such."""
    codes = codes_of(graph)
    if not codes:
        if asked in ONNX_KERNELS:
            raise InputError(f"{name} has no quantised activations", "leave out --kernels: it runs in floating point")
        return "cpu"
    if asked == "float":
        if _linear(graph):
            what = f"{_linear(graph)[0].kind} of {name} has no form in floating point"
            raise InputError(what, "leave out --kernels, or write the file with Q and DQ")
        return "float"
    if len(codes) > 1:
        what = (
            f"the activations of {name} are {' and '.join(sorted(codes))}, which no setting of onnxruntime runs right"
        )
        raise InputError(what, "pass --kernels float, or quantise with one type")
    return "integer"


def _integer(codes: set[str]) -> dict[str, str]:
    """Settings for integer kernels that compute what the file says (measured with onnxruntime 1.31.1 on AVX2).

    int8 activations: unless they are allowed as they are, they become uint8, convolutions with two readers run in
    float (90 of 102 of ST's YOLO26), and the others meet what happens to uint8. uint8 activations with int8 weights:
    processors without VNNI add pairs of products in 16 bits and saturate (8 dB SQNR), unless told to be precise.
    """
    if "int8" in codes:
        return {"session.qdqisint8allowed": "1"}
    return {"session.x64quantprecision": "1"}


SETTINGS: dict[str, Callable[[set[str]], dict[str, str] | None]] = {
    "integer": _integer,
    "float": lambda codes: None,
    "cpu": lambda codes: {},
}


def _session(data: bytes, name: str, threads: int, settings: dict[str, str] | None) -> Any:
    """A session with `settings`; None for Q and DQ taken literally, which the basic optimisations leave in place."""
    try:
        import onnxruntime
    except ImportError:
        raise need("onnxruntime", "convert") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if settings is None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        precise = "session.x64quantprecision" in (settings or {})
        hint = "pass --kernels float: onnxruntime's precise mode fails on it" if precise else "is the file complete?"
        raise InputError(f"onnxruntime cannot run {name}: {_line(error)}", hint) from None


def _image_type(entry: Any, name: str) -> Any:
    types = {"float": np.float32, "float16": np.float16, "uint8": np.uint8, "int8": np.int8}
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    if kind not in types:
        shown = " x ".join(map(str, entry.shape))
        raise InputError(f"the input of {name} is {entry.type} {shown}", "an image [1, 3, H, W] is expected")
    return types[kind]


def _fixed_size(entry: Any) -> int | None:
    """Side of a fixed square input; None where it is open or something else."""
    shape = list(entry.shape)
    sides = [d for d in shape[1:] if isinstance(d, int) and d != 3]
    return sides[0] if len(shape) == 4 and len(sides) == 2 and sides[0] == sides[1] else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
