"""TFLite files on LiteRT."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef
from edgeai.errors import InputError, ToolError, need
from edgeai.evaluate.backends.base import Kernels, Runner, input_table, package_version, weights_kind
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, sha256_bytes
from edgeai.graph import load_graph
from edgeai.graph.types import Graph


class LiteRtRunner(Runner):
    """A TFLite file on one of LiteRT's kernel sets.

    `xnnpack` is the fast one, `builtin` the optimised kernels without delegate, `reference` the slow plain C++ that
    gives the same bytes on every machine. Raises InputError where the file cannot be run.
    """

    def __init__(
        self, path: Path, contract: Contract | None = None, kernels: Kernels = "xnnpack", threads: int = 1
    ) -> None:
        data = existing_file(path, "a .tflite file").read_bytes()
        # also the interpreter's guard, which ends the process on some damaged files: it sees only what was parsed here
        graph = load_graph(path)
        self.precision, self.granularity = weights_kind(graph)
        self.contract = contract if contract is not None else tflite_contract(graph, path)
        self.model = FileRef(name=path.name, sha256=sha256_bytes(data), bytes=len(data))
        self.name = path.stem
        self.backend = f"litert/{kernels}"
        self.options = (Fact("kernels", kernels),)
        self.versions = (package_version("ai-edge-litert"),)
        self._interpreter = open_interpreter(data, path.name, kernels, threads)
        self._outputs = self._interpreter.get_output_details()
        self._bind_input(path.name)

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        import cv2

        self._input[0] = cv2.LUT(image, self._table).view(self._input.dtype)
        self._interpreter.set_tensor(self._input_index, self._input)
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ToolError(f"LiteRT failed on {self.model.name}: {_line(error)}", "try --kernels builtin") from None
        return tuple(self._output(detail) for detail in self._outputs)

    def close(self) -> None:
        self._interpreter = None

    def _output(self, detail: dict[str, Any]) -> Output:
        scale, zero_point = detail["quantization"]
        return Output(self._interpreter.get_tensor(detail["index"]), float(scale), int(zero_point))

    def _bind_input(self, name: str) -> None:
        inputs = self._interpreter.get_input_details()
        size = self.contract.imgsz
        if len(inputs) != 1 or list(inputs[0]["shape"]) != [1, size, size, 3]:
            shapes = ", ".join(str(list(map(int, entry["shape"]))) for entry in inputs)
            raise InputError(f"the input of {name} is {shapes}", f"one image of [1, {size}, {size}, 3] is expected")
        detail = inputs[0]
        dtype = np.dtype(detail["dtype"])
        scale, zero_point = detail["quantization"]
        self._input_index = detail["index"]
        table = input_table(dtype, float(scale), int(zero_point), self.contract.mean, self.contract.std)
        # cv2.LUT knows few types; bytes are bytes
        table = table.view(np.uint8) if dtype.itemsize == 1 else table
        self._table = table[None] if table.ndim == 2 else table
        self._input = np.empty((1, size, size, 3), dtype)


def tflite_contract(graph: Graph, path: Path) -> Contract:
    """The contract that the file carries, or else the one that its tensors imply; InputError where they imply none."""
    from edgeai.graph.contract import infer_contract, read_contract

    contract: Contract | None = read_contract(graph) or infer_contract(graph, path.stem)
    if contract is None:
        raise InputError(
            f"the outputs of {path.name} are of no head layout that can be decoded",
            f"edgeai inspect {path.name} shows them; concat, split and raw heads of YOLO networks are read",
        )
    return contract


def open_interpreter(data: bytes, name: str, kernels: Kernels, threads: int) -> Any:
    """LiteRT's interpreter of a file with a kernel set, tensors allocated. Raises InputError where it refuses it."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise need("ai-edge-litert", "convert") from None
    resolver = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }[kernels]
    try:
        with _silent_stderr():
            made = Interpreter(model_content=data, num_threads=threads, experimental_op_resolver_type=resolver)
            made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"LiteRT cannot run {name}: {_line(error)}", "is the file complete?") from None
    return made


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """LiteRT greets on file descriptor 2 whenever it makes a delegate, and has no switch for it."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
