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


def dressed(network: network.Network, nc: int = 3) -> network.Network:
    """One of our networks with the attributes that the modules of a checkpoint have besides weights."""
    for index, (layer, sources) in enumerate(zip(network.model, network.sources, strict=True)):
        relative = [-1 if source == index - 1 else source for source in sources]
        layer.i, layer.f = index, relative if len(relative) > 1 else relative[0]
    for module in network.modules():
        if isinstance(module, layers.Bottleneck):
            module.add = module.shortcut
        elif isinstance(module, layers.SPPF):
            module.n, module.add = 3, False
        elif isinstance(module, layers.Concat):
            module.d = 1
        elif isinstance(module, layers.AnchorFreeHead):
            module.nc, module.nl, module.reg_max, module.stride = nc, 3, 16, torch.tensor([8.0, 16.0, 32.0])
            module.dfl = Dfl()
            if module.has_masks:
                module.nm = 32
    network.names = {i: f"thing{i}" for i in range(nc)}
    return network


class Dfl(torch.nn.Module):
    """The constant kernel of the decode as checkpoints hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(16, 1, 1, bias=False)
        self.conv.weight.data = torch.arange(16.0).view(1, 16, 1, 1)


DISGUISE[Dfl] = "ultralytics.nn.modules.block.DFL"
