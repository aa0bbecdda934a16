"""What an operator takes is known or said to be unknown: constants, work, unit. Never zero in silence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from firmware.tiny_models import Model
from helpers import edgeai

from edgeai.board import all_boards, load_board
from edgeai.errors import InputError
from edgeai.footprint.estimate import estimate
from edgeai.footprint.support import placements
from edgeai.footprint.weights import constants
from edgeai.graph import load_graph
from edgeai.latency.estimate import assess
from edgeai.latency.recommend import recommend
from edgeai.recognise.audit import audit

RANDOM = np.random.default_rng(0)


def onnx_model(
    path: Path, nodes: list[Any], constants: dict[str, np.ndarray], shapes: tuple[list[int], list[int]],
    domains: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    helper, proto = onnx.helper, onnx.TensorProto
    ends = [helper.make_tensor_value_info(n, proto.FLOAT, s) for n, s in zip(("x", "y"), shapes, strict=True)]
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], values)
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def floats(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


# --- recurrent layers -------------------------------------------------------------------------------

STEPS, BATCH, INPUT, HIDDEN = 8, 1, 32, 48


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers_of_onnx(tmp_path: Path, kind: str, gates: int, directions: int) -> None:
    weights = {
        "w": floats(directions, gates * HIDDEN, INPUT), "r": floats(directions, gates * HIDDEN, HIDDEN),
        "b": floats(directions, 2 * gates * HIDDEN),
    }  # fmt: skip
    node = onnx.helper.make_node(
        kind, ["x", "w", "r", "b"], ["y"], hidden_size=HIDDEN, direction=("forward", "bidirectional")[directions - 1]
    )
    path = onnx_model(tmp_path / "m.onnx", [node], weights, ([STEPS, BATCH, INPUT], [STEPS, directions, BATCH, HIDDEN]))
    stored = sum(value.nbytes for value in weights.values())
    macs = directions * STEPS * gates * HIDDEN * (INPUT + HIDDEN)
    report = audit(path)
    assert report.macs == macs and report.constants_bytes == stored
    assert report.weights_bytes == stored - weights["b"].nbytes
    for name in ("stm32n6", "stm32h7", "stm32mp2"):
        found = assess(path, load_board(name))
        assert found.weights_bytes == stored and found.memory is not None
        assert found.memory.weights.point >= stored
        assert found.latency is not None and sum(op.macs for op in found.latency.ops) == macs
        assert found.latency.ms.point > 0 and any("recurrent" in note for note in found.latency.notes)


def shape_of(model: Model, tensor: int) -> tuple[int, ...]:
    return tuple(model.graph.tensors[tensor].shape)


def lstm(kind: str) -> tuple[Model, list[int], int, int]:
    """A UNIDIRECTIONAL_SEQUENCE_LSTM or an SVDF in the making: model, inputs of the operator, bytes and MACs."""
    model = Model()
    first = model.tensor((BATCH, STEPS, INPUT), "float32")
    if kind == "SVDF":
        first = model.tensor((BATCH, INPUT), "float32")
        operands = [first, model.tensor((16, INPUT), "float32", data=floats(16, INPUT)),
                    model.tensor((16, 10), "float32", data=floats(16, 10)),
                    model.tensor((16,), "float32", data=floats(16)), model.tensor((1, 160), "float32")]  # fmt: skip
        return model, operands, 4 * (16 * INPUT + 16 * 10 + 16), 16 * (INPUT + 10)
    gates = [model.tensor((HIDDEN, side), "float32", data=floats(HIDDEN, side)) for side in [INPUT] * 4 + [HIDDEN] * 4]
    biases = [model.tensor((HIDDEN,), "float32", data=floats(HIDDEN)) for _ in range(4)]
    states = [model.tensor((BATCH, HIDDEN), "float32") for _ in range(2)]
    operands = [first, *gates, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    weights = 4 * HIDDEN * (INPUT + HIDDEN)
    if kind == "BIDIRECTIONAL_SEQUENCE_LSTM":  # one direction behind the other, then four states and what is auxiliary
        one = [*gates, -1, -1, -1, *biases, -1, -1]
        backward = [
            t if t < 0 else model.tensor(shape_of(model, t), "float32", data=np.ones(shape_of(model, t))) for t in one
        ]
        states += [model.tensor((BATCH, HIDDEN), "float32") for _ in range(2)]
        operands = [first, *one, *backward, *states, *[-1] * 9]
        return model, operands, 2 * 4 * (weights + 4 * HIDDEN), 2 * STEPS * weights
    return model, operands, 4 * (weights + 4 * HIDDEN), STEPS * weights


@pytest.mark.parametrize(
    ("kind", "runs"), [("UNIDIRECTIONAL_SEQUENCE_LSTM", True), ("BIDIRECTIONAL_SEQUENCE_LSTM", False), ("SVDF", False)]
)
def test_recurrent_layers_of_tflite(tmp_path: Path, kind: str, runs: bool) -> None:
    model, operands, stored, macs = lstm(kind)
    out = model.tensor((BATCH, STEPS, HIDDEN), "float32")
    model.op(kind, operands, [out])
    (tmp_path / "m.tflite").write_bytes(model.pack([operands[0]], [out]))
    found = estimate(tmp_path / "m.tflite", load_board("stm32h7"))
    assert (found.weights_bytes, audit(tmp_path / "m.tflite").macs) == (stored, macs)
    assert found.fits is runs and (runs or kind in found.reasons[0])


# --- every operator's constants ---------------------------------------------------------------------


def test_constant_operands_of_any_operator(tmp_path: Path) -> None:
    """A look-up table, a normalisation and the operand of a subtraction are data; axes and shapes are not."""
    model = Model()
    x = model.tensor((1, 8), "int32")
    table = model.tensor((1000, 16), "int8", 0.1, data=np.ones((1000, 16)))
    rows, shifted, turned = (model.tensor((1, 8, 16), "int8", 0.1) for _ in range(3))
    offset = model.tensor((8, 16), "int8", 0.1, data=np.ones((8, 16)))
    order = model.tensor((3,), "int32", data=np.array([0, 1, 2]))
    model.op("GATHER", [table, x], [rows], "GatherOptions")
    model.op("SUB", [rows, offset], [shifted], "SubOptions")
    model.op("TRANSPOSE", [shifted, order], [turned], "TransposeOptions")
    (tmp_path / "m.tflite").write_bytes(model.pack([x], [turned]))
    found = constants(load_graph(tmp_path / "m.tflite"))
    assert (found.others, found.tables, found.total) == (16000, 128, 16128)
    assert estimate(tmp_path / "m.tflite", load_board("stm32n6")).weights_bytes == 16128


def test_shared_buffers_count_once(tmp_path: Path) -> None:
    """Four convolutions with the same weights and the same bias: the file holds each once."""
    model = Model()
    weights = model.tensor((64, 3, 3, 64), "int8", 0.01, data=RANDOM.integers(-9, 9, (64, 3, 3, 64)))
    bias = model.tensor((64,), "int32", 0.001, data=np.arange(64))
    x = first = model.tensor((1, 8, 8, 64), "int8", 0.1)
    for i in range(4):
        twins = []
        for t in (weights, bias):
            made = model.tensor(tuple(model.graph.tensors[t].shape), "int8" if t == weights else "int32", 0.01)
            model.graph.tensors[made].buffer = model.graph.tensors[t].buffer
            twins.append(made)
        out = model.tensor((1, 8, 8, 64), "int8", 0.1)
        model.op("CONV_2D", [x, *twins], [out], "Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1,
                 dilationWFactor=1, fusedActivationFunction=i % 2)  # fmt: skip
        x = out
    path = tmp_path / "m.tflite"
    path.write_bytes(model.pack([first], [x]))
    report = audit(path)
    assert (report.weights_bytes, report.bias_bytes, report.constants_bytes) == (36864, 256, 37120)
    assert report.constants_bytes <= path.stat().st_size and report.macs == 4 * 64 * 36864
    for name in ("stm32n6", "stm32h7"):
        found = estimate(path, load_board(name))
        assert found.weights_bytes == 37120 and found.memory is not None
        assert found.memory.weights.point <= path.stat().st_size
        assert sum(pool.used for pool in found.pools if pool.kind == "flash") == 37120


# --- operators that nobody runs ---------------------------------------------------------------------


def custom(path: Path, name: str, before: bool = True) -> Path:
    """A convolution, then a custom operator (or that alone)."""
    model = Model()
    x = y = model.tensor((1, 8, 8, 16), "int8", 0.1)
    if before:
        weights = model.tensor((16, 1, 1, 16), "int8", 0.01, data=np.ones((16, 1, 1, 16)))
        y = model.tensor((1, 8, 8, 16), "int8", 0.1)
        model.op("CONV_2D", [x, weights, -1], [y], "Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1,
                 dilationWFactor=1)  # fmt: skip
    out = model.tensor((1, 10, 4), "float32")
    blob = model.tensor((5000,), "uint8", data=np.ones(5000))
    model.op("CUSTOM", [y, blob], [out])
    model.model.operatorCodes[-1].customCode = name.encode()
    path.write_bytes(model.pack([x], [out]))
    return path


@pytest.mark.parametrize("name", ["TFLite_Detection_PostProcess", "ethos-u", "MaxPoolingWithArgmax2D"])
@pytest.mark.parametrize("before", [True, False])
def test_custom_operators_run_nowhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, before: bool
) -> None:
    path = custom(tmp_path / "m.tflite", name, before)
    for board in all_boards():
        found = assess(path, board)
        assert not found.fits and name in found.reasons[0] and board.name in found.reasons[0]
        assert found.latency is None and any("no latency estimate" in reason for reason in found.reasons)
        assert found.weights_bytes == 5000 + 256 * before
    assert {advice.verdict for advice in recommend(path).boards} == {"no"}
    outcome = edgeai(capsys, "footprint", path, "--board", "stm32n6")
    assert outcome.code == 3 and "DOES NOT RUN ON" in outcome.out and name in outcome.out
    if name == "ethos-u":
        assert "Ethos-U" in outcome.out
    told = json.loads(edgeai(capsys, "footprint", path, "--board", "stm32n6", "--json").out)
    assert not told["fits"] and told["activations_bytes"] > 0


@pytest.mark.parametrize("board", ["stm32n6", "stm32h7", "stm32mp2"])
@pytest.mark.parametrize(
    ("kind", "domain"),
    [
        ("GridSample", ""), ("MyOperator", "my.domain"), ("Relu", "my.domain"), ("Einsum", ""),
        ("FusedAttention", "com.microsoft"), ("Trilu", ""), ("RoiAlign", ""),
    ],
)  # fmt: skip
def test_operators_of_onnx_that_are_not_known(tmp_path: Path, kind: str, domain: str, board: str) -> None:
    if kind == "Einsum" and board == "stm32mp2":
        pytest.skip("on a Linux board the runtime on the processor has it")
    node = onnx.helper.make_node(kind, ["x"], ["y"], domain=domain)
    shapes = ([1, 8, 16, 16], [1, 8, 16, 16])
    path = onnx_model(tmp_path / "m.onnx", [node], {}, shapes, domains=(domain,) if domain else ())
    found = assess(path, load_board(board))
    assert not found.fits and kind in found.reasons[0] and found.latency is None


@pytest.mark.parametrize("kind", ["TopK", "Where", "GatherND"])
def test_what_st_imports_runs_in_software(tmp_path: Path, kind: str) -> None:
    """Three of the 132 operators in ST's list of what it imports from ONNX (ST Edge AI Core 2.2)."""
    helper = onnx.helper
    shape = [1, 64]
    made = {
        "TopK": helper.make_node("TopK", ["x", "k"], ["y", "places"], axis=1),
        "Where": helper.make_node("Where", ["c", "x", "x"], ["y"]),
        "GatherND": helper.make_node("GatherND", ["x", "i"], ["y"]),
    }
    values = {
        "TopK": {"k": np.array([8], np.int64)},
        "Where": {},
        "GatherND": {"i": np.array([[[0, n] for n in range(64)]], np.int64)},
    }
    compared = [helper.make_node("Greater", ["x", "zero"], ["c"])] if kind == "Where" else []
    values["Where"] = {"zero": np.zeros((1,), np.float32)}
    result = [1, 8] if kind == "TopK" else shape
    path = onnx_model(tmp_path / "m.onnx", [*compared, made[kind]], values[kind], (shape, result))
    for name in ("stm32n6", "stm32h7"):
        found = assess(path, load_board(name))
        assert found.fits and found.latency is not None
        assert kind in [op.kind for op in found.latency.ops]
    units = [place.unit for place in placements(load_graph(path), "n6")]
    assert units[-1] == "cpu"


def test_known_operators_take_time(tmp_path: Path) -> None:
    """Every operator that is placed, and moves or computes numbers, has a time of its own."""
    for kind in ("HardSwish", "LeakyRelu", "Erf", "ReduceMax", "DepthToSpace", "LayerNormalization", "Expand", "Pow"):
        extra = {"DepthToSpace": {"blocksize": 2}}.get(kind, {})
        node = onnx.helper.make_node(kind, ["x"], ["y"], **extra)
        path = onnx_model(tmp_path / f"{kind}.onnx", [node], {}, ([1, 8, 32, 32], [1, 8, 32, 32]))
        for board in ("stm32n6", "stm32h7"):
            latency = assess(path, load_board(board)).latency
            assert latency is not None and [op.kind for op in latency.ops] == [kind]


@pytest.mark.parametrize("board", ["stm32n6", "stm32h7", "stm32mp2"])
def test_weights_in_another_order_cost_what_weights_cost(tmp_path: Path, board: str) -> None:
    """A constant that is only turned, or de-quantised and turned, takes flash once and no RAM and no time."""
    helper = onnx.helper
    weights = np.random.default_rng(0).normal(size=(256, 128)).astype(np.float32)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    turn = helper.make_node("Transpose", ["v"], ["w"], perm=[1, 0])
    shapes = ([1, 256], [1, 128])
    plain = onnx_model(tmp_path / "plain.onnx", [product], {"w": weights}, shapes)
    turned = onnx_model(tmp_path / "turned.onnx", [turn, product], {"v": weights.T.copy()}, shapes)
    unpack = helper.make_node("DequantizeLinear", ["q", "s"], ["v"])
    codes = {"q": np.ones((128, 256), np.int8), "s": np.float32(0.5)}
    packed = onnx_model(tmp_path / "packed.onnx", [unpack, turn, product], codes, shapes)
    expected, found, small = (assess(path, load_board(board)) for path in (plain, turned, packed))
    assert found.weights_bytes == expected.weights_bytes == 4 * 256 * 128
    assert small.weights_bytes == 256 * 128
    assert expected.latency is not None and found.latency is not None and small.latency is not None
    for other in (found, small):
        assert other.fits and other.activations_bytes == expected.activations_bytes
    assert found.latency.ms == expected.latency.ms
    assert [op.kind for op in small.latency.ops] == ["MatMul"]


@pytest.mark.parametrize("kind", ["CUSTOM", "RANDOM_STANDARD_NORMAL"])
def test_what_chance_or_a_custom_operator_makes_of_constants_is_not_folded(tmp_path: Path, kind: str) -> None:
    model = Model()
    x, made, y = (model.tensor((1, 16), "float32") for _ in range(3))
    model.op(kind, [model.tensor((2,), "int32", data=np.array([1, 16]))], [made])
    if kind == "CUSTOM":
        model.model.operatorCodes[-1].customCode = b"Foo"
    model.op("ADD", [x, made], [y])
    path = tmp_path / "m.tflite"
    path.write_bytes(model.pack([x], [y]))
    found = assess(path, load_board("stm32n6"))
    assert not found.fits and kind in found.reasons[0]
    assert {advice.verdict for advice in recommend(path).boards} == {"no"}


@pytest.mark.parametrize("command", [("footprint", "--board", "stm32n6"), ("recommend",)])
def test_an_operator_that_hides_the_shapes_behind_it_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["a"]), onnx.helper.make_node("Foo", ["a"], ["b"], domain="my"),
        onnx.helper.make_node("Relu", ["b"], ["y"]),
    ]  # fmt: skip
    path = onnx_model(tmp_path / "m.onnx", nodes, {}, ([1, 8], [1, 8]), domains=("my",))
    outcome = edgeai(capsys, command[0], path, *command[1:])
    assert outcome.code == 3 and "CUSTOM:my:Foo does not run" in outcome.err


def test_what_follows_from_constants_is_folded(tmp_path: Path) -> None:
    """An operator that no board is known to run is no obstacle where its result is known before."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Trilu", ["c"], ["h"]), helper.make_node("Add", ["x", "h"], ["y"]),
    ]  # fmt: skip
    values = {"c": np.ones((1, 4), np.float32)}
    path = onnx_model(tmp_path / "m.onnx", nodes, values, ([1, 4], [1, 4]))
    assert estimate(path, load_board("stm32n6")).fits
    path = onnx_model(tmp_path / "m.onnx", [helper.make_node("Trilu", ["x"], ["y"])], {}, ([1, 4], [1, 4]))
    assert not estimate(path, load_board("stm32n6")).fits


# --- control flow -----------------------------------------------------------------------------------


def test_bodies_of_an_if_in_onnx(tmp_path: Path) -> None:
    """Both branches hold constants of one name; one reads a value from outside."""
    helper, proto = onnx.helper, onnx.TensorProto
    out = helper.make_tensor_value_info("r", proto.FLOAT, [1, 64])
    branches = []
    for scale in (1, 2):
        w = onnx.numpy_helper.from_array(np.full((64, 64), scale, np.float32), "w")
        branches.append(helper.make_graph([helper.make_node("MatMul", ["h", "w"], ["r"])], f"b{scale}", [], [out], [w]))
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("If", ["condition"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    values = {"condition": np.array(True)}
    path = onnx_model(tmp_path / "m.onnx", nodes, values, ([1, 64], [1, 64]))
    graph = load_graph(path)
    found = estimate(path, load_board("stm32n6"))
    assert found.weights_bytes == 2 * 64 * 64 * 4 + 1 and constants(graph).others == found.weights_bytes
    assert not found.fits and "If" in found.reasons[0] and audit(path).constants_bytes == found.weights_bytes
    hidden = next(t for t in graph.tensors if t.name == "h")
    assert [op.kind for op in graph.consumers(hidden.index)] == ["If"]


@pytest.mark.parametrize("kind", ["IF", "WHILE", "CALL"])
def test_bodies_in_tflite(tmp_path: Path, kind: str) -> None:
    model = Model()
    x, y = (model.tensor((1, 64), "int8", 0.1) for _ in range(2))
    model.op(kind, [x], [y])
    inner = Model()
    a, b = (inner.tensor((1, 64), "int8", 0.1) for _ in range(2))
    w = inner.tensor((64, 64), "int8", 0.1, data=np.ones((64, 64)))
    inner.op("FULLY_CONNECTED", [a, w, -1], [b], "FullyConnectedOptions")
    model.model.buffers += inner.model.buffers[1:]
    inner.graph.tensors[w].buffer = len(model.model.buffers) - 1
    inner.graph.inputs, inner.graph.outputs = [a], [b]
    inner.graph.operators[0].opcodeIndex = 0
    model.model.subgraphs.append(inner.graph)
    (tmp_path / "m.tflite").write_bytes(model.pack([x], [y]))
    found = estimate(tmp_path / "m.tflite", load_board("stm32h7"))
    assert found.weights_bytes == 4096 and not found.fits and kind in found.reasons[0]


# --- one network in two formats ---------------------------------------------------------------------


def float_pair(folder: Path) -> tuple[Path, Path]:
    """The same float network as ONNX and as TFLite: three convolutions with ReLU, in TFLite inside them."""
    model, nodes, values = Model(), [], {}
    x, name, channels = model.tensor((1, 64, 64, 3), "float32"), "x", 3
    first = x
    for i, kernel in enumerate((3, 3, 1)):
        weights = floats(32, kernel, kernel, channels)
        bias = floats(32)
        operands = [x, model.tensor(weights.shape, "float32", data=weights), model.tensor((32,), "float32", data=bias)]
        x = model.tensor((1, 64, 64, 32), "float32")
        model.op("CONV_2D", operands, [x], "Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1,
                 dilationWFactor=1, fusedActivationFunction=1)  # fmt: skip
        values |= {f"w{i}": np.ascontiguousarray(weights.transpose(0, 3, 1, 2)), f"b{i}": bias}
        last = "y" if i == 2 else f"r{i}"
        pads = [kernel // 2] * 4
        nodes.append(onnx.helper.make_node("Conv", [name, f"w{i}", f"b{i}"], [f"c{i}"], pads=pads))
        nodes.append(onnx.helper.make_node("Relu", [f"c{i}"], [last]))
        name, channels = last, 32
    (folder / "m.tflite").write_bytes(model.pack([first], [x]))
    return onnx_model(folder / "m.onnx", nodes, values, ([1, 3, 64, 64], [1, 32, 64, 64])), folder / "m.tflite"


@pytest.mark.parametrize("name", ["stm32n6", "stm32h7", "stm32mp2", "stm32u5"])
def test_a_float_network_is_placed_and_timed_alike(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    one, other = (assess(path, board) for path in float_pair(tmp_path))
    assert one.fits == other.fits and one.weights_bytes == other.weights_bytes
    assert one.latency is not None and other.latency is not None
    assert one.latency.ms.point == pytest.approx(other.latency.ms.point, rel=0.02)
    assert one.memory is not None and other.memory is not None and one.support is not None and other.support is not None
    assert one.memory.ram.point == pytest.approx(other.memory.ram.point, rel=0.02)
    assert [entry.count for entry in one.support.software] == [entry.count for entry in other.support.software]
    assert one.support.software_epochs == other.support.software_epochs == (0 if name in ("stm32h7", "stm32u5") else 3)


def test_quantised_onnx_stays_on_the_accelerator(kit: Path) -> None:
    """Q/DQ pairs are notation: what stands between them is computed with integers."""
    graph = load_graph(kit / "tflite" / "yamnet_1024_64x96_tl_qdq_int8.onnx")
    units = {op.kind: place for op, place in zip(graph.ops, placements(graph, "n6"), strict=True)}
    assert units["Conv"].unit == "npu"
    assert not [op for op, p in zip(graph.ops, placements(graph, "n6"), strict=True) if "floating" in p.reason]


# --- the axis of a bias -----------------------------------------------------------------------------


def depthwise(path: Path, axis: int, shape: tuple[int, ...] = (8,), count: int = 8, weight_axis: int = 3) -> Path:
    model = Model()
    x, y = (model.tensor((1, 16, 16, 8), "int8", scale) for scale in (0.5, 0.1))
    w = model.tensor((1, 3, 3, 8), "int8", [0.01 * (i + 1) for i in range(8)], axis=weight_axis,
                     data=np.ones((1, 3, 3, 8)))  # fmt: skip
    b = model.tensor(shape, "int32", [0.005 * (i + 1) for i in range(count)], axis=axis, data=np.arange(8))
    model.op("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", strideH=1, strideW=1, dilationHFactor=1,
             dilationWFactor=1, depthMultiplier=1)  # fmt: skip
    path.write_bytes(model.pack([x], [y]))
    return path


@pytest.mark.parametrize("axis", [0, 1, 3, 7, -1])
def test_a_bias_has_one_axis(tmp_path: Path, axis: int) -> None:
    path = depthwise(tmp_path / "m.tflite", axis)
    graph = load_graph(path)
    bias = graph.bias(graph.ops[0])
    assert bias is not None and bias.quantized_dimension == 0
    assert bias.scales == pytest.approx([0.005 * (i + 1) for i in range(8)])
    assert audit(path).macs == 16 * 16 * 8 * 9 and estimate(path, load_board("stm32n6")).fits


def test_a_bias_of_four_dimensions_or_of_other_scales(tmp_path: Path) -> None:
    """As TFLite Micro: the scales of a bias are the input's times the weights', whatever stands beside it."""
    for shape, count in (((1, 1, 1, 8), 8), ((8,), 3)):
        graph = load_graph(depthwise(tmp_path / "m.tflite", 0, shape, count))
        bias = graph.bias(graph.ops[0])
        assert bias is not None and bias.scales == pytest.approx([0.5 * 0.01 * (i + 1) for i in range(8)])
        assert bias.quantized_dimension == len(shape) - 1


def test_the_axis_of_weights_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="8 scales, which its shape"):
        load_graph(depthwise(tmp_path / "m.tflite", 0, weight_axis=1))


def test_long_chains_take_no_recursion_and_no_time(tmp_path: Path) -> None:
    """Thousands of functions in a row, and products of one number with itself: each is looked at once."""
    helper = onnx.helper
    nodes = [helper.make_node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}"]) for i in range(3000)]
    nodes += [helper.make_node("Mul", [f"t{i}", f"t{i}"], [f"t{i + 1}"]) for i in range(3000, 3200)]
    nodes.append(helper.make_node("Identity", ["t3200"], ["y"]))
    path = onnx_model(tmp_path / "m.onnx", nodes, {}, ([1, 4], [1, 4]))
    begin = time.process_time()
    assert assess(path, load_board("stm32n6")).fits
    assert time.process_time() - begin < 20
