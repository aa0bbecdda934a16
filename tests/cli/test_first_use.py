"""`edgeai` alone, and shell completion."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers import edgeai

from edgeai.artifacts import RunRecord, from_json
from edgeai.models.bundled import bundled_model


def test_an_empty_folder_is_told_how_to_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = edgeai(capsys)
    assert shown.code == 0
    assert "none (edgeai.toml is not here or above)" in shown.out
    assert "edgeai synth" in shown.out


def test_a_folder_with_a_checkpoint_is_told_to_start_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").write_bytes(b"")
    assert "edgeai init --model best.pt" in edgeai(capsys).out
    (tmp_path / "a.tflite").write_bytes(b"")
    assert "edgeai footprint a.tflite" in edgeai(capsys).out


def test_a_project_is_told_what_is_missing_then_to_run_then_what_came_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(bundled_model("yolov8n-seg-synthetic"), tmp_path / "best.safetensors")
    assert edgeai(capsys, "init").code == 0
    shown = edgeai(capsys)
    assert "set calibration, images, annotations in edgeai.toml" in shown.out

    for folder in ("photos", "val"):
        (tmp_path / folder).mkdir()
    (tmp_path / "instances.json").write_text("{}")
    (tmp_path / "edgeai.toml").unlink()
    given = ("--calibration", "photos", "--images", "val", "--annotations", "instances.json")
    assert edgeai(capsys, "init", *given).code == 0
    shown = edgeai(capsys)
    assert shown.out.splitlines()[-3].split() == ["next", "edgeai", "run"]

    (tmp_path / "runs/best").mkdir(parents=True)
    (tmp_path / "runs/best/run.json").write_text("{}")
    assert "of another version" in edgeai(capsys).out


@pytest.mark.slow
def test_after_a_run_its_outcome_and_the_next_step_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert edgeai(capsys, "synth", "set", "--train", 0, "--val", 4, "--calibration", 4, "--seed", 3).code == 0
    images = ("--images", "set/val/images", "--annotations", "set/val/instances.json")
    assert edgeai(capsys, "init", "--calibration", "set/calibration/images", *images).code == 0
    shutil.copy(bundled_model("yolov8n-seg-synthetic"), tmp_path / "best.safetensors")
    assert edgeai(capsys, "run", "best.safetensors", "--imgsz", 64, "--max-drop", 100, "--out", "runs/best").code == 0
    record = from_json(RunRecord, (tmp_path / "runs/best/run.json").read_text())
    assert record.verdicts[0].passed
    text = (tmp_path / "edgeai.toml").read_text()
    (tmp_path / "edgeai.toml").write_text(text.replace('path = ""', 'path = "best.safetensors"'))
    shown = edgeai(capsys).out
    assert "1 int8 file, accuracy passed, fits" in shown
    assert "edgeai report" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_every_shell(shell, capsys):
    shown = edgeai(capsys, "completion", shell)
    assert shown.code == 0
    assert "_EDGEAI_COMPLETE" in shown.out


def test_bash_completes_commands_and_options():
    def complete(words, place):
        environment = {
            **os.environ, "_EDGEAI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place),
        }  # fmt: skip
        script = "from edgeai.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
        return [line.split(",")[1] for line in done.stdout.decode().splitlines()]

    assert complete("edgeai quan", 1) == ["quantize"]
    assert complete("edgeai quantize --per", 2) == ["--per-channel", "--per-tensor"]
