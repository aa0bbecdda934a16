"""A float network with its int8 file, and networks broken on purpose: weights scaled, boxes in pixels beside scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeai.artifacts import Contract, Ranges
from edgeai.graph import load_graph
from edgeai.graph.flat import add_buffer, constant, pack, read_tree
from edgeai.graph.types import Op

SIZE = 128


@dataclass(frozen=True)
class Pair:
    """A float TFLite, its int8 file, and what went into it."""

    floats: Path
    int8: Path
    contract: Contract
    ranges: Ranges
    photos: tuple[Path, ...]


def convolutions(model: Path) -> list[Op]:
    graph = load_graph(model)
    return [op for op in graph.ops if op.kind == "CONV_2D" and graph.weights(op) is not None]


def scaled_weights(model: Path, out: Path, op: Op, factor: float) -> Path:
    """A float TFLite with the weights of one operator multiplied."""
    graph, tree = read_tree(model)
    weights = graph.weights(op)
    assert weights is not None
    tree.subgraphs[0].tensors[weights.index].buffer = add_buffer(tree, constant(weights) * np.float32(factor))
    out.write_bytes(pack(tree))
    return out


def pixel_boxes(model: Path, out: Path, imgsz: int) -> Path:
    """A float TFLite of layout concat or split with its boxes in pixels: their convolutions times the size."""
    graph, tree = read_tree(model)
    tensors = tree.subgraphs[0].tensors
    boxes = [op for op in graph.ops if op.kind == "CONV_2D" and graph.tensors[op.outputs[0]].shape[-1:] == (4,)]
    assert len(boxes) == 3
    for op in boxes:
        for part in (graph.weights(op), graph.bias(op)):
            assert part is not None
            tensors[part.index].buffer = add_buffer(tree, constant(part) * np.float32(imgsz))
    out.write_bytes(pack(tree))
    return out


def quantized(model: Path, out: Path, contract: Contract, ranges: Ranges, per_channel: bool = True) -> Path:
    from edgeai.quantize.ptq import quantize, with_contract

    data = quantize(model.read_bytes(), ranges, per_channel, "int8", "int8")
    out.write_bytes(with_contract(data, contract))
    return out
