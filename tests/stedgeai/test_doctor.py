"""`edgeai doctor`: what is there, what is not, and how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import edgeai

from edgeai.errors import ToolError
from edgeai.stedgeai.locate import candidates, locate, probe

Capsys = pytest.CaptureFixture[str]


def checks(capsys: Capsys, *args: object) -> dict[str, dict[str, str]]:
    outcome = edgeai(capsys, "doctor", *args, "--json")
    assert outcome.code == 0, outcome.err
    return {check["name"]: check for check in json.loads(outcome.out)["checks"]}


def test_a_stand_in_is_called_one(capsys: Capsys, standin: Path) -> None:
    found = checks(capsys, "--stedgeai", standin)["ST Edge AI Core"]
    assert found["state"] == "warning" and found["found"].startswith("stand-in 4.0.1-20581")


def test_everything_missing_has_a_way_to_get_it(capsys: Capsys, standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    found = checks(capsys)
    for name in ("ST Edge AI Core", "Arm GCC", "STM32CubeProgrammer", "QEMU, Cortex-M55"):
        assert found[name]["state"] == "missing" and found[name]["hint"] and found[name]["needed_for"], name
    text = edgeai(capsys, "doctor").out
    assert "STEDGEAI_CORE_DIR" in text and max(map(len, text.splitlines())) <= 80


def test_the_search_order(standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = standin / "Utilities" / "linux" / "stedgeai"
    assert list(candidates(standin)) == list(candidates(executable)) == [executable]
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(standin))
    other = tmp_path / "bin"
    other.mkdir()
    (other / "stedgeai").symlink_to(executable)
    monkeypatch.setenv("PATH", f"{other}:/usr/bin:/bin")
    assert list(candidates())[:2] == [executable, other / "stedgeai"]
    monkeypatch.delenv("STEDGEAI_CORE_DIR")
    found = locate()
    assert found.executable == other / "stedgeai" and found.root == standin.resolve()
    home = tmp_path / "home"
    for version in ("2.2", "4.0", "10.1"):
        place = home / "ST" / "STEdgeAI" / version / "Utilities" / "linux"
        place.mkdir(parents=True)
        (place / "stedgeai").symlink_to(executable)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    usual = [path.parents[2].name for path in candidates() if home in path.parents]
    assert usual == ["10.1", "4.0", "2.2"]


def test_what_is_not_the_tool_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "stedgeai"
    other.write_text("#!/bin/sh\necho hello\n")
    other.chmod(0o755)
    with pytest.raises(ToolError, match="does not answer as ST Edge AI Core"):
        probe(other)
    with pytest.raises(ToolError, match="is not ST Edge AI Core"):
        locate(tmp_path / "nothing")
