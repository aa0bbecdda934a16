"""Test-time augmentation: the same image in several views, and their detections merged.

A view is the image at a smaller scale in the middle of the canvas, mirrored or not, so that it works for every
back-end, boards included: the size of the input never changes. Boxes and prototypes are brought back before masks are
made, so a mirrored mask is exact.

The merge is weighted boxes fusion (Solovyev, Wang, Gabruseva: Weighted boxes fusion, 2021) with masks: detections of
all views by descending score; each joins the first cluster of its class whose best member it overlaps by more than
the NMS threshold, in masks where both have one and in boxes otherwise, and of which its view is not yet a member; else
it founds one. A cluster becomes one detection: its score is the sum of the scores over the number of views, so what
one view alone sees counts less; its box is the mean weighted by score; a pixel is in its mask where more than half of
the weight says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.evaluate.backends.base import Runner
from edgeai.evaluate.decode import decode
from edgeai.evaluate.masks import Rle, encode_masks
from edgeai.evaluate.postprocess import Detections, Thresholds, suppressed
from edgeai.imaging.images import PAD_VALUE, letterbox

SIZE_STEP = 32  # pixels: the content stays on the grid of the prototypes
DESCRIPTION = "mask-aware weighted fusion"


@dataclass(frozen=True, slots=True)
class View:
    """One way to show an image: `scale` of the canvas it fills, `mirrored` left to right."""

    scale: float
    mirrored: bool

    def side(self, imgsz: int) -> int:
        """Pixels of the content, a multiple of 32."""
        return min(imgsz, max(SIZE_STEP, round(imgsz * self.scale / SIZE_STEP) * SIZE_STEP))


VIEWS = tuple(View(scale, mirrored) for scale in (1.0, 0.85) for mirrored in (False, True))


def describe(views: Sequence[View], imgsz: int) -> str:
    """The views in words, for the protocol."""
    names = [f"{view.side(imgsz)} px{' mirrored' if view.mirrored else ''}" for view in views]
    return f"{', '.join(names)}; {DESCRIPTION}"


def detect_views(
    runner: Runner, image: NDArray[np.uint8], thresholds: Thresholds, views: Sequence[View] = VIEWS
) -> Detections:
    """The merged detections of `image` [H, W, 3] in all `views`. Raises InputError as `decode` does."""
    return merge([_in_view(runner, image, thresholds, view) for view in views], thresholds)


def _in_view(runner: Runner, image: NDArray[np.uint8], thresholds: Thresholds, view: View) -> Detections:
    size, side = runner.input_size, view.side(runner.input_size)
    inner, transform = letterbox(image, side)
    start = (size - side) // 2
    canvas: NDArray[np.uint8] = np.full((size, size, 3), PAD_VALUE, np.uint8)
    canvas[start : start + side, start : start + side] = inner
    shown = np.ascontiguousarray(canvas[:, ::-1]) if view.mirrored else canvas
    outputs = runner.infer(shown)
    found = decode(outputs, runner.see(outputs, thresholds.conf), thresholds.conf)
    boxes = _unmirrored(found.boxes, size) if view.mirrored else found.boxes
    boxes = boxes - np.float32(start)
    kept = suppressed(replace(found, boxes=boxes), runner.contract, thresholds)
    rows = found.rows[kept]
    whole = transform.to_image(boxes[rows])
    masks: tuple[Rle, ...] = ()
    if found.proto is not None:
        proto = _content(found.proto[:, ::-1] if view.mirrored else found.proto, size, start, side)
        masks = encode_masks(whole, found.coefs[rows], proto, transform.height, transform.width)
    seen = _with_area(whole)
    masks = tuple(mask for mask, use in zip(masks, seen, strict=True) if use) if masks else ()
    return Detections(whole[seen], found.scores[kept][seen], found.classes[kept][seen], masks)


def _unmirrored(boxes: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    result = boxes.copy()
    result[:, 0], result[:, 2] = size - boxes[:, 2], size - boxes[:, 0]
    return result


def _content(proto: NDArray[np.float32], size: int, start: int, side: int) -> NDArray[np.float32]:
    """The prototypes of the part of the canvas that the view fills."""
    stride = size / proto.shape[0]
    first, last = round(start / stride), round((start + side) / stride)
    return np.ascontiguousarray(proto[first:last, first:last])


def _with_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes lie in the image: around a smaller view there is padding to see things in."""
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


# --- merging ------------------------------------------------------------------------------------


def merge(found: Sequence[Detections], thresholds: Thresholds) -> Detections:
    """One set of detections out of those of several views of one image, best first."""
    count = len(found)
    boxes = np.concatenate([entry.boxes for entry in found])
    scores = np.concatenate([entry.scores for entry in found])
    classes = np.concatenate([entry.classes for entry in found])
    views = np.concatenate([np.full(len(entry.scores), i) for i, entry in enumerate(found)])
    masks = [mask for entry in found for mask in entry.masks]
    clusters = [
        members
        for label in sorted(set(classes.tolist()))
        for members in _clusters(np.flatnonzero(classes == label), boxes, scores, views, masks, thresholds.iou)
    ]
    # int8 scores tie often: equal ones keep the order in which NMS left them
    fused = sorted(((float(scores[m].sum()) / count, m) for m in clusters), key=lambda entry: (-entry[0], entry[1][0]))
    fused = [(score, members) for score, members in fused if score > thresholds.conf][: thresholds.max_det]
    weights = [scores[members] / scores[members].sum() for _, members in fused]
    return Detections(
        boxes=np.array([w @ boxes[m] for w, (_, m) in zip(weights, fused, strict=True)], np.float32).reshape(-1, 4),
        scores=np.array([score for score, _ in fused], np.float32),
        classes=np.array([classes[m[0]] for _, m in fused], np.int64),
        masks=_voted([([masks[i] for i in m], w) for w, (_, m) in zip(weights, fused, strict=True)]) if masks else (),
    )


def _clusters(
    members: NDArray[np.int64],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    views: NDArray[np.int64],
    masks: Sequence[Rle],
    iou: float,
) -> list[NDArray[np.int64]]:
    """The detections of one class in groups, at most one of each view in a group; the best of a group first."""
    order = members[np.argsort(-scores[members], kind="stable")]
    overlaps = _overlaps([masks[i] for i in order] if masks else [], boxes[order]) > iou
    groups: list[list[int]] = []
    for place, index in enumerate(order.tolist()):
        for group in groups:
            if overlaps[group[0], place] and all(views[order[other]] != views[index] for other in group):
                group.append(place)
                break
        else:
            groups.append([place])
    return [order[group] for group in groups]


def _overlaps(masks: Sequence[Rle], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of every pair: of masks where there are some that are not empty, else of boxes."""
    from pycocotools import mask as coco_mask

    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    plain = [0] * len(boxes)
    by_box: NDArray[np.float64] = np.asarray(coco_mask.iou(sides, sides, plain), np.float64)
    if not masks:
        return by_box
    coded = [_coded(mask) for mask in masks]
    by_mask: NDArray[np.float64] = np.asarray(coco_mask.iou(coded, coded, plain), np.float64)
    there = np.asarray(coco_mask.toBbox(coded))[:, 2] > 0
    return np.where(there[:, None] & there[None, :], by_mask, by_box)


def _voted(groups: Sequence[tuple[Sequence[Rle], NDArray[np.float32]]]) -> tuple[Rle, ...]:
    """The mask of every group: pixels with more than half of the weight."""
    from pycocotools import mask as coco_mask

    result = []
    for masks, weights in groups:
        if len(masks) == 1 or float(weights[0]) > 0.5:  # the heaviest alone decides
            result.append(masks[0])
            continue
        votes = sum(
            weight * coco_mask.decode(_coded(mask)).astype(np.float32)
            for mask, weight in zip(masks, weights.tolist(), strict=True)
        )
        coded = coco_mask.encode(np.asfortranarray(np.asarray(votes) > 0.5, np.uint8))
        result.append(Rle(masks[0].height, masks[0].width, coded["counts"]))
    return tuple(result)


def _coded(mask: Rle) -> dict[str, Any]:
    return {"size": [mask.height, mask.width], "counts": mask.counts}
