"""Networks that answer with one known object, in four file formats, made from one description.

A network is a picture's mean times zero, added to constants, and then the operators that a decode really has: factors,
sigmoids, concatenations. So its graph shows what a real one shows, its numbers are known, and it needs no converter.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))

from tiny_models import Model

SIZE = 64
BOX = (22.0, 12.0, 42.0, 52.0)
NAMES = ("ship", "plane")
Array = np.ndarray


@dataclass
class Net:
    """Nodes in order; a node's inputs are numbers of nodes. `value` is what it computes, whatever the picture."""

    nodes: list[tuple[str, tuple[int, ...], Any, Array]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[int], option: Any, value: Array) -> int:
        self.nodes.append((kind, tuple(inputs), option, np.asarray(value, np.float32)))
        return len(self.nodes) - 1

    def value(self, node: int) -> Array:
        return self.nodes[node][3]

    def constant(self, values: Array) -> int:
        """Constants that depend on the picture by nothing."""
        return self.add("constant", (), None, values)

    def scaled(self, node: int, factor: Array) -> int:
        factor = np.asarray(factor, np.float32)
        return self.add("mul", (node,), factor, self.value(node) * factor)

    def sigmoid(self, node: int) -> int:
        return self.add("sigmoid", (node,), None, 1 / (1 + np.exp(-self.value(node))))

    def softmax(self, node: int) -> int:
        value = np.exp(self.value(node))
        return self.add("softmax", (node,), None, value / value.sum(axis=-1, keepdims=True))

    def joined(self, nodes: Sequence[int], axis: int) -> int:
        return self.add("concat", nodes, axis, np.concatenate([self.value(n) for n in nodes], axis))


# --- file formats -----------------------------------------------------------------------------------


def write_onnx(net: Net, path: Path, metadata: dict[str, str], *, quantised: bool, channels_last: bool = False) -> Path:
    """Float ONNX; `quantised` puts QuantizeLinear and DequantizeLinear behind every operator, int8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, SIZE, SIZE, 3] if channels_last else [1, 3, SIZE, SIZE]
    nodes, values = [], [numpy_helper.from_array(np.float32(0), "zero")]
    nodes.append(helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    names: list[str] = []
    for i, (kind, inputs, option, value) in enumerate(net.nodes):
        name, sources = f"n{i}", [names[n] for n in inputs]
        if kind == "constant":
            values.append(numpy_helper.from_array(value, f"c{i}"))
            nodes.append(helper.make_node("Add", [f"c{i}", "nothing"], [name]))
        elif kind == "mul":
            values.append(numpy_helper.from_array(option, f"c{i}"))
            nodes.append(helper.make_node("Mul", [*sources, f"c{i}"], [name]))
        elif kind == "concat":
            nodes.append(helper.make_node("Concat", sources, [name], axis=option))
        else:
            nodes.append(helper.make_node({"sigmoid": "Sigmoid", "softmax": "Softmax"}[kind], sources, [name]))
        if quantised:
            scale, zero = grid(kind, value)
            values.append(numpy_helper.from_array(np.float32(scale), f"s{i}"))
            values.append(numpy_helper.from_array(np.int8(zero), f"z{i}"))
            nodes.append(helper.make_node("QuantizeLinear", [name, f"s{i}", f"z{i}"], [f"q{i}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", f"z{i}"], [f"d{i}"]))
            name = f"d{i}"
        names.append(name)
    outputs = []
    for number, node in enumerate(net.outputs):
        nodes.append(helper.make_node("Identity", [names[node]], [f"output{number}"]))
        outputs.append(helper.make_tensor_value_info(f"output{number}", TensorProto.FLOAT, net.value(node).shape))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [image], outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


def write_tflite(
    net: Net, path: Path, metadata: dict[str, Any] | None, *, quantised: bool, channels_last: bool
) -> Path:
    """Float or int8 TFLite; `metadata` goes into a zip archive behind it, as Ultralytics writes it."""
    model = Model()
    dtype = "int8" if quantised else "float32"

    def tensor(shape: tuple[int, ...], at: tuple[float, int], data: Array | None = None) -> int:
        if not quantised:
            return model.tensor(shape, dtype, data=data)
        scale, zero = at
        codes = None if data is None else np.clip(np.rint(data / scale) + zero, -128, 127)
        return model.tensor(shape, dtype, float(scale), zero, data=codes)

    pixels = (1 / 255, -128)
    shape = (1, SIZE, SIZE, 3) if channels_last else (1, 3, SIZE, SIZE)
    image = tensor(shape, pixels)
    axes = model.tensor((3,), "int32", data=np.array([1, 2, 3]))
    mean, nothing = tensor((1,), pixels), tensor((1,), (1.0, 0))
    model.op("MEAN", [image, axes], [mean], "ReducerOptions", 2, keepDims=False)
    model.op("MUL", [mean, tensor((1,), (1.0, 0), np.zeros(1))], [nothing], "MulOptions", 2)
    placed: list[tuple[int, tuple[float, int]]] = []
    for kind, inputs, option, value in net.nodes:
        at = grid(kind, value)
        made = tensor(value.shape, at)
        sources = [placed[n][0] for n in inputs]
        if kind == "constant":
            model.op("ADD", [tensor(value.shape, at, value), nothing], [made], "AddOptions", 2)
        elif kind == "mul":
            factor = np.broadcast_to(option, np.broadcast_shapes(option.shape, (1,) * value.ndim))
            model.op("MUL", [*sources, tensor(factor.shape, grid("mul", factor), factor)], [made], "MulOptions", 2)
        elif kind == "concat":
            parts = []
            for n in inputs:
                source, old = placed[n]
                if quantised and old != at:
                    again = tensor(net.value(n).shape, at)
                    model.op("QUANTIZE", [source], [again], "QuantizeOptions", 2)
                    source = again
                parts.append(source)
            model.op("CONCATENATION", parts, [made], "ConcatenationOptions", 2, axis=option)
        elif kind == "softmax":
            model.op("SOFTMAX", sources, [made], "SoftmaxOptions", 2, beta=1.0)
        else:
            model.op("LOGISTIC", sources, [made], "", 2)
        placed.append((made, at))
    data = model.pack([image], [placed[n][0] for n in net.outputs])
    if metadata is not None:
        archive = io.BytesIO(data)
        archive.seek(0, io.SEEK_END)
        with zipfile.ZipFile(archive, "a") as stream:
            stream.writestr("metadata.json", json.dumps(metadata))
        data = archive.getvalue()
    path.write_bytes(data)
    return path


def grid(kind: str, value: Array) -> tuple[float, int]:
    """Scale and zero point of an int8 tensor that holds these values; those of TFLite's kernels where they fix them."""
    if kind in ("sigmoid", "softmax"):
        return 1 / 256, -128
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    scale = (high - low) / 255 or 1.0
    return float(np.float32(scale)), round(-128 - low / scale)


# --- heads ------------------------------------------------------------------------------------------


def anchors() -> tuple[Array, Array]:
    """Centres in cells [2, 84] and strides [84] of a picture of 64 pixels."""
    centres, strides = [], []
    for stride in (8, 16, 32):
        side = SIZE // stride
        y, x = np.divmod(np.arange(side * side), side)
        centres.append(np.stack([x, y]) + 0.5)
        strides.append(np.full(side * side, stride))
    return np.concatenate(centres, axis=1), np.concatenate(strides)


HIT = 36  # the anchor that sees the object: cell (4, 4) of stride 8
CENTRE = ((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2, BOX[2] - BOX[0], BOX[3] - BOX[1])


def decoded(net: Net, unit: str, axis: int, coefs: int = 0, logits: bool = False) -> tuple[int, int, int | None]:
    """Boxes, scores and coefficients as YOLOv8's decode gives them, rows along `axis` (1 or 2)."""
    centres, strides = anchors()
    cells = np.concatenate([centres, np.full((2, 84), 0.5)])
    cells[:, HIT] = np.array(CENTRE) / 8
    classes = np.full((2, 84), -8.0)
    classes[1, HIT] = 3.0

    def laid(rows: Array) -> Array:
        return rows[None] if axis == 1 else rows.T[None]

    boxes = net.scaled(net.constant(laid(cells)), laid(strides[None].astype(float)))
    if unit == "unit":
        boxes = net.scaled(boxes, np.float32(1 / SIZE))
    raw = net.constant(laid(classes))
    scores = raw if logits else net.sigmoid(raw)
    if not coefs:
        return boxes, scores, None
    values = np.zeros((coefs, 84))
    values[0, HIT] = 1.0
    return boxes, scores, net.constant(laid(values))


def proto(net: Net, channels_last: bool) -> int:
    values = np.zeros((1, 32, SIZE // 4, SIZE // 4))
    values[0, 0] = 1.0
    return net.constant(values.transpose(0, 2, 3, 1) if channels_last else values)


def detector(unit: str, maps_last: bool, axis: int = 1) -> Net:
    net = Net()
    boxes, scores, _ = decoded(net, unit, axis)
    net.outputs = [net.joined([boxes, scores], axis)]
    return net


def segmenter(unit: str, maps_last: bool) -> Net:
    net = Net()
    boxes, scores, coefs = decoded(net, unit, 1, coefs=32)
    assert coefs is not None
    net.outputs = [net.joined([boxes, scores, coefs], 1), proto(net, maps_last)]
    return net


def split(unit: str, maps_last: bool) -> Net:
    net = Net()
    boxes, scores, _ = decoded(net, unit, 2)
    net.outputs = [boxes, scores]
    return net


def levels(unit: str, maps_last: bool) -> Net:
    """YOLOv8's convolutions: 64 rows of distances and two of scores at every level."""
    net = Net()
    for stride in (8, 16, 32):
        side = SIZE // stride
        dfl = np.full((1, 64, side, side), -8.0)
        dfl[:, ::16] = 2.0
        logits = np.full((1, 2, side, side), -8.0)
        if stride == 8:
            logits[0, 1, 4, 4] = 3.0
            centre = 4.5 * 8
            for i, edge in enumerate(BOX):
                distance = (centre - edge if i < 2 else edge - centre) / 8
                low, share = int(distance), distance - int(distance)
                bins = np.full(16, -8.0)
                bins[low], bins[low + 1] = np.log([1 - share + 1e-4, share + 1e-4])
                dfl[0, 16 * i : 16 * i + 16, 4, 4] = bins
        for values in (dfl, logits):
            net.outputs.append(net.constant(values.transpose(0, 2, 3, 1) if maps_last else values))
    return net


def yolov5(unit: str, maps_last: bool) -> Net:
    """cx, cy | w, h | objectness and classes behind one sigmoid, three anchors for every cell."""
    net = Net()
    centres, strides = anchors()
    where = np.tile((centres * strides).T, (3, 1))[None]
    size = np.full((1, 252, 2), 10.0)
    scores = np.full((1, 252, 3), -8.0)
    where[0, HIT], size[0, HIT], scores[0, HIT] = CENTRE[:2], CENTRE[2:], (4.0, -8.0, 4.0)
    factor = np.float32(1 / SIZE if unit == "unit" else 1.0)
    parts = [net.scaled(net.constant(part), factor) for part in (where, size)]
    net.outputs = [net.joined([*parts, net.sigmoid(net.constant(scores))], 2)]
    return net


def yolov5_levels(unit: str, maps_last: bool) -> Net:
    net = Net()
    shapes = {8: 10.0, 16: 30.0, 32: 116.0}
    for stride in shapes:
        side = SIZE // stride
        values = np.full((1, 21, side, side), -8.0)
        if stride == 16:  # anchor 30 x 61, cell (2, 2)
            wanted = [0.25, 0.25, np.sqrt(20 / 30) / 2, np.sqrt(40 / 61) / 2]
            values[0, :4, 2, 2] = [np.log(p / (1 - p)) for p in wanted]
            values[0, [4, 6], 2, 2] = 4.0
        net.outputs.append(net.constant(values.transpose(0, 2, 3, 1) if maps_last else values))
    return net


def end2end(unit: str, maps_last: bool) -> Net:
    net = Net()
    boxes, score, label = np.zeros((1, 300, 4)), np.zeros((1, 300, 1)), np.zeros((1, 300, 1))
    boxes[0, 0], score[0, 0], label[0, 0] = BOX, 0.95, 1
    factor = np.float32(1 / SIZE if unit == "unit" else 1.0)
    net.outputs = [net.joined([net.scaled(net.constant(boxes), factor), net.constant(score), net.constant(label)], 2)]
    return net


def classifier(unit: str, maps_last: bool) -> Net:
    net = Net()
    net.outputs = [net.softmax(net.constant(np.array([[0.0, 4.0]])))]
    return net


def classifier_logits(unit: str, maps_last: bool) -> Net:
    net = Net()
    net.outputs = [net.constant(np.array([[0.0, 4.0]]))]
    return net


BUILDERS: dict[str, Callable[..., Net]] = {
    "YOLOv8 boxes + scores": detector,
    "YOLOv8 boxes + scores, anchors first": lambda unit, last: detector(unit, last, axis=2),
    "YOLOv8 boxes + scores + coefficients": segmenter,
    "YOLOv8 raw, level by level": levels,
    "split": split,
    "YOLOv5 decoded": yolov5,
    "YOLOv5 raw, level by level": yolov5_levels,
    "end to end": end2end,
    "classifier, probabilities": classifier,
    "classifier, logits": classifier_logits,
}
