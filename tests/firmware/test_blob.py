"""`edgeai blob`: what it prints, what it refuses, and that nothing is left behind where it fails."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused
from tiny_models import Model

from edgeai.firmware.blob import make_blob


def small(tmp_path: Path, odd: bool = False) -> Path:
    model = Model()
    x, y, z = (model.tensor((1, 8), scale=0.1, zero=-5) for _ in range(3))
    model.op("ADD", [x, x], [y], "AddOptions", 2)
    model.op("ELU" if odd else "RELU", [y], [z])
    path = tmp_path / "some model.tflite"
    path.write_bytes(model.pack([x], [z]))
    return path


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, target = small(tmp_path), tmp_path / "out.blob"
    outcome = edgeai(capsys, "blob", model, "-o", target, "--json")
    assert outcome.code == 0
    artifact = json.loads(outcome.out)
    content = target.read_bytes()
    magic, version, size, crc = struct.unpack_from("<4I", content)
    assert (magic, version, size) == (int.from_bytes(b"EABL", "little"), 2, len(content))
    assert crc == zlib.crc32(content[16:])
    assert artifact["file"]["bytes"] == len(content) and artifact["name"] == "some model"
    assert [(c["name"], c["count"]) for c in artifact["operators"]] == [("ADD", 1), ("RELU", 1)]
    text = edgeai(capsys, "blob", model, "-o", target, "--name", "net")
    assert text.code == 0 and "net, " in text.out and max(map(len, text.out.splitlines())) <= 80 + len(str(tmp_path))


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert make_blob(model).data == make_blob(model).data


def test_refusals_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.blob"
    refused(edgeai(capsys, "blob", small(tmp_path, odd=True), "-o", target), 2, "ELU #1 (no kernel)")
    refused(edgeai(capsys, "blob", tmp_path / "absent.tflite", "-o", target), 2, "absent.tflite")
    assert not target.exists()


def test_a_float_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    x, y = model.tensor((1, 8), "float32"), model.tensor((1, 8), "float32")
    model.op("ADD", [x, model.tensor((8,), "float32", data=np.ones(8))], [y], "AddOptions")
    (tmp_path / "float.tflite").write_bytes(model.pack([x], [y]))
    refused(edgeai(capsys, "blob", tmp_path / "float.tflite", "-o", tmp_path / "o"), 2, "ADD #0 (float32 tensors)")
