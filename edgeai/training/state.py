"""The state of an unfinished run, so that a killed one goes on to the same weights.

One safetensors file: tensors of network, average and optimiser, and a JSON text in its metadata. Nothing in it is
ever executed, and it is replaced in one step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeai.artifacts import decode
from edgeai.errors import InputError, need
from edgeai.files import write_bytes
from edgeai.training.optimise import MovingAverage
from edgeai.training.record import EpochRecord

KEY = "edgeai.training"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stands: `epoch` epochs are done. `fingerprint` tells runs apart. `best` is -1 before the first
    validation."""

    fingerprint: str
    epoch: int
    ema_updates: int
    best: float
    best_epoch: int
    loss_scale: float
    history: tuple[EpochRecord, ...]


def state_path(out: Path) -> Path:
    return out.with_suffix(".state.safetensors")


def save_state(
    path: Path, point: Point, network: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state beside and rename."""
    try:
        from safetensors.torch import save
    except ImportError:
        raise need("safetensors", "train") from None
    import dataclasses

    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.network.state_dict().items()}
    for number, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, metadata={KEY: json.dumps(dataclasses.asdict(point))}))


def read_point(path: Path) -> Point:
    """Where the run of a state file stands. Raises InputError where the file is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY, "")
        return decode(Point, json.loads(text), path.name)
    except (SafetensorError, ValueError, OSError):
        raise InputError(f"{path.name} is not the state of a training run", "delete it to start over") from None


def load_state(path: Path, network: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer) -> Point:
    """Put the state back. Raises InputError where it belongs to another network."""
    from safetensors.torch import load_file

    point = read_point(path)
    tensors = load_file(path)
    try:
        network.load_state_dict(_part(tensors, "model."))
        average.network.load_state_dict(_part(tensors, "average."))
        optimizer.load_state_dict(_optimizer_state(optimizer, _part(tensors, "optimizer.")))
    except (RuntimeError, KeyError, ValueError):
        raise InputError(f"{path.name} belongs to another network", "delete it to start over") from None
    average.updates = point.ema_updates
    return point


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, field = name.partition(".")
        state.setdefault(int(number), {})[field] = tensor
    return {**optimizer.state_dict(), "state": state}
