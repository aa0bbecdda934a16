"""Fixtures for every test: the data kit, and a folder of real photos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def kit_path() -> Path:
    return Path(os.environ.get("EDGEAI_KIT", ROOT.parent / "shared" / "kit")).resolve()


@pytest.fixture(scope="session")
def kit() -> Path:
    """The data kit: real checkpoints, ST's files, COCO images. Skips where it is absent."""
    path = kit_path()
    if not (path / "SHA256SUMS").is_file():
        pytest.skip(f"no data kit at {path}: set EDGEAI_KIT to its folder")
    return path
