"""Nearest-neighbour upsampling as a transposed convolution with fixed weights, for accelerators that cannot resize.

ST's compiler makes DepthToSpace of a resize and runs it in software on the N6, and the concatenation behind it, too
(ST's report of YOLOv8n-pose, Core 2.1.0). A 2x2 transposed convolution of stride 2 whose taps are all the identity
computes the same; its weights 0 and 1 are exact in int8, so nothing is lost, and it brings its output to the scale of
the concatenation behind it, which takes a QUANTIZE after a resize. It costs 4 * channels^2 bytes of weights and as many
multiplications for every position of its input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def with_transposed_upsampling(network: nn.Module) -> nn.Module:
    """`network` with every nearest-neighbour upsampling by two replaced, in place."""
    found = [(name, module) for name, module in network.named_modules() if _doubles(module)]
    channels = _channels(network, [module for _, module in found])
    for (name, _), count in zip(found, channels, strict=True):
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, _doubling(count))
    return network


def _doubles(module: nn.Module) -> bool:
    factors = (2, 2.0, (2, 2), (2.0, 2.0))
    return isinstance(module, nn.Upsample) and module.mode == "nearest" and module.scale_factor in factors


def _channels(network: nn.Module, modules: list[nn.Module]) -> list[int]:
    """What each module gets, from one run of the network."""
    seen: dict[nn.Module, int] = {}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[module] = inputs[0].shape[1]

    hooks = [module.register_forward_pre_hook(look) for module in modules]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, 64, 64))
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[module] for module in modules]


def _doubling(channels: int) -> nn.ConvTranspose2d:
    convolution = nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False).requires_grad_(False)
    convolution.weight.copy_(torch.eye(channels)[:, :, None, None].expand(-1, -1, 2, 2))
    return convolution
