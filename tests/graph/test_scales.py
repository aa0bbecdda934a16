"""Scales and zero points that no arithmetic can use: a finding where a file is looked at, an error where it is used."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from firmware.tiny_models import Model
from helpers import edgeai

from edgeai.errors import InputError
from edgeai.graph import load_graph
from edgeai.recognise.audit import audit

BAD = [
    (0.0, 0, "scale 0"),
    (1e-40, 0, "e-41: below what float32 holds"),
    (math.inf, 0, "scale inf"),
    (math.nan, 0, "scale nan"),
    (-0.5, 0, "scale -0.5"),
    (0.5, 300, "zero point 300, int8 holds -128 to 127"),
    (0.5, -129, "zero point -129"),
    (0.5, 2**40, f"zero point {2**40}"),
]


def tflite(path: Path, scale: float, zero: int, place: str = "output") -> Path:
    """An activation function on int8 numbers, with the given scale on one of its tensors."""
    model = Model()
    at = {"input": (0.1, 0), "output": (0.1, 0)} | {place: (scale, zero)}
    first = model.tensor((1, 4, 4, 8), "int8", *at["input"])
    second = model.tensor((1, 4, 4, 8), "int8", *at["output"])
    model.op("RELU", [first], [second])
    path.write_bytes(model.pack([first], [second]))
    return path


def onnx_file(path: Path, scale: float, zero: int) -> Path:
    """Numbers that are quantised and dequantised."""
    helper, proto = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    values = [onnx.numpy_helper.from_array(np.float32(scale), "s"), onnx.numpy_helper.from_array(np.int8(zero), "z")]
    ends = [[helper.make_tensor_value_info(name, proto.FLOAT, [1, 4])] for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *ends, values)), path)
    return path


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize(("scale", "zero", "message"), BAD)
def test_a_finding_and_an_error(tmp_path: Path, scale: float, zero: int, message: str, place: str) -> None:
    path = tflite(tmp_path / "m.tflite", scale, zero, place)
    report = audit(path)
    assert sum(message in finding for finding in report.findings) == 1
    json.dumps([(t.scale, t.zero_point) for t in (*report.inputs, *report.outputs)], allow_nan=False)
    with pytest.raises(InputError) as caught:
        load_graph(path)
    assert message in caught.value.message and "inspect" in caught.value.hint


def test_integers_without_a_scale(tmp_path: Path) -> None:
    """Inside a network that computes with scales they stand for nothing; places and new types need none."""
    model = Model()
    x, y = (model.tensor((1, 4, 4, 8), "int8", 0.1) for _ in range(2))
    bare = model.tensor((1, 4, 4, 8), "int8")
    model.op("RELU", [x], [bare])
    model.op("RELU", [bare], [y])
    path = tmp_path / "m.tflite"
    path.write_bytes(model.pack([x], [y]))
    assert sum("int8 without a scale, and RELU" in finding for finding in audit(path).findings) == 1
    with pytest.raises(InputError, match="without a scale"):
        load_graph(path)
    model = Model()
    x, cast, y = model.tensor((1, 8), "uint8"), model.tensor((1, 8), "float32"), model.tensor((1,), "int32")
    model.op("CAST", [x], [cast])
    model.op("ARG_MAX", [cast, model.tensor((1,), "int32", data=np.array([1]))], [y])
    path.write_bytes(model.pack([x], [y]))
    load_graph(path)


@pytest.mark.parametrize("zeros", [[], [0, 0, 0]])
def test_as_many_zero_points_as_scales(tmp_path: Path, zeros: list[int]) -> None:
    """LiteRT refuses such a file, too."""
    model = Model()
    x, y = (model.tensor((1, 4, 4, 8), "int8", 0.1) for _ in range(2))
    model.op("RELU", [x], [y])
    model.model.subgraphs[0].tensors[y].quantization.zeroPoint = zeros
    path = tmp_path / "m.tflite"
    path.write_bytes(model.pack([x], [y]))
    message = f"{len(zeros)} zero points for 1 scales"
    assert any(message in finding for finding in audit(path).findings)
    with pytest.raises(InputError, match=message):
        load_graph(path)


@pytest.mark.parametrize("scale", [math.nan, -0.1, 0.0])
@pytest.mark.parametrize("kind", ["QLinearAdd", "QLinearConcat", "QLinearSigmoid", "QLinearGlobalAveragePool"])
def test_the_scales_of_onnxruntimes_own_operators(tmp_path: Path, kind: str, scale: float) -> None:
    helper, proto = onnx.helper, onnx.TensorProto
    inputs = {
        "QLinearAdd": ["a", "s", "z", "a", "bad", "z", "s", "z"],
        "QLinearConcat": ["s", "z", "a", "bad", "z"],
        "QLinearSigmoid": ["a", "s", "z", "bad", "z"],
        "QLinearGlobalAveragePool": ["a", "bad", "z", "s", "z"],
    }[kind]
    given = [onnx.numpy_helper.from_array(np.float32(v), n) for n, v in (("s", 0.1), ("bad", scale))]
    given.append(onnx.numpy_helper.from_array(np.int8(0), "z"))
    ends = [[helper.make_tensor_value_info(name, proto.INT8, [1, 4, 2, 2])] for name in ("a", "y")]
    extra = {"axis": 1} if kind == "QLinearConcat" else {}
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["y"], domain="com.microsoft", **extra)], "g", *ends, given
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    assert any(f"scale {scale:g}" in finding for finding in audit(path).findings)


@pytest.mark.parametrize(("scale", "message"), [(s, m) for s, z, m in BAD if z == 0])
def test_the_same_in_onnx(tmp_path: Path, scale: float, message: str) -> None:
    path = onnx_file(tmp_path / "m.onnx", scale, 0)
    assert any(message in finding for finding in audit(path).findings)
    with pytest.raises(InputError, match="scale"):
        load_graph(path)


@pytest.mark.parametrize("dtype, zeros", [("int8", (-128, 127)), ("uint8", (0, 255))])
def test_the_ends_of_a_type_are_in_it(tmp_path: Path, dtype: str, zeros: tuple[int, int]) -> None:
    for zero in zeros:
        model = Model()
        first, second = (model.tensor((1, 8), dtype, 2.0**-126, zero) for _ in range(2))
        model.op("RELU", [first], [second])
        (tmp_path / "m.tflite").write_bytes(model.pack([first], [second]))
        assert not any("tensor" in finding for finding in audit(tmp_path / "m.tflite").findings)
        load_graph(tmp_path / "m.tflite")


def test_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What looks at the file goes on, what computes with it stops with one line."""
    import cv2

    path, photo = tflite(tmp_path / "m.tflite", 0.5, 300), tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((8, 8, 3), np.uint8))
    assert "zero point 300" in edgeai(capsys, "inspect", path).out
    assert edgeai(capsys, "footprint", path, "--board", "stm32n6").code == 0
    for words in (
        ("postprocess", path, "-o", tmp_path / "c"),
        ("predict", photo, "--model", path),
        ("compile", path, "--board", "stm32n6", "--dry-run"),
    ):
        outcome = edgeai(capsys, *words)
        assert outcome.code == 2, words
        assert "zero point 300" in outcome.err, (words, outcome.err)
