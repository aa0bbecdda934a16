"""Detectors as other tools export them: folded, put in order and taken apart before they are quantised, or refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused
from nets import detector, end2end, write_onnx, write_tflite

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxsim = pytest.importorskip("onnxsim")

from edgeai.artifacts import AuditReport, Prediction, QuantizedModel, from_json  # noqa: E402

SIZE = 64
PHOTOS = 12
# how accurate the file is, is not the question here
QUICK = 'ranges = "observed"\nbiases = "analytic"\n'


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("EDGEAI_CACHE")
    os.environ["EDGEAI_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("EDGEAI_CACHE") if before is None else os.environ.update(EDGEAI_CACHE=before)


class Detector(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Three levels of boxes and scores of two classes, decoded and joined in one [1, 6, 84]; `unit` divides boxes."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        nn, self.unit = torch.nn, unit
        layers = [m for c in (3, 8, 8) for m in (nn.Conv2d(c, 8, 3, 2, 1), nn.ReLU())]
        self.stem, self.next, self.last = nn.Sequential(*layers), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.boxes = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(3))
        self.scores = nn.ModuleList(nn.Conv2d(8, 2, 1) for _ in range(3))
        centres, strides = [], []
        for stride in (8, 16, 32):
            y, x = torch.meshgrid(*[torch.arange(SIZE // stride)] * 2, indexing="ij")
            centres.append(torch.stack([x, y]).reshape(2, -1) + 0.5)
            strides.append(torch.full((1, (SIZE // stride) ** 2), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1)[None])

    def forward(self, x: object) -> object:
        first = self.stem(x)
        second = self.next(first).relu()
        levels = (first, second, self.last(second).relu())
        parts = [torch.cat([b(p), s(p)], 1).flatten(2) for b, s, p in zip(self.boxes, self.scores, levels, strict=True)]
        boxes, scores = torch.cat(parts, 2).split((4, 2), 1)
        low, high = (2.5 * side.sigmoid() for side in boxes.chunk(2, 1))
        x1, x2 = self.centres - low, self.centres + high
        whole = torch.cat([(x1 + x2) / 2, x2 - x1], 1) * self.strides
        if self.unit != 1.0:
            whole = whole * self.unit
        return torch.cat([whole, (scores * 6).sigmoid()], 1)


def export(path: Path, unit: float = 1.0, batch: int = 1) -> Path:
    torch.manual_seed(0)
    images = torch.zeros(batch, 3, SIZE, SIZE)
    names = {"input_names": ["images"], "output_names": ["output0"], "opset_version": 13, "dynamo": False}
    torch.onnx.export(Detector(unit).eval(), (images,), str(path), **names)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cv2 = pytest.importorskip("cv2")
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    for i in range(PHOTOS):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC))
    return folder


def boxes(capsys: pytest.CaptureFixture[str], photo: Path, model: Path) -> list[tuple[str, float, tuple[float, ...]]]:
    done = edgeai(capsys, "predict", photo, "--model", model, "--json")
    assert done.code == 0, done.err
    (image,) = from_json(Prediction, done.out).images
    return [(found.category, found.score, found.box) for found in image.objects]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize(
    ("unit", "folded", "layout"), [(1.0, False, "split"), (1.0, True, "split"), (1 / SIZE, True, "concat")]
)
def test_boxes_and_scores_keep_fine_steps(
    unit: float, folded: bool, layout: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, int8, recipe = export(tmp_path / "det.onnx", unit), tmp_path / "int8.tflite", tmp_path / "quick.toml"
    recipe.write_text(QUICK)
    if folded:
        onnx.save(onnxsim.simplify(str(source))[0], str(source))
    else:
        assert any(node.op_type == "Shape" for node in onnx.load(str(source)).graph.node)
    choice = ["--per-channel", "--calibration", photos, "--imgsz", SIZE, "--recipe", recipe, "-o", int8, "--json"]
    done = edgeai(capsys, "quantize", source, *choice)
    assert done.code == 0, done.err
    made = from_json(QuantizedModel, done.out)
    assert made.contract.layout == layout
    assert made.audit.score_step_percent < 1.1
    assert made.audit.box_step_px < 1.1
    photo = sorted(photos.iterdir())[0]
    wanted, found = boxes(capsys, photo, source), boxes(capsys, photo, int8)
    sure = [entry for entry in wanted if entry[1] > 0.3]
    assert len(sure) > 5
    for category, score, box in sure:
        same = [f for f in found if f[0] == category and abs(f[1] - score) < 0.05 and overlap(f[2], box) > 0.85]
        assert same, (category, score, box)


def test_what_is_quantised_already_is_told_at_once(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qdq = write_onnx(detector("pixels", False), tmp_path / "qdq.onnx", {}, quantised=True)
    refused(edgeai(capsys, "quantize", qdq, "--calibration", photos), 2, "quantised already", "QuantizeLinear")
    oriented = operator_oriented(tmp_path / "oriented.onnx")
    refused(edgeai(capsys, "quantize", oriented, "--calibration", photos), 2, "quantised already", "QLinearConv")
    tflite = write_tflite(detector("pixels", True), tmp_path / "x.tflite", None, quantised=True, channels_last=True)
    begin = time.monotonic()
    refused(edgeai(capsys, "quantize", tflite, "--calibration", photos), 2, "a TFLite file", "float network")
    assert time.monotonic() - begin < 5


def operator_oriented(path: Path) -> Path:
    """A QLinearConv between QuantizeLinear and DequantizeLinear."""
    from onnx import TensorProto, helper, numpy_helper

    values = {
        "s": np.float32(1 / 255), "z": np.uint8(0), "w": np.ones((8, 3, 1, 1), np.int8), "ws": np.float32(0.1),
        "wz": np.int8(0), "os": np.float32(0.05), "oz": np.uint8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "os", "oz"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "os", "oz"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 64, 64]) for n, c in (("images", 3), ("out", 8))]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_batches_and_own_selections(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    four = export(tmp_path / "four.onnx", batch=4)
    refused(edgeai(capsys, "quantize", four, "--calibration", photos), 2, "a batch of 4 images")
    refused(edgeai(capsys, "predict", sorted(photos.iterdir())[0], "--model", four), 2, "a batch of 4 images")


def test_an_end_to_end_head_is_not_quantised(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"names": "['ship', 'plane']", "end2end": "True"}
    model = write_onnx(end2end("pixels", False), tmp_path / "e.onnx", words, quantised=False)
    refused(edgeai(capsys, "quantize", model, "--calibration", photos), 2, "selected itself", "end2end=False")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"task": "detect", "imgsz": "[640, 640]"}, "640x640"),
        ({"names": "['ship', 'plane', 'car']"}, "names 3 classes, its outputs hold 2"),
        ({"task": "segment"}, "task segment"),
    ],
)
def test_words_that_contradict_the_network_stop_it(
    words: dict[str, str], said: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a file of plain tensors is made of a network whose metadata are another's."""
    model = write_onnx(detector("pixels", False), tmp_path / "m.onnx", words, quantised=False)
    refused(edgeai(capsys, "quantize", model, "--calibration", photos), 2, said)


@pytest.mark.parametrize("half", [False, True])
def test_nodes_in_any_order(half: bool, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """onnxruntime sorts nodes itself; converters to half precision append theirs where they like."""
    pytest.importorskip("onnxruntime")
    source = write_onnx(detector("pixels", False), tmp_path / "a.onnx", {"names": "['ship', 'plane']"}, quantised=False)
    model = onnx.load(str(source))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    if half:
        to_half(model)
    turned = tmp_path / "b.onnx"
    onnx.save(model, str(turned))
    report = from_json(AuditReport, edgeai(capsys, "inspect", turned, "--json").out)
    assert report.head == "yolov8"
    (found,) = boxes(capsys, sorted(photos.iterdir())[0], turned)
    assert found[0] == "plane" and np.allclose(found[2], (22, 12, 42, 52), atol=0.5)


def to_half(model: object) -> None:
    """Every float of a model in half precision, its input and outputs, too."""
    from onnx import TensorProto, numpy_helper

    graph = model.graph  # type: ignore[attr-defined]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for held in graph.initializer:
        if held.data_type == TensorProto.FLOAT:
            held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held).astype(np.float16), held.name))
