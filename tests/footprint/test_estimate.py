"""Estimates for real files on real and on shrunken boards."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from edgeai.artifacts import Footprint, from_json, to_json
from edgeai.board import Board, Budget, load_board
from edgeai.errors import InputError
from edgeai.footprint.estimate import estimate

SEG256 = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def shrunk(board: Board, external: bool = True, **sizes: int) -> Board:
    pools = tuple(
        dataclasses.replace(p, size_kib=sizes.get(p.name, p.size_kib))
        for p in board.pools
        if external or p.kind != "external-ram"
    )
    return dataclasses.replace(board, pools=pools)


def test_weights_and_peak_of_st_file(kit: Path) -> None:
    result = estimate(kit / SEG256, load_board("stm32n6"))
    assert result.fits and result.source == "estimate" and result.target == "stm32n6"
    assert result.weights_bytes == 3398080 + 24964 + (4 + 2) * 1344 + 1  # weights, biases, anchors and steps
    assert sum(t.count for t in result.peak_tensors) / 1024 == pytest.approx(631, abs=1)
    assert result.io_bytes == 256 * 256 * 3 + 116 * 1344 + 64 * 64 * 32
    ram = [p for p in result.pools if p.kind == "ram"]
    assert sum(p.used for p in ram) == result.activations_bytes
    assert next(p for p in result.pools if p.kind == "flash").used == result.weights_bytes
    assert not any("spills" in reason for reason in result.reasons)
    assert from_json(Footprint, to_json(result)) == result
    assert estimate(kit / SEG256, load_board("stm32n6")) == result


def test_published_n6_figures_lie_in_the_stated_interval(kit: Path) -> None:
    """ST's tables for the exact files of the kit, Core 3.0 and 4.0: internal RAM against the interval of the notes."""
    with (kit / "published" / "n6.csv").open(newline="") as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if row["kit_file"] and row["internal_ram_kib"] and row["model_file_match"].startswith("exact")
            and row["tool_version"] in ("3.0.0", "4.0.0") and "memory identical to 2.0.0" not in row["caveat"]
        ]  # fmt: skip
    assert len(rows) >= 5
    for row in rows:
        result = estimate(kit / row["kit_file"], load_board("stm32n6"))
        assert result.memory is not None
        ram = result.memory.ram
        assert ram.low <= 1024 * float(row["internal_ram_kib"]) <= ram.high, (row["row_ids"], ram)
        assert any("may report" in reason for reason in result.reasons)


def test_spill_is_said_and_no_failure(kit: Path) -> None:
    small = shrunk(load_board("stm32n6"), npuRAM3=200, npuRAM4=0, npuRAM5=0, npuRAM6=0, cpuRAM2=300)
    result = estimate(kit / SEG256, small)
    assert result.fits
    spill = next(reason for reason in result.reasons if "spills" in reason)
    assert "to hyperRAM: expect several times the latency" in spill and "should stay on chip" in spill


def test_no_external_ram_is_failure(kit: Path) -> None:
    small = shrunk(load_board("stm32n6"), False, npuRAM3=200, npuRAM4=0, npuRAM5=0, npuRAM6=0, cpuRAM2=300)
    result = estimate(kit / SEG256, small)
    assert not result.fits
    assert result.reasons[0].startswith("cpuRAM2 overflows by ")
    assert "CONV_2D #240" in result.reasons[1] and "try an input of" in result.reasons[1]


def test_flash_and_budget(kit: Path) -> None:
    board = load_board("stm32n6")
    result = estimate(kit / SEG256, shrunk(board, octoFlash=1024))
    assert not result.fits and result.reasons[0].startswith("octoFlash overflows by 2,326.7 KiB")
    assert "smaller network" in result.reasons[1]
    result = estimate(kit / SEG256, dataclasses.replace(board, budget=Budget(ram_kib=500, flash_kib=3000)))
    assert not result.fits
    assert [reason.split()[0] for reason in result.reasons[:2]] == ["RAM", "flash"]


def test_weights_share_the_ram_of_a_linux_board(kit: Path) -> None:
    board = load_board("stm32mp2")
    result = estimate(kit / SEG256, board)
    assert result.fits and result.pools[0].used == result.weights_bytes + result.activations_bytes
    reserve = dataclasses.replace(board.reserve, ram_kib=0)
    for size in (2000, 3500):
        tiny = dataclasses.replace(shrunk(board, ddr=size), reserve=reserve)
        result = estimate(kit / SEG256, tiny)
        assert not result.fits and result.pools[0].capacity == size * 1024 and "ddr overflows" in result.reasons[0]


def test_open_shapes_are_refused(kit: Path) -> None:
    with pytest.raises(InputError, match="no fixed shape"):
        estimate(kit / "weights" / "yolov5n-seg.onnx", load_board("stm32n6"))
