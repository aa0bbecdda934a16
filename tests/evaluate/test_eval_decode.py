"""Decode of every head layout against plain loops, and integer thresholds against float ones."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeai.artifacts import Contract, ModelSpec, OutputRole
from edgeai.errors import InputError
from edgeai.evaluate.backends.pytorch import raw_contract
from edgeai.evaluate.decode import Candidates, Output, decode

SIZE, NC, NM = 64, 5, 8
SPEC = ModelSpec("tiny", "yolov8", "segment", "n", tuple(f"c{i}" for i in range(NC)), imgsz=SIZE, num_coefs=NM)
V5_ANCHORS = tuple(tuple(float(8 * (level + 1) * k) for k in (1, 2, 2, 3, 4, 1)) for level in range(3))
V5_SPEC = replace(SPEC, family="yolov5", anchors=V5_ANCHORS)
ANCHORS = sum((SIZE // stride) ** 2 for stride in SPEC.strides)
Row = tuple[float, ...]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def heads(contract: Contract, seed: int) -> list[NDArray[np.float32]]:
    """Random outputs in NHWC, with scores around the threshold."""
    rng = np.random.default_rng(seed)
    channels = {"dfl": 4 * SPEC.reg_max, "logits": NC, "coefs": NM, "proto": NM, "anchors": 3 * (5 + NC + NM)}
    arrays = []
    for role in contract.roles:
        side = SIZE // (role.stride or 4)
        shape = {
            "boxes": (1, ANCHORS, 4),
            "scores": (1, ANCHORS, NC),
            "pred": (1, 4 + NC + NM, ANCHORS),
        }.get(role.kind, (1, ANCHORS, NM) if not role.stride and role.kind == "coefs" else (1, side, side, 0))
        if shape[-1] == 0:
            shape = (1, side, side, channels[role.kind])
        normal = rng.normal(size=shape) * 2
        arrays.append((normal if len(shape) == 4 else rng.uniform(0, 1, shape)).astype(np.float32))
    return arrays


def nchw(arrays: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    return [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a for a in arrays]


def rows_of(found: Candidates) -> list[Row]:
    """Candidates as tuples (class, score, box, coefficients), sorted."""
    anchors = found.rows
    table = np.concatenate(
        [found.classes[:, None], found.scores[:, None], found.boxes[anchors], found.coefs[anchors]], axis=1
    )
    return sorted(tuple(row) for row in table.tolist())


def assert_same(found: Candidates, expected: list[Row]) -> None:
    assert expected, "a test without candidates tests nothing"
    np.testing.assert_allclose(rows_of(found), sorted(expected), rtol=2e-5, atol=2e-4)


def plain_raw(contract: Contract, arrays: list[NDArray[np.float32]], conf: float) -> list[Row]:
    tensors = {(role.kind, role.stride): a for role, a in zip(contract.roles, arrays, strict=True)}
    rows: list[Row] = []
    for stride in SPEC.strides:
        for y in range(SIZE // stride):
            for x in range(SIZE // stride):
                sides = []
                for bins in tensors["dfl", stride][0, y, x].astype(float).reshape(4, -1):
                    weights = [math.exp(b) for b in bins]
                    sides.append(sum(i * w for i, w in enumerate(weights)) / sum(weights))
                box = (x + 0.5 - sides[0], y + 0.5 - sides[1], x + 0.5 + sides[2], y + 0.5 + sides[3])
                coefs = tuple(tensors["coefs", stride][0, y, x].astype(float).tolist())
                for c in range(NC):
                    score = sigmoid(float(tensors["logits", stride][0, y, x, c]))
                    if score > conf:
                        rows.append((float(c), score, *(v * stride for v in box), *coefs))
    return rows


def plain_anchors(contract: Contract, arrays: list[NDArray[np.float32]], conf: float) -> list[Row]:
    rows: list[Row] = []
    for level, stride in enumerate(SPEC.strides):
        grid = arrays[level][0].astype(float)
        for y in range(SIZE // stride):
            for x in range(SIZE // stride):
                for a in range(3):
                    t = grid[y, x].reshape(3, -1)[a]
                    cx, cy = (2 * sigmoid(t[0]) - 0.5 + x) * stride, (2 * sigmoid(t[1]) - 0.5 + y) * stride
                    w = (2 * sigmoid(t[2])) ** 2 * V5_ANCHORS[level][2 * a]
                    h = (2 * sigmoid(t[3])) ** 2 * V5_ANCHORS[level][2 * a + 1]
                    for c in range(NC):
                        score = sigmoid(t[4]) * sigmoid(t[5 + c])
                        if score > conf:
                            box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                            rows.append((float(c), score, *box, *t[5 + NC :].tolist()))
    return rows


def plain_decoded(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], coefs: NDArray[np.float32], unit: float, conf: float
) -> list[Row]:
    rows: list[Row] = []
    for box, score, coef in zip(boxes.tolist(), scores.tolist(), coefs.tolist(), strict=True):
        cx, cy, w, h = (v * unit for v in box)
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        rows += [(float(c), s, *corners, *coef) for c, s in enumerate(score) if s > conf]
    return rows


RAW = raw_contract(SPEC, SIZE)
V5 = raw_contract(V5_SPEC, SIZE)
SPLIT_ROLES = tuple(OutputRole(index, kind) for index, kind in enumerate(("proto", "scores", "boxes", "coefs")))
SPLIT = Contract(SPEC, "split", SIZE, SPLIT_ROLES, float(SIZE))
CONCAT = Contract(SPEC, "concat", SIZE, (OutputRole(0, "pred"), OutputRole(1, "proto")), 1.0)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize(("contract", "plain"), [(RAW, plain_raw), (V5, plain_anchors)], ids=["raw", "yolov5"])
@pytest.mark.parametrize("conf", [0.3, 0.8])
def test_convolution_heads(contract: Contract, plain: object, channels_first: bool, conf: float) -> None:
    arrays = heads(contract, 1)
    outputs = [Output(a) for a in (nchw(arrays) if channels_first else arrays)]
    found = decode(outputs, contract, conf)
    assert_same(found, plain(contract, arrays, conf))  # type: ignore[operator]
    assert found.proto is not None
    np.testing.assert_array_equal(found.proto, arrays[-1][0])


def test_split() -> None:
    proto, scores, boxes, coefs = arrays = heads(SPLIT, 2)
    found = decode([Output(a) for a in arrays], SPLIT, 0.9)
    assert_same(found, plain_decoded(boxes[0], scores[0], coefs[0], SIZE, 0.9))
    assert found.proto is not None and found.proto.shape == proto.shape[1:]


def test_concat_of_either_orientation_and_its_divisor() -> None:
    pred, proto = heads(CONCAT, 3)
    expected = plain_decoded(pred[0, :4].T, pred[0, 4 : 4 + NC].T, pred[0, 4 + NC :].T, 1.0, 0.9)
    assert_same(decode([Output(pred), Output(proto)], CONCAT, 0.9), expected)
    turned = np.ascontiguousarray(pred.transpose(0, 2, 1))
    assert_same(decode([Output(turned), Output(proto)], CONCAT, 0.9), expected)
    balanced = replace(CONCAT, coef_divisor=4.0)
    pred = pred.copy()
    pred[:, 4 + NC :] /= 4
    assert_same(decode([Output(pred), Output(proto)], balanced, 0.9), expected)


def test_detection_networks_have_no_masks() -> None:
    contract = raw_contract(replace(SPEC, task="detect", num_coefs=0), SIZE)
    full = dict(zip(((r.kind, r.stride) for r in RAW.roles), heads(RAW, 4), strict=True))
    found = decode([Output(full[r.kind, r.stride]) for r in contract.roles], contract, 0.5)
    assert found.proto is None and found.coefs.shape == (len(found.boxes), 0) and len(found.rows)


def test_axes_that_fit_both_orders_follow_the_rest_of_the_file() -> None:
    """At 256 pixels the 32 coefficients of stride 8 are [1, 32, 32, 32]: only other outputs tell the order."""
    spec = replace(SPEC, num_coefs=32)
    contract = raw_contract(spec, 256)
    rng = np.random.default_rng(5)
    width = {"dfl": 64, "logits": NC, "coefs": 32, "proto": 32}
    sides = [256 // (role.stride or 4) for role in contract.roles]
    arrays = [
        rng.normal(size=(1, side, side, width[role.kind])).astype(np.float32)
        for role, side in zip(contract.roles, sides, strict=True)
    ]
    first, last = (decode([Output(a) for a in each], contract, 0.9) for each in (nchw(arrays), arrays))
    assert len(last.rows)
    np.testing.assert_array_equal(first.coefs, last.coefs)


def quantise(array: NDArray[np.float32], dtype: type[np.integer], scale: float, zero_point: int) -> Output:
    info = np.iinfo(dtype)
    values = np.clip(np.rint(array / scale) + zero_point, info.min, info.max).astype(dtype)
    return Output(values, scale, zero_point)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("contract", [RAW, V5, SPLIT, CONCAT], ids=["raw", "yolov5", "split", "concat"])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.25, 0.5, 0.9, 0.999])
def test_integer_thresholds_equal_float_ones(contract: Contract, dtype: type[np.integer], conf: float) -> None:
    middle = (np.iinfo(dtype).max + np.iinfo(dtype).min + 1) // 2
    quantised = [quantise(a, dtype, 0.02 + 0.003 * i, middle + 3 * i) for i, a in enumerate(heads(contract, 6))]
    plain = [Output(output.real()) for output in quantised]
    found, expected = decode(quantised, contract, conf), decode(plain, contract, conf)
    for name in ("boxes", "coefs", "rows", "classes", "scores", "proto"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_a_score_equal_to_the_threshold_is_not_above_it() -> None:
    """Every level of a quantised score, each as the threshold."""
    values = np.arange(-128, 128).astype(np.int8)
    spec = replace(SPEC, names=("one",), task="detect", num_coefs=0)
    contract = Contract(spec, "concat", SIZE, (OutputRole(0, "pred"),), 1.0)
    pred = np.concatenate([np.zeros((4, 256), np.int8), values[None]])[None]
    for scale, zero_point in ((1 / 256, -128), (0.00787, 0)):
        output = Output(pred, scale, zero_point)
        scores = output.real()[0, 4]
        for level in (0, 1, 100, 200, 254, 255):
            if 0 <= scores[level] < 1:
                found = decode([output], contract, float(scores[level]))
                assert len(found.rows) == 255 - level


def test_the_reference_network_of_the_kit(kit: Path) -> None:
    """Float concat outputs of an independent implementation: pixel boxes, prototypes in NCHW."""
    spec = replace(SPEC, names=tuple(f"c{i}" for i in range(80)), num_coefs=32)
    contract = Contract(spec, "concat", 256, (OutputRole(0, "pred"), OutputRole(1, "proto")), 1.0)
    with np.load(kit / "reference_outputs" / "yolov8n-seg_256.npz") as reference:
        for pred, proto in zip(reference["output0"], reference["output1"], strict=True):
            found = decode([Output(pred[None]), Output(proto[None])], contract, 0.25)
            scores = pred[4:84].T
            expected = plain_decoded(pred[:4].T, scores, pred[84:].T, 1.0, 0.25)
            assert_same(found, expected)
            assert found.proto is not None
            np.testing.assert_array_equal(found.proto, proto.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("contract", "shapes", "message"),
    [
        (CONCAT, [(1, 9, 84), (1, 16, 16, NM)], "'pred' output has shape"),
        (CONCAT, [(1, 4 + NC + NM, 84)], "there are 1"),
        (CONCAT, [(1, 4 + NC + NM, 84), (1, 16, NM)], "not four axes"),
        (replace(CONCAT, roles=(OutputRole(0, "probs"),)), [(1, NC)], "gives no boxes"),
        (replace(SPLIT, roles=SPLIT.roles[1:]), [(1, 16, 16, NM), (1, 84, NC), (1, 84, 4)], "there are 3"),
        (replace(RAW, roles=RAW.roles[:1]), [(1, 8, 8, 64)], "no 'logits' output of stride 8"),
    ],
)
def test_outputs_that_break_the_contract(contract: Contract, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode([Output(np.ones(shape, np.float32)) for shape in shapes], contract, 0.1)


def test_a_network_that_overflows_is_named_as_such() -> None:
    pred, proto = heads(CONCAT, 3)
    pred[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        decode([Output(pred), Output(proto)], CONCAT, 0.5)
