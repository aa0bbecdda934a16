"""TFLite files on LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef
from edgeai.errors import InputError
from edgeai.evaluate.backends.base import Runner, assumptions, input_table, package_version, weights_kind
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, sha256_bytes
from edgeai.graph import load_graph
from edgeai.kernels.interpreter import MixedInterpreter
from edgeai.kernels.plan import choose
from edgeai.kernels.table import Set
from edgeai.recognise import NOTHING, Asked
from edgeai.recognise.know import know


class LiteRtRunner(Runner):
    """A TFLite file on one of LiteRT's kernel sets.

    `xnnpack` is the fast one, `builtin` the optimised kernels without delegate, `reference` the slow plain C++ that
    gives the same bytes on every machine. None is XNNPACK, but for operators that it alone computes wrong.
    Raises InputError where the file cannot be run.
    """

    def __init__(
        self,
        path: Path,
        contract: Contract | None = None,
        kernels: Set | None = None,
        threads: int = 1,
        asked: Asked = NOTHING,
    ) -> None:
        data = existing_file(path, "a .tflite file").read_bytes()
        # also the interpreter's guard, which ends the process on some damaged files: it sees only what was parsed here
        graph = load_graph(path)
        self.precision, self.granularity = weights_kind(graph)
        self.known = None if contract is not None else know(graph, path.stem, asked)
        self.contract = contract or self.known.decodable(path.name)  # type: ignore[union-attr]
        self.model = FileRef(name=path.name, sha256=sha256_bytes(data), bytes=len(data))
        self.name = path.stem
        chosen = (kernels,) * len(graph.ops) if kernels else choose(graph, "xnnpack")
        self._interpreter: MixedInterpreter | None = MixedInterpreter(data, path.name, chosen, threads=threads)
        self.backend = f"litert/{self._interpreter.kernels}"
        self.options = (Fact("kernels", self._interpreter.kernels), *assumptions(self.known))
        self.versions = (package_version("ai-edge-litert"),)
        self._outputs = [graph.tensors[t] for t in graph.outputs]
        self._bind_input(path.name, self._interpreter)

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        import cv2

        values = cv2.LUT(image, self._table).view(self._input.dtype)
        self._input[0] = values.transpose(2, 0, 1) if self._channels_first else values
        assert self._interpreter is not None  # it is closed by its owner alone
        results = self._interpreter.run([self._input])
        return tuple(
            Output(values, tensor.scale if tensor.quantized else 0.0, tensor.zero_point if tensor.quantized else 0)
            for values, tensor in zip(results, self._outputs, strict=True)
        )

    def close(self) -> None:
        self._interpreter = None

    def _bind_input(self, name: str, interpreter: MixedInterpreter) -> None:
        inputs = interpreter.input_details()
        size = self.contract.imgsz
        shapes = [list(map(int, entry["shape"])) for entry in inputs]
        if shapes not in ([[1, size, size, 3]], [[1, 3, size, size]]):
            raise InputError(f"the input of {name} is {', '.join(map(str, shapes))}", f"one RGB image of {size} pixels")
        self._channels_first = shapes[0][3] != 3
        detail = inputs[0]
        dtype = np.dtype(detail["dtype"])
        scale, zero_point = detail["quantization"]
        table = input_table(dtype, float(scale), int(zero_point), self.contract.mean, self.contract.std)
        # cv2.LUT knows few types; bytes are bytes
        table = table.view(np.uint8) if dtype.itemsize == 1 else table
        self._table = table[None] if table.ndim == 2 else table
        self._input = np.empty(shapes[0], dtype)

