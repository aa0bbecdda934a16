"""Functions of one 8-bit number, as tables of 256 entries: what LiteRT's reference kernels answer to each input.

Tables are indexed by the input's byte, so entry 128 is the answer to -128 of an int8.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeai.firmware.blob.arithmetic import INTEGER_RANGE, quantize_multiplier, requantize, rounded
from edgeai.graph.types import Op, Tensor

RECTIFIERS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}

LEAST = -1e6  # the logarithm of what has none: the least code, whatever the scale

Function = Callable[[np.ndarray], np.ndarray]

FLOAT_FUNCTIONS: dict[str, Function] = {
    # LiteRT computes in float with the C library, whose results are the rounded exact ones
    "LOGISTIC": lambda x: np.float32(1) / (np.float32(1) + np.exp(-x.astype(np.float64)).astype(np.float32)),
    "TANH": lambda x: np.tanh(x.astype(np.float64)).astype(np.float32),
    "LOG": lambda x: np.log(x.astype(np.float64), where=x > 0, out=np.full(x.shape, LEAST)).astype(np.float32),
}


def values(tensor: Tensor) -> np.ndarray:
    """The 256 values of an 8-bit tensor in the order of their bytes."""
    return np.arange(256, dtype=np.uint8).view(tensor.dtype).astype(np.int64)


def byte_table(numbers: np.ndarray, tensor: Tensor) -> bytes:
    low, high = INTEGER_RANGE[tensor.dtype]
    limited: np.ndarray = np.clip(numbers, low, high).astype(tensor.dtype)
    return limited.tobytes()


def float_function(kind: str, source: Tensor, result: Tensor) -> bytes:
    """LOGISTIC, TANH, LOG: dequantise, compute in float32, quantise."""
    x = np.float32(source.scale) * (values(source) - source.zero_point).astype(np.float32)
    with np.errstate(over="ignore"):  # exp(x) is infinite where the answer is 0
        y = FLOAT_FUNCTIONS[kind](x) * (np.float32(1) / np.float32(result.scale))
    whole = np.where(y >= 0, np.floor(y.astype(np.float64) + 0.5), np.ceil(y.astype(np.float64) - 0.5))
    return byte_table(whole.astype(np.int64) + result.zero_point, result)


def rescaled(kind: str, source: Tensor, result: Tensor) -> bytes:
    """QUANTIZE between 8-bit types, and RELU, RELU6, ...: other scale, other zero point, real limits."""
    low, high = RECTIFIERS.get(kind, (-np.inf, np.inf))
    ratio = float(source.scale) / float(result.scale)
    if kind in RECTIFIERS:  # LiteRT divides in float there
        ratio = float(np.float32(source.scale) / np.float32(result.scale))
    multiplier, shift = quantize_multiplier(ratio)
    y = requantize(values(source) - source.zero_point, multiplier, shift) + result.zero_point
    lowest, highest = INTEGER_RANGE[result.dtype]

    def limit(value: float, free: int) -> int:
        if np.isinf(value):
            return free
        return result.zero_point + rounded(float(np.float32(value) / np.float32(result.scale)))

    return byte_table(np.clip(y, max(limit(low, lowest), lowest), min(limit(high, highest), highest)), result)


def leaky_relu(op: Op, source: Tensor, result: Tensor) -> bytes:
    ratio = float(source.scale) / float(result.scale)
    alpha = float(np.float32(source.scale) * np.float32(op.attribute("alpha")) / np.float32(result.scale))
    x = values(source) - source.zero_point
    identity = requantize(x, *quantize_multiplier(ratio))
    slope = requantize(x, *quantize_multiplier(alpha))
    return byte_table(np.where(x >= 0, identity, slope) + result.zero_point, result)


def hard_swish(source: Tensor, result: Tensor) -> bytes:
    """x * relu6(x + 3) / 6 in 16-bit fixed point, step by step as the reference kernel rounds."""
    fine_scale = np.float32(1 / 128) * np.float32(source.scale)
    out_mult, out_shift = quantize_multiplier(float(np.float32(fine_scale / np.float32(result.scale))))
    relu_scale = np.float32(3.0) / np.float32(32768.0)
    relu_mult, relu_shift = quantize_multiplier(float(np.float32(fine_scale / relu_scale)))
    out16, relu16 = _to_16_bits(out_mult), _to_16_bits(relu_mult)
    answers = []
    for x in (values(source) - source.zero_point).tolist():
        fine = x * 128
        on_output_scale = _high_mul_16(fine, out16)
        reluish = fine
        if relu_shift > 0:
            reluish = _saturate_16(reluish << (relu_shift - 1))
        reluish = _high_mul_16(reluish, relu16)
        if relu_shift > 0:
            reluish = _saturate_16(reluish << 1)
        if relu_shift < 0:
            reluish = _shift_right(reluish, -relu_shift)
        reluish = (reluish + (1 << 15)) >> 1
        product = _high_mul_truncating_16(reluish, on_output_scale)
        answers.append(_shift_right(product, -out_shift) + result.zero_point)
    return byte_table(np.asarray(answers), result)


def dequantized(source: Tensor) -> bytes:
    """DEQUANTIZE: float32 values, little-endian."""
    exact = float(source.scale) * (values(source) - source.zero_point).astype(np.float64)
    return exact.astype("<f4").tobytes()


def _saturate_16(x: int) -> int:
    return min(max(x, -32768), 32767)


def _to_16_bits(multiplier: int) -> int:
    """The upper half of a 31-bit mantissa, rounded."""
    return 32767 if multiplier >= 2**31 - (1 << 15) else (multiplier + (1 << 15)) >> 16


def _high_mul_16(a: int, b: int) -> int:
    """Rounding doubling high multiply of 16-bit numbers; the quotient is truncated."""
    if a == b == -32768:
        return 32767
    nudged = a * b + ((1 << 14) if a * b >= 0 else 1 - (1 << 14))
    return nudged >> 15 if nudged >= 0 else -((-nudged) >> 15)


def _high_mul_truncating_16(a: int, b: int) -> int:
    if a == b == -32768:
        return 32767
    product = a * b
    return product >> 15 if product >= 0 else -((-product) >> 15)


def _shift_right(x: int, exponent: int) -> int:
    """Rounding divide by a power of two, halves away from zero."""
    if exponent <= 0:
        return x << -exponent
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))
