"""Building and running the firmware in tests; skips with a reason where a tool is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware_stubs"

Infer = Callable[[Path, list[bytes]], bytes]


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def make(folder: Path, target: str, tool: str) -> None:
    """`make TARGET` of the firmware with everything it makes in `folder`; warnings are errors."""
    need("make")
    need(tool)
    command = ["make", "-C", str(FIRMWARE), f"BUILD={folder}", target]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr, result.stderr
