"""Two other networks out of an int8 file: the float one it stands for, and one whose layers do not hear each other."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeai.graph.flat import add_buffer, pack, real
from edgeai.graph.types import DEQUANTIZERS, QUANTIZERS, Graph, Tensor

INTEGERS = frozenset({"int8", "uint8", "int16", "int32", "int64"})


def is_coded(tensor: Tensor) -> bool:
    """Whether the integers of a tensor stand for real numbers."""
    return tensor.quantized and tensor.dtype in INTEGERS and tensor.scale > 0


def float_sources(graph: Graph) -> dict[int, int]:
    """For the result of every operator that only turns numbers into integers or back: the tensor it was made from."""
    found: dict[int, int] = {}
    for op in graph.ops:
        if op.kind in QUANTIZERS | DEQUANTIZERS and op.outputs:
            source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
            if is_coded(source) or is_coded(result):
                found[result.index] = found.get(source.index, source.index)
    return found


def simulation(graph: Graph, tree: Any) -> bytes:
    """The float network that an int8 file stands for: its rounded weights, and activations that are not rounded.

    Tensors keep their indices; those of `float_sources` are computed no more.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    tree = copy.deepcopy(tree)
    main = tree.subgraphs[0]
    for tensor in graph.tensors:
        if is_coded(tensor):
            entry = main.tensors[tensor.index]
            entry.type, entry.quantization = TensorType.FLOAT32, None
            if tensor.is_constant:
                entry.buffer = add_buffer(tree, real(tensor).astype(np.float32))
    aliases = float_sources(graph)
    kept = []
    for op, entry in zip(graph.ops, main.operators, strict=True):
        if op.outputs[:1] and op.outputs[0] in aliases:
            continue
        entry.inputs = [aliases.get(index, index) for index in op.inputs]
        kept.append(entry)
    main.operators = kept
    main.outputs = [aliases.get(index, index) for index in graph.outputs]
    tree.signatureDefs = tree.metadata = None
    return pack(tree)


@dataclass(frozen=True, slots=True)
class Cut:
    """A network in which every layer reads inputs of its own.

    `twins` gives for a tensor the place, among the inputs of the file, of the copy that its readers read; `results`
    for every tensor that an operator writes its place among the outputs.
    """

    data: bytes
    twins: dict[int, int]
    results: dict[int, int]


def cut(graph: Graph, tree: Any) -> Cut:
    """Between every operator and its readers the wire is cut: one run then computes every layer from given inputs."""
    tree = copy.deepcopy(tree)
    main = tree.subgraphs[0]
    written = [index for op in graph.ops for index in op.outputs]
    twins: dict[int, int] = {}
    for index in written:
        if graph.consumers(index):
            main.tensors.append(copy.copy(main.tensors[index]))
            twins[index] = len(main.tensors) - 1
    for op, entry in zip(graph.ops, main.operators, strict=True):
        entry.inputs = [twins.get(index, index) for index in op.inputs]
    main.inputs = [*graph.inputs, *twins.values()]
    main.outputs = written
    tree.signatureDefs = tree.metadata = None
    places = {index: place for place, index in enumerate((*graph.inputs, *twins))}
    return Cut(pack(tree), places, {index: place for place, index in enumerate(written)})
