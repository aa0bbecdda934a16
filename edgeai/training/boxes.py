"""Boxes in torch, xyxy in pixels: overlap measures, anchor points and the decode of the box distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

EPS = 1e-7


def ciou(first: Tensor, second: Tensor) -> Tensor:
    """Complete IoU of paired boxes [..., 4] -> [...].

    CIoU = IoU - d² / c² - a v, with d the distance of the centres, c the diagonal of the box around both,
    v = 4/π² (atan(w2/h2) - atan(w1/h1))², a = v / (1 - IoU + v) taken as a constant (Zheng et al. 2020).
    """
    ax1, ay1, ax2, ay2 = first.unbind(-1)
    bx1, by1, bx2, by2 = second.unbind(-1)
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1 + EPS, bx2 - bx1, by2 - by1 + EPS
    inter = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0) * (
        torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    ).clamp(min=0)
    iou = inter / (aw * ah + bw * bh - inter + EPS)
    around_w = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    around_h = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    distance = ((bx1 + bx2 - ax1 - ax2) ** 2 + (by1 + by2 - ay1 - ay2) ** 2) / 4
    v = (4 / math.pi**2) * (torch.atan(bw / bh) - torch.atan(aw / ah)) ** 2
    with torch.no_grad():
        a = v / (v - iou + (1 + EPS))
    return iou - distance / (around_w**2 + around_h**2 + EPS) - a * v


def intersection_over_first(first: Tensor, second: Tensor) -> Tensor:
    """[N, 4], [M, 4] -> [N, M]: which part of each first box lies within each second."""
    corner = torch.maximum(first[:, None, :2], second[None, :, :2])
    far = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    inter = (far - corner).clamp(min=0).prod(-1)
    area = (first[:, 2:] - first[:, :2]).clamp(min=0).prod(-1)
    return inter / (area[:, None] + EPS)


def anchor_points(shapes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of all cells [A, 2] in pixels and their strides [A], level by level and row by row."""
    points, sizes = [], []
    for (height, width), stride in zip(shapes, strides, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height, dtype=like.dtype, device=like.device),
            torch.arange(width, dtype=like.dtype, device=like.device),
            indexing="ij",
        )
        points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        sizes.append(torch.full((height * width,), float(stride), dtype=like.dtype, device=like.device))
    return torch.cat(points), torch.cat(sizes)


def expected_distances(dfl: Tensor, reg_max: int) -> Tensor:
    """[..., 4*reg_max] logits -> [..., 4] expected distances (left, top, right, bottom) in strides."""
    bins = torch.arange(reg_max, dtype=dfl.dtype, device=dfl.device)
    result: Tensor = dfl.reshape(*dfl.shape[:-1], 4, reg_max).softmax(-1) @ bins
    return result


def to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes from anchor points [..., 2] and the distances [..., 4] of their sides, same unit."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
