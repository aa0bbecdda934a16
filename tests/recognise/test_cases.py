"""Files of other people, each with its one right answer: the object, or a refusal by the right name.

The networks are opaque: constants and nothing of an image, so neither a convolution nor a sigmoid shows what a row is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers import Outcome, edgeai, refused
from nets import BOX, Net, anchors, write_onnx, write_tflite

from edgeai.artifacts import AuditReport, Prediction, from_json

pytest.importorskip("onnxruntime")

Words = Mapping[str, object]
WORDS: Words = {"names": {0: "ship", 1: "plane"}}
POSE: Words = {"task": "pose", "kpt_shape": [17, 3], "names": {0: "person"}, "imgsz": [64, 64]}


def rows(
    count: int, anchors: int, values: Mapping[int, float], at: int = 10, everywhere: Mapping[int, float] | None = None
) -> Net:
    """A prediction [1, count, anchors] with `values` at one anchor, `everywhere` at all of them."""
    table = np.zeros((1, count, anchors))
    for row, value in (everywhere or {}).items():
        table[0, row] = value
    for row, value in values.items():
        table[0, row, at] = value
    net = Net()
    net.outputs = [net.constant(table)]
    return net


def turned(net: Net) -> Net:
    result = Net()
    result.outputs = [result.constant(net.value(net.outputs[0]).transpose(0, 2, 1))]
    return result


def detector(unit: float = 1.0) -> Net:
    return rows(6, 84, {0: 32 * unit, 1: 32 * unit, 2: 20 * unit, 3: 40 * unit, 4: 0.05, 5: 0.95})


def pose() -> Net:
    points = {5 + 3 * k + i: value for k in range(17) for i, value in enumerate((20.0 + k, 15.0 + 2 * k, 0.95))}
    return rows(56, 84, {0: 32, 1: 32, 2: 20, 3: 40, 4: 0.9, **points})


def obb() -> Net:
    return rows(7, 84, {0: 32, 1: 32, 2: 20, 3: 40, 4: 0.9}, everywhere={6: 0.7})


def end2end() -> Net:
    net = rows(6, 300, dict(zip(range(6), (*BOX, 0.9, 1.0), strict=True)), at=0)
    return turned(net)


def yolov5() -> Net:
    return turned(rows(7, 252, {0: 32, 1: 32, 2: 20, 3: 40, 4: 0.9, 5: 0.1, 6: 0.95}))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "img.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    return path


def onnx(
    net: Net, folder: Path, words: Words | None = None, name: str = "best.onnx", quantised: bool = False
) -> Path:
    return write_onnx(net, folder / name, {k: str(v) for k, v in (words or {}).items()}, quantised=quantised)


def tflite(net: Net, folder: Path, words: Words | None = None, quantised: bool = False, last: bool = True) -> Path:
    said = None if words is None else dict(words)
    return write_tflite(net, folder / "best_int8.tflite", said, quantised=quantised, channels_last=last)


def predicted(capsys: pytest.CaptureFixture[str], picture: Path, model: Path, *options: object) -> Outcome:
    return edgeai(capsys, "predict", picture, "--model", model, "--json", *options)


def the_object(done: Outcome, name: str, score: float, within: float = 0.02, box: float = 0.6) -> None:
    assert done.code == 0, done.err
    (image,) = from_json(Prediction, done.out).images
    (found,) = image.objects
    assert found.category == name
    assert found.score == pytest.approx(score, abs=within)
    assert np.allclose(found.box, BOX, atol=box)


# --- heads ------------------------------------------------------------------------------------------


def test_detections_that_the_network_selected(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx(end2end(), tmp_path, {**WORDS, "task": "detect", "end2end": "True", "imgsz": "[64, 64]", "stride": 32})
    the_object(predicted(capsys, picture, model), "plane", 0.9)
    refused(predicted(capsys, picture, onnx(end2end(), tmp_path)), 2, "end2end", "rtdetr")
    asked = predicted(capsys, picture, onnx(end2end(), tmp_path), "--head", "end2end", "--classes", "ship,plane")
    the_object(asked, "plane", 0.9)


def test_objectness(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    the_object(predicted(capsys, picture, onnx(yolov5(), tmp_path, {**WORDS, "stride": 32})), "plane", 0.855)
    the_object(predicted(capsys, picture, onnx(yolov5(), tmp_path)), "class1", 0.855)


@pytest.mark.parametrize("words", [None, POSE])
@pytest.mark.parametrize("form", ["onnx", "tflite", "int8"])
def test_a_pose_network_is_no_detector(
    form: str, words: Words | None, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx(pose(), tmp_path, words or {}) if form == "onnx" else tflite(pose(), tmp_path, words, form == "int8")
    refused(predicted(capsys, picture, model), 2, "pose")
    out = tmp_path / "c"
    if form == "int8":
        refused(edgeai(capsys, "postprocess", model, "-o", out), 2, "pose")
        assert not out.exists()
    report = edgeai(capsys, "inspect", model, "--json")
    assert report.code == 0 and "pose" in from_json(AuditReport, report.out).refusal


def test_rotated_boxes(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word only a picture can tell: a class that scores high at every anchor is none."""
    model = onnx(obb(), tmp_path, {**WORDS, "task": "obb"})
    refused(predicted(capsys, picture, model), 2, "rotated boxes (OBB)")
    for net in (onnx(obb(), tmp_path, name="a.onnx"), tflite(obb(), tmp_path), tflite(obb(), tmp_path, quantised=True)):
        refused(predicted(capsys, picture, net), 2, "84 of 84 anchors: those are no scores")


@pytest.mark.parametrize(
    ("task", "shape", "name"),
    [
        ("semantic", (1, 5, 64, 64), "semantic segmentation"),
        ("depth", (1, 1, 64, 64), "a depth map"),
        ("", (1, 5, 64, 64), "semantic segmentation"),
        ("", (1, 1, 64, 64), "a depth map"),
        ("", (1, 30, 4, 4), "YOLOv2"),
        ("", (1, 13, 16, 16), "heat maps"),
    ],
)
def test_maps_are_refused_by_their_name(
    task: str, shape: tuple[int, ...], name: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    net.outputs = [net.constant(np.full(shape, 0.5))]
    model = onnx(net, tmp_path, {"task": task} if task else {})
    refused(predicted(capsys, picture, model), 2, name)
    assert edgeai(capsys, "inspect", model).code == 0
    assert edgeai(capsys, "footprint", model, "--board", "stm32n6").code in (0, 3)


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (((1, 1917, 4), (1, 1917, 3)), "SSD"),
        (((1, 3, 16, 16), (1, 2, 16, 16), (1, 2, 16, 16)), "CenterNet"),
        (((1, 7, 8, 8), (1, 7, 4, 4), (1, 7, 2, 2)), "no head that edgeai knows"),
    ],
)
def test_several_outputs_of_other_heads(
    shapes: tuple[tuple[int, ...], ...], name: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    net.outputs = [net.constant(np.full(shape, 0.5)) for shape in shapes]
    refused(predicted(capsys, picture, onnx(net, tmp_path)), 2, name)


def test_yolox_joins_objectness_and_scores(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    boxes, one = net.constant(np.zeros((1, 84, 4))), net.sigmoid(net.constant(np.zeros((1, 84, 1))))
    net.outputs = [net.joined([boxes, one, net.sigmoid(net.constant(np.zeros((1, 84, 2))))], 2)]
    refused(predicted(capsys, picture, onnx(net, tmp_path)), 2, "YOLOX")


def test_words_and_graph_must_agree(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = {"names": {0: "a", 1: "b", 2: "c"}}
    refused(predicted(capsys, picture, onnx(detector(), tmp_path, three)), 2, "names 3 classes, its outputs hold 2")
    refused(predicted(capsys, picture, onnx(detector(), tmp_path, {**WORDS, "task": "segment"})), 2, "task segment")
    refused(predicted(capsys, picture, onnx(detector(), tmp_path, {**WORDS, "stride": 64})), 2, "stride 64")
    size = {**WORDS, "task": "detect", "imgsz": [96, 96]}
    refused(predicted(capsys, picture, onnx(detector(), tmp_path, size)), 2, "96x96", "64x64")
    gap = {"names": {0: "a", 2: "c"}}
    refused(predicted(capsys, picture, onnx(detector(), tmp_path, gap)), 2, "no number 1")


def test_a_score_of_forty_is_none(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = rows(6, 84, {0: 32, 1: 32, 2: 20, 3: 40, 5: 40.0})
    refused(predicted(capsys, picture, onnx(net, tmp_path, WORDS)), 2, "a score of 40")


# --- units ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1.0, 1 / 64])
@pytest.mark.parametrize("form", ["onnx", "qdq", "float", "int8"])
def test_boxes_in_pixels_or_in_0_to_1(
    form: str, unit: float, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form in ("onnx", "qdq"):
        model = onnx(detector(unit), tmp_path, quantised=form == "qdq")
    else:
        model = tflite(detector(unit), tmp_path, quantised=form == "int8")
    the_object(predicted(capsys, picture, model), "class1", 0.95, within=0.08)


def test_corners_are_no_centres(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes x1, y1, x2, y2 beside scores, as some exporters write them: the graph looks the same."""
    net = Net()
    centres, strides = anchors()
    where = centres * strides
    corners = np.concatenate([where - 6, where + 6])[None]
    scores = np.full((1, 2, 84), -8.0)
    scores[0, 1, 10] = 3.0
    net.outputs = [net.joined([net.constant(corners), net.sigmoid(net.constant(scores))], 1)]
    refused(predicted(capsys, picture, onnx(net, tmp_path, WORDS)), 2, "boxes by their corners")
    sizes = np.concatenate([where, np.full((2, 84), 12.0)])[None]
    right = Net()
    right.outputs = [right.joined([right.constant(sizes), right.sigmoid(right.constant(scores))], 1)]
    done = predicted(capsys, picture, onnx(right, tmp_path, WORDS))
    assert done.code == 0, done.err
    assert len(from_json(Prediction, done.out).images[0].objects) == 1


def test_an_empty_picture_decides_nothing(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx(rows(6, 84, {0: 0.4, 1: 0.4, 2: 0.3, 3: 0.3, 5: 0.01}), tmp_path, WORDS)
    done = predicted(capsys, picture, model)
    assert done.code == 0 and from_json(Prediction, done.out).images[0].objects == ()
    open_unit = from_json(AuditReport, edgeai(capsys, "inspect", model, "--json").out)
    assert any("pixels or in 0..1" in finding for finding in open_unit.findings)
    said = from_json(AuditReport, edgeai(capsys, "inspect", model, "--boxes", "unit", "--json").out)
    assert ("boxes", "unit", "asked for") in {(e.field, e.value, e.source) for e in said.evidence}


def test_boxes_that_are_neither(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = rows(6, 84, {0: 2.0, 1: 2.0, 2: 1.5, 3: 1.5, 5: 0.9})
    refused(predicted(capsys, picture, onnx(net, tmp_path, WORDS)), 2, "neither pixels nor 0..1")


def test_a_qdq_output_has_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = detector()
    model = onnx(net, tmp_path, {**WORDS, "task": "detect"}, quantised=True)
    report = from_json(AuditReport, edgeai(capsys, "inspect", model, "--json").out)
    step = float(net.value(net.outputs[0]).max()) / 255
    assert report.box_step_px == pytest.approx(step, rel=1e-4)
    assert report.score_step_percent == pytest.approx(100 * step, rel=1e-4)
    assert any("boxes in pixels share a tensor with scores" in finding for finding in report.findings)


# --- input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("quantised", [True, False])
def test_both_orders_of_axes(
    last: bool, quantised: bool, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tflite(detector(), tmp_path, quantised=quantised, last=last)
    the_object(predicted(capsys, picture, model), "class1", 0.95, within=0.08)


def bright(low: float, high: float, dtype: str = "int8") -> bytes:
    """A detector whose score is the brightness of the picture; its input takes `low` to `high`."""
    from tiny_models import Model

    model = Model()
    lowest = -128 if dtype == "int8" else 0
    scale = (high - low) / 255
    image = model.tensor((1, 64, 64, 3), dtype, scale, round(lowest - low / scale))
    where = (1 / 255, -128)
    if dtype != "int8":
        signed = model.tensor((1, 64, 64, 3), "int8", scale, round(-128 - low / scale))
        model.op("QUANTIZE", [image], [signed], "QuantizeOptions", 2)
        image = signed
    zero = round(-128 - low / scale)
    # in two steps: XNNPACK's int8 MEAN of LiteRT 2.3 is wrong over three axes of this size
    colours, mean = model.tensor((1, 3), "int8", scale, zero), model.tensor((1,), "int8", scale, zero)
    real = model.tensor((1,), "int8", *where)
    for source, axes, made in ((image, [1, 2], colours), (colours, [1], mean)):
        places = model.tensor((len(axes),), "int32", data=np.array(axes))
        model.op("MEAN", [source, places], [made], "ReducerOptions", 2, keepDims=False)
    # (x - low) / (high - low) in two steps that int8 can hold
    offset = model.tensor((1,), "int8", max(abs(low), 1e-3) / 127, 0, data=np.array([-np.sign(low) * 127]))
    plain = model.tensor((1,), "int8", scale, -128)
    model.op("ADD", [mean, offset], [plain], "AddOptions", 2)
    factor = model.tensor((1,), "int8", 1 / (high - low), 0, data=np.array([1]))
    model.op("MUL", [plain, factor], [real], "MulOptions", 2)
    hot = np.zeros((1, 6, 84))
    hot[0, 5, 10] = 255
    base = np.zeros((1, 6, 84))
    base[0, :4, 10] = np.array([0.5, 0.5, 20 / 64, 40 / 64]) * 255
    one = model.tensor((1, 6, 84), "int8", *where, data=hot - 128)
    product, out = model.tensor((1, 6, 84), "int8", *where), model.tensor((1, 6, 84), "int8", *where)
    model.op("MUL", [one, real], [product], "MulOptions", 2)
    model.op("ADD", [product, model.tensor((1, 6, 84), "int8", *where, data=base - 128)], [out], "AddOptions", 2)
    return model.pack([model.graph.operators[0].inputs[0]], [out])


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 1, "int8"), (0, 255, "int8"), (-1, 1, "int8"), (0, 1, "uint8"), (0, 255, "uint8"), (-1, 1, "uint8")],
)
def test_the_range_of_the_input(
    low: float, high: float, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2 = pytest.importorskip("cv2")
    white, model = tmp_path / "white.png", tmp_path / "in.tflite"
    cv2.imwrite(str(white), np.full((64, 64, 3), 230, np.uint8))
    model.write_bytes(bright(low, high, dtype))
    the_object(predicted(capsys, white, model), "class1", 230 / 255, within=0.015, box=0.8)
    report = from_json(AuditReport, edgeai(capsys, "inspect", model, "--json").out)
    (found,) = (entry for entry in report.evidence if entry.field == "input range")
    assert found.value == f"{low} to {high}" and found.source.startswith("from the numbers")


def test_an_unusual_range_must_be_said(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "in.tflite"
    model.write_bytes(bright(-2, 3))
    refused(predicted(capsys, picture, model), 2, "no range that pictures usually have", "--input-range")


# --- words of TFLite files ----------------------------------------------------------------------------


def test_metadata_behind_a_tflite(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {**WORDS, "task": "detect", "license": "AGPL-3.0 License (https://ultralytics.com/license)", "stride": 32}
    model = tflite(detector(1 / 64), tmp_path, words, quantised=True)
    the_object(predicted(capsys, picture, model), "plane", 0.95, within=0.05)
    listed = edgeai(capsys, "licences", model)
    assert "AGPL-3.0" in listed.out and "does not say" not in listed.out


@pytest.mark.parametrize("damage", ["{", "[]", '{"names": 3}', "\0" * 50, json.dumps({"names": {"0": "a", "5": "b"}})])
def test_damaged_metadata(damage: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Never a traceback: said, or read past where nothing depends on it."""
    import zipfile

    model = tflite(detector(), tmp_path)
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("metadata.json", damage)
    done = predicted(capsys, picture, model)
    if done.code == 0:
        the_object(done, "class1", 0.95)
    else:
        refused(done, 2, "in the file")


def test_network_binaries_are_named(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "model.nb"
    binary.write_bytes(b"VPMN" + bytes(200))
    quantise = ("quantize", binary, "--calibration", tmp_path)
    commands = (("inspect", binary), ("predict", picture, "--model", binary), quantise)
    for arguments in commands:
        refused(edgeai(capsys, *arguments), 2, "network binary")
