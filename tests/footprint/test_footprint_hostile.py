"""Damaged files through memory and latency: an error that names the file, or an answer; never anything else.

EDGEAI_MUTATIONS sets how many files each format gets (default 60; 1000 each is the project's bar).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from footprint_builders import mutated

from edgeai.board import load_board
from edgeai.errors import EdgeAIError
from edgeai.latency.estimate import assess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

COUNT = int(os.environ.get("EDGEAI_MUTATIONS", "60"))
SMALL = ("tflite/gmp_wl_24_int8.tflite", "tflite/stmnist_v1_int8.tflite", "tflite/resnet_v1_8_32_tfs_int8.tflite")
LIMIT_S = 5.0
LIMIT_KIB = 1 << 20


def tiny_onnx() -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    image = helper.make_tensor_value_info("x", kinds.FLOAT, [1, 3, 16, 16])
    out = helper.make_tensor_value_info("y", kinds.FLOAT, [1, 8, 16, 16])
    middle = helper.make_tensor_value_info("m", kinds.FLOAT, [1, 8, 16, 16])
    weights = helper.make_tensor("w", kinds.FLOAT, [8, 3, 3, 3], [0.5] * 216)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [image], [out], [weights], value_info=[middle])
    written: bytes = helper.make_model(graph).SerializeToString()
    return written


def check(data: bytes, path: Path, seed: int) -> None:
    path.write_bytes(mutated(data, seed))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: other tests of this process had theirs
    before = _status_kib("VmRSS")
    started = time.monotonic()
    for board in ("stm32n6", "stm32h7", "stm32mp2"):
        try:
            found = assess(path, load_board(board), what_if=("imgsz=64",) if seed % 4 == 0 else ())
            assert found.activations_bytes >= 0 and found.weights_bytes >= 0
        except EdgeAIError as error:
            assert error.message and "\n" not in error.message, seed
    assert time.monotonic() - started < LIMIT_S, seed
    assert _status_kib("VmHWM") < LIMIT_KIB + before, seed


def _status_kib(field: str) -> int:
    """A memory figure of this process from /proc, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def test_mutated_tflite(kit: Path, tmp_path: Path) -> None:
    originals = [(kit / name).read_bytes() for name in SMALL]
    for seed in range(COUNT):
        check(originals[seed % len(originals)], tmp_path / "m.tflite", seed)


def test_mutated_onnx(tmp_path: Path) -> None:
    data = tiny_onnx()
    for seed in range(COUNT):
        check(data, tmp_path / "m.onnx", seed)
