"""Rounding that training can see: int8 grids in the forward pass, straight-through gradients in the backward pass.

Activations: learned step size as in LSQ+ (Bhalgat et al. 2020), with both ends of the range learned. Weights: symmetric
-127..127 on the largest magnitude, one scale for the tensor or for each output channel, as TFLite has them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 255
WEIGHT_LEVELS = 127
SIGMOID_STEP = 1 / 256  # TFLite's fixed scale for the output of LOGISTIC
OFFSET_UNIT = 16.0  # the low end is learned in units of this many steps, so that one rate suits all parameters
SMALLEST_RANGE = 1e-6


class FakeQuantizer(nn.Module):
    """Rounds a tensor to an int8 grid of learned range. While `histogram` is set it only looks.

    The range is low = base + 16 unit offset and step = unit exp(growth), with base and unit from calibration; zero is
    always on the grid.
    """

    base: Tensor
    unit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.growth = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.register_buffer("base", torch.zeros(()))
        self.register_buffer("unit", torch.ones(()))
        self.histogram: Any = None

    def set_range(self, low: float, high: float) -> None:
        low, high = min(low, 0.0), max(high, 0.0)
        self.base.fill_(low)
        self.unit.fill_(max(high - low, SMALLEST_RANGE) / LEVELS)
        self.offset.data.zero_()
        self.growth.data.zero_()

    def range(self) -> tuple[float, float]:
        """The range as it stands, zero within it."""
        low, step = self._grid()
        zero = round(-float(low) / float(step))
        return -zero * float(step), (LEVELS - zero) * float(step)

    def _grid(self) -> tuple[Tensor, Tensor]:
        step = self.unit * self.growth.exp()
        low = self.base + OFFSET_UNIT * self.unit * self.offset
        return torch.minimum(torch.maximum(low, -LEVELS * step), torch.zeros_like(low)), step

    def forward(self, x: Tensor) -> Tensor:
        if self.histogram is not None:
            self.histogram.add(x.detach().float().cpu().numpy())
            return x
        low, step = self._grid()
        result: Tensor = _Round.apply(x, low, step)  # type: ignore[no-untyped-call]
        return result


class _Round(torch.autograd.Function):
    """To the grid and back. Inside the range x passes straight through and the step learns from the rounding error;
    what is clipped moves the ends."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, step: Tensor) -> Tensor:
        zero = torch.round(-low / step)
        y = torch.fake_quantize_per_tensor_affine(x, step, zero.to(torch.int32), 0, LEVELS)
        ctx.save_for_backward(x, y, -zero * step, step)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, low, step = ctx.saved_tensors
        (gradient,) = gradients
        above, below = x > low + LEVELS * step, x < low
        passed = gradient.masked_fill(above | below, 0)
        scale = 1 / math.sqrt(x.numel() * LEVELS)
        lost_above, lost_below = (gradient * above).sum(), (gradient * below).sum()
        step_gradient = (passed * (y - x)).sum() / step + LEVELS * lost_above
        return passed, (lost_above + lost_below) * scale, step_gradient * scale


def quantize_weight(weight: Tensor, per_channel: bool, axis: int = 0) -> Tensor:
    """`weight` on its int8 grid; the gradient passes straight through. `axis` is that of the output channels."""
    with torch.no_grad():
        others = [dim for dim in range(weight.ndim) if dim != axis]
        largest = weight.abs().amax(others, keepdim=True) if per_channel else weight.abs().amax()
        step = largest.clamp(min=1e-12) / WEIGHT_LEVELS
        rounded = (weight / step).round_().clamp_(-WEIGHT_LEVELS, WEIGHT_LEVELS) * step
    return weight + (rounded - weight).detach()


def quantized_sigmoid(x: Tensor) -> Tensor:
    result: Tensor = torch.fake_quantize_per_tensor_affine(x.sigmoid(), SIGMOID_STEP, 0, 0, LEVELS)
    return result
