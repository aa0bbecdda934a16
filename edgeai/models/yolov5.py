"""YOLOv5 v7.0 (P5 and P6 detect, segment, classify; anchor-based) and YOLOv5u (its backbone with YOLOv8's head).

Sources: the `yaml` dictionaries inside the public checkpoints (layer tables, depth and width, anchors).
"""

from __future__ import annotations

from edgeai.artifacts import Task
from edgeai.models.layers import AnchorFreeHead, AnchorHead, Classify
from edgeai.models.network import Network, Plan
from edgeai.models.yolov8 import NUM_COEFS, PROTO_CHANNELS, REG_MAX

# scale -> depth multiple, width multiple
SCALES: dict[str, tuple[float, float]] = {
    "n": (0.33, 0.25),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.00, 1.00),
    "x": (1.33, 1.25),
}
ANCHORS_PER_CELL = 3
MAX_CHANNELS = 1024


def yolov5(scale: str, task: Task, nc: int, p6: bool = False, anchor_free: bool = False) -> Network:
    """A YOLOv5 network with fresh weights.

    forward: [B, 3, S, S], S a multiple of 32 (64 with `p6`). detect: one [B, 3*(5+nc), h, w] per level; segment: one
    [B, 3*(5+nc+32), h, w] per level, then proto [B, 32, S/4, S/4]; classify: ([B, nc],). With `anchor_free`:
    (dfl8, logits8, dfl16, ...) as YOLOv8. All are raw: before sigmoid and decode.
    """
    depth, width = SCALES[scale]
    plan = Plan(depth, width, MAX_CHANNELS)
    _backbone(plan, p6)
    if task == "classify":
        plan.head(Classify(plan.channels[-1], nc), (len(plan.layers) - 1,))
        return plan.build()
    plan.sppf(1024)
    levels = _neck_p6(plan) if p6 else _neck_p5(plan)
    coefs = NUM_COEFS if task == "segment" else 0
    hidden = plan.scaled(PROTO_CHANNELS)
    if anchor_free:
        plan.head(AnchorFreeHead(plan.at(levels), nc, REG_MAX, coefs, hidden), levels)
    else:
        plan.head(AnchorHead(plan.at(levels), nc, ANCHORS_PER_CELL, coefs, hidden), levels)
    return plan.build()


def _backbone(plan: Plan, p6: bool) -> None:
    """Layers 0 to 8 (P5, strides 2 to 32) or 0 to 10 (P6, strides 2 to 64)."""
    plan.conv(64, 6, 2, padding=2)
    stages = ((128, 3), (256, 6), (512, 9), (768, 3), (1024, 3)) if p6 else ((128, 3), (256, 6), (512, 9), (1024, 3))
    for channels, repeats in stages:
        plan.conv(channels, 3, 2)
        plan.c3(channels, repeats, shortcut=True)


def _neck_p5(plan: Plan) -> tuple[int, ...]:
    """Layers 10 to 23; returns the layers that feed the head."""
    _down(plan, ((512, 6), (256, 4)))
    _up(plan, ((256, 14, 512), (512, 10, 1024)))
    return (17, 20, 23)


def _neck_p6(plan: Plan) -> tuple[int, ...]:
    """Layers 12 to 32; returns the layers that feed the head."""
    _down(plan, ((768, 8), (512, 6), (256, 4)))
    _up(plan, ((256, 20, 512), (512, 16, 768), (768, 12, 1024)))
    return (23, 26, 29, 32)


def _down(plan: Plan, steps: tuple[tuple[int, int], ...]) -> None:
    """Top-down: (channels, layer to join) per step."""
    for channels, skip in steps:
        plan.conv(channels, 1, 1)
        plan.upsample()
        plan.concat(skip)
        plan.c3(channels, 3, shortcut=False)


def _up(plan: Plan, steps: tuple[tuple[int, int, int], ...]) -> None:
    """Bottom-up: (channels of the convolution, layer to join, channels of the stage) per step."""
    for entry, skip, channels in steps:
        plan.conv(entry, 3, 2)
        plan.concat(skip)
        plan.c3(channels, 3, shortcut=False)
