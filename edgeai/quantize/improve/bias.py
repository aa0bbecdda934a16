"""Bias correction: what rounding the weights does to the mean of a convolution's output, taken back by its bias.

Rounded weights W' instead of W shift the mean of output channel c by sum((W' - W)_c * E[x]), where E[x] is the mean of
the input channel over the calibration set (Nagel et al., Data-Free Quantization, 2019, section 4.2). The bias is int32
with a step far below the activations' step, so the shift can be undone exactly and at no cost at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import ChannelMean
from edgeai.errors import ToolError

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a weighted operator keeps its operands, and the axes of its weights."""

    data: int
    weights: int
    bias: int
    output_axis: int
    input_axis: int


# Operand order and weight layout as in TensorFlow Lite's schema: CONV_2D and TRANSPOSE_CONV [out,h,w,in],
# DEPTHWISE_CONV_2D [1,h,w,channels], FULLY_CONNECTED [out,in].
LAYOUTS = {
    "CONV_2D": _Layout(0, 1, 2, 0, 3),
    "DEPTHWISE_CONV_2D": _Layout(0, 1, 2, 3, 3),
    "TRANSPOSE_CONV": _Layout(2, 1, 3, 0, 3),
    "FULLY_CONNECTED": _Layout(0, 1, 2, 0, 1),
}


def correct_biases(quantized: schema.ModelT, model: schema.ModelT, means: Sequence[ChannelMean]) -> int:
    """Shift the int32 biases of `quantized` in place; returns how many operators were corrected.

    `model` is the float TFLite it was made from and `means` the means of its activations per channel. Operators are
    paired in order: the quantiser keeps it. Raises ToolError where they do not pair.
    """
    mean_of = {entry.tensor: np.array(entry.means) for entry in means}
    pairs = list(zip(_weighted(quantized), _weighted(model), strict=False))
    if len(pairs) != len(_weighted(model)):
        raise ToolError("the quantiser changed the number of weighted operators", "run without bias correction")
    corrected = 0
    for (kind, ours), (other, theirs) in pairs:
        layout = LAYOUTS[kind]
        inputs = mean_of.get(int(theirs.inputs[layout.data]))
        if kind != other:
            raise ToolError(f"the quantiser turned {other} into {kind}", "run without bias correction")
        if inputs is None or len(ours.inputs) <= layout.bias or ours.inputs[layout.bias] < 0:
            continue
        corrected += _correct(quantized, model, layout, ours, theirs, inputs, kind == "DEPTHWISE_CONV_2D")
    return corrected


def _correct(
    quantized: schema.ModelT, model: schema.ModelT, layout: _Layout, ours: Any, theirs: Any, inputs: Floats, deep: bool
) -> bool:
    """Correct one operator; False where its weights are not int8 constants."""
    coded = _tensor(quantized, ours.inputs[layout.weights])
    exact = _constant(model, theirs.inputs[layout.weights], np.float32)
    codes = _constant(quantized, ours.inputs[layout.weights], np.int8)
    bias = _constant(quantized, ours.inputs[layout.bias], np.int32)
    if exact is None or codes is None or bias is None or codes.shape != exact.shape:
        return False
    error = codes * _spread(np.asarray(coded.quantization.scale, np.float64), layout.output_axis, codes.ndim) - exact
    if deep:
        shift = error.sum(axis=(0, 1, 2)) * np.repeat(inputs, error.shape[3] // len(inputs))
    else:
        taps = tuple(a for a in range(error.ndim) if a not in (layout.output_axis, layout.input_axis))
        shift = _grouped_product(error.sum(axis=taps), inputs)
    if layout.weights == 1 and layout.data == 2:
        shift = shift / _overlap(theirs)
    step = np.asarray(_tensor(quantized, ours.inputs[layout.bias]).quantization.scale, np.float64)
    moved = (bias - np.round(shift / step)).clip(-(2**31), 2**31 - 1).astype(np.int32)
    buffer = quantized.buffers[_tensor(quantized, ours.inputs[layout.bias]).buffer]
    buffer.data = np.frombuffer(moved.tobytes(), np.uint8)
    return True


def _grouped_product(weights: Floats, inputs: Floats) -> Floats:
    """weights [out, in / groups] times inputs [in]: every group of outputs sees its own group of inputs."""
    groups = inputs.size // weights.shape[1]
    by_group = weights.reshape(groups, -1, weights.shape[1])
    return np.asarray(np.einsum("goi,gi->go", by_group, inputs.reshape(groups, -1)).ravel())


def _overlap(operator: Any) -> int:
    """How many output positions share the taps of a transposed convolution: each sees 1 / stride^2 of them."""
    return int(operator.builtinOptions.strideH * operator.builtinOptions.strideW)


def _spread(scale: Floats, axis: int, rank: int) -> Floats:
    """Scales in the shape that multiplies the weights: one for all, or one for each output channel."""
    return scale if scale.size == 1 else scale.reshape([-1 if a == axis else 1 for a in range(rank)])


def _weighted(tree: schema.ModelT) -> list[tuple[str, Any]]:
    """The weighted operators of the main graph, in order."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    codes = {getattr(BuiltinOperator, name): name for name in LAYOUTS}
    found = []
    for operator in tree.subgraphs[0].operators:
        entry = tree.operatorCodes[operator.opcodeIndex]
        code = max(entry.builtinCode, entry.deprecatedBuiltinCode)
        if code in codes:
            found.append((codes[code], operator))
    return found


def _tensor(tree: schema.ModelT, index: int) -> Any:
    return tree.subgraphs[0].tensors[int(index)]


def _constant(tree: schema.ModelT, index: int, dtype: type) -> NDArray[Any] | None:
    """The values of a constant tensor of this type; None where it is none."""
    tensor = _tensor(tree, index)
    data = tree.buffers[tensor.buffer].data
    shape = tuple(int(size) for size in tensor.shape)
    if data is None or len(data) != int(np.prod(shape)) * np.dtype(dtype).itemsize:
        return None
    return np.asarray(data, np.uint8).view(dtype).reshape(shape).astype(np.float64)
