"""Memory by target against public ground truth: reports, buffer lists, published tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.footprint import n6
from edgeai.footprint.live import LiveRange, live_ranges
from edgeai.footprint.mcu import mcu_ram, scratch_bytes
from edgeai.footprint.rescale import image_size, rescale
from edgeai.footprint.support import support
from edgeai.footprint.tables import table_for, tables
from edgeai.footprint.weights import constants, mcu_flash
from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Op, Tensor

POSE = "tflite/yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
N6_BUFFERS = "stedgeai/AlexGraefe__STM32N6Example/st_ai_output/network_c_info.json"
MCU_BUFFERS = (
    "stedgeai/hajimi-yzy__YOLO-Human-Detection-Project-Based-on-STM32H750/.ai/"
    "network_nanov4_96_full_int8.tflite_c_info.json"
)


def test_software_epochs_are_those_of_the_report(kit: Path) -> None:
    """Generate report of Core 2.1.0: 18 of 148 epochs in software, by kind."""
    report = (kit / "stedgeai/n6_reports/fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt").read_text()
    listed = [line.split("(")[1].strip(" )") for line in report.splitlines() if "-SW-" in line]
    found = support(load_graph(kit / POSE), "n6", "2.1.0")
    assert found.software_epochs == len(listed) == 18
    names = {
        "CONCATENATION": "Concat", "STRIDED_SLICE": "Slice", "RESIZE_NEAREST_NEIGHBOR": "DepthToSpace",
        "SOFTMAX": "Softmax", "TRANSPOSE": "Transpose", "DEQUANTIZE": "DequantizeLinear",
    }  # fmt: skip
    assert sorted(names[op.kind] for op, _ in found.software) == sorted(listed)
    assert abs(found.epochs - 148) <= 15
    assert all(place.reason and place.advice for _, place in found.software)


def test_placement_reproduces_a_compiled_network(kit: Path) -> None:
    """The buffer list of a public compile, Core 3.0.0: 240 KiB in one pool."""
    info = json.loads((kit / N6_BUFFERS).read_text())
    ranges = tuple(
        LiveRange(b["id"], b["name"], b["size_bytes"], b["epochs"]["start"], b["epochs"]["end"])
        for b in info["buffers"]
        if not b["is_param"]
    )
    pools = load_board("stm32n6").pools_for("activations", "ram")
    compiled = info["memory_footprint"]["activations"]
    assert n6.tight(ranges, pools).internal == n6.spread(ranges, pools).internal == compiled


def test_scratch_formulas_are_those_of_a_compiled_network(kit: Path) -> None:
    """Scratch buffers in the c_info.json of a public STM32H7 project, Core 2.2.0."""
    buffers = {b["name"]: b["size_bytes"] for b in json.loads((kit / MCU_BUFFERS).read_text())["buffers"]}

    def conv(kind: str, shape: tuple[int, ...], stride: int = 1) -> int:
        channels = shape[3] if kind == "DEPTHWISE_CONV_2D" else shape[0]
        tensors = (
            Tensor(0, "x", (1, 8, 8, shape[3]), "int8"),
            Tensor(1, "w", shape, "int8", data=memoryview(b"0")),
            Tensor(2, "y", (1, 8, 8, channels), "int8"),
        )
        op = Op(0, kind, (0, 1), (2,), stride=(stride, stride))
        return scratch_bytes(Graph("tflite", tensors, (op,), (0,), (2,)), op)

    assert conv("CONV_2D", (16, 3, 3, 3), 2) == buffers["conv2d_1_scratch0_array"]
    assert conv("CONV_2D", (40, 1, 1, 16)) == buffers["conv2d_4_scratch0_array"]
    assert conv("CONV_2D", (5, 1, 1, 48)) == buffers["conv2d_47_scratch0_array"]
    assert conv("DEPTHWISE_CONV_2D", (1, 3, 3, 40)) == buffers["conv2d_11_scratch0_array"]
    assert conv("DEPTHWISE_CONV_2D", (1, 3, 3, 64)) == buffers["conv2d_17_scratch0_array"]


@pytest.mark.parametrize(
    ("name", "version", "ram", "flash"),
    [
        ("mobilenet_v2_0.35_224_fft_int8__flowers", "8.1.0", 686.50, 406.86),
        ("squeezenet_v1.1_224_int8", "7.3.0", 756.25, 716.71),
        ("yamnet_256_64x96_tl_int8", "10.0.0", 109.57, 135.91),
        ("osnet_a025_256_128_tfs_int8", "4.0.0", 331.45, 139.52),
        ("ssd_mobilenet_v2_fpnlite_035_256_int8", "8.1.0", 1003.73, 1065.32),
    ],
)
def test_mcu_figures_of_st(kit: Path, name: str, version: str, ram: float, flash: float) -> None:
    graph, table = load_graph(kit / "tflite" / f"{name}.tflite"), table_for("mcu", version)
    assert mcu_ram(graph, table).bytes / 1024 == pytest.approx(ram, rel=0.005)
    assert mcu_flash(constants(graph), table) / 1024 == pytest.approx(flash, rel=0.001)


def test_rescaled_network_is_the_other_size(kit: Path) -> None:
    small = load_graph(kit / "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite")
    large = load_graph(kit / "tflite/yolov8n_320_quant_pc_ii_seg_coco-st.tflite")
    scaled = rescale(small, 320)
    assert image_size(scaled) == (320, 320)
    assert sum(scaled.macs(op) for op in scaled.ops) == pytest.approx(sum(large.macs(op) for op in large.ops), rel=0.01)
    biggest = max(r.size for r in live_ranges(large))
    assert max(r.size for r in live_ranges(scaled)) == biggest
    with pytest.raises(InputError, match="not a size"):
        rescale(small, 0)


def test_tables_state_their_source() -> None:
    assert all(table.source and table.versions and table.ram_low < table.ram_high for table in tables().table)
    assert table_for("n6", "3.1").versions[0] == "3.0.0" and table_for("mcu").versions[-1] == "4.0.0"
    with pytest.raises(InputError, match="no table of constants"):
        table_for("n6", "17.0")
