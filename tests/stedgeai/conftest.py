"""The tool for these tests: a stand-in run as a process, or a real installation where EDGEAI_STEDGEAI=real."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from edgeai.stedgeai.locate import Installation, locate

FAKES = Path(__file__).resolve().parent.parent / "fakes"
REAL = os.environ.get("EDGEAI_STEDGEAI") == "real"


def install(root: Path) -> Path:
    """A tree like the tool's, with the stand-in in it."""
    place = root / "Utilities" / "linux"
    place.mkdir(parents=True)
    executable = place / "stedgeai"
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKES / "stedgeai"}" "$@"\n')
    executable.chmod(0o755)
    scripts = root / "scripts" / "N6_scripts"
    scripts.mkdir(parents=True)
    shutil.copyfile(FAKES / "standin" / "n6_loader.py", scripts / "n6_loader.py")
    return root


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an installation of the stand-in; the machine's own one is out of sight."""
    if REAL:
        pytest.skip("EDGEAI_STEDGEAI=real: this test scripts the stand-in")
    return _standin(tmp_path, monkeypatch)


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The tool: the stand-in, or the installation that edgeai finds where EDGEAI_STEDGEAI=real."""
    if not REAL:
        return locate(_standin(tmp_path, monkeypatch))
    monkeypatch.chdir(tmp_path)
    return locate()


def _standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STEDGEAI_CORE_DIR", "EDGEAI_STANDIN_FAULT", "EDGEAI_STANDIN_VERSION", "EDGEAI_STANDIN_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return install(tmp_path / "ST Edge AI 4.0 – ü")


@pytest.fixture
def model(kit: Path) -> Path:
    """A real int8 network of 96 x 96, per-channel."""
    return kit / "tflite" / "mobilenet_v1_0.25_96_fft_int8.tflite"


@pytest.fixture
def segmenter(kit: Path) -> Path:
    """ST's YOLOv8n-seg 256, per-tensor in spite of its name."""
    return kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
