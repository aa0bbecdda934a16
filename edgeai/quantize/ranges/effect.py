"""How much an error in every activation matters at the outputs: histograms weighted by effect.

A squared error counts the same wherever it falls; what it does to the outputs does not. The squared gradient of the
outputs with respect to a value says how much a small error there changes them. Outputs are many, so each image takes
one random combination of them with signs of +-1, whose squared gradient is in the mean the sum over all outputs
(Hutchinson's estimator). Every output counts relative to its own power, logits by their scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeai.artifacts import Contract
from edgeai.quantize.ranges.histogram import Histogram
from edgeai.simulate.program import Program

SEED = 0


def effect_histograms(
    model: Path, contract: Contract, images: Sequence[NDArray[np.float32]]
) -> dict[int, Histogram]:
    """The histogram of every activation of the float TFLite `model` over `images` [1,S,S,3], by tensor; a value counts
    by its effect. Tensors without any have none.

    Raises NotSimulatedError for operators that cannot be simulated.
    """
    torch.set_num_threads(2)
    program = Program(model.read_bytes())
    scores = {role.index for role in contract.roles if role.kind == "logits"}
    generator = torch.Generator().manual_seed(SEED)
    found: dict[int, Histogram] = {}
    for image in images:
        values = program.start(torch.from_numpy(image.copy()).requires_grad_())
        kept: dict[int, Tensor] = {}
        for node, outputs in program.walk(values):
            for index, output in zip(node.outputs, outputs, strict=True):
                if output.requires_grad:
                    output.retain_grad()
                    kept[index] = output
        outputs = [values[index] for index in program.outputs]
        read = [y.sigmoid() if place in scores else y for place, y in enumerate(outputs)]
        _combined(read, generator).backward()  # type: ignore[no-untyped-call]
        for index, value in kept.items():
            if value.grad is not None and bool(value.grad.any()):
                found.setdefault(index, Histogram()).add(value.detach().numpy(), value.grad.double().numpy() ** 2)
    return found


def _combined(outputs: list[Tensor], generator: torch.Generator) -> Tensor:
    terms = []
    for output in outputs:
        signs = torch.randint(0, 2, output.shape, generator=generator).float() * 2 - 1
        terms.append((signs * output).sum() / (output.detach().square().sum().sqrt() + 1e-12))
    return torch.stack(terms).sum()
