"""Which tensor of a float network an int8 tensor stands for."""

from __future__ import annotations

import math

from edgeai.artifacts import Contract
from edgeai.graph.types import DEQUANTIZERS, QUANTIZERS, Graph, Op
from edgeai.quantize.debug.measure import grid
from edgeai.quantize.debug.surgery import float_sources, is_coded
from edgeai.quantize.ranges.observe import LOWEST_LOGIT, SIGMOID_SATURATION, box_limits

SILU_MINIMUM = -1.28  # where x * sigmoid(x) is least
ENOUGH = 0.5  # of the operators must find their counterpart; below it the two are not one network


def counterparts(coded: Graph, floats: Graph) -> dict[int, int]:
    """int8 tensor -> float tensor for the inputs and the results of operators; empty where the networks do not match.

    TFLite's quantiser keeps order and names of operators: they pair in order where the kinds are the same throughout,
    by the name of their result otherwise. What only requantises stands for the tensor it reads.
    """
    if len(coded.inputs) != len(floats.inputs):
        return {}
    pairs = _in_order(coded, floats) or _by_name(coded, floats)
    working = _working(coded)
    if len(pairs) < ENOUGH * len(working):
        return {}
    found = dict(zip(coded.inputs, floats.inputs, strict=True)) | pairs
    return found | {t: found[source] for t, source in float_sources(coded).items() if source in found}


def _working(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.kind not in QUANTIZERS | DEQUANTIZERS and op.outputs]


def _in_order(coded: Graph, floats: Graph) -> dict[int, int]:
    ours, theirs = _working(coded), _working(floats)
    if [op.kind for op in ours] != [op.kind for op in theirs]:
        return {}
    found: dict[int, int] = {}
    for a, b in zip(ours, theirs, strict=True):
        for t, f in zip(a.outputs, b.outputs, strict=False):
            if coded.tensors[t].shape != floats.tensors[f].shape:
                return {}
            found[t] = f
    return found


def _by_name(coded: Graph, floats: Graph) -> dict[int, int]:
    names: dict[str, int] = {}
    for op in _working(floats):
        for f in op.outputs:
            name = floats.tensors[f].name
            names[name] = -1 if name in names else f
    found = {}
    for op in _working(coded):
        for t in op.outputs:
            f = names.get(coded.tensors[t].name, -1)
            if f >= 0 and coded.tensors[t].shape == floats.tensors[f].shape:
                found[t] = f
    return found


def indifferent(graph: Graph, contract: Contract | None) -> dict[int, tuple[float, float]]:
    """int8 tensor -> the range outside of which its values make no difference to what reads them.

    A tensor that only a sigmoid reads may clip where the sigmoid's own int8 result has reached its last step; class
    logits that leave the network may clip below every threshold, and boxes outside of the image. The calibration uses
    all three, so clipping there is no error.
    """
    found = {}
    for op in graph.ops:
        for t in op.outputs:
            readers = graph.consumers(t)
            if readers and all(reader.kind == "LOGISTIC" for reader in readers):
                found[t] = (-SIGMOID_SATURATION, SIGMOID_SATURATION)
    for role in contract.roles if contract else ():
        if role.kind == "logits":
            t = graph.behind_quantizers(graph.tensors[graph.outputs[role.index]]).index
            found[t] = (LOWEST_LOGIT, math.inf)
    limits = box_limits(contract) if contract else {}
    found.update({graph.behind_quantizers(graph.tensors[graph.outputs[i]]).index: ends for i, ends in limits.items()})
    return found


def silu_inputs(graph: Graph) -> dict[int, tuple[float, float]]:
    """int8 tensor -> its own range, open above, for every x of x * sigmoid(x) whose grid reaches below -1.28.

    There SiLU has its minimum of -0.28 and rises to 0 again: calibration may clip on purpose. What that costs shows
    in the product, which is compared too.
    """
    found = {}
    for op in graph.ops:
        if op.kind != "LOGISTIC":
            continue
        tensor = graph.tensors[op.inputs[0]]
        readers = [reader for reader in graph.consumers(tensor.index) if reader.index != op.index]
        product = any(reader.kind == "MUL" and op.outputs[0] in reader.inputs for reader in readers)
        if len(readers) == 1 and product and is_coded(tensor) and grid(tensor)[0] <= SILU_MINIMUM:
            found[tensor.index] = (grid(tensor)[0], math.inf)
    return found
