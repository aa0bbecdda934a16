"""`edgeai footprint` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeai.artifacts import Footprint, from_json
from edgeai.cli import main

SEG256 = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def footprint(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["footprint", *map(str, args)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_fits(kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = footprint(capsys, kit / SEG256, "--board", "stm32n6", "-o", tmp_path / "f.json")
    assert code == 0 and "fits STM32N6570-DK" in out and "3350.7 KiB" in out and "631.0 KiB" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert from_json(Footprint, (tmp_path / "f.json").read_text()).fits


def test_does_not_fit(kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    profile = (Path(__file__).resolve().parents[2] / "boards" / "stm32n6570-dk.toml").read_text()
    small = tmp_path / "small.toml"
    small.write_text(profile.replace("size_kib = 114688", "size_kib = 64"))
    code, out, err = footprint(capsys, kit / SEG256, "--board", small)
    assert code == 3 and "DOES NOT FIT" in out and "octoFlash overflows by" in out and not err
    code, out, _ = footprint(capsys, kit / SEG256, "--board", small, "--json")
    assert code == 3 and json.loads(out)["fits"] is False


def test_usage(kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = footprint(capsys, "--board", "stm32n6")
    assert code == 2 and "no model" in err
    code, _, err = footprint(capsys, kit / SEG256, "--board", "stm32n9")
    assert code == 2 and "did you mean" in err and len(err.splitlines()) == 2
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    assert footprint(capsys, tmp_path / "bad.tflite", "--board", "stm32n6")[0] == 2
