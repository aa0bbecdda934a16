"""Checkpoints as Ultralytics would save them, from our own networks."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import torch

from edgeai.models import layers, network

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


def save_as_ultralytics(path: Path, content: dict[str, Any]) -> Path:
    """Save a dictionary with our networks under the class names that checkpoints use."""
    honest = {kind: (kind.__module__, kind.__qualname__) for kind in DISGUISE}
    added: list[str] = []
    try:
        for kind, origin in DISGUISE.items():
            module, _, name = origin.rpartition(".")
            for depth in range(1, module.count(".") + 2):
                parent = ".".join(module.split(".")[:depth])
                if parent not in sys.modules:
                    sys.modules[parent] = types.ModuleType(parent)
                    added.append(parent)
            setattr(sys.modules[module], name, kind)
            kind.__module__, kind.__qualname__ = module, name
        torch.save(content, path)
    finally:
        for kind, (module, name) in honest.items():
            kind.__module__, kind.__qualname__ = module, name
        for name in added:
            del sys.modules[name]
    return path
