"""What training minimises: CIoU and DFL for boxes, BCE for classes, BCE per instance for masks.

Formulas: CIoU (Zheng et al. 2020); distribution focal loss (Li et al. 2020); task-aligned weights (Feng et al. 2021);
mask loss as in YOLACT (Bolya et al. 2019): cropped to the box, divided by its area. Gains are YOLOv8's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeai.artifacts import ModelSpec
from edgeai.errors import InputError
from edgeai.training.assigner import Assignment, Targets, assign
from edgeai.training.boxes import anchor_points, ciou, expected_distances, to_boxes

BOX_GAIN = 7.5
SEG_GAIN = 7.5  # YOLOv8 weighs masks with the gain of the boxes
CLS_GAIN = 0.5
DFL_GAIN = 1.5
DFL_MARGIN = 0.01  # a distance may not reach the last bin: there would be no bin to its right


@dataclass(frozen=True, slots=True)
class Losses:
    """The terms with their gains, per image, and their sum. `seg` is zero for a detector."""

    box: Tensor
    seg: Tensor
    cls: Tensor
    dfl: Tensor

    @property
    def total(self) -> Tensor:
        return self.box + self.seg + self.cls + self.dfl

    def values(self) -> Tensor:
        """box, seg, cls, dfl as one detached tensor."""
        return torch.stack([self.box, self.seg, self.cls, self.dfl]).detach()


@dataclass(frozen=True, slots=True)
class Heads:
    """The raw heads with all levels in one: `dfl` [B, A, 4*reg_max], `logits` [B, A, nc], `coefs` [B, A, nm] and
    `proto` [B, nm, h, w] or None; `points` [A, 2], `strides` [A] and the `width` of the input in pixels."""

    dfl: Tensor
    logits: Tensor
    coefs: Tensor | None
    proto: Tensor | None
    points: Tensor
    strides: Tensor
    width: int


def detection_loss(outputs: Sequence[Tensor], targets: Targets, spec: ModelSpec) -> Losses:
    """The losses of a YOLOv8 detect or segment network's raw outputs. Raises InputError for anchor-based heads."""
    heads = join_levels(outputs, spec)
    distances = expected_distances(heads.dfl.detach(), spec.reg_max)
    boxes = to_boxes(heads.points, distances * heads.strides[:, None])
    found = assign(heads.logits.detach().sigmoid(), boxes, heads.points, targets)
    norm = found.weight.sum().clamp(min=1)
    cls = class_loss(heads.logits, targets, found) / norm
    box, dfl = box_losses(heads, targets, found, spec.reg_max)
    seg = heads.logits.sum() * 0  # zero with a gradient, so that every rank of a distributed run sees each weight
    if heads.coefs is not None and heads.proto is not None:
        seg = mask_loss(heads, targets, found)
    return Losses(BOX_GAIN * box / norm, SEG_GAIN * seg, CLS_GAIN * cls, DFL_GAIN * dfl / norm)


def classification_loss(outputs: Sequence[Tensor], labels: Tensor) -> Losses:
    """Cross entropy as the `cls` term."""
    zero = outputs[0].sum() * 0
    return Losses(zero, zero, functional.cross_entropy(outputs[0].float(), labels), zero)


def join_levels(outputs: Sequence[Tensor], spec: ModelSpec) -> Heads:
    """The flat tuple of a network as one tensor of each kind, in at least fp32."""
    if spec.anchors or not spec.reg_max:
        raise InputError(f"{spec.name} has an anchor-based head, which cannot be trained", "use its YOLOv5u or YOLOv8")
    step = 3 if spec.task == "segment" else 2
    levels = [outputs[i * step : (i + 1) * step] for i in range(len(spec.strides))]
    shapes = [(level[0].shape[2], level[0].shape[3]) for level in levels]
    kinds = [torch.cat([_precise(level[k]).flatten(2) for level in levels], 2).transpose(1, 2) for k in range(step)]
    points, strides = anchor_points(shapes, spec.strides, kinds[0])
    segment = step == 3
    return Heads(
        dfl=kinds[0],
        logits=kinds[1],
        coefs=kinds[2] if segment else None,
        proto=_precise(outputs[-1]) if segment else None,
        points=points,
        strides=strides,
        width=shapes[0][1] * spec.strides[0],
    )


def _precise(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


# --- the terms ----------------------------------------------------------------------------------


def class_loss(logits: Tensor, targets: Targets, found: Assignment) -> Tensor:
    """Sum of BCE over anchors and classes; the taught score is the weight of the assignment, else 0. Ignored
    background is left out."""
    wanted = torch.zeros_like(logits)
    wanted[found.image, found.anchor, targets.labels[found.target]] = found.weight.to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return losses.masked_fill(found.ignored[..., None], 0).sum()


def box_losses(heads: Heads, targets: Targets, found: Assignment, reg_max: int) -> tuple[Tensor, Tensor]:
    """Weighted sums over the assigned anchors: 1 - CIoU, and DFL as the mean of the four sides."""
    dfl = heads.dfl[found.image, found.anchor]
    points, strides = heads.points[found.anchor], heads.strides[found.anchor, None]
    wanted = targets.boxes[found.target].to(dfl.dtype)
    boxes = to_boxes(points, expected_distances(dfl, reg_max) * strides)
    box = ((1 - ciou(boxes, wanted)) * found.weight).sum()

    sides = torch.cat([points - wanted[:, :2], wanted[:, 2:] - points], dim=1) / strides
    sides = sides.clamp(0, reg_max - 1 - DFL_MARGIN)
    left = sides.floor()
    bins = dfl.reshape(-1, 4, reg_max).log_softmax(-1)
    lower = bins.gather(2, left.long()[..., None])[..., 0] * (left + 1 - sides)
    upper = bins.gather(2, left.long()[..., None] + 1)[..., 0] * (sides - left)
    return box, (-(lower + upper).mean(1) * found.weight).sum()


def mask_loss(heads: Heads, targets: Targets, found: Assignment) -> Tensor:
    """Mean over the assigned anchors of BCE summed within the object's box over the box's area, both in cells."""
    assert heads.coefs is not None and heads.proto is not None
    coefs = heads.coefs[found.image, found.anchor]
    if not len(found.target):
        return heads.coefs.sum() * 0 + heads.proto.sum() * 0
    cell = heads.width / heads.proto.shape[-1]
    boxes = targets.boxes.to(coefs.dtype) / cell
    result: Tensor = _MaskLoss.apply(coefs, heads.proto, boxes, targets.masks, targets.image, found.target)  # type: ignore[no-untyped-call]
    return result / len(found.target)


class _MaskLoss(torch.autograd.Function):
    """Sum over anchors of mask BCE within the box over its area.

    Anchors of one object share box and mask, so each object is one small matrix product over its box instead of
    prototypes times anchors over the whole image; loss and gradient arise in the same pass. That makes the mask loss
    several times cheaper than autograd over full masks.
    """

    @staticmethod
    def forward(
        ctx: Any, coefs: Tensor, proto: Tensor, boxes: Tensor, masks: Tensor, image: Tensor, target: Tensor
    ) -> Tensor:
        coefs_gradient, proto_gradient = torch.zeros_like(coefs), torch.zeros_like(proto)
        total = coefs.new_zeros(())
        order = target.argsort(stable=True)
        objects, counts = torch.unique_consecutive(target[order], return_counts=True)
        edges = boxes.ceil().clamp(min=0).long().tolist()  # a cell belongs to a box where x1 <= x < x2
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).tolist()
        images, start = image.tolist(), 0
        for item, count in zip(objects.tolist(), counts.tolist(), strict=True):
            rows = order[start : start + count]
            start += count
            x1, y1, x2, y2 = edges[item]
            patch = proto[images[item], :, y1:y2, x1:x2]
            if not patch.numel():
                continue
            flat = patch.flatten(1)
            logits = coefs[rows] @ flat
            wanted = masks[item, y1:y2, x1:x2].to(logits.dtype).flatten()
            total += (functional.softplus(logits) - logits * wanted).sum() / areas[item]
            slope = (logits.sigmoid() - wanted) / areas[item]
            coefs_gradient[rows] = slope @ flat.T
            proto_gradient[images[item], :, y1:y2, x1:x2] += (coefs[rows].T @ slope).view_as(patch)
        ctx.save_for_backward(coefs_gradient, proto_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        coefs_gradient, proto_gradient = ctx.saved_tensors
        return coefs_gradient * gradients[0], proto_gradient * gradients[0], None, None, None, None
