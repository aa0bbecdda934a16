"""`edgeai inspect` as a user calls it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from edgeai.cli import main

SEG256 = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def inspect(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["inspect", *map(str, args)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_says_what_the_seed_file_is(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = inspect(capsys, kit / SEG256)
    assert code == 0
    for text in ("per-tensor (0 of 77", "one for boxes and scores: 0.0200", "5.1 px", "76×CONV_2D", "1x116x1344"):
        assert text in out
    lines = out.splitlines()
    assert lines[2].startswith("weights") and lines[3].startswith("layout")


def test_every_file_fits_80_columns(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted([*(kit / "tflite").glob("*.tflite"), *(kit / "tflite").glob("*.onnx")]):
        code, out, _ = inspect(capsys, path)
        assert code == 0 and max(len(line) for line in out.splitlines()) <= 80, path.name


def test_json_is_the_artifact(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = inspect(capsys, kit / SEG256, "--json")
    body = json.loads(out)
    assert code == 0 and body["artifact"] == "AuditReport" and body["granularity"] == "per-tensor"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.tflite", b""),
        ("text.tflite", b"not a model\n" * 20),
        ("zeros.tflite", bytes(1000)),
        ("head.tflite", b"\x1c\0\0\0TFL3" + b"\xff" * 200),
        ("garbage.onnx", bytes(range(256)) * 4),
        ("short.onnx", b"\x08\x08"),
        ("checkpoint.pt", b"PK\x03\x04" + bytes(100)),
    ],
)
def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    code, out, err = inspect(capsys, tmp_path / name)
    assert code == 2 and not out
    assert name in err and len(err.splitlines()) <= 2 and "Traceback" not in err


def test_truncated_and_mutated_files(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = (kit / "tflite" / "gmp_wl_24_int8.tflite").read_bytes()
    rng, path, start = random.Random(3), tmp_path / "bad.tflite", time.perf_counter()
    for i in range(200):
        data = bytearray(plain[: rng.randrange(len(plain))] if i % 4 == 0 else plain)
        for _ in range(0 if i % 4 == 0 else rng.choice((1, 8))):
            data[rng.randrange(len(data))] = rng.getrandbits(8)
        path.write_bytes(data)
        code, _, err = inspect(capsys, path)
        assert code in (0, 2), (i, err)
        assert len(err.splitlines()) <= 2
    assert time.perf_counter() - start < 20


def test_missing_file_and_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(capsys, tmp_path / "none.tflite")[0] == 2
    assert inspect(capsys, tmp_path)[0] == 2
