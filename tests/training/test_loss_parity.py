"""The losses against an independent check: plain loops in float64 from the published formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edgeai.artifacts import ModelSpec
from edgeai.training.assigner import Targets
from edgeai.training.losses import Losses, detection_loss

SIZE, NC, COEFS, REG_MAX, BATCH = 64, 3, 4, 16, 2
STRIDES = (8, 16, 32)
SPEC = ModelSpec(
    name="yolov8n-seg", family="yolov8", task="segment", scale="n", names=("a", "b", "c"), imgsz=SIZE,
    strides=STRIDES, reg_max=REG_MAX, num_coefs=COEFS,
)  # fmt: skip
BOXES = [  # image, label, box; overlapping on purpose, one small, one that leaves most anchors outside
    (0, 0, (4.0, 6.0, 40.0, 38.0)),
    (0, 1, (10.0, 8.0, 52.0, 44.0)),
    (0, 2, (30.5, 33.0, 61.0, 60.25)),
    (1, 1, (8.0, 8.0, 17.5, 21.0)),
    (1, 1, (2.0, 20.0, 60.0, 62.0)),
]
IGNORED = (1, (0.0, 0.0, 64.0, 24.0))


def make_outputs(dtype: torch.dtype) -> list[Tensor]:
    """Random heads whose boxes are of the size of the objects."""
    generator = torch.Generator().manual_seed(3)
    outputs = []
    for stride in STRIDES:
        side = SIZE // stride
        dfl = torch.randn(BATCH, 4, REG_MAX, side, side, generator=generator, dtype=torch.float64)
        dfl[:, :, 1:3] += 6
        outputs.append(dfl.flatten(1, 2))
        outputs.append(torch.randn(BATCH, NC, side, side, generator=generator, dtype=torch.float64) - 1)
        outputs.append(torch.randn(BATCH, COEFS, side, side, generator=generator, dtype=torch.float64))
    outputs.append(torch.randn(BATCH, COEFS, SIZE // 4, SIZE // 4, generator=generator, dtype=torch.float64))
    return [output.float().to(dtype).requires_grad_() for output in outputs]


def make_targets() -> Targets:
    masks = torch.zeros(len(BOXES), SIZE // 4, SIZE // 4, dtype=torch.uint8)
    for number, (_, _, (x1, y1, x2, y2)) in enumerate(BOXES):
        masks[number, int(y1 // 4) : int(y2 // 4) + 1, int(x1 // 4) : int((x1 + x2) / 8) + 1] = 1
    return Targets(
        image=torch.tensor([entry[0] for entry in BOXES]),
        labels=torch.tensor([entry[1] for entry in BOXES]),
        boxes=torch.tensor([entry[2] for entry in BOXES]),
        masks=masks,
        ignore_image=torch.tensor([IGNORED[0]]),
        ignore=torch.tensor([IGNORED[1]]),
    )


# --- the independent check ----------------------------------------------------------------------


def anchors_of(outputs: list[Tensor], image: int) -> list[dict[str, object]]:
    """Every anchor of an image: its point, stride and the leaves of its three heads."""
    found: list[dict[str, object]] = []
    for level, stride in enumerate(STRIDES):
        for y in range(SIZE // stride):
            for x in range(SIZE // stride):
                found.append(
                    {
                        "x": (x + 0.5) * stride,
                        "y": (y + 0.5) * stride,
                        "stride": stride,
                        "dfl": outputs[3 * level][image, :, y, x],
                        "logits": outputs[3 * level + 1][image, :, y, x],
                        "coefs": outputs[3 * level + 2][image, :, y, x],
                    }
                )
    return found


def decode(anchor: dict) -> list[Tensor]:
    distances = []
    for side in range(4):
        exponents = anchor["dfl"][side * REG_MAX : (side + 1) * REG_MAX].exp()
        distances.append(sum(i * exponents[i] for i in range(REG_MAX)) / exponents.sum() * anchor["stride"])
    left, top, right, bottom = distances
    return [anchor["x"] - left, anchor["y"] - top, anchor["x"] + right, anchor["y"] + bottom]


def complete_iou(box: list, other: list) -> Tensor:
    w1, h1, w2, h2 = box[2] - box[0], box[3] - box[1], other[2] - other[0], other[3] - other[1]
    zero = torch.zeros((), dtype=torch.float64)
    iw = torch.maximum(torch.minimum(box[2], other[2]) - torch.maximum(box[0], other[0]), zero)
    ih = torch.maximum(torch.minimum(box[3], other[3]) - torch.maximum(box[1], other[1]), zero)
    iou = iw * ih / (w1 * h1 + w2 * h2 - iw * ih)
    cw = torch.maximum(box[2], other[2]) - torch.minimum(box[0], other[0])
    ch = torch.maximum(box[3], other[3]) - torch.minimum(box[1], other[1])
    dx, dy = (box[0] + box[2] - other[0] - other[2]) / 2, (box[1] + box[3] - other[1] - other[3]) / 2
    v = 4 / math.pi**2 * (torch.atan(w2 / h2) - torch.atan(w1 / h1)) ** 2
    alpha = (v / (1 - iou + v)).detach()
    return iou - (dx * dx + dy * dy) / (cw * cw + ch * ch) - alpha * v


def as_box(values: object) -> list[Tensor]:
    return [torch.tensor(float(v), dtype=torch.float64) for v in values]  # type: ignore[attr-defined]


def brute_assign(anchors: list[dict], objects: list[tuple]) -> dict[int, tuple[int, float]]:
    """Anchor -> (object, taught score), by loops over everything."""
    with torch.no_grad():
        boxes = [decode(anchor) for anchor in anchors]
        overlap, align = {}, {}
        for g, (_, label, box) in enumerate(objects):
            for a, anchor in enumerate(anchors):
                if box[0] < anchor["x"] < box[2] and box[1] < anchor["y"] < box[3]:
                    overlap[g, a] = max(float(complete_iou(as_box(box), boxes[a])), 0.0)
                    score = float(anchor["logits"][label].sigmoid())
                    align[g, a] = score**0.5 * overlap[g, a] ** 6
        claims: dict[int, list[int]] = {}
        for g in range(len(objects)):
            ranked = sorted((a for k, a in align if k == g), key=lambda a, g=g: -align[g, a])[:10]
            for a in ranked:
                if align[g, a] > 0:
                    claims.setdefault(a, []).append(g)
        owner = {}
        for a, claimants in claims.items():
            around = [g for g, b in overlap if b == a]
            owner[a] = claimants[0] if len(claimants) == 1 else max(around, key=lambda g, a=a: overlap[g, a])
        result = {}
        for g in range(len(objects)):
            mine = [a for a, owned in owner.items() if owned == g]
            if mine:
                best_align, best_overlap = max(align[g, a] for a in mine), max(overlap[g, a] for a in mine)
                for a in mine:
                    result[a] = (g, align[g, a] * best_overlap / (best_align + 1e-9))  # YOLOv8 has the 1e-9
        return result


def bce(logit: Tensor, wanted: float) -> Tensor:
    return torch.log1p((-logit.abs()).exp()) + torch.clamp(logit, min=0) - logit * wanted


def side_loss(logits: Tensor, distance: float) -> Tensor:
    distance = min(max(distance, 0.0), REG_MAX - 1 - 0.01)
    low = math.floor(distance)
    logs = logits - logits.exp().sum().log()
    return -(logs[low] * (low + 1 - distance) + logs[low + 1] * (distance - low))


def mask_term(anchor: dict, proto: Tensor, mask: Tensor, box: tuple) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for y in range(SIZE // 4):
        for x in range(SIZE // 4):
            if box[0] / 4 <= x < box[2] / 4 and box[1] / 4 <= y < box[3] / 4:
                total = total + bce((anchor["coefs"] * proto[:, y, x]).sum(), float(mask[y, x]))
    return total / ((box[2] - box[0]) / 4 * (box[3] - box[1]) / 4)


def brute_loss(outputs: list[Tensor], targets: Targets) -> list[Tensor]:
    """box, seg, cls, dfl with YOLOv8's gains."""
    box_sum = cls_sum = dfl_sum = seg_sum = torch.zeros((), dtype=torch.float64)
    weights, positives, ignored = 0.0, 0, 0
    for image in range(BATCH):
        anchors = anchors_of(outputs, image)
        rows = [i for i, entry in enumerate(BOXES) if entry[0] == image]
        objects = [BOXES[i] for i in rows]
        owned = brute_assign(anchors, objects)
        for a, anchor in enumerate(anchors):
            predicted = decode(anchor)
            g, weight = owned.get(a, (-1, 0.0))
            if g < 0 and image == IGNORED[0] and share_within(predicted, IGNORED[1]) >= 0.5:
                ignored += 1
                continue
            for c in range(NC):
                taught = weight if g >= 0 and objects[g][1] == c else 0.0
                cls_sum = cls_sum + bce(anchor["logits"][c], taught)
            if g < 0:
                continue
            box = objects[g][2]
            weights, positives = weights + weight, positives + 1
            box_sum = box_sum + (1 - complete_iou(predicted, as_box(box))) * weight
            s, x, y = anchor["stride"], anchor["x"], anchor["y"]
            wanted = [(x - box[0]) / s, (y - box[1]) / s, (box[2] - x) / s, (box[3] - y) / s]
            sides = [side_loss(anchor["dfl"][k * REG_MAX : (k + 1) * REG_MAX], wanted[k]) for k in range(4)]
            dfl_sum = dfl_sum + sum(sides) / 4 * weight
            seg_sum = seg_sum + mask_term(anchor, outputs[-1][image], targets.masks[rows[g]], box)
    assert positives > 10 and ignored > 3, "the batch must exercise every term"
    norm = max(weights, 1.0)
    return [7.5 * box_sum / norm, 7.5 * seg_sum / positives, 0.5 * cls_sum / norm, 1.5 * dfl_sum / norm]


def share_within(box: list[Tensor], region: tuple) -> float:
    x1, y1, x2, y2 = (v.item() for v in box)
    inter = max(min(x2, region[2]) - max(x1, region[0]), 0) * max(min(y2, region[3]) - max(y1, region[1]), 0)
    return inter / ((x2 - x1) * (y2 - y1))


@pytest.fixture(scope="module")
def expected() -> tuple[list[Tensor], list[list[Tensor]]]:
    """Terms, and the gradients of each with respect to every head."""
    outputs = make_outputs(torch.float64)
    terms = brute_loss(outputs, make_targets())
    gradients = [torch.autograd.grad(t, outputs, retain_graph=True, allow_unused=True) for t in terms]
    filled = [[torch.zeros_like(o) if g is None else g for g, o in zip(row, outputs, strict=True)] for row in gradients]
    return [term.detach() for term in terms], filled


def ours(outputs: list[Tensor]) -> Losses:
    return detection_loss(outputs, make_targets(), SPEC)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("index", "name"), list(enumerate(["box", "seg", "cls", "dfl"])))
def test_terms_and_gradients_equal_the_published_formulas(
    expected: tuple[list[Tensor], list[list[Tensor]]], index: int, name: str, dtype: torch.dtype
) -> None:
    outputs = make_outputs(dtype)
    term = getattr(ours(outputs), name)
    assert float(term.detach()) == pytest.approx(float(expected[0][index]), rel=1e-5)
    gradients = torch.autograd.grad(term, outputs, allow_unused=True)
    largest = max(float(gradient.abs().max()) for gradient in expected[1][index])
    for gradient, wanted in zip(gradients, expected[1][index], strict=True):
        found = torch.zeros_like(wanted) if gradient is None else gradient.double()
        assert float((found - wanted).abs().max()) <= 1e-5 * largest


def test_a_batch_without_objects_teaches_background_only() -> None:
    outputs = make_outputs(torch.float32)
    none = Targets(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4),
        torch.zeros(0, SIZE // 4, SIZE // 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4),
    )  # fmt: skip
    losses = detection_loss(outputs, none, SPEC)
    assert losses.values()[[0, 1, 3]].tolist() == [0, 0, 0]
    wanted = 0.5 * sum(float(torch.nn.functional.softplus(outputs[3 * i + 1].detach()).sum()) for i in range(3))
    assert float(losses.cls.detach()) == pytest.approx(wanted, rel=1e-5)
    losses.total.backward()
    assert all(output.grad is not None for output in outputs)
