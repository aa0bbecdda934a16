"""Makers of checkpoints: our own networks saved as Ultralytics would, and zips around any pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import checkpoints  # noqa: E402


@pytest.fixture
def save_as_ultralytics() -> Callable[[Path, dict[str, Any]], Path]:
    """Save a dictionary with our networks under the class names that checkpoints use."""
    return checkpoints.save_as_ultralytics


@pytest.fixture
def zip_pickle(tmp_path: Path) -> Callable[..., Path]:
    """A zip as torch writes it around the given data.pkl and storages."""

    def make(data: bytes, storages: dict[str, bytes] | None = None, name: str = "made.pt") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("made/data.pkl", data)
            archive.writestr("made/byteorder", b"little")
            for key, value in (storages or {}).items():
                archive.writestr(f"made/data/{key}", value)
        return path

    return make
