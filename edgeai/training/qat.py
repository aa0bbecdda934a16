"""Quantisation-aware fine-tuning: the network computes as its int8 file will, and learns under it.

What is rounded is what TFLite rounds: weights with their batch norm folded in, the output of every convolution before
its activation (unless that is a ReLU), the sigmoid (fixed 1/256), the product, residual sums, concatenations. Batch
statistics stand still.

What is carried to the int8 file, and how:

* the weights: `snapped` writes them on their int8 grid, so that the quantiser, which takes the same symmetric scale
  from the same largest magnitude, rounds nothing more and bias correction finds nothing to correct;
* the ranges: `learned_ranges`, keyed by the name of the module that makes the tensor, are written beside the weights
  and put onto the tensors of the float TFLite by `edgeai.training.carry`, which finds them by their values.
  Without that step the observer's ranges are used, on a network that was trained to be rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeai.models.layers import C3, SPPF, Bottleneck, C2f, Concat, ConvBnAct
from edgeai.quantize.ranges.histogram import Histogram, least_squares_range
from edgeai.training.fakequant import FakeQuantizer, quantize_weight, quantized_sigmoid
from edgeai.training.learned import LearnedRange

SMALLEST_GAIN = 1e-12
FUSED = (nn.ReLU, nn.ReLU6, nn.Identity)  # part of the convolution in TFLite


# --- layers that round --------------------------------------------------------------------------
# Each takes the place of a layer by becoming its class, so that names, weights and checkpoints stay what they are.


class QatConvBnAct(ConvBnAct):
    """Rounds what TFLite rounds: a ReLU is part of the convolution, whose output before it is never stored."""

    per_channel: bool
    round_conv: FakeQuantizer
    round_out: FakeQuantizer

    def folded(self) -> tuple[Tensor, Tensor]:
        """Gain [c_out] and bias of the batch norm, from statistics that stand still."""
        assert self.bn.running_mean is not None and self.bn.running_var is not None
        gain = self.bn.weight * (self.bn.running_var + self.bn.eps).rsqrt()
        return gain, self.bn.bias - self.bn.running_mean * gain

    def rounded_weight(self) -> Tensor:
        gain, _ = self.folded()
        return quantize_weight(self.conv.weight * gain[:, None, None, None], self.per_channel)

    def forward(self, x: Tensor) -> Tensor:
        _, bias = self.folded()
        conv = functional.conv2d(x, self.rounded_weight(), bias, self.conv.stride, self.conv.padding)
        if isinstance(self.act, FUSED):
            return cast(Tensor, self.round_out(self.act(conv)))
        conv = self.round_conv(conv)
        if isinstance(self.act, nn.SiLU):
            return cast(Tensor, self.round_out(conv * quantized_sigmoid(conv)))
        return cast(Tensor, self.round_out(self.act(conv.clone())))  # clone: activations work in place


class QatConv2d(nn.Conv2d):
    per_channel: bool
    round_out: FakeQuantizer

    def forward(self, input: Tensor) -> Tensor:
        weight = quantize_weight(self.weight, self.per_channel)
        out: Tensor = self.round_out(functional.conv2d(input, weight, self.bias, self.stride, self.padding))
        return out


class QatConvTranspose2d(nn.ConvTranspose2d):
    per_channel: bool
    round_out: FakeQuantizer

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        weight = quantize_weight(self.weight, self.per_channel, axis=1)
        out: Tensor = self.round_out(functional.conv_transpose2d(input, weight, self.bias, cast(int, self.stride)))
        return out


class QatLinear(nn.Linear):
    per_channel: bool
    round_out: FakeQuantizer

    def forward(self, input: Tensor) -> Tensor:
        weight = quantize_weight(self.weight, self.per_channel)
        return cast(Tensor, self.round_out(functional.linear(input, weight, self.bias)))


class QatBottleneck(Bottleneck):
    round_out: FakeQuantizer

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.round_out(super().forward(x)))


class QatConcat(Concat):
    round_out: FakeQuantizer

    def forward(self, *parts: Tensor) -> Tensor:
        return cast(Tensor, self.round_out(super().forward(*parts)))


class QatC2f(C2f):
    round_join: FakeQuantizer

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = list(self.cv1(x).chunk(2, 1))
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        return cast(Tensor, self.cv2(self.round_join(torch.cat(parts, 1))))


class QatC3(C3):
    round_join: FakeQuantizer

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.cv3(self.round_join(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))))


class QatSPPF(SPPF):
    round_join: FakeQuantizer

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return cast(Tensor, self.cv2(self.round_join(torch.cat(parts, 1))))


_SWAPS: dict[type[nn.Module], tuple[type[nn.Module], tuple[str, ...]]] = {
    ConvBnAct: (QatConvBnAct, ("round_conv", "round_out")),
    nn.Conv2d: (QatConv2d, ("round_out",)),
    nn.ConvTranspose2d: (QatConvTranspose2d, ("round_out",)),
    nn.Linear: (QatLinear, ("round_out",)),
    Bottleneck: (QatBottleneck, ("round_out",)),
    Concat: (QatConcat, ("round_out",)),
    C2f: (QatC2f, ("round_join",)),
    C3: (QatC3, ("round_join",)),
    SPPF: (QatSPPF, ("round_join",)),
}


# --- in and out ---------------------------------------------------------------------------------


def add_fake_quantization(network: nn.Module, per_channel: bool) -> None:
    """Make every layer of `network` round, in place. Ranges are unset until `calibrate`."""
    inner = {id(module.conv) for module in network.modules() if isinstance(module, ConvBnAct)}
    for module in list(network.modules()):
        swap = _SWAPS.get(type(module))
        if swap is None or id(module) in inner or (isinstance(module, Bottleneck) and not module.shortcut):
            continue
        kind, quantizers = swap
        if isinstance(module, ConvBnAct) and isinstance(module.act, FUSED):
            quantizers = ("round_out",)
        module.__class__ = kind
        for name in quantizers:
            setattr(module, name, FakeQuantizer().to(next(network.parameters()).device))
        if isinstance(module, QatConvBnAct | QatConv2d | QatConvTranspose2d | QatLinear):
            module.per_channel = per_channel


@torch.no_grad()
def calibrate(network: nn.Module, images: Iterable[Tensor]) -> None:
    """First ranges from `images` [B, 3, S, S], chosen as the calibration of `edgeai quantize` chooses them: least
    squares within the network, the extremes for outputs, without logits of scores below every threshold."""
    from edgeai.quantize.ranges.observe import LOWEST_LOGIT

    quantizers = {name: module for name, module in network.named_modules() if isinstance(module, FakeQuantizer)}
    for quantizer in quantizers.values():
        quantizer.histogram = Histogram()
    mode = network.training
    network.eval()
    for batch in images:
        network(batch)
    network.train(mode)
    for name, quantizer in quantizers.items():
        histogram = quantizer.histogram
        quantizer.histogram = None
        owner = network.get_submodule(name.rpartition(".")[0])
        output = isinstance(owner, QatConv2d | QatLinear)
        low, high = (histogram.low, histogram.high) if output else least_squares_range(histogram)
        quantizer.set_range(max(low, LOWEST_LOGIT) if output and ".cv3." in name else low, high)


def learned_ranges(network: nn.Module) -> tuple[LearnedRange, ...]:
    """The ranges of all rounded activations, by the name of the module that makes them."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, FakeQuantizer):
            owner, _, kind = name.rpartition(".")
            place = {"round_conv": f"{owner}.bn", "round_out": owner, "round_join": f"{owner}.join"}[kind]
            found.append(LearnedRange(place, *module.range()))
    return tuple(found)


@torch.no_grad()
def snapped(network: nn.Module) -> dict[str, Tensor]:
    """The weights of the plain network, on their int8 grids."""
    state = {
        name: tensor.detach().clone()
        for name, tensor in network.state_dict().items()
        if not any(part.startswith("round_") for part in name.split("."))
    }
    for name, module in network.named_modules():
        if isinstance(module, QatConvBnAct):
            gain, _ = module.folded()
            gain = gain[:, None, None, None]
            dead = gain.abs() < SMALLEST_GAIN  # nothing comes through, and nothing can be divided by
            plain = module.rounded_weight() / torch.where(dead, torch.ones_like(gain), gain)
            state[f"{name}.conv.weight"] = torch.where(dead, module.conv.weight, plain)
        elif isinstance(module, QatConv2d | QatConvTranspose2d | QatLinear):
            axis = 1 if isinstance(module, QatConvTranspose2d) else 0
            state[f"{name}.weight"] = quantize_weight(module.weight, module.per_channel, axis).detach()
    return state
