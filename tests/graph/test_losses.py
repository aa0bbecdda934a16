"""What kills accuracy is named, and what is no fault is not: files made here, and the kit's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from firmware.tiny_models import Model

from edgeai.artifacts import AuditReport
from edgeai.recognise.audit import audit

LOW, HIGH = -(2**31), 2**31 - 1
CONV = {"options": "Conv2DOptions", "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
DEPTH = {**CONV, "options": "DepthwiseConv2DOptions", "depthMultiplier": 1}


def findings(report: AuditReport, words: str) -> list[str]:
    return [finding for finding in report.findings if words in finding]


def conv(
    path: Path, weights: np.ndarray, bias: list[int], scale: float | list[float] = 0.1, zero: int = 0,
    kind: str = "CONV_2D", dtype: str = "int8",
) -> AuditReport:  # fmt: skip
    """A convolution on 4 channels; the weights as TFLite has them."""
    model, axis = Model(), 0 if kind == "CONV_2D" else 3
    first = model.tensor((1, 4, 4, 4), dtype, 0.1, zero)
    filters = model.tensor(weights.shape, dtype, scale, zero, axis, weights)
    biases = model.tensor((len(bias),), "int32", 0.01, data=np.array(bias))
    out = model.tensor((1, 4, 4, len(bias)), dtype, 0.1, zero)
    fields = dict(CONV if kind == "CONV_2D" else DEPTH)
    model.op(kind, [first, filters, biases], [out], **fields)
    path.write_bytes(model.pack([first], [out]))
    return audit(path)


@pytest.mark.parametrize(
    ("bias", "lost"),
    [
        ([0, 1, -2], 0),
        ([LOW, 5, 6], 1),
        ([HIGH, LOW, 6], 2),
        ([LOW + 1, 5, 6], 1),  # how TFLite's converter clips
        ([2**31 - 128, 5, 6], 1),  # clipped in float32
        ([2**30, -(2**30), 6], 0),
    ],
)
def test_biases_at_the_limit(tmp_path: Path, bias: list[int], lost: int) -> None:
    found = findings(conv(tmp_path / "m.tflite", np.ones((3, 1, 1, 4)), bias), "2^31")
    assert len(found) == (lost > 0)
    if lost:
        assert f"lose {lost} output channel" in found[0] and f"CONV_2D 't3', {lost} of 3" in found[0]


@pytest.mark.parametrize(("dtype", "zero"), [("int8", 0), ("int8", -3), ("uint8", 128)])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_channels_whose_weights_are_all_0(tmp_path: Path, kind: str, dtype: str, zero: int) -> None:
    weights = np.full((4, 1, 1, 4) if kind == "CONV_2D" else (1, 3, 3, 4), zero + 2)
    path = tmp_path / "m.tflite"
    assert not findings(conv(path, weights, [0] * 4, zero=zero, kind=kind, dtype=dtype), "round to 0")
    channel = np.s_[1] if kind == "CONV_2D" else np.s_[..., 1]
    weights[channel] = zero
    (found,) = findings(conv(path, weights, [0] * 4, zero=zero, kind=kind, dtype=dtype), "round to 0")
    assert "1 output channel in one operator" in found and f"{kind} 't3', 1 of 4" in found and "too coarse" in found


def test_one_weight_is_enough_to_keep_a_channel(tmp_path: Path) -> None:
    weights = np.zeros((2, 3, 3, 4))
    weights[0, 2, 2, 3] = 1
    (found,) = findings(conv(tmp_path / "m.tflite", weights, [0, 0]), "round to 0")
    assert "1 of 2" in found


def test_per_channel_scales_are_not_called_coarse(tmp_path: Path) -> None:
    weights = np.ones((2, 1, 1, 4))
    weights[1] = 0
    (found,) = findings(conv(tmp_path / "m.tflite", weights, [0, 0], scale=[0.1, 0.2]), "round to 0")
    assert "coarse" not in found


# --- ONNX ---------------------------------------------------------------------------------------


def number(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(value, dtype), name)


def saved(path: Path, nodes: list[onnx.NodeProto], values: list[onnx.TensorProto], shapes: dict[str, object]) -> Path:
    def ends(names: str) -> list[onnx.ValueInfoProto]:
        return [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shapes[n]) for n in names]

    graph = onnx.helper.make_graph(nodes, "g", ends("x"), ends("y"), values)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]), path)
    return path


def qdq(
    path: Path, weights: np.ndarray, kind: str = "Conv", bias: list[int] | None = None, folded: bool = True,
    **attributes: object,
) -> Path:  # fmt: skip
    """A complete QDQ file: float at both ends, integers between; not `folded`: float weights too."""
    node = onnx.helper.make_node
    values = [number("s", 0.1), number("z", 0, np.int8), number("zb", 0, np.int32)]
    values += [number("w", weights, np.int8 if folded else np.float32)]
    values += [number("b", [0] * 4 if bias is None else bias, np.int32)]
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["xq"]), node("DequantizeLinear", ["xq", "s", "z"], ["xd"])]
    nodes += [] if folded else [node("QuantizeLinear", ["w", "s", "z"], ["wq"])]
    nodes += [node("DequantizeLinear", ["w" if folded else "wq", "s", "z"], ["wd"])]
    nodes += [node("DequantizeLinear", ["b", "s", "zb"], ["bd"])]
    operands = ["xd", "wd"] if kind == "MatMul" else ["xd", "wd", "bd"]
    nodes += [node(kind, operands, ["c"], **attributes)]
    nodes += [node("QuantizeLinear", ["c", "s", "z"], ["cq"]), node("DequantizeLinear", ["cq", "s", "z"], ["y"])]
    flat = kind in ("MatMul", "Gemm")
    return saved(path, nodes, values, {"x": [1, 4] if flat else [1, 4, 5, 5], "y": None})


KINDS = [
    ("Conv", (4, 4, 1, 1), np.s_[2], {}),
    ("Conv", (4, 1, 3, 3), np.s_[2], {"group": 4}),
    ("ConvTranspose", (4, 4, 2, 2), np.s_[:, 2], {}),
    ("ConvTranspose", (4, 2, 2, 2), np.s_[2:, 0], {"group": 2}),
    ("Gemm", (4, 4), np.s_[:, 2], {}),
    ("Gemm", (4, 4), np.s_[2], {"transB": 1}),
    ("MatMul", (4, 4), np.s_[:, 2], {}),
]


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(("kind", "shape", "channel", "attributes"), KINDS)
def test_every_operator_with_weights(
    tmp_path: Path, kind: str, shape: tuple[int, ...], channel: object, attributes: dict[str, int], folded: bool
) -> None:
    weights = np.ones(shape)
    full = audit(qdq(tmp_path / "m.onnx", weights, kind, folded=folded, **attributes))
    assert not findings(full, "round to 0")
    weights[channel] = 0 if folded else 0.04  # of a scale of 0.1
    (found,) = findings(audit(qdq(tmp_path / "m.onnx", weights, kind, folded=folded, **attributes)), "round to 0")
    assert f"{kind} 'c', 1 of 4" in found


def test_biases_of_a_qdq_file(tmp_path: Path) -> None:
    report = audit(qdq(tmp_path / "m.onnx", np.ones((4, 4, 1, 1)), bias=[0, LOW, HIGH, 1]))
    assert "Conv 'c', 2 of 4" in findings(report, "2^31")[0]


def test_float_ends_of_a_qdq_file_are_no_operators(tmp_path: Path) -> None:
    report = audit(qdq(tmp_path / "m.onnx", np.ones((4, 4, 1, 1))))
    assert report.float_tensors == 2 and not findings(report, "in float")


def test_an_operator_that_computes_floats_is_one(tmp_path: Path) -> None:
    path = qdq(tmp_path / "m.onnx", np.ones((4, 4, 1, 1)))
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "d"
    model.graph.node.append(onnx.helper.make_node("Sigmoid", ["d"], ["y"]))
    onnx.save(model, path)
    assert findings(audit(path), "1 activation in float")


@pytest.mark.parametrize(
    "name", ["tflite2/yolo26_256_qdq_int8_od_coco-person-st.onnx", "tflite/stmnist_v1_int8.tflite"]
)
def test_complete_files_of_the_kit(kit: Path, name: str) -> None:
    report = audit(kit / name)
    assert not findings(report, "in float") and not findings(report, "2^31")


# --- shapes, names, scales ----------------------------------------------------------------------


def shaped(path: Path, sides: list[object], kind: str = "Shape") -> Path:
    """A Reshape whose target is computed from the input's own shape; NonZero: from its numbers."""
    node = onnx.helper.make_node
    values = [number("w", np.ones((2, 4, 1, 1))), number("i", [-1], np.int64), number("zero", [0], np.int64)]
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Shape", ["c"], ["n"]), node("Gather", ["n", "zero"], ["g"])]
    nodes += [node("Concat", ["g", "i"], ["to"], axis=0), node("Reshape", ["c", "to"], ["r"])]
    if kind == "NonZero":
        nodes += [node("NonZero", ["r"], ["k"]), node("Cast", ["k"], ["y"], to=1)]
    else:
        nodes += [node("Relu", ["r"], ["y"])]
    return saved(path, nodes, values, {"x": sides, "y": [None, None]})


def test_only_an_open_input_has_open_dimensions(tmp_path: Path) -> None:
    pytest.importorskip("onnxsim")
    fixed = audit(shaped(tmp_path / "fixed.onnx", [1, 4, 5, 5]))
    assert not findings(fixed, "open dimensions") and not findings(fixed, "does not fix")
    assert fixed.macs == 2 * 4 * 25
    assert findings(audit(shaped(tmp_path / "open.onnx", [1, 4, "h", "w"])), "open dimensions")


def test_a_shape_that_the_data_decide_is_said(tmp_path: Path) -> None:
    report = audit(shaped(tmp_path / "nonzero.onnx", [1, 4, 5, 5], "NonZero"))
    assert not findings(report, "open dimensions")
    (found,) = findings(report, "does not fix the shape")
    assert "NonZero" in found


@pytest.mark.parametrize("same", [True, False])
def test_shared_scale_behind_a_join(tmp_path: Path, same: bool) -> None:
    """Boxes and scores leave a QDQ file in one float tensor: whether one scale made them is seen behind the join."""
    node = onnx.helper.make_node
    values = [number("s", 2.0), number("t", 2.0 if same else 0.004), number("z", 0, np.int8)]
    values += [number("w", np.ones((4, 3, 32, 32))), number("v", np.ones((2, 3, 32, 32)))]
    values += [number("flat", [1, -1, 84], np.int64)]
    nodes = []
    for weights, scale in (("w", "s"), ("v", "t")):
        parts = [f"{weights}{stride}" for stride in (8, 16, 32)]
        for part, stride in zip(parts, (8, 16, 32), strict=True):
            values.append(number(part, np.ones((4 if weights == "w" else 2, 3, stride, stride))))
            nodes += [node("Conv", ["x", part], [f"{part}c"], strides=[stride, stride])]
            values.append(number(f"{part}to", [1, 4 if weights == "w" else 2, (64 // stride) ** 2], np.int64))
            nodes += [node("Reshape", [f"{part}c", f"{part}to"], [f"{part}r"])]
        nodes += [node("Concat", [f"{part}r" for part in parts], [f"{weights}a"], axis=2)]
        if weights == "v":
            nodes += [node("Sigmoid", ["va"], ["vs"])]
        end = "wa" if weights == "w" else "vs"
        nodes += [node("QuantizeLinear", [end, scale, "z"], [f"{weights}q"])]
        nodes += [node("DequantizeLinear", [f"{weights}q", scale, "z"], [f"{weights}d"])]
    nodes += [node("Concat", ["wd", "vd"], ["y"], axis=1)]
    path = saved(tmp_path / "det.onnx", nodes, values, {"x": [1, 3, 64, 64], "y": [1, 6, 84]})
    model = onnx.load(path)
    for key, value in {"task": "detect", "names": "{0: 'class0', 1: 'class1'}", "imgsz": "[64, 64]"}.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    report = audit(path)
    assert report.layout == "detect", report.refusal
    assert report.shared_output_scale is same
    assert not findings(report, "class names are unknown")  # the file says class0 and class1


def test_names_that_nothing_says_are_unknown(kit: Path) -> None:
    report = audit(kit / "tflite" / "mobilenet_v1_0.25_96_fft_int8.tflite")
    assert findings(report, "class names are unknown")
