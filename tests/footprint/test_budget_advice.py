"""Advice is given where it applies, and sizes are not guessed."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from helpers import edgeai, refused

from edgeai.board import load_board
from edgeai.cli.footprint import _bytes
from edgeai.footprint.advice import has_decoded_head
from edgeai.footprint.memory import summarise_support
from edgeai.footprint.support import RAW_HEAD, support
from edgeai.graph import load_graph


@pytest.mark.parametrize(
    ("name", "decoded"),
    [
        ("yolov8n_256_quant_pc_ii_seg_coco-st.tflite", True),
        ("yolov8n_320_quant_pt_uf_od_coco-person-st.tflite", True),
        ("ssd_mobilenet_v2_fpnlite_035_256_int8.tflite", False),
        ("st_ssd_mobilenet_v1_025_224_int8.tflite", False),
        ("mobilenet_v2_0.35_224_fft_int8__flowers.tflite", False),
        ("yamnet_256_64x96_tl_int8.tflite", False),
    ],
)
def test_the_raw_layout_is_advised_for_decoded_heads_only(kit: Path, name: str, decoded: bool) -> None:
    graph = load_graph(kit / "tflite" / name)
    assert has_decoded_head(graph) == decoded
    for board, target in (("stm32n6", "n6"), ("stm32mp2", "mp2")):
        given = {entry.advice for entry in summarise_support(graph, load_board(board), "2.1.0").software}
        would = {place.advice for _, place in support(graph, target, "2.1.0").software}
        assert (RAW_HEAD in given) == (decoded and RAW_HEAD in would)
        assert given - {""} == would - {""} - (set() if decoded else {RAW_HEAD})


@pytest.mark.slow
def test_a_raw_file_is_not_advised_to_be_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for layout, decoded in (("raw", False), ("concat", True)):
        file = tmp_path / f"{layout}.onnx"
        made = edgeai(capsys, "export", "yolov8n-seg-synthetic", "-o", file, "--imgsz", 64, "--layout", layout)
        assert made.code == 0, made.err
        assert has_decoded_head(load_graph(file)) == decoded


@pytest.mark.parametrize(
    ("text", "count"),
    [("800K", 819200), ("1.5M", 1572864), ("2KiB", 2048), ("4096", 4096), ("512B", 512), ("1048576", 1 << 20)],
)
def test_a_size(text: str, count: int) -> None:
    assert _bytes(None, None, text) == count  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["800", "4095", "1.5", "0.5"])
def test_a_small_number_needs_its_unit(text: str, kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.BadParameter, match=f"{text}K for KiB, {text}M for MiB"):
        _bytes(None, None, text)  # type: ignore[arg-type]
    model = kit / "tflite" / "stmnist_v1_int8.tflite"
    refused(edgeai(capsys, "footprint", model, "--board", "stm32n6", "--max-ram", text), 2, "KiB", "MiB")
    refused(edgeai(capsys, "gate", "--footprint", "x.json", "--max-flash", text), 2, "KiB", "MiB")


def test_over_the_latency_budget_is_said_as_such(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    slow = edgeai(capsys, "footprint", model, "--board", "stm32n6", "--max-latency", 1)
    assert slow.code == 3 and "OVER THE LATENCY BUDGET" in slow.out and "DOES NOT FIT" not in slow.out
    large = edgeai(capsys, "footprint", model, "--board", "stm32n6", "--max-latency", 1, "--max-ram", "100K")
    assert large.code == 3 and "DOES NOT FIT" in large.out
