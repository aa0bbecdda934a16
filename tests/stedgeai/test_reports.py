"""Every real output in the kit, against figures read off it by eye."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeai.artifacts import CompiledModel, from_json, to_json
from edgeai.cli.read import render
from edgeai.errors import BudgetError, DeviceError, EdgeAIError, ToolError
from edgeai.stedgeai.extras import ToolFile, read_any, read_build_log, read_cycles, read_quantization, read_tool_file
from edgeai.stedgeai.loader import read_loader_log
from edgeai.stedgeai.read import Validated, read_compiled, read_texts, read_validated
from edgeai.stedgeai.text import read_text

MAGNUS = "Magnus3327__stm32n6-edge-ai-benchmarks/Output"
CUBE, CLOUD = f"{MAGNUS}/Output_Baseline/CubeMX_xcubeai", f"{MAGNUS}/Output_Baseline/Dev_Cloud"
STUDIO, LARGE = f"{MAGNUS}/Output_Baseline/AI_STUDIO", f"{MAGNUS}/Output_CV_Models/AI_STUDIO"
H7 = "hajimi-yzy__YOLO-Human-Detection-Project-Based-on-STM32H750"
F4 = "MichelePoli__stm32-ai-workflow/analisiAI/report_analyze"
GRAEFE = "AlexGraefe__STM32N6Example/st_ai_output"
BLAZE = "muazzamaqeel__BA-EmbeddedAI"

# file: version, compiler, target, weights, activations, io, MACs, runtime (flash, RAM), epochs (total, SW, hybrid, HW)
REPORTS = {
    f"{CUBE}/Conv2d_1x1/network_generate_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 225, 12320, 0, 655392, (14906, 29), (2, 0, 0, 2)),
    f"{CUBE}/Conv2d_3x3/network_generate_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 993, 12320, 0, 3801120, (14906, 29), (2, 0, 0, 2)),
    f"{CUBE}/Conv2d_32f_5x5/network_generate_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 2529, 12320, 0, 10092576, (15800, 29), (2, 0, 0, 2)),
    f"{CUBE}/Conv2d_poll/network_generate_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 497, 12304, 0, 1916944, (14908, 29), (2, 0, 0, 2)),
    f"{CLOUD}/AICore2.2/conv2d_1x1_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 225, 12320, 0, None, (14674, 29), (2, 0, 0, 2)),
    f"{CLOUD}/AICore2.2/conv2d_32f_7x7.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 4833, 1323008, 0, None, (20440, 29), (5, 0, 0, 5)),
    f"{CLOUD}/AICore4.0/conv2d_3x3_report.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 993, 12320, 0, 3604480, (15485, 29), (1, 0, 0, 1)),
    f"{CLOUD}/AICore4.0/conv2d_64f_3x3_report.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 1985, 12352, 0, 7208960, (15677, 29), (1, 0, 0, 1)),
    f"{CLOUD}/AICore4.0/conv2d_poll_report.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 497, 12304, 0, 1802240, (15487, 29), (1, 0, 0, 1)),
    f"{CLOUD}/AICore4.0/depthwise_3x3_report.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 129, 12291, 0, 337920, (15321, 29), (1, 0, 0, 1)),
    f"{CLOUD}/AICore4.0/conv2d_32f_7x7_epochController_report.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 4704, 1585152, 0, 19660800, (18531, 13), (5, 0, 0, 5)),
    f"{STUDIO}/conv2d_32f_5x5.txt":
        ("4.0.0", "1.1.3-262", "stm32n6npu", 2529, 12320, 0, 9961472, None, (1, 0, 0, 1)),
    f"{LARGE}/mobilenet_v2_224.txt":  # flash of RT total less the weights that are linked in: 3,817,589 - 3,669,800
        ("4.0.1", "1.1.3-275", "stm32n6npu", 3669793, 2107392, 0, 312031800, (147789, 126221), (58, 3, 0, 55)),
    f"{GRAEFE}/network_generate_report.txt":
        ("3.0.0", "1.1.3-8", "stm32n6npu", 212609, 245760, 0, 22464344, None, (56, 1, 0, 55)),
    f"{GRAEFE}/network_c_info.json":
        ("3.0.0", "1.1.3-8", "stm32n6npu", 212609, 245760, 0, None, None, (56, 1, 0, 55)),
    f"{BLAZE}/Model/network_generate_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 166225, 540672, 0, 32092044, (122685, 1709), (85, 27, 0, 58)),
    f"{BLAZE}/st_ai_output/network_analyze_report.txt":
        ("2.2.0", "1.1.1-14", "stm32n6npu", 166225, 540672, 0, 32092044, (122685, 1709), (85, 27, 0, 58)),
    "n6_reports/fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt":  # two epochs are printed as ??
        ("2.1.0", "1.1.0-31", "stm32n6npu", 3300769, 644032, 497664, 763030879, (376749, 109909),
         (148, 18, None, None)),
    "n6_reports/svogl_od_n6.txt":
        ("3.0.0", "1.1.3-8", "stm32n6npu", 1201104, 2655232, 0, 919521382, (474034, 1813), (194, 0, 2, 192)),
    f"{H7}/X-CUBE-AI/App/network_generate_report.txt":
        ("2.2.0", "", "stm32h7", 49540, 89524, 0, 14540805, (54381, 20156), None),
    f"{H7}/.ai/network_nanov4_96_full_int8.tflite_c_info.json":
        ("2.2.0", "", "stm32h7", 49540, 89524, 0, 14540805, (54381, 20156), None),
    f"{F4}/network_analyze_report.txt":
        ("2.2.0", "", "stm32f4", 13951264, 4917696, 0, 313298016, None, None),
    f"{F4}/network_c_info.json":
        ("2.2.0", "", "stm32f4", 13951264, 4917696, 0, 313298016, None, None),
}  # fmt: skip

# the second set: the same, with pools in use; clocks and nodes as below
SECOND = {
    "cubemx_mobilenet_v2_224.txt": (  # a prefix before every line
        ("2.2.0", "1.1.1-14", "stm32n6npu", 4137361, 2107392, 0, None, (121005, 29), (58, 3, 0, 55)),
        {"cpuRAM2": 1048576, "npuRAM3": 155648, "npuRAM4": 451584, "npuRAM5": 451584, "octoFlash": 4137361},
        (10, (20.694, 20.689, 20.708, 0.005), (1074755, 14533442, 946560), None, (), "800/400", 58,
         (0.14191407, None, 0.997552)),
    ),
    "studio_conv2d_1x1.txt": (  # blank lines inside tables
        ("4.0.0", "1.1.3-262", "stm32n6npu", 225, 143360, 0, 458752, None, (2, 0, 0, 2)),
        {"npuRAM5": 143360, "octoFlash": 225},
        (10, (0.373, 0.345, 0.593, 0.073), (19086, 199082, 5393), 0.0, (89.1, 0.0, 10.9), "600/400", 2,
         (9.3899e-05, 60.055332, 1.0)),
    ),
    "studio_depthwise_3x3.txt": (
        ("4.0.0", "1.1.3-262", "stm32n6npu", 65, 12291, 0, 116736, None, (1, 0, 0, 1)),
        {"npuRAM5": 12291, "octoFlash": 65},
        (10, (0.053, 0.027, 0.265, 0.071), (14633, 11593, 5288), 0.0, (36.8, 0.0, 63.2), "600/400", 1,
         (0.000195994, 59.15627, 0.999999)),
    ),
    "core40_conv2d_16f_3x3": (
        ("2.2.0", "1.1.1-14", "stm32n6npu", 497, 12304, 0, 1900560, (14810, 29), (2, 0, 0, 2)),
        {"npuRAM5": 12304, "octoFlash": 497},
        (10, (0.079, 0.078, 0.088, 0.003), (7053, 53804, 2599), None, (), "800/400", 1, (0.000117739, None, 1.0)),
    ),
    "core40_depthwise_3x3": (
        ("2.2.0", "1.1.1-14", "stm32n6npu", 65, 24576, 0, 135171, (15164, 29), (3, 0, 0, 3)),
        {"npuRAM5": 24576, "octoFlash": 65},
        (10, (0.042, 0.041, 0.051, 0.003), (7610, 23053, 3321), None, (), "800/400", 2, (0.000138588, None, 1.0)),
    ),
    "compiler_workspace/c_info.json": (  # the same network as AlexGraefe's, without its totals
        ("3.0.0", "1.1.3-8", "stm32n6npu", 212609, 245760, 0, None, None, (56, 1, 0, 55)),
        {"npuRAM5": 245760, "octoFlash": 212609},
        None,
    ),
}  # fmt: skip

# file: samples, ms (mean, min, max, std), cycles, initialize, shares, clocks, nodes; rmse, snr, cos
VALIDATIONS = {
    f"{CUBE}/Conv2d_1x1/network_validate_report.txt":
        (10, (0.146, 0.145, 0.154, 0.003), (8398, 105738, 2599), None, (), "800/400", 1, (8.2811e-05, None, 1.0)),
    f"{CUBE}/Conv2d_3x3/network_validate_report.txt":
        (10, (0.147, 0.146, 0.156, 0.003), (8412, 106920, 2599), None, (), "800/400", 1, (6.293e-05, None, 1.0)),
    f"{CUBE}/Conv2d_32f_5x5/network_validate_report.txt":
        (10, (0.154, 0.153, 0.161, 0.003), (11020, 108033, 3817), None, (), "800/400", 1, (5.4931e-05, None, 1.0)),
    f"{CUBE}/Conv2d_poll/network_validate_report.txt":
        (10, (0.080, 0.079, 0.088, 0.003), (7424, 53813, 2924), None, (), "800/400", 1, (0.0, None, 1.0)),
    f"{CLOUD}/AICore2.2/conv2d_1x1_report.txt":
        (1, (0.153, 0.153, 0.153, 0.0), (13282, 106003, 3124), None, (), "800/400", 1, (9.8978e-05, None, 0.999999)),
    f"{CLOUD}/AICore2.2/conv2d_32f_7x7.txt":
        (1, (0.473, 0.473, 0.473, 0.0), (35791, 328915, 13309), None, (), "800/400", 4, (7.4958e-05, None, 1.0)),
    f"{CLOUD}/AICore4.0/conv2d_3x3_report.txt":
        (1, (0.155, 0.155, 0.155, 0.0), (13432, 107092, 3163), 0.001, (86.6, 0.0, 13.4), "800/400", 1,
         (0.0, None, 1.0)),
    f"{CLOUD}/AICore4.0/conv2d_64f_3x3_report.txt":
        (1, (0.291, 0.291, 0.291, 0.0), (16329, 213206, 3163), 0.001, (91.6, 0.0, 8.4), "800/400", 1,
         (6.0815e-05, 61.000686, 1.0)),
    f"{CLOUD}/AICore4.0/conv2d_poll_report.txt":
        (1, (0.088, 0.088, 0.088, 0.0), (12435, 54058, 3726), 0.001, (77.0, 0.0, 23.0), "800/400", 1, (0.0, None, 1.0)),
    f"{CLOUD}/AICore4.0/depthwise_3x3_report.txt":
        (1, (0.031, 0.031, 0.031, 0.0), (10280, 11244, 3163), 0.001, (45.5, 0.0, 54.5), "800/400", 1, (0.0, None, 1.0)),
    f"{STUDIO}/conv2d_32f_5x5.txt":
        (10, (0.219, 0.194, 0.438, 0.073), (19313, 105984, 6059), 0.0, (80.7, 0.0, 19.3), "600/400", 1,
         (5.4931e-05, 64.672508, 1.0)),
    f"{LARGE}/mobilenet_v2_224.txt":
        (10, (49.338, 49.011, 52.147, 0.937), (30400, 28814264, 757841), 0.0, (97.3, 2.5, 0.1), "600/400", 5,
         (0.144032702, 22.84585, 0.997453)),
}  # fmt: skip

# used bytes per pool, of those that hold anything
POOLS = {
    f"{CLOUD}/AICore4.0/conv2d_32f_7x7_epochController_report.txt": {
        "cpuRAM2": 524288, "npuRAM3": 262144, "npuRAM4": 262144, "npuRAM5": 274432, "npuRAM6": 262144,
        "octoFlash": 4704,
    },
    f"{LARGE}/mobilenet_v2_224.txt": {
        "cpuRAM2": 1048576, "npuRAM3": 155648, "npuRAM4": 451584, "npuRAM5": 451584, "octoFlash": 3669793,
    },
    "n6_reports/fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt": {
        "npuRAM3": 458752, "npuRAM4": 185280, "octoFlash": 3300769,
    },
    "n6_reports/svogl_od_n6.txt": {
        "cpuRAM2": 1048576, "npuRAM3": 458752, "npuRAM4": 458752, "npuRAM5": 458752, "npuRAM6": 230400,
        "octoFlash": 1201104,
    },
    f"{GRAEFE}/network_c_info.json": {"npuRAM5": 245760, "octoFlash": 212609},
    f"{BLAZE}/Model/network_generate_report.txt": {"npuRAM4": 114688, "npuRAM5": 425984, "octoFlash": 166225},
    f"{H7}/.ai/network_nanov4_96_full_int8.tflite_c_info.json": {"heap_overlay_pool": 89524, "weights_array": 49540},
}  # fmt: skip


@pytest.fixture
def samples(kit: Path) -> Path:
    return kit / "stedgeai"


@pytest.mark.parametrize("name", REPORTS)
def test_figures_of_every_report_are_those_printed(samples: Path, name: str) -> None:
    version, compiler, target, weights, activations, io, macs, runtime, epochs = REPORTS[name]
    found = read_compiled([samples / name])
    assert (found.toolchain, found.version, found.compiler, found.target) == (
        "ST Edge AI Core", version, compiler, target,
    )  # fmt: skip
    assert (found.weights_bytes, found.activations_bytes, found.io_bytes) == (weights, activations, io)
    assert found.macs == macs
    assert (found.runtime and (found.runtime.flash, found.runtime.ram)) == runtime
    assert (found.epochs and (found.epochs.total, found.epochs.software, found.epochs.hybrid, found.epochs.hardware)) \
        == epochs  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_pools_add_up_to_the_totals(samples: Path, name: str) -> None:
    found = read_compiled([samples / name])
    if found.pools:
        assert sum(pool.weights for pool in found.pools) == found.weights_bytes
        assert sum(pool.activations for pool in found.pools) == found.activations_bytes
        assert not any("_npuRAM" in pool.name for pool in found.pools), "a virtual pool overlaps its members"
    assert not any("add up" in gap for gap in found.gaps)


@pytest.mark.parametrize("name", POOLS)
def test_bytes_of_every_pool(samples: Path, name: str) -> None:
    found = read_compiled([samples / name])
    assert {pool.name: pool.used for pool in found.pools if pool.used} == POOLS[name]
    assert all(pool.resolution == 0 for pool in found.pools if pool.used)


@pytest.mark.parametrize("name", VALIDATIONS)
def test_validations_are_those_printed(samples: Path, name: str) -> None:
    count, ms, cycles, initialize, shares, clocks, nodes, (rmse, snr, cos) = VALIDATIONS[name]
    found = read_validated([samples / name])
    profile = found.profile
    assert profile is not None and found.mode == "target"
    assert (profile.samples, (profile.ms, profile.ms_min, profile.ms_max, profile.ms_std)) == (count, ms)
    assert (profile.cycles, profile.initialize_ms, profile.shares) == (cycles, initialize, shares)
    assert clocks in profile.device and len(profile.layers) == nodes
    assert sum(layer.ms for layer in profile.layers) == pytest.approx(profile.ms, abs=0.002)
    added = tuple(map(sum, zip(*(layer.cycles for layer in profile.layers), strict=True)))
    assert added == pytest.approx(cycles, abs=3)
    (metric,) = found.metrics
    assert (metric.rmse, metric.snr_db, metric.cos, metric.acc) == (rmse, snr, cos, None)


@pytest.mark.parametrize("name", SECOND)
def test_the_second_set_is_read_whole(kit: Path, name: str) -> None:
    (version, compiler, target, *sizes, macs, runtime, epochs), pools, validation = SECOND[name]
    file = kit / "stedgeai2" / name
    if file.is_dir():  # its c_info is the validation's: the compile is in the report
        file = file / "network_generate_report.txt"
    found = read_compiled([file])
    assert (found.version, found.compiler, found.target) == (version, compiler, target)
    assert [found.weights_bytes, found.activations_bytes, found.io_bytes] == sizes
    assert found.macs == macs and (found.runtime and (found.runtime.flash, found.runtime.ram)) == runtime
    assert found.epochs is not None
    assert (found.epochs.total, found.epochs.software, found.epochs.hybrid, found.epochs.hardware) == epochs
    assert len(found.epochs.rows) == epochs[0]
    assert {pool.name: pool.used for pool in found.pools if pool.used} == pools
    assert found.source_model and len(found.source_hash) in (0, 32)
    if validation is None:
        return
    count, ms, cycles, initialize, shares, clocks, nodes, (rmse, snr, cos) = validation
    run = read_validated([kit / "stedgeai2" / name])
    profile = run.profile
    assert profile is not None and run.mode == "target"
    assert (run.source_model, run.source_hash, run.target) == (found.source_model, found.source_hash, target)
    assert (profile.samples, (profile.ms, profile.ms_min, profile.ms_max, profile.ms_std)) == (count, ms)
    assert (profile.cycles, profile.initialize_ms, profile.shares) == (cycles, initialize, shares)
    assert clocks in profile.device and len(profile.layers) == nodes
    assert sum(layer.ms for layer in profile.layers) == pytest.approx(profile.ms, abs=0.002)
    (metric,) = run.metrics
    assert (metric.rmse, metric.snr_db, metric.cos, metric.acc) == (rmse, snr, cos, None)


PREFIXES = [
    lambda i: f"2026-06-16 21:38:{i % 60:02d},{i % 1000:03d} [INFO] CmdLine:{i % 90} - ",
    lambda i: f"2026-06-16T21:38:{i % 60:02d}.{i % 9999999:07d}Z ",
    lambda i: f"[2026-06-16 21:38:{i % 60:02d}] ",
    lambda i: f"Jun 16 21:38:{i % 60:02d} build-7 stedgeai[{4000 + i % 7}]: ",
    lambda i: f"{i:06d} | ",
    lambda i: "INFO: ",
    lambda i: "[stedgeai] ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", [f"{H7}/X-CUBE-AI/App/network_generate_report.txt", f"{LARGE}/mobilenet_v2_224.txt"])
def test_a_prefix_and_blank_lines_change_nothing(
    samples: Path, tmp_path: Path, name: str, prefix: Callable[[int], str]
) -> None:
    lines = read_text(samples / name).splitlines()
    whole = read_texts("\n".join(lines))
    prefixed = [f"{prefix(i)}{line}" for i, line in enumerate(lines)]
    dice = random.Random(5)
    spaced = [line for entry in prefixed for line in ([entry, ""] if dice.random() < 0.2 else [entry])]
    doubled = [line for entry in prefixed for line in (entry, "")]
    for text in (prefixed, spaced, doubled):
        found = read_texts("\n".join(text))
        for report, other in zip(found.reports, whole.reports, strict=True):
            for part in ("summary", "layers", "pools", "epochs", "sections", "files", "version", "compiler", "target"):
                assert getattr(report, part) == getattr(other, part), part
        assert found.validations == whole.validations


def test_every_file_of_the_second_set_is_read(kit: Path) -> None:
    """And printed: `edgeai read` knows pools, profiles, quantisation, cycles, reports and logs."""
    files = [p for folder in ("stedgeai", "stedgeai2") for p in sorted((kit / folder).rglob("*")) if p.suffix != ".md"]
    read = 0
    for file in (p for p in files if p.is_file()):
        try:
            found = read_tool_file(file)
        except EdgeAIError:
            continue
        assert from_json(ToolFile, to_json(found)) == found
        assert len(render(found).splitlines()) > 2, file
        read += 1
    assert read >= 54


def test_nodes_of_a_validation(samples: Path) -> None:
    profile = read_validated([samples / f"{LARGE}/mobilenet_v2_224.txt"]).profile
    assert profile is not None
    assert [(la.name, la.kind, la.ms, la.percent, la.cycles) for la in profile.layers][:2] == [
        ("EpochBlock_1 -> 53", "epoch (EC)", 35.146, 71.24, (21270, 21064269, 2281)),
        ("EpochBlock_54", "epoch (SW)", 0.755, 1.53, (65, 52, 453065)),
    ]


def test_layers_and_software_operators(samples: Path) -> None:
    pose = read_compiled([samples / "n6_reports/fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt"])
    first = pose.nodes[1]
    assert (first.index, first.name, first.kind, first.shape, first.macs) == (
        0, "conversion_0", "QUANTIZE", (1, 256, 256, 3), 393216,
    )  # fmt: skip
    conv = next(node for node in pose.nodes if node.name == "conv2d_6")
    assert (conv.parameters, conv.weights_bytes, conv.macs) == (4640, 4736, 18874400)
    assert pose.epochs is not None
    rows = {row.first: (row.kind, row.operators) for row in pose.epochs.rows}
    assert rows[131] == ("SW", "Slice") and rows[135] == ("SW", "Softmax") and rows[94] == ("?", "")
    assert len(rows) == 148 and any("??" in gap for gap in pose.gaps)
    yolox = read_compiled([samples / "n6_reports/svogl_od_n6.txt"]).epochs
    assert yolox is not None and yolox.controller_blobs == 3
    assert [(row.first, row.last, row.kind, row.operators) for row in yolox.rows][:2] == [
        (2, 113, "EC", ""), (114, 114, "Hybrid", "DepthToSpace"),
    ]  # fmt: skip


def test_the_generate_of_a_log_is_not_mixed_with_its_validate(samples: Path) -> None:
    """The second block of a log describes the network on the CPU: 1,220,520 bytes instead of 2,107,392."""
    texts = read_texts(read_text(samples / f"{LARGE}/mobilenet_v2_224.txt"))
    assert [report.command for report in texts.reports] == ["generate"]
    assert len(texts.validations) == 1
    found = read_compiled([samples / f"{LARGE}/mobilenet_v2_224.txt"])
    assert [(t.name, t.shape, t.dtype, t.scale, t.zero_point) for t in found.outputs] == [
        ("Quantize_195_out_0", (1, 1000), "int8", 0.053761885, -1)
    ]


def test_report_and_c_info_of_one_run_complete_each_other(samples: Path) -> None:
    found = read_compiled([samples / GRAEFE])
    assert (found.weights_bytes, found.macs, found.epochs and found.epochs.hybrid) == (212609, 22464344, 0)
    assert found.inputs[0].shape == (1, 3, 128, 128) and found.inputs[0].scale == pytest.approx(0.00784313772)


def test_files_of_two_networks_are_refused(samples: Path) -> None:
    pair = [samples / f"{CUBE}/Conv2d_1x1/network_generate_report.txt", samples / "n6_reports/svogl_od_n6.txt"]
    with pytest.raises(EdgeAIError, match="different networks"):
        read_compiled(pair)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        (f"{LARGE}/yolov11n___no_NPU.txt", BudgetError, "needs 6,405,160 bytes"),
        (f"{LARGE}/mobileclips0.txt", ToolError, "Unkonwn layer format for layer Input_72"),
    ],
)
def test_failures_become_errors(samples: Path, name: str, kind: type[EdgeAIError], words: str) -> None:
    with pytest.raises(kind) as caught:
        read_compiled([samples / name])
    assert words in caught.value.message and caught.value.hint


def test_failures_of_validations(samples: Path) -> None:
    hung = read_validated([samples / f"{CLOUD}/AICore4.0/conv2d_32f_7x7_epochController_report.txt"])
    assert hung.profile is None and hung.failures[0].message == "the firmware hangs"
    both = read_texts(read_text(samples / "excerpts/f4_220_validate_host_then_target_fail.txt"))
    host, target = both.validations
    assert (host.mode, host.profile and host.profile.ms, host.metrics[0].rmse) == ("host", 0.309, 5.33e-07)
    assert (target.mode, target.profile) == ("target", None)
    assert both.failures[0].kind is DeviceError and "no validation firmware" in both.failures[0].message


def test_side_files(samples: Path) -> None:
    q = read_quantization(samples / f"{CUBE}/Conv2d_1x1/baseline_conv2d_1x1_int8_OE_3_3_0_Q.json")
    assert (q.tool, q.tensors[0].name, q.tensors[0].dtype) == ("2.2.0-20266 2adc00962", "Input_0_out_0", "int8")
    assert q.tensors[0].scale == 0.00784311629831791 and q.per_channel > 0
    cycles = read_cycles(samples / "LarocheC__stm32n6-stt/compile/reports/ws800_real/cycles.json")
    assert (cycles.cycles, cycles.epochs, round(cycles.ms, 3)) == (91212624, 631, 91.213)
    n6 = samples / "SeongMin1000__N6_cusotm_validation/scripts/N6_scripts"
    build = read_build_log(read_text(n6 / "compile.log"))
    assert (build.regions, build.text, build.data, build.bss) == (
        (("AXISRAM1_S", 134624, 1 << 20),), 99608, 228, 34768,
    )  # fmt: skip
    loader = read_loader_log(read_text(n6 / "n6_loader.log"))
    assert loader.started and "Unable to get core ID" in loader.failures[0].message


def test_every_file_of_the_kit_is_read(samples: Path) -> None:
    files = [p for p in sorted(samples.rglob("*")) if p.is_file() and p.name != "INDEX.md"]
    refused = []
    for file in files:
        try:
            assert read_any(file)
        except EdgeAIError as error:
            refused.append((file.name, type(error).__name__))
    assert len(files) >= 44
    assert refused == [("mobileclips0.txt", "ToolError"), ("yolov11n___no_NPU.txt", "BudgetError")]


NUMBERS = ("weights_bytes", "activations_bytes", "io_bytes", "macs", "runtime")
DAMAGED = [
    f"{CUBE}/Conv2d_32f_5x5/network_generate_report.txt",
    f"{CLOUD}/AICore4.0/depthwise_3x3_report.txt",
    f"{LARGE}/mobilenet_v2_224.txt",
    "n6_reports/svogl_od_n6.txt",
    f"{H7}/X-CUBE-AI/App/network_generate_report.txt",
]


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_never_gives_a_wrong_number(samples: Path, tmp_path: Path, name: str) -> None:
    """Whole sections cut out, single lines lost, the end missing: each figure is the printed one or not there."""
    text = read_text(samples / name).splitlines()
    whole = read_compiled([samples / name])
    rng = random.Random(7)
    file = tmp_path / "damaged.txt"
    for trial in range(48):
        lines = list(text)
        start = rng.randrange(len(lines))
        length = (1, 1, 3, 12, 40, len(lines))[trial % 6]
        del lines[start : start + length]
        file.write_text("\n".join(lines))
        try:
            found = read_compiled([file])
        except EdgeAIError:
            continue
        _check_damaged(found, whole)


def _check_damaged(found: CompiledModel, whole: CompiledModel) -> None:
    for name in NUMBERS:
        value, truth = getattr(found, name), getattr(whole, name)
        if value is not None and value != truth:
            rounded = name.endswith("_bytes") and abs(value - truth) <= 1
            assert rounded and any("rounded" in gap for gap in found.gaps), (name, value, truth)
        if value is None and truth is not None:
            assert found.gaps, name
    lost = {pool.name for pool in whole.pools} - {pool.name for pool in found.pools}
    used = {pool.name for pool in whole.pools if pool.used}
    if lost & used and found.pools and found.activations_bytes is not None and found.weights_bytes is not None:
        assert any("add up" in gap or "rounded" in gap for gap in found.gaps)
    if found.epochs is not None and whole.epochs is not None:
        for part in ("total", "software", "hybrid", "hardware"):
            assert getattr(found.epochs, part) in (getattr(whole.epochs, part), None), part


def test_validations_survive_damage(samples: Path, tmp_path: Path) -> None:
    name = f"{LARGE}/mobilenet_v2_224.txt"
    text = read_text(samples / name).splitlines()
    whole = read_validated([samples / name])
    rng = random.Random(3)
    for _ in range(30):
        lines = list(text)
        start = rng.randrange(700, len(lines))
        del lines[start : start + rng.choice([1, 4, 20, 80])]
        (tmp_path / "v.txt").write_text("\n".join(lines))
        try:
            found: Validated = read_validated([tmp_path / "v.txt"])
        except EdgeAIError:
            continue
        if found.profile is not None and whole.profile is not None:
            assert found.profile.ms == whole.profile.ms and set(found.profile.layers) <= set(whole.profile.layers)
        assert set(found.metrics) <= set(whole.metrics)


@pytest.mark.parametrize(
    "unit", ["A", " ", "A: ", "1 ", "[", "-", "|", "%|", "\n", "WARNING: x is not quantized\n", "\t(x"]
)
def test_hostile_texts_are_read_in_time(tmp_path: Path, unit: str) -> None:
    """A megabyte of one thing, as one line and between real lines: linear time, one error or a result with gaps."""
    file = tmp_path / "hostile.txt"
    head = "ST Edge AI Core v4.0.1-20581 7ed50de05\n Exec/report summary (generate)\n"
    begin = time.process_time()
    for text in (unit * (1_000_000 // len(unit)), head + unit * (1_000_000 // len(unit))):
        file.write_text(text)
        try:
            assert read_compiled([file]).gaps
        except EdgeAIError as error:
            assert error.message
    assert time.process_time() - begin < 10
