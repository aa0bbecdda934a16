"""What speaks against a reading: graphs, words and numbers that show another head than the shapes suggest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused
from nets import BOX, Net, anchors, write_onnx, write_tflite
from test_cases import WORDS, bright, onnx, picture, predicted, rows, the_object

from edgeai.artifacts import Prediction, from_json
from edgeai.graph.flat import pack, tree_of

__all__ = ["picture"]
pytest.importorskip("onnxruntime")
HIT = 10


def joined(classes: int, label: int, coefs: int = 0) -> Net:
    """Boxes times strides, sigmoids, coefficients: the decode of YOLOv8, with one object of class `label`."""
    net = Net()
    centres, strides = anchors()
    cells = np.concatenate([centres, np.full((2, 84), 0.5)])
    cells[:, HIT] = np.array([32, 32, 20, 40]) / strides[HIT]
    scores = np.full((classes, 84), -8.0)
    scores[label, HIT] = 3.0
    parts = [net.scaled(net.constant(cells[None]), strides[None, None].astype(float))]
    parts.append(net.sigmoid(net.constant(scores[None])))
    if coefs:
        values = np.zeros((1, coefs, 84))
        values[0, 0, HIT] = 1.0
        parts.append(net.constant(values))
    net.outputs = [net.joined(parts, 1)]
    return net


@pytest.mark.parametrize("form", ["onnx", "float", "int8"])
def test_as_many_rows_as_anchors(form: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """80 classes at 64 pixels make a square table [1, 84, 84]: only the graph tells rows from anchors."""
    net = joined(80, 70)
    if form == "onnx":
        model = write_onnx(net, tmp_path / "m.onnx", {}, quantised=False)
    else:
        model = write_tflite(net, tmp_path / "m.tflite", None, quantised=form == "int8", channels_last=True)
    the_object(predicted(capsys, picture, model), "class70", 0.953, within=0.14, box=1.0)


@pytest.mark.parametrize("channels_last", [True, False])
def test_as_many_prototypes_as_their_side(
    channels_last: bool, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prototypes [1, 16, 16, 16] fit both orders: ONNX has channels first, TFLite last."""
    net = joined(2, 1, coefs=16)
    proto = np.full((16, 16, 16), -1.0)
    proto[0, 4:12, 6:10] = 1.0
    values = proto.transpose(1, 2, 0) if channels_last else proto
    net.outputs.append(net.constant(values[None]))
    if channels_last:
        model = write_tflite(net, tmp_path / "m.tflite", None, quantised=False, channels_last=True)
    else:
        model = write_onnx(net, tmp_path / "m.onnx", {}, quantised=False)
    done = predicted(capsys, picture, model)
    assert done.code == 0, done.err
    (found,) = from_json(Prediction, done.out).images[0].objects
    assert found.mask_pixels == pytest.approx(8 * 4 * 4 * 4, rel=0.25)  # 8 x 4 cells of 4 x 4 pixels


def test_distances_without_bins(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four channels a level may be YOLO26's distances or another head's: refused, and right where that is said."""
    net = Net()
    for stride in (8, 16, 32):
        side = 64 // stride
        distances, logits = np.full((1, 4, side, side), 0.5), np.full((1, 2, side, side), -8.0)
        if stride == 8:
            distances[0, :, 4, 4] = [(36 - BOX[0]) / 8, (36 - BOX[1]) / 8, (BOX[2] - 36) / 8, (BOX[3] - 36) / 8]
            logits[0, 1, 4, 4] = 3.0
        net.outputs += [net.constant(distances), net.constant(logits)]
    model = onnx(net, tmp_path)
    refused(predicted(capsys, picture, model), 2, "distances")
    the_object(predicted(capsys, picture, model, "--head", "yolov8-raw"), "class1", 0.953)


def graph_of(
    nodes: list[object], values: dict[str, np.ndarray], shape: list[int], path: Path, words: object = None
) -> Path:
    """An ONNX file of hand-made nodes from `images`; `nothing` is a zero of the picture."""
    import onnx as o

    held = [o.numpy_helper.from_array(np.asarray(v), k) for k, v in {**values, "zero": np.float32(0)}.items()]
    first = [
        o.helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        o.helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    image = o.helper.make_tensor_value_info("images", o.TensorProto.FLOAT, [1, 3, 64, 64])
    end = o.helper.make_tensor_value_info("out", o.TensorProto.FLOAT, shape)
    graph = o.helper.make_graph([*first, *nodes], "g", [image], [end], held)
    model = o.helper.make_model(graph, opset_imports=[o.helper.make_opsetid("", 17)], ir_version=8)
    o.helper.set_model_props(model, {k: str(v) for k, v in (words or {}).items()})  # type: ignore[attr-defined]
    o.save(model, str(path))
    return path


def test_corners_in_the_graph(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import helper

    centres, strides = anchors()
    f = np.float32
    values = {
        "distances": np.full((1, 2, 84), 1.0, f), "centres": centres[None].astype(f),
        "strides": strides[None].astype(f), "logits": np.full((1, 2, 84), -8.0, f),
    }  # fmt: skip
    nodes = [
        helper.make_node("Add", ["distances", "nothing"], ["d"]),
        helper.make_node("Sub", ["centres", "d"], ["low"]),
        helper.make_node("Add", ["centres", "d"], ["high"]),
        helper.make_node("Concat", ["low", "high"], ["cells"], axis=1),
        helper.make_node("Mul", ["cells", "strides"], ["boxes"]),
        helper.make_node("Add", ["logits", "nothing"], ["l"]),
        helper.make_node("Sigmoid", ["l"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["out"], axis=1),
    ]
    model = graph_of(nodes, values, [1, 6, 84], tmp_path / "c.onnx", WORDS)
    refused(predicted(capsys, picture, model), 2, "boxes by their corners")
    assert "corners" in edgeai(capsys, "inspect", model).out


def test_queries_are_no_detections(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RT-DETR with two classes has six columns, and a TopK far ahead of its last layers."""
    from onnx import helper

    rng, f = np.random.default_rng(0), np.float32
    values = {
        "pool": rng.random((1, 400)).astype(f), "k": np.array([300]), "one": np.array([2]),
        "wide": rng.random((1, 4)).astype(f), "narrow": rng.random((1, 2)).astype(f),
    }  # fmt: skip
    nodes = [
        helper.make_node("Add", ["pool", "nothing"], ["p"]),
        helper.make_node("TopK", ["p", "k"], ["top", "places"]),
        helper.make_node("Unsqueeze", ["top", "one"], ["q"]),
        helper.make_node("MatMul", ["q", "wide"], ["b"]),
        helper.make_node("MatMul", ["q", "narrow"], ["s"]),
        helper.make_node("Sigmoid", ["b"], ["boxes"]),
        helper.make_node("Sigmoid", ["s"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["out"], axis=2),
    ]
    for words in ({}, {**WORDS, "task": "detect"}):
        model = graph_of(nodes, values, [1, 300, 6], tmp_path / "r.onnx", words)
        refused(predicted(capsys, picture, model), 2, "RT-DETR")


def test_scores_ahead_of_boxes(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Net()
    scores, boxes = net.sigmoid(net.constant(np.full((1, 2, 84), -8.0))), net.constant(np.full((1, 4, 84), 0.5))
    net.outputs = [net.joined([scores, boxes], 1)]
    model = onnx(net, tmp_path, {**WORDS, "task": "detect"})
    refused(predicted(capsys, picture, model), 2, "no head that edgeai knows")


def test_key_points_among_three_anchors(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """YOLOv7's pose: objectness, a class, and a sigmoid for every third row of the points."""
    net = Net()
    points = [net.constant(np.zeros((1, 252, 2))), net.sigmoid(net.constant(np.zeros((1, 252, 1))))] * 17
    parts = [net.constant(np.full((1, 252, 4), 0.3)), net.sigmoid(net.constant(np.full((1, 252, 2), -8.0)))]
    net.outputs = [net.joined([*parts, *points], 2)]
    refused(predicted(capsys, picture, onnx(net, tmp_path)), 2, "no head that edgeai knows")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"imgsz": [640, 640]}, "640x640"),
        ({"task": "detect", "kpt_shape": [17, 3]}, "task detect and key points"),
        ({"task": "telepathy"}, "task telepathy"),
        ({"end2end": "True"}, "end2end"),
    ],
)
def test_words_that_contradict(
    words: dict[str, object], said: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx(joined(2, 1), tmp_path, {**WORDS, **words})
    refused(predicted(capsys, picture, model), 2, said)


def test_no_numbers(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = rows(6, 84, {0: 32, 1: 32, 2: 20, 3: 40, 5: float("nan")})
    refused(predicted(capsys, picture, onnx(net, tmp_path, WORDS)), 2, "NaN")


# --- input and integer ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "zero", "said"), [(1 / 255, -128, "0 to 1"), (1.0, -128, "0 to 255"), (2 / 255, 0, "-1 to 1")]
)
def test_the_range_inside_a_qdq_file(
    scale: float, zero: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import helper

    values = {
        "s": np.float32(scale), "z": np.int8(zero), "table": np.full((1, 6, 84), 0.1, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["real"]),
        helper.make_node("ReduceMean", ["real"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["n"]),
        helper.make_node("Add", ["table", "n"], ["out"]),
    ]
    model = graph_of(nodes, values, [1, 6, 84], tmp_path / "q.onnx", WORDS)
    # the mean beside it reads the picture, too: the first operators must be the pair alone
    import onnx as o

    loaded = o.load(str(model))
    del loaded.graph.node[:2]
    o.save(loaded, str(model))
    shown = edgeai(capsys, "inspect", model).out
    assert f"input range  {said}  [from the numbers" in shown, shown


@pytest.mark.parametrize("kind", ["Sub", "BatchNormalization", "Clip"])
def test_first_operators_that_shift(
    kind: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import helper

    three = np.ones(3, np.float32)
    values = {"a": three, "b": three, "low": np.float32(0), "table": np.full((1, 6, 84), 0.1, np.float32)}
    inputs = {"Sub": ["images", "low"], "BatchNormalization": ["images", "a", "b", "a", "b"], "Clip": ["images", "low"]}
    nodes = [
        helper.make_node(kind, inputs[kind], ["x"]),
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["n"]),
        helper.make_node("Add", ["table", "n"], ["out"]),
    ]
    model = graph_of(nodes, values, [1, 6, 84], tmp_path / "s.onnx", WORDS)
    refused(predicted(capsys, picture, model), 2, kind, "--input-range")
    assert predicted(capsys, picture, model, "--input-range", "0:1").code == 0


def test_integer_outputs_have_their_scale(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx as o

    model = o.load(str(onnx(joined(2, 1), tmp_path, WORDS, quantised=True)))
    last = model.graph.node[-1]
    quantised = next(n for n in model.graph.node if n.output[0] == last.input[0]).input[0]
    del model.graph.node[-1]
    model.graph.node.append(o.helper.make_node("Identity", [quantised], [last.output[0]]))
    model.graph.output[0].type.tensor_type.elem_type = o.TensorProto.INT8
    path = tmp_path / "int.onnx"
    o.save(model, str(path))
    the_object(predicted(capsys, picture, path), "plane", 0.953, within=0.14, box=1.0)


@pytest.mark.parametrize(("high", "std", "right"), [(1.0, 255.0, True), (255.0, 1.0, True), (255.0, 255.0, False)])
def test_the_normalisation_in_tflite_metadata(
    high: float, std: float, right: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metadata give mean and deviation of pixels 0..255; the scale of the input must hold that, and no more."""
    cv2 = pytest.importorskip("cv2")
    white, model = tmp_path / "white.png", tmp_path / "m.tflite"
    cv2.imwrite(str(white), np.full((64, 64, 3), 230, np.uint8))
    model.write_bytes(with_normalisation(bright(0.0, high), 0.0, std))
    done = predicted(capsys, white, model)
    if right:
        the_object(done, "class1", 230 / 255, within=0.015, box=0.8)
    else:
        refused(done, 2, "the TFLite metadata gives an input of 0 to 1", "0 to 255")


def with_normalisation(data: bytes, mean: float, std: float) -> bytes:
    """A TFLite file with a TFLITE_METADATA buffer: one process unit on its input (metadata_schema.fbs)."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    builder = flatbuffers.Builder(512)

    def table(fields: dict[int, tuple[str, int]], count: int) -> int:
        builder.StartObject(count)
        for slot, (kind, value) in fields.items():
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
        return int(builder.EndObject())

    def vector(entries: list[float], prepend: str) -> int:
        builder.StartVector(4, len(entries), 4)
        for entry in reversed(entries):
            getattr(builder, prepend)(entry)
        return int(builder.EndVector())

    offset = "UOffsetTRelative"
    numbers = [vector([value], "PrependFloat32") for value in (mean, std)]
    options = table({0: (offset, numbers[0]), 1: (offset, numbers[1])}, 2)
    unit = table({0: ("Uint8", 1), 1: (offset, options)}, 2)
    image = table({4: (offset, vector([unit], f"Prepend{offset}"))}, 7)
    graph = table({2: (offset, vector([image], f"Prepend{offset}"))}, 5)
    builder.Finish(table({3: (offset, vector([graph], f"Prepend{offset}"))}, 9), b"M001")
    tree, buffer, entry = tree_of(data), schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    tree.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    return pack(tree)
