"""Where advice applies: a network without a decoded head gains nothing from another head layout."""

from __future__ import annotations

from edgeai.errors import InputError
from edgeai.graph.contract import input_size, read_contract
from edgeai.graph.types import Graph

STRIDES = (8, 16, 32)
ANCHORS = (1, 3)  # boxes of a cell: anchor-free heads, and YOLOv5's


def has_decoded_head(graph: Graph) -> bool:
    """Whether the network ends in the decoded head of a YOLO network, which `--layout raw` would leave out.

    Told by the contract inside the file; in others by an output of three dimensions, one of which counts the cells of
    all levels. A raw head, a classifier and an SSD have none.
    """
    try:
        contract = read_contract(graph)
    except InputError:
        return False
    if contract is not None:
        return contract.layout != "raw" and contract.spec.task in ("detect", "segment")
    size = input_size(graph)
    if size is None:
        return False
    cells = sum((size // stride) ** 2 for stride in STRIDES)
    counts = {cells * boxes for boxes in ANCHORS}
    shapes = [graph.tensors[index].shape for index in graph.outputs]
    return any(len(shape) == 3 and counts & set(shape[1:]) for shape in shapes)
