"""The ONNX reader: a real QDQ file, small files made on the spot, and broken ones."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.errors import InputError
from edgeai.footprint.live import live_ranges, peak
from edgeai.graph import load_graph
from edgeai.graph.onnx import read_onnx
from edgeai.recognise.audit import audit

onnx = pytest.importorskip("onnx")

YAMNET = "tflite/yamnet_1024_64x96_tl_qdq_int8.onnx"


def qdq_model(scales: list[float], axis: int = 0) -> Any:
    """QuantizeLinear, DequantizeLinear, a convolution with int8 weights, SiLU, all in Q/DQ pairs."""
    helper, proto = onnx.helper, onnx.TensorProto
    count = len(scales)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=axis),
        helper.make_node("Conv", ["xd", "wd"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
        helper.make_node("Sigmoid", ["cd"], ["g"]),
        helper.make_node("QuantizeLinear", ["g", "s", "z"], ["gq"]),
        helper.make_node("DequantizeLinear", ["gq", "s", "z"], ["gd"]),
        helper.make_node("Mul", ["cd", "gd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["y"]),
    ]
    tensors = [
        onnx.numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.int8), "w"),
        onnx.numpy_helper.from_array(np.float32(scales if count > 1 else scales[0]), "ws"),
        onnx.numpy_helper.from_array(np.zeros(count, np.int8) if count > 1 else np.int8(0), "wz"),
        onnx.numpy_helper.from_array(np.float32(0.5), "s"),
        onnx.numpy_helper.from_array(np.int8(3), "z"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", proto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", proto.FLOAT, [1, 4, 8, 8])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {"note": "hello"})
    return model


def test_scales_reach_the_weights() -> None:
    graph = read_onnx(qdq_model([0.1, 0.2, 0.3, 0.4]).SerializeToString())
    conv = next(op for op in graph.ops if op.kind == "Conv")
    weights = graph.weights(conv)
    assert weights is not None and weights.per_channel and weights.dtype == "int8"
    assert weights.scales == pytest.approx((0.1, 0.2, 0.3, 0.4)) and weights.quantized_dimension == 0
    assert graph.macs(conv) == 4 * 8 * 8 * 27 and graph.output_channels(conv) == 4
    assert conv.stride == (2, 2) and conv.pads == (1, 1, 1, 1)
    quantized = next(t for t in graph.tensors if t.name == "cq")
    assert (quantized.scale, quantized.zero_point) == (0.5, 3)
    assert graph.lookup("note") == b"hello"


def test_one_scale_is_per_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(qdq_model([0.1]).SerializeToString())
    report = audit(path)
    assert report.granularity == "per-tensor" and report.format == "onnx"
    assert report.float_tensors == 2  # input and output; what is between Q/DQ pairs is integer
    onnx.save(onnx.load(path), tmp_path / "renamed.bin")
    assert audit(tmp_path / "renamed.bin").granularity == "per-tensor"


def test_silu_between_pairs_is_fused() -> None:
    graph = read_onnx(qdq_model([0.1]).SerializeToString())
    image, quantized, feature = 4 * 3 * 256, 3 * 256, 4 * 64
    assert peak(graph, live_ranges(graph)).bytes == image + quantized
    sizes = sorted(r.size for r in live_ranges(graph))
    assert sizes == sorted([image, quantized, feature])
    assert len(live_ranges(graph, fused=False)) == 5


@pytest.mark.parametrize(
    ("scales", "axis", "message"),
    [
        ([0.1, 0.2, 0.3], 0, "3 scales"),
        ([1, 1, 1, 1], 9, "4 scales"),
    ],
)
def test_scales_that_do_not_fit(scales: list[float], axis: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_onnx(qdq_model(scales, axis).SerializeToString())


def test_external_data_is_not_opened() -> None:
    model = qdq_model([0.1])
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = 1
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    with pytest.raises(InputError, match="kept in another file"):
        read_onnx(model.SerializeToString())


def test_broken_files(kit: Path) -> None:
    data = (kit / YAMNET).read_bytes()
    for cut in (data[:100], data[: len(data) // 2], b"", b"\x08\x07", b"\x08" + bytes(1000)):
        with pytest.raises(InputError) as caught:
            read_onnx(cut)
        assert "\n" not in str(caught.value)


def test_mutations_end_in_a_graph_or_an_input_error() -> None:
    plain = qdq_model([0.1, 0.2, 0.3, 0.4]).SerializeToString()
    rng, start = random.Random(5), time.perf_counter()
    for _ in range(200):
        data = bytearray(plain)
        for _ in range(rng.choice((1, 3))):
            data[rng.randrange(len(data))] = rng.getrandbits(8)
        try:
            graph = read_onnx(bytes(data))
            live_ranges(graph)
            [graph.macs(op) for op in graph.ops]
        except InputError as error:
            assert "\n" not in error.message
    assert time.perf_counter() - start < 10


def test_published_peak(kit: Path) -> None:
    """ST's published RAM of this file on the STM32N6: 144 KiB."""
    graph = load_graph(kit / YAMNET)
    assert peak(graph, live_ranges(graph)).bytes == 144 * 1024
