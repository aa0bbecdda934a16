"""The firmware as a process of this computer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from firmware_tools import Infer, make


@pytest.fixture(scope="session")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bench application as a process that speaks the protocol on standard input and output."""
    folder = tmp_path_factory.mktemp("firmware")
    make(folder, "host", "gcc")
    return folder / "host" / "edgeai-bench-host"


@pytest.fixture(scope="session")
def infer(host_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Infer:
    """Runs a blob once in the host build: the outputs, one after the other."""
    folder = tmp_path_factory.mktemp("infer")

    def run(blob: Path, inputs: list[bytes]) -> bytes:
        given, answer = folder / "in", folder / "out"
        given.write_bytes(b"".join(inputs))
        command = [host_program, "--infer", blob, given, answer]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return answer.read_bytes()

    return run
