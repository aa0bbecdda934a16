"""Cross-layer equalisation: channels that one scale for all weights would starve, levelled between layers.

Where a convolution's channel reaches the next one through nothing but what commutes with a positive factor, its
weights may be divided by any s > 0 and the next one's be multiplied by it: the network computes the same. With
s = sqrt(r1 / r2), r1 and r2 the largest weights of the channel before and after, both layers use the grid of a whole
tensor equally well (Nagel et al., Data-Free Quantization, 2019, section 4.1).

That holds through ReLU, LeakyReLU, pooling, nearest resizing and no activation at all. It does not hold through SiLU:
x * sigmoid(x) has a knee at a fixed place, and s * SiLU(x / s) is another function for every s but 1. So nothing is
done there: in YOLOv8n-seg one pair is left, the learned upsampling of the prototypes and the convolution behind it.
Trained with ReLU it has several times as many, and whether levelling them helps is judged on images (`worth_trying`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.graph.tflite import read_tflite
from edgeai.graph.types import Graph, Op
from edgeai.quantize.bias import LAYOUTS
from edgeai.quantize.flat import add_buffer, constant, pack, real, tree_of

Floats = NDArray[np.float32]

HOMOGENEOUS = frozenset({"", "relu"})  # fused activations with f(s * x) = s * f(x) for s > 0
# operators of that kind that keep every channel to itself; PAD fills with zeros
THROUGH = frozenset({"RELU", "LEAKY_RELU", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"})
ROUNDS = 20  # pairs share layers, so levelling one disturbs the next
WORTH = 4  # pairs; fewer do not pay for a second calibration
ENOUGH = 1e-3  # relative change of a factor
WIDEST = 1e3  # no factor of a round beyond it: a channel that is nearly dead is not blown up


@dataclass(frozen=True, slots=True)
class Pair:
    """A weighted operator and those that read its channels, all of them, through homogeneous operators alone."""

    first: Op
    readers: tuple[Op, ...]


def pairs(graph: Graph) -> list[Pair]:
    """What can be equalised in a float TFLite, in the order of the graph."""
    found = []
    for op in graph.ops:
        if op.kind not in LAYOUTS or op.activation not in HOMOGENEOUS:
            continue
        readers = _readers(graph, op.outputs[0])
        if readers and all(_own_constants(graph, entry) for entry in (op, *readers)):
            found.append(Pair(op, readers))
    return found


def worth_trying(model: bytes) -> bool:
    """Whether a float TFLite has enough pairs for a judge to look at its equalised form as well."""
    return len(pairs(read_tflite(model))) >= WORTH


def equalise(model: bytes) -> tuple[bytes, int]:
    """A float TFLite that computes the same as `model` with its pairs equalised, and how many there are.

    Deterministic. Raises InputError for what is no sound TFLite.
    """
    graph = read_tflite(model)
    found = pairs(graph)
    if not found:
        return model, 0
    weights = {i: _values(graph, i) for pair in found for op in (pair.first, *pair.readers) for i in _constants(op)}
    for _ in range(ROUNDS):
        if max(_level(pair, weights) for pair in found) < ENOUGH:
            break
    tree = tree_of(model)
    for index, values in weights.items():
        tree.subgraphs[0].tensors[index].buffer = add_buffer(tree, values)
    return pack(tree), len(found)


def _level(pair: Pair, weights: dict[int, Floats]) -> float:
    """Equalise one pair in place; returns the largest relative change."""
    first = LAYOUTS[pair.first.kind]
    before = _largest(weights[pair.first.inputs[first.weights]], first.output_axis)
    after = np.max([_largest(weights[r.inputs[_weights(r)]], _read_axis(r)) for r in pair.readers], axis=0)
    alive = (before > 0) & (after > 0)
    factor = np.ones_like(before)
    factor[alive] = np.sqrt(before[alive] / after[alive]).clip(1 / WIDEST, WIDEST)
    _multiply(weights, pair.first.inputs[first.weights], 1 / factor, first.output_axis)
    if len(_constants(pair.first)) > 1:
        _multiply(weights, pair.first.inputs[first.bias], 1 / factor, 0)
    for reader in pair.readers:
        _multiply(weights, reader.inputs[_weights(reader)], factor, _read_axis(reader))
    return float(np.abs(factor - 1).max())


def _readers(graph: Graph, tensor: int) -> tuple[Op, ...]:
    """The weighted operators that read `tensor`, through homogeneous operators or at once; none where anything else
    reads it or it is an output."""
    channels = graph.tensors[tensor].shape[-1]
    found: list[Op] = []
    open_ends = [tensor]
    while open_ends:
        index = open_ends.pop()
        if index in graph.outputs:
            return ()
        for op in graph.consumers(index):
            if op.kind in THROUGH and op.activation in HOMOGENEOUS:
                open_ends.append(op.outputs[0])
            elif op.kind in LAYOUTS and op.inputs[LAYOUTS[op.kind].data] == index and _reads(graph, op, channels):
                found.append(op)
            else:
                return ()
    return tuple(found)


def _reads(graph: Graph, op: Op, channels: int) -> bool:
    """Whether every weight of `op` along its reading axis belongs to one channel: neither grouped nor flattened."""
    return graph.tensors[op.inputs[_weights(op)]].shape[_read_axis(op)] == channels


def _own_constants(graph: Graph, op: Op) -> bool:
    """Whether the operator's weights and bias are float constants that no other operator reads."""
    return all(
        graph.tensors[i].dtype == "float32" and graph.tensors[i].is_constant and len(graph.consumers(i)) == 1
        for i in _constants(op)
    )


def _constants(op: Op) -> tuple[int, ...]:
    """The tensors of the weights and, where there is one, of the bias."""
    layout = LAYOUTS[op.kind]
    places = (layout.weights, layout.bias)
    return tuple(op.inputs[place] for place in places if place < len(op.inputs) and op.inputs[place] >= 0)


def _weights(op: Op) -> int:
    return LAYOUTS[op.kind].weights


def _read_axis(op: Op) -> int:
    return LAYOUTS[op.kind].input_axis


def _values(graph: Graph, index: int) -> Floats:
    return np.array(constant(graph.tensors[index]), np.float32)


def _largest(weights: Floats, axis: int) -> Floats:
    others = tuple(a for a in range(weights.ndim) if a != axis)
    return np.asarray(np.abs(weights).max(axis=others), np.float32)


def _multiply(weights: dict[int, Floats], index: int, factor: NDArray[Any], axis: int) -> None:
    shape = [-1 if a == axis else 1 for a in range(weights[index].ndim)]
    weights[index] *= factor.reshape(shape)


def was_equalised(quantized: Graph, model: bytes) -> bool:
    """Whether the int8 file was made from the equalised form of the float TFLite `model` and not from `model` itself:
    its weights are nearer to those."""
    plain = read_tflite(model)
    levelled = read_tflite(equalise(model)[0])
    place = {op.index: number for number, op in enumerate(_weighted(plain))}
    coded = _weighted(quantized)
    miss = [0.0, 0.0]
    for pair in pairs(plain):
        if len(coded) != len(place):
            return False
        found = quantized.tensors[coded[place[pair.first.index]].inputs[_weights(pair.first)]]
        for number, graph in enumerate((plain, levelled)):
            exact = _values(graph, pair.first.inputs[_weights(pair.first)])
            if found.shape != exact.shape or not found.scales:
                return False
            miss[number] += float(((real(found) - exact) ** 2).sum() / (exact**2).sum())
    return miss[1] < miss[0]


def _weighted(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.kind in LAYOUTS]
