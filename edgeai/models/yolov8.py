"""YOLOv8: segment, detect and classify in five scales, from the published layer tables.

Sources: the `yaml` dictionaries inside the public checkpoints (layer tables, depth, width, channel limit per scale).
"""

from __future__ import annotations

from edgeai.artifacts import Task
from edgeai.models.layers import AnchorFreeHead, Classify
from edgeai.models.network import Network, Plan

REG_MAX = 16
NUM_COEFS = 32
PROTO_CHANNELS = 256

# scale -> depth multiple, width multiple, most channels before the width multiple
SCALES: dict[str, tuple[float, float, int]] = {
    "n": (0.33, 0.25, 1024),
    "s": (0.33, 0.50, 1024),
    "m": (0.67, 0.75, 768),
    "l": (1.00, 1.00, 512),
    "x": (1.00, 1.25, 512),
}
CLASSIFY_MAX_CHANNELS = 1024  # the classification tables do not limit m, l and x


def yolov8(scale: str, task: Task, nc: int) -> Network:
    """A YOLOv8 network with fresh weights.

    forward: [B, 3, S, S], S a multiple of 32. segment: (dfl8, logits8, coefs8, dfl16, ..., coefs32, proto), where
    dfl is [B, 64, h, w], logits [B, nc, h, w], coefs [B, 32, h, w], proto [B, 32, S/4, S/4]; detect: the same without
    coefs and proto; classify: ([B, nc],). All are raw: before sigmoid, softmax and decode.
    """
    depth, width, limit = SCALES[scale]
    plan = Plan(depth, width, CLASSIFY_MAX_CHANNELS if task == "classify" else limit)
    _backbone(plan)
    if task == "classify":
        plan.head(Classify(plan.channels[-1], nc), (8,))
        return plan.build()
    plan.sppf(1024)  # 9
    _neck(plan)
    levels = (15, 18, 21)
    coefs = NUM_COEFS if task == "segment" else 0
    plan.head(AnchorFreeHead(plan.at(levels), nc, REG_MAX, coefs, plan.scaled(PROTO_CHANNELS)), levels)
    return plan.build()


def _backbone(plan: Plan) -> None:
    """Layers 0 to 8: strides 2 to 32."""
    plan.conv(64, 3, 2)
    for channels, repeats in ((128, 3), (256, 6), (512, 6), (1024, 3)):
        plan.conv(channels, 3, 2)
        plan.c2f(channels, repeats, shortcut=True)


def _neck(plan: Plan) -> None:
    """Layers 10 to 21: top-down to stride 8, then bottom-up to stride 32."""
    for channels, skip in ((512, 6), (256, 4)):
        plan.upsample()
        plan.concat(skip)
        plan.c2f(channels, 3, shortcut=False)
    for channels, entry, skip in ((512, 256, 12), (1024, 512, 9)):
        plan.conv(entry, 3, 2)
        plan.concat(skip)
        plan.c2f(channels, 3, shortcut=False)
