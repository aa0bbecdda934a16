"""Weights rounded one after the other, each rounding error made good by the weights that are not rounded yet.

Nearest rounding treats every weight alone, although their errors meet in one sum. Here the columns of a convolution's
weight matrix are rounded in order, and the error of each is spread over the following ones so that the output on real
inputs changes least (Frantar et al., Optimal Brain Compression, 2022; GPTQ, 2022, algorithm 1). What counts is the
covariance of the inputs: a change of the mean is taken back by the bias.

It takes many places: with fewer than a matrix has columns, the deep layers learn their few images by heart. So the
covariances of all layers are gathered in one pass of the int8 network over the images. Tuned ranges hardly change them:
what one pass finds serves every tuning of the file.

Worth it where one scale serves a whole tensor. Per channel, the rounding of the activations is what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeai.quantize.improve.tune import paired
from edgeai.quantize.patch import patched
from edgeai.simulate.program import Node, Program, Values, unfolded

DAMPING = 0.01  # of the mean diagonal of the covariance, as in GPTQ
HIGHEST = 127
BLOCK = 128
PLACES = 512  # of an image


@dataclass(frozen=True, slots=True)
class Compensation:
    """Weights, by tensor, and what is added to biases."""

    weights: Values
    shifts: Values


def compensation(
    quantized: bytes,
    model: bytes,
    images: Tensor,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Compensation:
    """The weights of the convolutions and matrix products of `quantized` rounded anew; `model` is the float TFLite that
    it was made from.

    `images` [N,S,S,3] as the network takes them. Scales stay; grouped convolutions stay as they are. Deterministic for
    one number of threads. Raises NotSimulatedError for operators that cannot be simulated, ToolError where the two
    files do not belong together.
    """
    ours, theirs = Program(quantized), Program(model)
    found = Compensation({}, {})
    with torch.inference_mode():
        known = _inputs(ours, images, progress)
        for step in paired(ours, theirs):
            read = _read(step.ours, ours)
            if step.theirs is not None and read in known:
                _round(ours, step.ours, theirs.constants[step.theirs.inputs[1]], known[read], found)
    return found


def compensated(quantized: bytes, found: Compensation) -> bytes:
    """`quantized`, the file that `found` was made for or a tuned one, with those weights."""
    program = Program(quantized)
    program.constants.update(found.weights)
    for bias, shift in found.shifts.items():
        program.constants[bias] = program.constants[bias] + shift
    return patched(quantized, program)


def rounded_codes(weights: Tensor, scale: Tensor, covariance: Tensor) -> Tensor:
    """Codes -127..127 [out, d] of `weights` [out, d] on the grids `scale` [out, 1], for inputs of this `covariance`
    [d, d].

    Minimises the mean squared error of the products greedily, column by column. Deterministic.
    """
    inverse = _inverse_root(covariance)
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


def _inverse_root(covariance: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped covariance [d, d], in double precision."""
    root = covariance.to(torch.float64, copy=True)
    root.diagonal().add_(DAMPING * float(root.diagonal().mean()) + 1e-12)
    root = torch.linalg.cholesky(root)
    root = torch.cholesky_inverse(root)  # one name: of the matrices of a wide layer, 42 MB each, two live at a time
    factor: Tensor = torch.linalg.cholesky(root, upper=True)
    return factor


@dataclass(slots=True)
class _Moments:
    """Sums over the rows that the weights of one operator multiply: of 1, of x [d] and of x xT [d, d]."""

    count: int
    total: Tensor
    squares: Tensor

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        return self.squares / self.count - torch.outer(self.mean, self.mean)


@dataclass(frozen=True, slots=True)
class _Read:
    """What an operator's weights multiply. Operators that read the same share their moments."""

    tensor: int
    kernel: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: int = 0


def _read(node: Node, program: Program) -> _Read | None:
    """None for an operator that cannot be rounded anew: neither convolution nor matrix product, or not quantised."""
    if node.kind not in ("CONV_2D", "FULLY_CONNECTED") or node.inputs[1] not in program.weight_scales:
        return None
    kernel, options = program.shapes[node.inputs[1]][1:], node.options
    if node.kind == "FULLY_CONNECTED":
        return _Read(node.inputs[0], kernel)
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    return _Read(node.inputs[0], kernel, stride, dilation, options.padding)


def _inputs(program: Program, images: Tensor, progress: Callable[[int, int], object]) -> dict[_Read, _Moments]:
    """The moments of what reaches the operators that can be rounded anew."""
    found: dict[_Read, _Moments] = {}
    for number in range(len(images)):
        values = program.start(images[number : number + 1])
        looked_at: set[_Read] = set()
        for place, node in enumerate(program.nodes):
            read = _read(node, program)
            rows = None if read is None or read in looked_at else _rows(node, program, values)
            if read is not None and rows is not None:
                looked_at.add(read)
                known = found.setdefault(read, _Moments(0, torch.zeros(()), torch.zeros(())))
                known.count += len(rows)
                known.total = known.total + rows.sum(dim=0)
                known.squares = known.squares + rows.T @ rows
            outputs = program.rounded(node, program.compute(node, values))
            values.update(zip(node.outputs, outputs, strict=True))
            program.drop(values, place)
        progress(number + 1, len(images))
    return found


def _rows(node: Node, program: Program, values: Values) -> Tensor | None:
    """What the weights of a convolution or matrix product multiply [n, d], from at most PLACES places; None for a
    grouped convolution."""
    weights = program.constants[node.inputs[1]]
    if node.kind == "FULLY_CONNECTED":
        rows = values[node.inputs[0]].reshape(-1, weights.shape[1])
    else:
        rows = unfolded(values[node.inputs[0]], weights, node.options)
        if rows.shape[1] != weights[0].numel():
            return None
    return rows[:: -(-len(rows) // PLACES)]


def _round(program: Program, node: Node, exact: Tensor, known: _Moments, found: Compensation) -> None:
    """Round the weights of one operator for its inputs; its bias takes back what that does to their mean."""
    weights, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else -1
    scale = program.weight_scales[weights].reshape(-1, 1)
    scale = scale.expand(len(exact), 1)
    codes = rounded_codes(_matrix(exact), scale, known.covariance)
    real = codes * scale
    if bias >= 0:
        found.shifts[bias] = (_matrix(program.constants[weights]) - real) @ known.mean
    if exact.dim() == 4:
        out, height, width, depth = exact.shape
        real = real.reshape(out, depth, height, width).permute(0, 2, 3, 1).contiguous()
    found.weights[weights] = real


def _matrix(weights: Tensor) -> Tensor:
    """[out, h, w, in] as rows [out, in * h * w], in the order of `unfolded`; a matrix as it is."""
    return weights.permute(0, 3, 1, 2).reshape(weights.shape[0], -1) if weights.dim() == 4 else weights
