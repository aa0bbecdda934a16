"""From the outputs of a network to detections in the image: decode, NMS, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract
from edgeai.errors import InputError
from edgeai.evaluate.decode import Candidates, Output, decode
from edgeai.evaluate.masks import Rle, encode_masks
from edgeai.evaluate.nms import IOU, MAX_DETECTIONS, nms
from edgeai.imaging.images import Letterbox


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The three numbers of post-processing. The defaults are those of AP; an application uses conf 0.25 or so."""

    conf: float = 0.001
    iou: float = IOU
    max_det: int = MAX_DETECTIONS

    def __post_init__(self) -> None:
        if not 0 <= self.conf < 1:
            raise InputError(f"confidence {self.conf} is not within 0..1", "0.001 for AP, 0.25 for an application")
        if not 0 < self.iou <= 1:
            raise InputError(f"NMS IoU {self.iou} is not within 0..1", "0.7 is usual")
        if self.max_det < 1:
            raise InputError(f"at most {self.max_det} detections is none", "300 is usual")


@dataclass(frozen=True, slots=True)
class Detections:
    """K detections of one image, best first: `boxes` [K, 4] xyxy in image pixels, `scores` [K], `classes` [K] (index
    into the model's names), `masks` K masks at image size, empty for a detection network."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: tuple[Rle, ...]


def suppressed(found: Candidates, contract: Contract, thresholds: Thresholds) -> NDArray[np.int64]:
    """The candidates that stay, best first: by NMS, or all of a network that selects its detections itself."""
    if contract.layout == "end2end":
        return np.argsort(-found.scores, kind="stable")[: thresholds.max_det]
    return nms(found.boxes[found.rows], found.scores, found.classes, thresholds.iou, thresholds.max_det)


def postprocess(
    outputs: Sequence[Output], contract: Contract, transform: Letterbox, thresholds: Thresholds
) -> Detections:
    """Decode, NMS in letterboxed pixels, then boxes and masks in the image. Raises InputError as `decode` does."""
    found = decode(outputs, contract, thresholds.conf)
    kept = suppressed(found, contract, thresholds)
    rows = found.rows[kept]
    boxes = transform.to_image(found.boxes[rows])
    masks: tuple[Rle, ...] = ()
    if found.proto is not None:
        masks = encode_masks(boxes, found.coefs[rows], found.proto, transform.height, transform.width)
    return Detections(boxes=boxes, scores=found.scores[kept], classes=found.classes[kept], masks=masks)
