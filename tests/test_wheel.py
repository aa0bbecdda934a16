"""The wheel in an empty environment, from a folder of its own: what a lab computer beside the board has."""

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALL_MEGABYTES = 400


def run(*command, cwd, expect=0):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a synthetic set and an int8 file, made by the full installation."""
    folder = tmp_path_factory.mktemp("lab")
    edgeai = (sys.executable, "-m", "edgeai")
    run(*edgeai, "synth", "set", "--train", "0", "--val", "6", "--calibration", "4", "--seed", "3", cwd=folder)
    make = ("quantize", "yolov8n-seg-synthetic", "--imgsz", "64", "--calibration", "set/calibration/images")
    run(*edgeai, *make, "-o", "model.tflite", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `edgeai` of a fresh environment that holds the wheel and what it requires, nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    # from the files git knows: a wheel must not depend on what else lies in the folder
    source = folder / "source"
    source.mkdir()
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(source)]
    run(*build, cwd=folder)
    wheel = next(folder.glob("*.whl"))
    venv.create(folder / "venv", with_pip=True)
    begin = time.monotonic()
    run(folder / "venv/bin/pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    print(f"installed in {time.monotonic() - begin:.1f} s")
    return folder / "venv/bin/edgeai"


@pytest.mark.slow
def test_the_wheel_alone_inspects_measures_and_judges_an_int8_file(installed, work):
    site = next(installed.parent.parent.glob("lib/python*/site-packages"))
    megabytes = sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 1e6
    assert megabytes < INSTALL_MEGABYTES
    assert not [name for name in ("torch", "tensorflow", "onnx", "matplotlib") if (site / name).exists()]

    assert "per-channel" in run(installed, "inspect", "model.tflite", cwd=work)
    assert "STM32N6570-DK" in run(installed, "footprint", "model.tflite", "--board", "stm32n6", cwd=work)
    assert "STM32MP257F-EV1" in run(installed, "boards", cwd=work)
    images = ("--images", "set/val/images", "--annotations", "set/val/instances.json")
    run(installed, "evaluate", "model.tflite", *images, "--json", "int8.json", cwd=work)
    gate = ("gate", "--baseline", "int8.json", "--candidate", "int8.json", "--max-drop", "0.5")
    assert "pass" in run(installed, *gate, cwd=work).lower()
    run(installed, "card", "model.tflite", "-o", "card.md", cwd=work)
    assert "STM32N6570-DK" in (work / "card.md").read_text()
    assert "is not installed" in run(installed, "troubleshooting", "tool", cwd=work)
    command = [installed, "quantize", "yolov8n-seg-synthetic", "--calibration", "set/calibration"]
    environment = {**os.environ, "EDGEAI_CACHE": str(work / "cache")}
    refused = subprocess.run(command, cwd=work, capture_output=True, text=True, env=environment, check=False)
    assert refused.returncode == 5
    assert "edgeai[convert]" in refused.stderr
