"""The same network on this computer: inputs for a board in its own quantization, and the outputs to expect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import TensorAudit
from edgeai.errors import InputError, ToolError
from edgeai.evaluate.backends.base import input_table
from edgeai.files import existing_file
from edgeai.graph import load_graph
from edgeai.graph.types import Graph
from edgeai.imaging.images import canvas, laid_out, read_image
from edgeai.kernels.interpreter import MixedInterpreter, open_mixed
from edgeai.kernels.plan import doubts
from edgeai.kernels.table import Set, other_version
from edgeai.recognise.know import know

SEED = 7
NAMED = 3  # operators that a note names


class HostModel:
    """A TFLite file on LiteRT: every operator by the kernel set that computes it right, or all by `asked`.

    Raises InputError where the file is missing or unsound.
    """

    def __init__(self, path: Path, asked: Set | None = None) -> None:
        existing_file(path, "a .tflite file")
        if path.suffix.lower() != ".tflite":
            raise InputError(f"{path.name} is no TFLite file", "a board runs .tflite files: edgeai quantize makes one")
        self.path, self._asked = path, asked
        self.graph: Graph = load_graph(path)
        self.inputs = _audits(self.graph, self.graph.inputs)
        self.outputs = _audits(self.graph, self.graph.outputs)
        self._interpreter: MixedInterpreter | None = None

    def open(self) -> MixedInterpreter:
        """The network, ready to run. Raises InputError where LiteRT cannot run an operator."""
        if self._interpreter is None:
            self._interpreter = open_mixed(self.path, self._asked)
        return self._interpreter

    @property
    def kernels(self) -> str:
        """The kernel sets in use, `litert/...`."""
        return f"litert/{self.open().kernels}"

    def expected(self, inputs: Sequence[Sequence[NDArray[Any]]]) -> tuple[list[list[NDArray[Any]]], str]:
        """The outputs for every list of inputs; or none, and why this computer cannot compute them."""
        try:
            self.open()
            return [self.run(each) for each in inputs], ""
        except (InputError, ToolError) as error:
            return [], error.message

    def doubts(self) -> tuple[str, ...]:
        """Notes on operators that the kernels in use are known to compute wrong, and on kernels nobody measured."""
        found = doubts(self.graph, self.open().chosen)
        if not found:
            return (other_version(),) if other_version() else ()
        shown = ", ".join(map(str, found[:NAMED])) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
        return (f"not computed right on this computer: {shown}; a difference may be its own",)

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs in the file's order."""
        return [values.copy() for values in self.open().run(inputs)]

    def image_inputs(self, images: Sequence[Path]) -> Iterable[list[NDArray[Any]]]:
        """Every image as the network's one input. Raises InputError for a network that takes no image."""
        if not images:
            return
        if len(self.inputs) != 1:
            raise InputError(f"{self.path.name} has {len(self.inputs)} inputs, not one image", "use --random 3")
        contract = know(self.graph, self.path.stem).takes_pictures(self.path.name)
        entry = self.inputs[0]
        table = input_table(np.dtype(entry.dtype), entry.scale, entry.zero_point, contract.mean, contract.std)
        for image in images:
            yield [laid_out(pixels(canvas(read_image(image), contract), table)[None], entry.shape)]

    def random_inputs(self, count: int) -> Iterable[list[NDArray[Any]]]:
        """Seeded noise over the whole range of every input."""
        generator = np.random.default_rng(SEED)
        for _ in range(count):
            yield [_noise(generator, entry) for entry in self.inputs]


def pixels(image: NDArray[np.uint8], table: NDArray[Any]) -> NDArray[Any]:
    """An image [H, W, 3] through the table of `input_table`."""
    result: NDArray[Any] = table[image] if table.ndim == 1 else table[image, np.arange(3)]
    return result


def _noise(generator: np.random.Generator, entry: TensorAudit) -> NDArray[Any]:
    dtype = np.dtype(entry.dtype)
    if dtype.kind == "f":
        return generator.random(entry.shape).astype(dtype)
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, entry.shape, dtype=dtype, endpoint=True)


def _audits(graph: Graph, indices: Sequence[int]) -> tuple[TensorAudit, ...]:
    found = []
    for index in indices:
        tensor = graph.tensors[index]
        scale, zero_point = (tensor.scale, tensor.zero_point) if tensor.quantized else (0.0, 0)
        found.append(TensorAudit(tensor.name, tuple(tensor.shape), tensor.dtype, scale, zero_point))
    return tuple(found)
