"""Scores that mean what they meant: the sigmoids' inputs shifted so that an int8 network is as sure as the float one.

Ranges clip what fires rarely and strongly, which is objects: the logits of what a network finds come out lower, by
0.1 to 0.4 and not alike on every level (YOLOv8n-seg). AP, which only ranks, hardly sees it. A fixed threshold does: at
320 px, per channel, a seventh of the detections above 25 % was gone. One number for every convolution that gives scores
takes it back: added to its bias, it makes the scores of the images add up to what those of the float network do.

Needs no annotations. Nothing is added to the graph, and the order of one level's scores stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeai.artifacts import Contract
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.quantize.improve.tune import paired
from edgeai.quantize.patch import patched
from edgeai.simulate.program import VIEWS, Node, Program

COUNTS_FROM = 0.1  # score: the part above it adds up; below lies the background, thousands to one
FEWEST = 20  # scores above COUNTS_FROM that a shift needs to rest on
LARGEST_SHIFT = 1.0
LOWEST = -5.0  # logit: a score of 0.7 %, which no shift brings above COUNTS_FROM
HALVINGS = 20
BATCH = 8
PASSES = VIEWS | {"QUANTIZE", "DEQUANTIZE"}


def match_scores(quantized: bytes, model: bytes, contract: Contract, images: Tensor) -> bytes:
    """`quantized` with the biases of its score convolutions shifted; `model` is the float TFLite that it was made from.

    `images` [N,S,S,3] as the network takes them. A network without such scores, and a level with hardly any, stays as
    it is. Raises NotSimulatedError for operators that cannot be simulated, ToolError where the files do not belong
    together.
    """
    ours, theirs = Program(quantized), Program(model)
    nodes = score_convolutions(ours, contract)
    twins = {step.ours: step.theirs for step in paired(ours, theirs)}
    found = _logits(ours, nodes, images)
    wanted = _logits(theirs, [twin for node in nodes if (twin := twins[node])], images)
    for node, low, high in zip(nodes, found, wanted, strict=True):
        bias = node.inputs[LAYOUTS[node.kind].bias]
        ours.constants[bias] = ours.constants[bias] + shift(low, high)
    return patched(quantized, ours)


def score_convolutions(program: Program, contract: Contract) -> list[Node]:
    """The operators with weights and a bias whose outputs are the logits of class scores, in the order of the graph."""
    producers = {index: node for node in program.nodes for index in node.outputs}
    logits = [program.outputs[role.index] for role in contract.roles if role.kind == "logits"]
    if any(role.kind in ("scores", "pred") for role in contract.roles):
        logits = [node.inputs[0] for node in program.nodes if node.kind == "LOGISTIC" and _only_moves(program, node)]
    found = []
    for index in logits:
        node = producers.get(index)
        while node is not None and node.kind in PASSES and node.kind != "CONCATENATION":
            node = producers.get(node.inputs[0])
        layout = None if node is None else LAYOUTS.get(node.kind)
        if node is not None and layout is not None and len(node.inputs) > layout.bias and node.inputs[layout.bias] >= 0:
            found.append(node)
    return list(dict.fromkeys(found))  # one convolution may give several


def _only_moves(program: Program, node: Node) -> bool:
    """Whether the results of `node` reach outputs and nothing is computed from them on the way."""
    waiting = list(node.outputs)
    while waiting:
        index = waiting.pop()
        readers = [reader for reader in program.nodes if index in reader.inputs]
        if any(reader.kind not in PASSES for reader in readers) or (not readers and index not in program.outputs):
            return False
        waiting += [result for reader in readers for result in reader.outputs]
    return True


def _logits(program: Program, nodes: list[Node], images: Tensor) -> list[Tensor]:
    """What `nodes` give over all images, each as one row, without the values below LOWEST."""
    found: dict[Node, list[Tensor]] = {node: [] for node in nodes}
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            for node, outputs in program.walk(program.start(images[start : start + BATCH])):
                if node in found:
                    values = outputs[0].reshape(-1)
                    found[node].append(values[values > LOWEST])
    return [torch.cat(parts) for parts in found.values()]


def shift(found: Tensor, wanted: Tensor) -> float:
    """What to add to the logits `found` so that their scores add up as those of the logits `wanted` do; 0 where these
    are too few to say."""
    if int((wanted.sigmoid() > COUNTS_FROM).sum()) < FEWEST:
        return 0.0
    aim, low, high = _mass(wanted), -LARGEST_SHIFT, LARGEST_SHIFT
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _mass(found + middle) > aim else (middle, high)
    return (low + high) / 2


def _mass(logits: Tensor) -> float:
    return float((logits.sigmoid() - COUNTS_FROM).clamp_min(0).double().sum())
