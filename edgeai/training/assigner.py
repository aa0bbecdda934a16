"""Which anchor learns which object: task-aligned assignment (Feng et al. 2021, with YOLOv8's constants)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeai.training.boxes import ciou, intersection_over_first

TOP_K = 10
ALPHA = 0.5
BETA = 6.0
EPS = 1e-9
IGNORE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Targets:
    """The objects of a batch, image after image: `image` [N], `labels` [N], `boxes` [N, 4] xyxy in pixels, `masks`
    [N, h, w] uint8 at the size of the prototypes; regions to ignore: `ignore_image` [M], `ignore` [M, 4]."""

    image: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor
    ignore_image: Tensor
    ignore: Tensor

    def to(self, device: torch.device) -> Targets:
        fields = (self.image, self.labels, self.boxes, self.masks, self.ignore_image, self.ignore)
        return Targets(*(tensor.to(device, non_blocking=True) for tensor in fields))


@dataclass(frozen=True, slots=True)
class Assignment:
    """The anchors that learn an object: their `image` [P], `anchor` [P], `target` [P] (row of the targets) and
    `weight` [P], the score their class is taught. `ignored` [B, A] marks background that is not taught as such."""

    image: Tensor
    anchor: Tensor
    target: Tensor
    weight: Tensor
    ignored: Tensor


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, targets: Targets) -> Assignment:
    """Assign anchors to objects. scores [B, A, nc] in 0..1, boxes [B, A, 4] and points [A, 2] in pixels.

    Alignment is score^0.5 * CIoU^6 where the anchor's point lies within the object's box. An object takes its ten
    best; an anchor taken by several goes to the object it overlaps most. The score an anchor is taught is its
    alignment scaled so that the best of an object equals the best overlap of that object.
    """
    anchors = points.shape[0]
    ignored = _ignored(boxes, targets)
    row, anchor = _inside(points, targets.boxes)
    image = targets.image[row]
    overlap = ciou(targets.boxes[row], boxes[image, anchor]).clamp(min=0)
    alignment = scores[image, anchor, targets.labels[row]].pow(ALPHA) * overlap.pow(BETA)

    count = targets.boxes.shape[0]
    overlaps = boxes.new_full((count, anchors), -1.0)
    alignments = boxes.new_zeros((count, anchors))
    overlaps[row, anchor], alignments[row, anchor] = overlap, alignment
    taken = _take_best(alignments)
    taken = _one_object_each(taken, overlaps, targets.image, scores.shape[0])

    best_alignment = (alignments * taken).amax(1, keepdim=True) if count else alignments.new_zeros((0, 1))
    best_overlap = (overlaps * taken).amax(1, keepdim=True) if count else overlaps.new_zeros((0, 1))
    weights = alignments * best_overlap / (best_alignment + EPS)
    target, chosen = taken.nonzero(as_tuple=True)
    owner = targets.image[target]
    ignored[owner, chosen] = False
    return Assignment(owner, chosen, target, weights[target, chosen], ignored)


def _inside(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (object, anchor) of which the anchor's point lies within the object's box."""
    x, y = points[None, :, 0], points[None, :, 1]
    x1, y1, x2, y2 = (side[:, None] for side in boxes.unbind(1))
    nearest = torch.minimum(torch.minimum(x - x1, y - y1), torch.minimum(x2 - x, y2 - y))
    row, anchor = (nearest > EPS).nonzero(as_tuple=True)
    return row, anchor


def _take_best(alignments: Tensor) -> Tensor:
    """[N, A] bool: the ten best of every object, none without alignment."""
    values, places = alignments.topk(min(TOP_K, alignments.shape[1]), dim=1)
    return torch.zeros_like(alignments, dtype=torch.bool).scatter_(1, places, values > 0)


def _one_object_each(taken: Tensor, overlaps: Tensor, image: Tensor, batch: int) -> Tensor:
    """An anchor taken by several objects of its image goes to the one that overlaps it most, as in YOLOv8 among all
    objects around it."""
    anchors = taken.shape[1]
    counts = torch.zeros((batch, anchors), dtype=torch.int64, device=taken.device).index_add_(0, image, taken.long())
    contested = counts[image] > 1
    if not bool(contested.any()):
        return taken
    index = image[:, None].expand(-1, anchors)
    most = overlaps.new_full((batch, anchors), -1.0).scatter_reduce_(0, index, overlaps, "amax")
    winner = (overlaps == most[image]) & (overlaps >= 0)
    return torch.where(contested, winner & _first_in_image(winner, image, batch), taken)


def _first_in_image(winner: Tensor, image: Tensor, batch: int) -> Tensor:
    """[N, A] bool: of equal winners of one image only the first object."""
    rows = torch.arange(len(image), device=image.device)[:, None].expand_as(winner)
    order = torch.where(winner, rows, len(image))
    index = image[:, None].expand_as(winner)
    first = torch.full((batch, winner.shape[1]), len(image), device=image.device).scatter_reduce_(
        0, index, order, "amin"
    )
    return order == first[image]


def _ignored(boxes: Tensor, targets: Targets) -> Tensor:
    """[B, A] bool: predictions of which at least half lies within a region to ignore."""
    result = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    for image in sorted(set(targets.ignore_image.tolist())):
        regions = targets.ignore[targets.ignore_image == image]
        result[image] = (intersection_over_first(boxes[image], regions) >= IGNORE_SHARE).any(1)
    return result
