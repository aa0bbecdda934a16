"""Options of `edgeai footprint`, `boards`, `recommend` and `validate-estimators` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgeai.cli import main

SEG256 = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def call(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, args)))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_budgets_end_with_3(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ("footprint", kit / SEG256, "--board", "stm32n6")
    assert call(capsys, *base, "--max-ram", "2M", "--max-flash", "4MiB", "--max-latency", 60)[0] == 0
    for option, value in (("--max-ram", "500K"), ("--max-flash", "1M"), ("--max-latency", "3")):
        code, out, err = call(capsys, *base, option, value)
        assert code == 3 and "over its budget" in out and not err
    code, _, err = call(capsys, *base, "--max-ram", "much")
    assert code == 2 and "is not a size" in err


@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
@pytest.mark.parametrize(
    "command",
    [
        ("footprint", "m.tflite", "--board", "stm32n6", "--max-latency"),
        ("gate", "--baseline", "a.json", "--candidate", "b.json", "--max-drop"),
        ("bench", "m.tflite", "--board", "stm32n6", "--max-regression"),
        ("evaluate", "m.tflite", "--conf"),
    ],
)
def test_a_limit_that_everything_passes_is_none(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], value: str
) -> None:
    code, _, err = call(capsys, *command, value)
    assert code == 2 and "is no number to compare with" in err


def test_tables_and_picture(kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "p.svg"
    args = ("--per-op", "--what-if", "imgsz=192,320", "--plot", picture)
    code, out, _ = call(capsys, "footprint", kit / SEG256, "--board", "stm32n6", *args)
    assert code == 0 and "imgsz=320" in out and "slowest operators" in out and "in software" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    texts = "".join(ElementTree.fromstring(picture.read_text()).itertext())
    assert "peak 631.0 KiB" in texts and "latency per operator" in texts and "npuRAM3" in texts
    assert call(capsys, "footprint", kit / SEG256, "--board", "stm32n6", "--plot", tmp_path / "p.gif")[0] == 2


def test_what_if(
    kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("footprint", kit / SEG256, "--board", "stm32n6")
    other = kit / "tflite" / "yolov8n_256_quant_pc_uf_od_coco-person.tflite"
    code, out, _ = call(capsys, *base, "--what-if", "granularity", "--what-if", f"file={other}")
    table = out[out.index("what if") :].splitlines()
    assert code == 0 and [line.split("  ")[0] for line in table[2:5]] == [
        "as it is", "granularity=per-tensor", "granularity=per-channel",
    ]  # fmt: skip
    assert "coco-person" in table[5] and max(map(len, table)) <= 80
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *base, "--what-if", "layout")
    assert code == 2 and "needs the checkpoint" in err and "--source" in err
    code, _, err = call(capsys, *base, "--what-if", "layout=round")
    assert code == 2 and "no layout 'round'" in err
    source = ("--source", kit / "weights" / "yolov5n-seg.onnx")
    code, _, err = call(capsys, *base, "--what-if", "layout", *source)
    assert code == 2 and "one head layout" in err
    code, _, err = call(capsys, *base, "--what-if", f"file={tmp_path / 'none.tflite'}")
    assert code == 2 and "none.tflite" in err


@pytest.mark.slow
def test_layouts_come_from_the_checkpoint(
    kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One layout of the checkpoint, made with two images: the file of `edgeai quantize` has the same figures."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    for picture in sorted((kit / "coco" / "calibration" / "images").iterdir())[:2]:
        (images / picture.name).write_bytes(picture.read_bytes())
    given = ("--source", kit / "weights" / "yolov8n-seg.pt", "--calibration", images, "--json")
    code, out, _ = call(capsys, "footprint", kit / SEG256, "--board", "stm32n6", "--what-if", "layout=raw", *given)
    (raw,) = json.loads(out)["what_if"]
    assert code == 0 and raw["change"] == "layout=raw"
    assert raw["software"] < json.loads(out)["support"]["software_epochs"]


def test_json_holds_the_intervals(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "footprint", kit / SEG256, "--board", "stm32n6", "--core", "3.0.0", "--json")
    body = json.loads(out)
    assert body["memory"]["version"] == "3.0.0" and "memory" in body["memory"]["table"]
    assert body["latency"]["ms"]["low"] < body["latency"]["ms"]["point"] < body["latency"]["ms"]["high"]


@pytest.mark.parametrize("board", ["stm32h7", "stm32u5", "stm32l4", "stm32l0", "stm32mp1", "stm32mp2", "nucleo-n6"])
def test_every_board(kit: Path, capsys: pytest.CaptureFixture[str], board: str) -> None:
    code, out, err = call(capsys, "footprint", kit / SEG256, "--board", board)
    assert code in (0, 3) and "verdict" in out and not err
    assert max(len(line) for line in out.splitlines()) <= 80


def test_boards(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "boards")
    assert code == 0 and all(name in out for name in ("STM32N6570-DK", "NUCLEO-N657X0-Q", "STM32MP235F-DK", "stm32l0"))
    _, out, _ = call(capsys, "boards", "stm32n6")
    assert "npuRAM6" in out and "SeongMin1000/N6_cusotm_validation" in out and "0x34200000" in out
    _, out, _ = call(capsys, "boards", "--schema")
    schema = json.loads(out)
    assert schema["required"] == ["name", "family", "cpu", "toolchain", "connection", "pools"]
    assert "file" not in schema["properties"]
    _, out, _ = call(capsys, "boards", "stm32n6", "--json")
    assert json.loads(out)["name"] == "STM32N6570-DK"
    code, _, err = call(capsys, "boards", "stm32n9")
    assert code == 2 and "did you mean" in err


def test_recommend(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "recommend", kit / SEG256)
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith(("STM32", "NUCLEO", "B-U585I"))}
    assert code == 0 and "recommended" in lines["STM32N6570-DK"] and "supported" in lines["STM32MP257F-EV1"]
    assert " no " in lines["STM32MP157F-DK2"] and " no " in lines["B-U585I-IOT02A"]


def test_validate_estimators(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "validate-estimators", "--published", kit / "published", "--rows")
    assert code == 0 and "covered" in out and "report, exact file" in out and "yolov8n_256_quant_pc_ii_seg" in out


@pytest.mark.slow
def test_answers_within_a_second(kit: Path) -> None:
    command = [sys.executable, "-c", "from edgeai.cli import main; main()", "footprint", str(kit / SEG256)]
    command += ["--board", "stm32n6"]
    took = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.monotonic() - started)
    assert min(took) <= 1.0, took
