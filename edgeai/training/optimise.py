"""Optimiser, learning rate, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from edgeai.training.settings import NOMINAL_BATCH, TrainSettings

EMA_DECAY = 0.9999
EMA_RAMP = 2000.0  # updates; the average follows closely at first
WARMUP_MOMENTUM = 0.8
SGD_LR = 0.01
LONG_RUN = 10_000  # updates; SGD ends better on long runs, AdamW is sooner there on short ones
SHORTEST_WARMUP = 100  # updates


def resolve(settings: TrainSettings, nc: int, batches: int) -> TrainSettings:
    """`settings` with optimiser, learning rate and accumulation chosen where they were left open."""
    name = settings.optimizer
    if name == "auto":
        name = "sgd" if settings.epochs * batches > LONG_RUN else "adamw"
    accumulate = settings.accumulate or (max(1, round(NOMINAL_BATCH / settings.batch)) if name == "sgd" else 1)
    lr = settings.lr or (SGD_LR if name == "sgd" else round(0.01 / (4 + nc), 6))
    if settings.qat and not settings.lr:
        lr /= 10  # the network is trained already
    return replace(settings, optimizer=name, accumulate=accumulate, lr=lr)


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW. Only the weights of convolutions and matrices decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    if settings.optimizer == "sgd":
        decay = settings.weight_decay * settings.batch * settings.accumulate / NOMINAL_BATCH
    else:
        decay = settings.weight_decay
    pairs = ((decayed, decay), (plain, 0.0))
    groups: list[dict[str, Any]] = [{"params": list_, "weight_decay": rate} for list_, rate in pairs if list_]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(min(settings.momentum, 0.9), 0.999))


def learning_rate(settings: TrainSettings, done: int, batches: int) -> float:
    """The rate after `done` batches of an epoch of `batches`: linear warm-up, then the schedule."""
    total = settings.epochs * batches
    warmup = warmup_batches(settings, batches)
    share = done / total
    fall = (1 + math.cos(math.pi * share)) / 2 if settings.schedule == "cosine" else 1 - share
    rate = settings.lr * (fall * (1 - settings.final_lr) + settings.final_lr)
    return rate * (done + 1) / warmup if done < warmup else rate


def warmup_batches(settings: TrainSettings, batches: int) -> int:
    if not settings.warmup_epochs:
        return 0
    wanted = max(round(settings.warmup_epochs * batches), SHORTEST_WARMUP)
    return min(wanted, settings.epochs * batches // 4)


def set_rates(optimizer: torch.optim.Optimizer, settings: TrainSettings, done: int, batches: int) -> float:
    """Set rate and momentum for the next batch; returns the rate."""
    rate = learning_rate(settings, done, batches)
    warmup = warmup_batches(settings, batches)
    share = min(1.0, (done + 1) / warmup) if warmup else 1.0
    for group in optimizer.param_groups:
        group["lr"] = rate
        if "momentum" in group:
            group["momentum"] = settings.momentum - (1 - share) * max(settings.momentum - WARMUP_MOMENTUM, 0)
    return rate


class MovingAverage:
    """The exponential moving average of a network's weights and batch statistics: the network that is kept."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval()
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.updates += 1
        share = 1 - EMA_DECAY * (1 - math.exp(-self.updates / EMA_RAMP))
        mine, theirs = _floats(self.network), _floats(network)
        torch._foreach_lerp_(mine, theirs, share)


def _floats(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
