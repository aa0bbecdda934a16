"""Outputs of the vendor's benchmark programs: lines as the programs print them, with what terminals add."""

from __future__ import annotations

import pytest

from edgeai.device.linux.xlinux import parse_benchmark_model, parse_nbg_benchmark, parse_perf_test, parse_wrapper
from edgeai.errors import DeviceError

# the format strings of the program's public source, in the order in which it prints them
NBG = """\
Info: Network binary file set to: /tmp/edgeai-1/model.nb
Info: Executing  10 inference(s) during this benchmark.
Info: Verifying graph...
Info: Verifying graph took: 13ms or 13263us
Info: NPU running at frequency: 800000000Hz.
Info: Started running the graph [10] loops ...
Info: No Case MAC has been specified for this model.
Info: The MAC Utilization cannot be computed.
Info: Loop:10,Average: 19.84 ms or 19841.70 us
Info: Peak working set size: 24612864 bytes
"""
NBG_FAILED = """\
Info: Network binary file set to: /tmp/edgeai-1/model.nb
Info: Executing  10 inference(s) during this benchmark.
Info: Verifying graph...
E [main.c:vnn_VerifyGraph:93]CHECK STATUS(-3:The parameters are invalid)
Info: Peak working set size: 3612864 bytes
"""

# benchmark_model of TFLite 2.18 under a delegate: prefixes, scientific notation, one line of statistics per phase
BENCHMARK_MODEL = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [10]
INFO: Graph: [/tmp/edgeai-1/model.tflite]
INFO: Loaded model /tmp/edgeai-1/model.tflite
INFO: Vx delegate: allowed_cache_mode set to 0.
INFO: EXTERNAL delegate created.
VERBOSE: Replacing 290 out of 293 node(s) with delegate (Vx Delegate) node, yielding 4 partitions for subgraph 0.
INFO: The input model file size (MB): 3.51457
INFO: Initialized session in 4812.53ms.
INFO: Running benchmark for at least 1 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602

INFO: Running benchmark for at least 10 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=10 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565 p5=1238753 median=1239807 p95=1247415

INFO: Inference timings in us: Init: 4812530, First inference: 1357602, Warmup (avg): 1.3576e+06, Inference (avg): 1.24027e+06
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
INFO: Overall peak memory footprint (MB) via periodic monitoring: 114.25
"""  # noqa: E501
BENCHMARK_MODEL_OLD = """\
STARTING!
Graph: [/tmp/edgeai-1/model.tflite]
count=37 first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967

count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470

Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, Inference (avg): 13520.2
"""

PERF_TEST = """\
Disabling intra-op thread spinning between runs
Session creation time cost: 0.0102016 s
First inference time cost: 2 ms
Total inference time cost: 0.185739 s
Total inference requests: 100
Average inference time cost: 1.85739 ms
Total inference run time: 0.18581 s
Number of inferences per second: 538.184
Avg CPU usage: 96 %
Peak working set size: 36696064 bytes
Avg CPU usage:96
Peak working set size:36696064
Runs:100
Min Latency: 0.00183404 s
Max Latency: 0.00190312 s
P50 Latency: 0.00185674 s
P90 Latency: 0.00187215 s
P95 Latency: 0.00187393 s
P99 Latency: 0.00190312 s
P999 Latency: 0.00190312 s
"""

# the strings are the wrapper's, the layout is not known: several are read
BORDERS = """\
\x1b[34mNBG models benchmark\x1b[0m
╔════════════╦═════════════════════╦═══════╦═══════╦═══════╦═══════════════╗
║ Model Name ║ Inference Time (ms) ║ CPU % ║ GPU % ║ NPU % ║ Peak RAM (MB) ║
╠════════════╬═════════════════════╬═══════╬═══════╬═══════╬═══════════════╣
║ model      ║ 10.66               ║ 0.0   ║ 7.02  ║ 92.98 ║ 23.47         ║
╚════════════╩═════════════════════╩═══════╩═══════╩═══════╩═══════════════╝
"""
ASCII = """\
Machine           STM32MP257F-EV1
+------------+---------------------+-------+-------+-------+---------------+
| NPU %      | Inference Time (ms) | CPU % | GPU % | Model Name | Peak RAM (MB) |
+------------+---------------------+-------+-------+-------+---------------+
| 92.98      | 10.66               | 0.0   | 7.02  | model      | 23.47         |
+------------+---------------------+-------+-------+-------+---------------+
"""
GAPS = """\
TensorFlow Lite models benchmark
Model Name    Inference Time (ms)    CPU %    GPU %    NPU %    Peak RAM (MB)
model         10.66                  0.0      7.02     92.98    23.47
"""


def terminal(text: str) -> str:
    """The same text as it comes through a console."""
    return "\x1b[?2004l" + text.replace("\n", "\r\n").replace("Info:", "\x1b[32mInfo:\x1b[0m")


@pytest.mark.parametrize("text", [NBG, terminal(NBG)])
def test_nbg_benchmark(text: str) -> None:
    report = parse_nbg_benchmark(text)
    assert report.average == pytest.approx(19.8417)
    assert (report.runs, report.accelerator_hz, report.peak_bytes) == (10, 800_000_000, 24_612_864)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (NBG_FAILED, "vnn_VerifyGraph"),
        ("", "nothing"),
        (NBG.replace("800000000Hz", "0Hz"), "clock"),
        ("\n".join(line for line in NBG.splitlines() if "frequency" not in line), "clock"),
        (NBG.partition("Info: Loop")[0], "Info"),
    ],
)
def test_nbg_benchmark_that_did_not_run(text: str, word: str) -> None:
    """Its exit status is 0 all the same."""
    with pytest.raises(DeviceError, match=word):
        parse_nbg_benchmark(text)


@pytest.mark.parametrize("text", [BENCHMARK_MODEL, terminal(BENCHMARK_MODEL)])
def test_benchmark_model(text: str) -> None:
    report = parse_benchmark_model(text)
    assert report.average == pytest.approx(1240.27)
    assert (report.minimum, report.median, report.p95, report.maximum) == (1238.588, 1239.807, 1247.415, 1252.566)
    assert report.runs == 10
    assert report.delegated == (290, 293)
    assert report.peak_bytes == round(114.25 * 1024 * 1024)


def test_benchmark_model_of_an_older_version() -> None:
    report = parse_benchmark_model(BENCHMARK_MODEL_OLD)
    assert report.average == pytest.approx(13.5202)
    assert (report.runs, report.minimum, report.maximum, report.median) == (74, 13.105, 15.765, None)
    assert report.peak_bytes is report.delegated is None


def test_benchmark_model_that_did_not_run() -> None:
    with pytest.raises(DeviceError, match="Failed to load model"):
        parse_benchmark_model("STARTING!\nERROR: Failed to load model /tmp/x.tflite\nBenchmarking failed.\n".replace(
            "Benchmarking failed.\n", ""
        ))  # fmt: skip


@pytest.mark.parametrize("text", [PERF_TEST, terminal(PERF_TEST)])
def test_onnxruntime_perf_test(text: str) -> None:
    report = parse_perf_test(text)
    assert report.average == pytest.approx(1.85739)
    assert report.minimum == pytest.approx(1.83404)
    assert report.median == pytest.approx(1.85674)
    assert report.p95 == pytest.approx(1.87393)
    assert report.maximum == pytest.approx(1.90312)
    assert (report.runs, report.peak_bytes) == (100, 36_696_064)


@pytest.mark.parametrize("text", [BORDERS, ASCII, GAPS, terminal(BORDERS)])
def test_wrapper_whatever_its_borders(text: str) -> None:
    (row,) = parse_wrapper(text)
    assert (row.model, row.average, row.peak_bytes) == ("model", 10.66, 23_470_000)
    assert {share.engine: share.percent for share in row.engines} == {"NPU": 92.98, "GPU": 7.02, "CPU": 0.0}


@pytest.mark.parametrize("text", ["", "Target used : x is unknown exit benchmark", NBG, "Model Name  Size\nmodel  3"])
def test_text_without_the_wrappers_table(text: str) -> None:
    assert parse_wrapper(text) == ()
