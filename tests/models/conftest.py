"""Makers of checkpoints: our own networks saved as Ultralytics would, and zips around any pickle."""

from __future__ import annotations

import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeai.models import layers, network  # noqa: E402

# our class -> what a checkpoint calls it
DISGUISE: dict[type, str] = {
    network.Network: "ultralytics.nn.tasks.SegmentationModel",
    layers.ConvBnAct: "ultralytics.nn.modules.conv.Conv",
    layers.Concat: "ultralytics.nn.modules.conv.Concat",
    layers.Bottleneck: "ultralytics.nn.modules.block.Bottleneck",
    layers.C2f: "ultralytics.nn.modules.block.C2f",
    layers.C3: "ultralytics.nn.modules.block.C3",
    layers.SPPF: "ultralytics.nn.modules.block.SPPF",
    layers.Proto: "ultralytics.nn.modules.block.Proto",
    layers.Classify: "ultralytics.nn.modules.head.Classify",
    layers.AnchorFreeHead: "ultralytics.nn.modules.head.Segment",
    layers.AnchorHead: "models.yolo.Segment",
}


@pytest.fixture
def save_as_ultralytics(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, dict[str, Any]], Path]:
    """Save a dictionary with our networks under the class names that checkpoints use."""

    def save(path: Path, content: dict[str, Any]) -> Path:
        honest = {kind: (kind.__module__, kind.__qualname__) for kind in DISGUISE}
        with monkeypatch.context() as patch:
            for kind, origin in DISGUISE.items():
                module, _, name = origin.rpartition(".")
                for depth in range(1, module.count(".") + 2):
                    parent = ".".join(module.split(".")[:depth])
                    if parent not in sys.modules:
                        patch.setitem(sys.modules, parent, types.ModuleType(parent))
                patch.setattr(sys.modules[module], name, kind, raising=False)
                kind.__module__, kind.__qualname__ = module, name
            try:
                torch.save(content, path)
            finally:
                for kind, (module, name) in honest.items():
                    kind.__module__, kind.__qualname__ = module, name
        return path

    return save


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
