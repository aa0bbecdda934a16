"""A TFLite file on LiteRT, each operator by the kernel set that was chosen for it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.errors import InputError, ToolError, need
from edgeai.graph import load_graph
from edgeai.graph.flat import pack, tree_with_constants
from edgeai.graph.tflite import BODIED, read_tflite
from edgeai.graph.types import Graph, Tensor
from edgeai.kernels.plan import choose, shown
from edgeai.kernels.table import SETS, Set
from edgeai.worker import silent_stderr

Array = NDArray[Any]


class MixedInterpreter:
    """Runs the segments of a network one after the other: operators that follow each other on one kernel set.

    `chosen` is the set of every operator, by default that of the table. With `apart`, no operator reads what another
    writes, and each set needs one segment. With `keep_all` every tensor can be read, else only the outputs.
    Raises InputError where LiteRT cannot run an operator, naming it.
    """

    def __init__(
        self, data: bytes, name: str, chosen: Sequence[Set] = (), *, keep_all: bool = False, apart: bool = False,
        threads: int = 1,
    ) -> None:  # fmt: skip
        self.graph = read_tflite(data, name)
        self.chosen = tuple(chosen) or choose(self.graph)
        if not apart and not _divisible(self.graph):
            self.chosen = (_of_all(self.chosen),) * len(self.chosen)
        self.kernels = shown(self.chosen)
        order = sorted(range(len(self.chosen)), key=self.chosen.__getitem__) if apart else range(len(self.chosen))
        parts = [list(group) for _, group in itertools.groupby(order, key=self.chosen.__getitem__)]
        hidden = keep_all and "xnnpack" in self.chosen  # XNNPACK shows outputs alone: all are made outputs
        tree = tree_with_constants(data, name) if len(parts) > 1 or hidden else None
        files = [data if tree is None else _cut_out(self.graph, tree, part, keep_all) for part in parts]
        self._segments = [
            _Segment(file, self.chosen[part[0]], name, keep_all, threads)
            for file, part in zip(files, parts, strict=True)
        ]
        self._held: dict[int, Array] = {}

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs in the file's order. Raises ToolError where an operator fails."""
        self._held = dict(zip(self.graph.inputs, inputs, strict=True))
        for segment in self._segments:
            self._held.update(segment.run(self._held))
        return [self.read(t) for t in self.graph.outputs]

    def input_details(self) -> list[dict[str, Any]]:
        """What LiteRT says of the network's inputs, in the file's order."""
        known = {int(entry["index"]): entry for segment in self._segments for entry in segment.details}
        return [known.get(t) or _details(self.graph.tensors[t]) for t in self.graph.inputs]

    def read(self, tensor: int) -> Array:
        """A tensor of the last run."""
        if tensor in self._held:
            return self._held[tensor]
        for segment in self._segments:
            if tensor in segment.writes:
                return segment.read(tensor)
        found = self.graph.tensors[tensor]
        if found.data is not None:
            return np.frombuffer(found.data, found.dtype).reshape(found.shape)
        raise InputError(f"tensor {tensor} was not kept")


def open_mixed(path: Path, kernels: Set | None = None, *, keep_all: bool = False) -> MixedInterpreter:
    """A TFLite file by the kernel sets that the table names, or all by `kernels`."""
    graph = load_graph(path)
    chosen = () if kernels is None else (kernels,) * len(graph.ops)
    return MixedInterpreter(path.read_bytes(), path.name, chosen, keep_all=keep_all)


class _Segment:
    """One interpreter; `writes` are the tensors that can be read from it."""

    def __init__(self, data: bytes, kernels: Set, name: str, keep_all: bool, threads: int) -> None:
        self._interpreter = open_kernels(data, name, kernels, threads, keep_all)
        self.details: list[dict[str, Any]] = self._interpreter.get_input_details()
        self._inputs = [int(entry["index"]) for entry in self.details]
        self._outputs = [int(entry["index"]) for entry in self._interpreter.get_output_details()]
        self._name = name
        self.writes = {int(entry["index"]) for entry in self._interpreter.get_tensor_details()} if keep_all else set()

    def run(self, held: Mapping[int, Array]) -> dict[int, Array]:
        try:
            for index in self._inputs:
                self._interpreter.set_tensor(index, held[index])
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ToolError(f"LiteRT failed on {self._name}: {_line(error)}", "try other --kernels") from None
        return {index: self._interpreter.get_tensor(index) for index in self._outputs}

    def read(self, tensor: int) -> Array:
        values: Array = self._interpreter.get_tensor(tensor)
        return values


def open_kernels(data: bytes, name: str, kernels: str, threads: int = 1, keep_all: bool = False) -> Any:
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
        with silent_stderr():
            made = Interpreter(
                model_content=data,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_all,
            )
            made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        hint = "is the file complete? --kernels builtin has the most operators"
        raise InputError(f"LiteRT's {kernels} kernels cannot run {name}: {_line(error)}", hint) from None
    return made


def _divisible(graph: Graph) -> bool:
    """Whether a network can be cut between operators: not where one runs networks of its own, or sizes are open."""
    bodies = any(op.kind in BODIED or op.kind.startswith("STABLEHLO_") for op in graph.ops)
    return not bodies and not any(-1 in tensor.shape for tensor in graph.tensors)


def _of_all(chosen: Sequence[Set]) -> Set:
    """The one set for a network that cannot be cut: the first that any operator wants besides the reference."""
    return next((kernels for kernels in chosen if kernels != SETS[0]), SETS[0])


def _details(tensor: Tensor) -> dict[str, Any]:
    """An input that no operator reads, as LiteRT describes one."""
    scale, zero_point = (tensor.scale, tensor.zero_point) if tensor.quantized else (0.0, 0)
    return {"shape": tensor.shape, "dtype": np.dtype(tensor.dtype), "quantization": (scale, zero_point)}


def _cut_out(graph: Graph, tree: Any, part: Sequence[int], keep_all: bool) -> bytes:
    """The file that holds some operators only; tensors keep their numbers."""
    tree = copy.copy(tree)
    main = copy.copy(tree.subgraphs[0])
    tree.subgraphs = [main, *tree.subgraphs[1:]]
    ops = [graph.ops[place] for place in part]
    written = {t for op in ops for t in op.outputs if t >= 0}
    computed = {t for op in graph.ops for t in op.outputs} | set(graph.inputs)  # not constants, nor a layer's own state
    read = {t for op in ops for t in op.inputs} & computed
    inside = set(part)
    later = {t for op in graph.ops if op.index not in inside for t in op.inputs} | set(graph.outputs)
    main.operators = [copy.copy(main.operators[place]) for place in part]
    # a code that a kernel set lacks is refused, whether an operator has it or not
    used = sorted({operator.opcodeIndex for operator in main.operators})
    tree.operatorCodes = [tree.operatorCodes[code] for code in used]
    for operator in main.operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    main.inputs = sorted(read - written)
    main.outputs = sorted(written if keep_all else written & later)
    tree.signatureDefs = tree.metadata = None
    return pack(tree)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
