"""Weights and biases learned from the float network: which way every weight is rounded, judged at the outputs.

Nearest rounding, and error compensation layer by layer, look at one operator. Here the int8 program runs whole, with
every rounding in place, and its weights and biases follow the gradient of the error at its outputs; rounding passes
the gradient straight through. AdaRound (Nagel et al., Up or Down?, 2020) learns the same choice layer by layer; end to
end the weights also learn to bear the rounding of the activations between them. The float network is the teacher: no
annotations, and the calibration images are enough, because a weight moves by a step of its grid or not at all.

Nothing is added to the graph: weight codes and biases change, scales and zero points stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.quantize.improve.tune import paired
from edgeai.quantize.patch import patched
from edgeai.simulate.program import Program

BATCH = 4
WARM_UP = 10  # steps
# Adam's rates: of a weight's step, and of a bias's standard deviation. Of 1e-2, 1e-3, 5e-4 and 3e-4 the first diverges
# and the last two end alike (SQNR on train_extra, YOLOv8n-seg raw per-tensor at 256 px, 2026-11-21).
WEIGHT_RATE, BIAS_RATE = 5e-4, 5e-4
HIGHEST = 127
SEED = 0


def learn(
    quantized: bytes,
    model: bytes,
    images: Tensor,
    steps: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> bytes:
    """`quantized` with weights and biases after `steps` steps on `images` [N,S,S,3], as the network takes them; `model`
    is the float TFLite that it was made from.

    Deterministic for one number of threads. Raises NotSimulatedError for operators that cannot be simulated,
    ToolError where the two files do not belong together.
    """
    ours, theirs = Program(quantized), Program(model)
    student = _Student(ours, theirs)
    with torch.inference_mode():
        sizes = [float(out.var()) + 1e-12 for out in theirs(images[:BATCH])]
    optimizer = torch.optim.Adam(student.groups(), betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]
    order = _shuffled(len(images), steps * BATCH)
    for step in range(steps):
        part = images[order[step * BATCH : (step + 1) * BATCH]]
        with torch.no_grad():
            wanted = theirs(part)
        share = min(1.0, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        optimizer.zero_grad(set_to_none=True)
        _loss(student(part), wanted, sizes).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress(step + 1, steps)
    student.settle()
    return patched(quantized, ours)


def _loss(found: list[Tensor], wanted: list[Tensor], sizes: list[float]) -> Tensor:
    """Mean logarithm of the outputs' relative squared errors: a decibel counts the same at every output."""
    terms = [((f - w) ** 2).mean() / size for f, w, size in zip(found, wanted, sizes, strict=True)]
    return torch.stack(terms).clamp_min(1e-12).log().mean()


def _shuffled(count: int, length: int) -> Tensor:
    """`length` numbers below `count`, every number once before any comes again."""
    generator = torch.Generator().manual_seed(SEED)
    rounds = [torch.randperm(count, generator=generator) for _ in range(-(-length // count))]
    return torch.cat(rounds)[:length]


class _Student:
    """The int8 program with weights in steps of their grids, and biases, that learn."""

    def __init__(self, ours: Program, theirs: Program) -> None:
        self.ours = ours
        self.weights: dict[int, Tensor] = {}
        self.biases: dict[int, Tensor] = {}
        for step in paired(ours, theirs):
            layout = LAYOUTS.get(step.ours.kind)
            if layout is None or step.theirs is None:
                continue
            weights = step.ours.inputs[layout.weights]
            if weights not in ours.weight_scales:
                continue
            exact = theirs.constants[step.theirs.inputs[layout.weights]] / ours.weight_scales[weights]
            self.weights[weights] = _kept(exact, ours.constants[weights] / ours.weight_scales[weights])
            if len(step.ours.inputs) > layout.bias and (bias := step.ours.inputs[layout.bias]) >= 0:
                self.biases[bias] = ours.constants[bias].clone().requires_grad_()

    def groups(self) -> list[dict[str, object]]:
        """Parameters and rates for an optimiser."""
        biases: list[dict[str, object]] = [
            {"params": [bias], "lr": BIAS_RATE * (float(bias.detach().std(unbiased=False)) + 1e-3)}
            for bias in self.biases.values()
        ]
        return [{"params": list(self.weights.values()), "lr": WEIGHT_RATE}, *biases]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The outputs for a batch, with gradients."""
        rounded = {i: (w + (_codes(w) - w).detach()) * self.ours.weight_scales[i] for i, w in self.weights.items()}
        before = self.ours.constants
        self.ours.constants = {**before, **rounded, **self.biases}
        try:
            return self.ours(images)
        finally:
            self.ours.constants = before

    def settle(self) -> None:
        """Write what was learned into the program."""
        for index, weight in self.weights.items():
            self.ours.constants[index] = _codes(weight.detach()) * self.ours.weight_scales[index]
        for index, bias in self.biases.items():
            self.ours.constants[index] = bias.detach()


def _kept(exact: Tensor, codes: Tensor) -> Tensor:
    """`exact` weights, in steps, where they round to the file's `codes`, else those codes: what was decided stays."""
    codes = codes.round()
    return torch.where(_codes(exact) == codes, exact, codes).requires_grad_()


def _codes(weights: Tensor) -> Tensor:
    return weights.round().clamp(-HIGHEST, HIGHEST)
