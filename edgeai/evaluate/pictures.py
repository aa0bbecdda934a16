"""What only pictures can tell of a network's outputs: whether boxes are in pixels or in 0..1, and whether rows that are
read as scores behave like scores. An empty picture tells nothing.

Both are needed only where a file says nothing about itself and its graph shows nothing (`edgeai.recognise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeai.artifacts import Contract
from edgeai.errors import InputError
from edgeai.evaluate.decode import Output, OutputReader, decode

SURE = 0.25  # a score from which on a detection is one
UNIT_REACH, PIXEL_REACH = 2.0, 4.0  # corners of boxes in 0..1 stay below the first; of boxes in pixels reach the second
# Of all anchors, above the score SURE in one class: a photo has objects in some places. Key points, angles and depths
# that are read as scores are large everywhere.
EVERYWHERE = 0.8
FEWEST_ANCHORS = 32
SCORE_MARGIN = 1e-3  # half precision rounds 1 up by as much
SCORED = ("pred", "pred5", "scores", "detections")
CORNERS = 0.98  # of all anchors


def settled(contract: Contract, outputs: Sequence[Output], lowest: float = SURE) -> Contract:
    """`contract` with the unit of its boxes where the detections above `lowest` of one picture show it.

    Raises InputError where they show neither: boxes of two pixels are no boxes, and neither are boxes of three images.
    """
    if contract.box_unit:
        return contract
    found = decode(outputs, replace(contract, box_unit=1.0), lowest)
    if not len(found.rows):
        return contract
    reach = float(np.abs(found.boxes[np.unique(found.rows)]).max())
    if reach <= UNIT_REACH:
        return replace(contract, box_unit=float(contract.imgsz))
    if reach >= PIXEL_REACH:
        return replace(contract, box_unit=1.0)
    raise InputError(
        f"the boxes of {contract.spec.name} reach {reach:.2f}: neither pixels nor 0..1", "pass --boxes pixels or unit"
    )


def refuse_what_are_no_scores(contract: Contract, outputs: Sequence[Output]) -> None:
    """Raises InputError where a picture speaks against the head that was taken for the shape of its outputs alone."""
    found = decode(outputs, replace(contract, box_unit=contract.box_unit or 1.0), SURE)
    anchors = _anchors(contract, outputs)
    if anchors < FEWEST_ANCHORS or not len(found.rows):
        return
    counts = np.bincount(found.classes)
    if counts.max() >= EVERYWHERE * anchors:
        raise InputError(
            f"{contract.spec.name}: {contract.spec.names[int(counts.argmax())]} scores above {SURE} at "
            f"{int(counts.max())} of {anchors} anchors: those are no scores",
            f"the head was taken for its shape alone: --head {contract.head} insists",
        )


def refuse_beyond_one(contract: Contract, outputs: Sequence[Output]) -> None:
    """Raises InputError for scores above 1, up to a step of their scale: those are no scores."""
    scored = [outputs[role.index] for role in contract.roles if role.kind in SCORED]
    step = max((max(output.scale, output.step) for output in scored), default=0.0)
    found = decode(outputs, replace(contract, box_unit=contract.box_unit or 1.0), 1 + max(step, SCORE_MARGIN))
    if len(found.scores):
        raise InputError(
            f"{contract.spec.name} gives a score of {float(found.scores.max()):.4g}: its outputs are something else",
            "edgeai inspect says what it takes them for and why; --head says it better",
        )


def refuse_corners(contract: Contract, outputs: Sequence[Output]) -> None:
    """Raises InputError where what is read as centres and sizes are corners: (x1, y1, x2, y2) at every anchor.

    Boxes lie all over a picture, most of them further from its corner than they are large.
    """
    role = next((role for role in contract.roles if role.kind in ("pred", "pred5", "boxes")), None)
    if role is None:
        return
    values = OutputReader(outputs, contract).table(role)
    boxes = values.columns(0, 4).rows(np.arange(len(values.values)))
    reach = np.abs(boxes).max(axis=1, initial=0.0)
    boxes = boxes[reach > reach.max(initial=0.0) / 100]
    if len(boxes) >= FEWEST_ANCHORS and np.mean((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])) > CORNERS:
        raise InputError(
            f"{contract.spec.name} gives boxes by their corners, which is not read in this place",
            "export it with centres and sizes (cx, cy, w, h), or end to end",
        )


def _anchors(contract: Contract, outputs: Sequence[Output]) -> int:
    role = next((role for role in contract.roles if role.kind in ("pred", "pred5", "scores")), None)
    if role is None:
        return 0
    return int(max(outputs[role.index].array.shape[1:]))
