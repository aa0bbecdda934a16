"""Memory by target against public ground truth: reports, buffer lists, published tables."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.footprint import n6
from edgeai.footprint.live import LiveRange, live_ranges, peak
from edgeai.footprint.mcu import mcu_ram, scratch_bytes
from edgeai.footprint.planner import live_peak
from edgeai.footprint.rescale import image_size, rescale
from edgeai.footprint.support import support
from edgeai.footprint.tables import table_for, tables
from edgeai.footprint.weights import constants, mcu_flash
from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Op, Tensor

POSE = "tflite/yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
N6_BUFFERS = "stedgeai/AlexGraefe__STM32N6Example/st_ai_output/network_c_info.json"
LARGE_KERNEL = (
    "stedgeai/Magnus3327__stm32n6-edge-ai-benchmarks/Output/Output_Baseline/Dev_Cloud/AICore2.2/conv2d_32f_7x7.txt"
)
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


def test_large_kernels_run_in_parts(kit: Path) -> None:
    """Generate report of one 7×7 convolution over 64×64×32, Core 2.2: five buffers of 256 KiB, one in each pool."""
    report = (kit / LARGE_KERNEL).read_text()
    marks = [float(m) for m in re.findall(r"(?:npu|cpu)RAM\d +\[[^]]+\]: +([\d.]+) kB", report)]
    tensors = (
        Tensor(0, "x", (1, 64, 64, 3), "int8"),
        Tensor(1, "w", (32, 7, 7, 3), "int8", data=memoryview(b"0")),
        Tensor(2, "y", (1, 64, 64, 32), "int8"),
    )
    graph = Graph("tflite", tensors, (Op(0, "CONV_2D", (0, 1), (2,), padding="same"),), (0,), (2,))
    parts = [r.size // 1024 for r in n6.with_partial_sums(graph, live_ranges(graph)) if r.tensor < 0]
    assert parts == [256] * len(marks) == [int(m) // 256 * 256 for m in marks]
    whole = dataclasses.replace(tensors[1], shape=(32, 5, 5, 3))
    smaller = dataclasses.replace(graph, tensors=(tensors[0], whole, tensors[2]))
    assert n6.with_partial_sums(smaller, live_ranges(smaller)) == live_ranges(smaller)


def test_buffers_of_parts_do_not_outlive_the_operator(kit: Path) -> None:
    graph = load_graph(kit / "tflite/osnet_a025_256_128_tfs_int8.tflite")
    plain, split = live_ranges(graph), n6.with_partial_sums(graph, live_ranges(graph))
    named = [r for r in split if r.tensor >= 0]
    assert len(named) == len(plain)
    spans = {r.tensor: (r.first, r.last) for r in named}
    scale = (max(r.last for r in named) + 1) // (max(r.last for r in plain) + 1)
    for entry in plain:
        first, last = spans[entry.tensor]
        assert entry.first * scale <= first <= last < (entry.last + 1) * scale
    assert live_peak(named) <= peak(graph, plain).bytes
    pools = load_board("stm32n6").pools_for("activations", "ram")
    assert n6.tight(split, pools).internal / 1024 == pytest.approx(928, rel=0.05)  # ST's table, Core 4.0


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
        ("mobilenet_v1_0.5_224_int8", "7.3.0", 404.28, 812.61),
        ("stmnist_v1_int8", "7.3.0", 14.13, 10.08),
        ("yamnet_256_64x96_tl_int8", "10.0.0", 109.57, 135.91),
        ("osnet_a025_256_128_tfs_int8", "4.0.0", 331.45, 139.52),
        ("ssd_mobilenet_v2_fpnlite_035_256_int8", "8.1.0", 1003.73, 1065.32),
    ],
)
def test_mcu_figures_of_st(kit: Path, name: str, version: str, ram: float, flash: float) -> None:
    graph, table = load_graph(kit / "tflite" / f"{name}.tflite"), table_for("mcu", version)
    assert mcu_ram(graph, table).bytes / 1024 == pytest.approx(ram, rel=0.005)
    assert mcu_flash(constants(graph), table) / 1024 == pytest.approx(flash, rel=0.001)


@pytest.mark.parametrize(
    ("layers", "image", "activations"),
    [
        # networks of public projects as X-CUBE-AI placed them: channels, kernel, padding, pooling; bytes in all
        ([(16, 3, "valid", 2), (32, 3, "valid", 2), (64, 3, "valid", 2)], (96, 96, 1), 45072),
        ([(32, 3, "same", 2), (64, 3, "same", 2), (64, 3, "same", 0)], (32, 32, 3), 20096),
    ],
)
def test_networks_with_fused_pooling(
    layers: list[tuple[int, int, str, int]], image: tuple[int, int, int], activations: int
) -> None:
    tensors, ops = [Tensor(0, "x", (1, *image), "int8")], list[Op]()
    for channels, side, padding, pool in layers:
        _, height, width, depth = tensors[-1].shape
        lost = side - 1 if padding == "valid" else 0
        weights = Tensor(len(tensors), "w", (channels, side, side, depth), "int8", data=memoryview(b"0"))
        out = Tensor(len(tensors) + 1, "y", (1, height - lost, width - lost, channels), "int8")
        source = tensors[-1].index
        tensors += [weights, out]
        ops.append(Op(len(ops), "CONV_2D", (source, weights.index), (out.index,), padding=padding))
        if pool:
            small = Tensor(len(tensors), "p", (1, out.shape[1] // pool, out.shape[2] // pool, channels), "int8")
            tensors.append(small)
            by = (pool, pool)
            ops.append(Op(len(ops), "MAX_POOL_2D", (out.index,), (small.index,), by, kernel=by, padding="valid"))
    graph = Graph("tflite", tuple(tensors), tuple(ops), (0,), (tensors[-1].index,))
    assert mcu_ram(graph, table_for("mcu", "8.1.0")).bytes == pytest.approx(activations, abs=16)


def test_rescaled_network_is_the_other_size(kit: Path) -> None:
    small = load_graph(kit / "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite")
    large = load_graph(kit / "tflite/yolov8n_320_quant_pc_ii_seg_coco-st.tflite")
    scaled = rescale(small, 320)
    assert image_size(scaled) == (320, 320)
    assert sum(scaled.macs(op) for op in scaled.ops) == pytest.approx(sum(large.macs(op) for op in large.ops), rel=0.01)
    assert [t.shape for t in scaled.tensors if not t.is_constant] == [
        t.shape for t in large.tensors if not t.is_constant
    ]
    biggest = max(r.size for r in live_ranges(large))
    assert max(r.size for r in live_ranges(scaled)) == biggest
    with pytest.raises(InputError, match="not a size"):
        rescale(small, 0)


def test_tables_state_their_source() -> None:
    assert all(table.source and table.versions and table.ram_low < table.ram_high for table in tables().table)
    assert table_for("n6", "3.1").versions[0] == "3.0.0" and table_for("mcu").versions[-1] == "4.0.0"
    with pytest.raises(InputError, match="no table of constants"):
        table_for("n6", "17.0")
