"""One process or several: what torchrun's environment says, and what the ranks must agree on."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import nn

from edgeai.errors import InputError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among `world`; `local` on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        return self.rank == 0


def join() -> Ranks:
    """Join the group that torchrun started; a group of one without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    import torch.distributed as dist

    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return ranks


def leave() -> None:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def pick_device(name: str, ranks: Ranks) -> torch.device:
    """`auto` is the rank's GPU where there is one. Raises InputError for a device that is absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"{name!r} is no device", "use auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise InputError(f"this machine has no {name}", "use --device cpu")
        device = torch.device("cuda", ranks.local if ranks.world > 1 else device.index or 0)
        torch.cuda.set_device(device)
    return device


def wrap(network: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """The network with gradients averaged over the ranks; on GPUs with batch statistics over all ranks as well."""
    if ranks.world == 1:
        return network
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def share_statistics(network: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """Batch norms over all ranks; torch has it for GPUs only."""
    if ranks.world == 1 or device.type != "cuda":
        return network
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted


def agree(value: float, device: torch.device, ranks: Ranks) -> float:
    """Rank 0's value, on every rank."""
    if ranks.world == 1:
        return value
    import torch.distributed as dist

    tensor = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return float(tensor)


def mean_over_ranks(tensor: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    if ranks.world == 1:
        return tensor
    import torch.distributed as dist

    dist.all_reduce(tensor)
    return tensor / ranks.world
