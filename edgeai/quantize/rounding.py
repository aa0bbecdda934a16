"""Weights rounded one after the other, each rounding error made good by the weights that are not rounded yet.

Nearest rounding treats every weight alone, although their errors meet in one sum. Here the columns of a convolution's
weight matrix are rounded in order, and the error of each is spread over the following ones so that the output on real
inputs changes least (Frantar et al., Optimal Brain Compression, 2022; GPTQ, 2022, algorithm 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean diagonal of the Hessian, as in GPTQ
CLIPPING = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the largest weight: candidates for the scale of a whole tensor
HIGHEST = 127
BLOCK = 128


def least_squares_scale(weights: Tensor) -> float:
    """The scale of one int8 grid for all of `weights` that has the least squared error; clipping is allowed."""
    largest = float(weights.abs().max()) / HIGHEST
    if not largest:
        return 1.0

    def error(scale: float) -> float:
        codes = (weights / scale).round().clamp(-HIGHEST, HIGHEST)
        return float(((codes * scale - weights) ** 2).sum())

    return min((share * largest for share in CLIPPING), key=error)


def rounded_codes(weights: Tensor, scale: Tensor, inputs: Tensor) -> Tensor:
    """Codes -127..127 [out, d] of `weights` [out, d] on the grids `scale` [out, 1], for the rows `inputs` [n, d].

    Minimises the squared error of `inputs @ weights.T` greedily, column by column. Deterministic.
    """
    hessian = inputs.double().T @ inputs.double()
    diagonal = hessian.diagonal()
    diagonal += DAMPING * float(diagonal.mean()) + 1e-12
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    left = weights.double().clone()
    steps = scale.double()[:, 0]
    codes = torch.zeros_like(left)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = torch.zeros(left.shape[0], stop - start, dtype=torch.float64)
        for column in range(start, stop):
            codes[:, column] = (left[:, column] / steps).round().clamp(-HIGHEST, HIGHEST)
            error = (left[:, column] - codes[:, column] * steps) / inverse[column, column]
            left[:, column:stop] -= error[:, None] * inverse[column, column:stop]
            errors[:, column - start] = error
        left[:, stop:] -= errors @ inverse[start:stop, stop:]
    return codes.float()

