"""Fixed-point numbers as LiteRT's kernels use them, so that a blob holds exactly what they would compute.

A real multiplier becomes a 31-bit mantissa and an exponent (`QuantizeMultiplier` of TensorFlow Lite's
quantization_util); activation ranges become limits of the integers (`CalculateActivationRangeQuantized`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeai.graph.types import Tensor

INTEGER_RANGE = {"int8": (-128, 127), "uint8": (0, 255)}


def quantize_multiplier(real: float) -> tuple[int, int]:
    """`real` as (mantissa, shift): real = mantissa / 2**31 * 2**shift."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = rounded(fraction * 2**31)
    if mantissa == 2**31:
        mantissa //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return 2**31 - 1, 30
    return mantissa, shift


def rounded(value: float) -> int:
    """To the nearest, halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)


def requantize(x: Any, multiplier: int, shift: int) -> np.ndarray:
    """gemmlowp's MultiplyByQuantizedMultiplier on int64 arrays that hold 32-bit numbers."""
    product = (np.asarray(x, np.int64) << max(shift, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))  # the division truncates
    right = max(-shift, 0)
    mask = (1 << right) - 1
    remainder = high & mask
    return (high >> right) + (remainder > (mask >> 1) + (high < 0))


def activation_range(tensor: Tensor, activation: str) -> tuple[int, int]:
    """Limits of the output `tensor` under a fused activation function."""
    low, high = INTEGER_RANGE[tensor.dtype]
    scale, zero = np.float32(tensor.scale), tensor.zero_point

    def at(value: float) -> int:
        return zero + rounded(float(np.float32(value) / scale))

    if activation == "relu":
        return max(low, at(0)), high
    if activation == "relu6":
        return max(low, at(0)), min(high, at(6))
    if activation == "relu_n1_to_1":
        return max(low, at(-1)), min(high, at(1))
    return low, high
