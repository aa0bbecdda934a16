"""The tutorial works as written: its commands, in order, from an empty folder, at a small size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import follow  # noqa: E402

# what only makes it slower; the project's own size is edited in edgeai.toml, as a user would
SMALLER = (("--val 100 --calibration 64", "--val 4 --calibration 4"), ("imgsz = [128, 256]", "imgsz = [64]"))


@pytest.mark.slow
def test_the_tutorial_runs_from_an_empty_folder_to_card_and_report(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="the tutorial quantises")
    pytest.importorskip("distributed", reason="the tutorial sweeps on two workers")
    (tmp_path / "bin").mkdir()
    edgeai = tmp_path / "bin/edgeai"
    edgeai.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgeai "$@"\n')
    edgeai.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}

    text = (ROOT / "docs/tutorial.md").read_text()
    for old, new in SMALLER:
        assert old in text
        text = text.replace(old, new)
    ran = []
    for step in follow.steps(text):
        try:
            output = follow.perform(step, work, environment)
        except subprocess.CalledProcessError as error:
            pytest.fail(f"{step.command} ended with {error.returncode}")
        ran.append(step.command.split(" ")[:2])
        if step.command.startswith("edgeai init"):
            project = work / "edgeai.toml"
            small = project.read_text().replace("imgsz = 256", "imgsz = 64").replace("= 1.0", "= 100.0")
            project.write_text(small)
        assert output or step.file or step.command.startswith(("cp ", "sed ")), step.command
    assert [["edgeai", name] in ran for name in ("run", "sweep", "card", "report")] == [True] * 4

    record = work / "runs/yolov8n-seg-synthetic"
    card = (record / "README.md").read_text()
    page = (record / "report.html").read_text()
    assert "64x64x3" in card and "STM32N6" in card
    assert "<svg" in page and ">Sweep<" in page and "Quantisation error per layer" in page
    assert not re.findall(r'src="https?:|<link|@import|url\(http', page)
    assert (work / "runs/sweep/sweep.svg").is_file()
