"""edgeai.toml: read from anywhere below it, refused by name where it is wrong, never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import edgeai, refused

from edgeai.errors import InputError
from edgeai.project import load_project


def test_init_writes_what_load_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert edgeai(capsys, "init", "--model", 'odd "name".pt', "--calibration", "photos").code == 0
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    project = load_project(below)
    assert project.found and project.root == tmp_path
    assert project.settings.model.path == 'odd "name".pt'
    assert project.path(project.settings.calibration.images) == tmp_path / "photos"
    assert project.settings.gate.max_drop == 1.0


def test_init_finds_the_only_checkpoint_and_keeps_an_existing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").touch()
    assert edgeai(capsys, "init").code == 0
    assert load_project().settings.model.path == "best.pt"
    before = (tmp_path / "edgeai.toml").read_bytes()
    refused(edgeai(capsys, "init", "--model", "other.pt"), 2, "exists already")
    assert (tmp_path / "edgeai.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nimgsize = 256\n", "imgsize"),
        ("[modle]\n", "modle"),
        ('[model]\nimgsz = "256"\n', "imgsz"),
        ('[model]\nlayout = "row"\n', "row"),
        ("[model\n", "edgeai.toml"),
        ("[gate]\nmax_drop = nan\n", "nan is no number to compare with"),
        ("[gate]\nmax_drop = -inf\n", "-inf is no number to compare with"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "edgeai.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_project(tmp_path)


def test_a_mistyped_command_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    refused(edgeai(capsys, "quantise"), 2, "did you mean 'quantize'")
