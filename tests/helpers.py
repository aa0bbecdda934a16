"""What several tests need: the command line as a function, and as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeai.cache import StageOutput
from edgeai.cli import main


def kit_path() -> Path:
    """Where the data kit is, or would be."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "kit"
    return Path(os.environ.get("EDGEAI_KIT", beside)).resolve()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def edgeai(capsys: pytest.CaptureFixture[str], *args: object) -> Outcome:
    """Run the command line in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    captured = capsys.readouterr()
    return Outcome(int(stop.value.code or 0), captured.out, captured.err)


def process(*args: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgeai", *map(str, args)],
        cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refused(outcome: Outcome, code: int, *words: str) -> None:
    """Bad input: the right exit code, at most a line and a hint, no traceback."""
    assert outcome.code == code, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith(("edgeai:", "  hint:", "Error", "Usage"))]
    assert lines, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, outcome.err


class Silent:
    """A listener that hears nothing."""

    def start(self, stage: str) -> None: ...
    def tick(self, done: int, total: int) -> None: ...
    def end(self, stage: str, output: StageOutput, seconds: float) -> None: ...
    def fail(self) -> None: ...
