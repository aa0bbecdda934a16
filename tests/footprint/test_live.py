"""Live ranges and their peaks, against the table of peaks of the published models."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeai.footprint.live import live_ranges, peak
from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Op, Tensor

PEAKS = {
    "yolov8n_256_quant_pc_ii_seg_coco-st": (631, 887),
    "yolov8n_320_quant_pc_ii_seg_coco-st": (986, 1386),
    "yolov8n_256_quant_pc_uf_od_coco-person": (448, 768),
    "yolov8n_320_quant_pc_uf_od_coco-person-st": (700, 1200),
    "yolo11n_256_quant_pc_ii_seg_coco80-st": (560, 768),
    "yamnet_256_64x96_tl_int8": (144, 144),
}


@pytest.mark.parametrize("name", PEAKS)
def test_peaks_of_published_models(kit: Path, name: str) -> None:
    graph = load_graph(kit / "tflite" / f"{name}.tflite")
    fused, unfused = PEAKS[name]
    assert peak(graph, live_ranges(graph)).bytes / 1024 == pytest.approx(fused, abs=1)
    assert peak(graph, live_ranges(graph, fused=False)).bytes / 1024 == pytest.approx(unfused, abs=1)


def network(steps: list[tuple[str, tuple[int, ...], int]], sizes: list[int], outputs: tuple[int, ...]) -> Graph:
    """A network of int8 vectors: tensor 0 is the input; each step is (operator, inputs, output)."""
    tensors = tuple(Tensor(i, f"t{i}", (size,), "int8") for i, size in enumerate(sizes))
    ops = tuple(Op(i, kind, inputs, (output,)) for i, (kind, inputs, output) in enumerate(steps))
    return Graph("tflite", tensors, ops, (0,), outputs)


def test_silu_is_fused_into_the_convolution() -> None:
    graph = network(
        [("CONV_2D", (0,), 1), ("LOGISTIC", (1,), 2), ("MUL", (1, 2), 3), ("CONV_2D", (3,), 4)],
        [10, 100, 100, 100, 5],
        (4,),
    )
    assert [(r.tensor, r.size, r.first, r.last) for r in live_ranges(graph)] == [
        (0, 10, 0, 0),
        (3, 100, 0, 3),
        (4, 5, 3, 3),
    ]
    assert peak(graph, live_ranges(graph)).bytes == 110
    assert peak(graph, live_ranges(graph, fused=False)).bytes == 300


def test_a_gate_that_others_read_is_not_fused() -> None:
    graph = network(
        [("CONV_2D", (0,), 1), ("LOGISTIC", (1,), 2), ("MUL", (1, 2), 3), ("ADD", (1, 3), 4)],
        [10, 100, 100, 100, 5],
        (4,),
    )
    assert peak(graph, live_ranges(graph)).bytes == 300


def test_pad_and_reshape_take_no_memory() -> None:
    graph = network([("PAD", (0,), 1), ("CONV_2D", (1,), 2), ("RESHAPE", (2,), 3)], [10, 14, 20, 20], (3,))
    assert [(r.tensor, r.first, r.last) for r in live_ranges(graph)] == [(0, 0, 1), (2, 1, 2)]


def test_inputs_and_outputs_live_from_start_to_end() -> None:
    graph = network([("CONV_2D", (0,), 1), ("CONV_2D", (1,), 2), ("ADD", (0, 2), 3)], [8, 1, 1, 4], (1, 3))
    assert {r.tensor: (r.first, r.last) for r in live_ranges(graph)} == {0: (0, 2), 1: (0, 2), 2: (1, 2), 3: (2, 2)}
    top = peak(graph, live_ranges(graph))
    assert top.bytes == 14 and top.op.kind == "ADD" and [r.tensor for r in top.live] == [0, 3, 1, 2]
