"""A TFLite file as a torch program: float files as they are, int8 files with every rounding where the kernels round.

The weight methods and the effect-weighted observer work on this one program, whatever the network came from. Tensors
keep TFLite's order (NHWC) and hold real values; where the file quantises an activation, its value is rounded to the
grid of its scale and zero point. That is what the int8 kernels compute, up to the last step: they hold the sum of a
convolution in 32 bits and round it once, as here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as nnf
from torch import Tensor

from edgeai.errors import NotSimulatedError
from edgeai.graph.tflite import read_tflite
from edgeai.kernels.plan import wrong_everywhere

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

VIEWS = frozenset({"RESHAPE", "STRIDED_SLICE", "SLICE", "TRANSPOSE", "PAD", "PADV2", "MAX_POOL_2D", "CONCATENATION",
                   "RESIZE_NEAREST_NEIGHBOR", "SPLIT", "SPLIT_V", "SQUEEZE", "EXPAND_DIMS"})  # fmt: skip
INT8_LOW, INT8_HIGH = -128, 127
# TFLite's TensorType
NUMPY_TYPES = {0: "float32", 1: "float16", 2: "int32", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
HINT = 'a recipe with ranges = "observed" and biases = "analytic" needs no simulation'


Values = dict[int, Tensor]  # by tensor index


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: its kind, tensor indices (-1 for an absent input), and TFLite's options."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True, slots=True)
class Grid:
    """The int8 grid of an activation: real = scale * (code - zero_point), codes in -128..127."""

    scale: float
    zero_point: int

    def rounded(self, x: Tensor) -> Tensor:
        """`x` on the grid; a gradient passes straight through."""
        if x.requires_grad:
            y: Tensor = _StraightThrough.apply(x, self)  # type: ignore[no-untyped-call]
            return y
        low, high = INT8_LOW - self.zero_point, INT8_HIGH - self.zero_point
        return (x / self.scale).round_().clamp_(low, high).mul_(self.scale)


class _StraightThrough(torch.autograd.Function):
    """Rounding that a gradient does not see. Nor does it see the clipping: masking what clips costs a fifth of the time
    and gains nothing (SQNR on train_extra, YOLOv8n-seg at 256 px, 2026-11-21)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid) -> Tensor:
        return grid.rounded(x.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class Program:
    """The main graph of a TFLite file, ready to run on batches of images.

    `constants` holds real values by tensor index and may be replaced: weights under trial, biases being corrected.
    `grids` are those of the int8 activations, `weight_scales` those of quantised constants, in a shape that multiplies
    them. Raises NotSimulatedError for an operator that it does not know, and one that no kernel computes right.
    """

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        tree = schema.ModelT.InitFromPackedBuf(model, 0)
        graph = tree.subgraphs[0]
        self.names = [t.name.decode() if isinstance(t.name, bytes) else str(t.name) for t in graph.tensors]
        self.shapes = [tuple(int(s) for s in t.shape) for t in graph.tensors]
        self.inputs = tuple(int(i) for i in graph.inputs)
        self.outputs = tuple(int(i) for i in graph.outputs)
        self.nodes = tuple(_nodes(tree))
        self.constants = {i: c for i, t in enumerate(graph.tensors) if (c := _constant(tree, t)) is not None}
        self.grids = {i: g for i, t in enumerate(graph.tensors) if i not in self.constants and (g := _grid(t))}
        scales = {i: _scales(graph.tensors[i]) for i in self.constants}
        self.weight_scales = {i: scale for i, scale in scales.items() if scale is not None}
        self._last_use = {t: n for n, node in enumerate(self.nodes) for t in node.inputs}
        unknown = sorted({node.kind for node in self.nodes} - set(KERNELS))
        if unknown:
            raise NotSimulatedError(f"no simulation of {', '.join(unknown)}", HINT)
        wrong = next((doubt for doubt in wrong_everywhere(read_tflite(model))), None)
        if wrong is not None:
            raise NotSimulatedError(f"no simulation of {wrong}: no kernel computes it right", HINT)

    def compute(self, node: Node, values: Mapping[int, Tensor]) -> list[Tensor]:
        """The outputs of one operator in real values, not rounded."""
        operands = [self._operand(i, values) for i in node.inputs]
        return KERNELS[node.kind](operands, node.options, [self.shapes[i] for i in node.outputs])

    def rounded(self, node: Node, outputs: list[Tensor]) -> list[Tensor]:
        """`outputs` on the grids of the file; operators that only move numbers keep those of their input."""
        if node.kind in VIEWS:
            return outputs
        return [g.rounded(x) if (g := self.grids.get(i)) else x for i, x in zip(node.outputs, outputs, strict=True)]

    def start(self, images: Tensor) -> dict[int, Tensor]:
        """The values before the first operator: `images` [N,S,S,3] as the input takes them."""
        grid = self.grids.get(self.inputs[0])
        return {self.inputs[0]: grid.rounded(images) if grid else images}

    def walk(self, values: dict[int, Tensor]) -> Iterator[tuple[Node, list[Tensor]]]:
        """Run from `values`, operator by operator; what nobody reads any more is dropped from `values`."""
        for number, node in enumerate(self.nodes):
            outputs = self.rounded(node, self.compute(node, values))
            values.update(zip(node.outputs, outputs, strict=True))
            yield node, outputs
            self.drop(values, number)

    def drop(self, values: dict[int, Tensor], number: int) -> None:
        """Forget what no operator behind `number` reads, outputs apart."""
        for index in {*self.nodes[number].inputs, *self.nodes[number].outputs}:
            if self._last_use.get(index, -1) <= number and index not in self.outputs:
                values.pop(index, None)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The outputs for a batch, in the file's order, as real values."""
        values = self.start(images)
        for _ in self.walk(values):
            pass
        return [values[i] for i in self.outputs]

    def _operand(self, index: int, values: Mapping[int, Tensor]) -> Tensor | None:
        if index < 0:
            return None
        return values[index] if index in values else self.constants[index]


# --- reading --------------------------------------------------------------------------------------


def _nodes(tree: schema.ModelT) -> Iterator[Node]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}
    for operator in tree.subgraphs[0].operators:
        entry = tree.operatorCodes[operator.opcodeIndex]
        kind = str(kinds[max(entry.builtinCode, entry.deprecatedBuiltinCode)])
        inputs = () if operator.inputs is None else operator.inputs
        yield Node(kind, tuple(map(int, inputs)), tuple(map(int, operator.outputs)), operator.builtinOptions)


def _grid(tensor: Any) -> Grid | None:
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or len(parameters.scale) != 1:
        return None
    return Grid(float(parameters.scale[0]), int(parameters.zeroPoint[0]))


def _scales(tensor: Any) -> Tensor | None:
    """The scales of a quantised constant, shaped to multiply it."""
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return None
    shape = [1] * len(tensor.shape)
    if len(parameters.scale) > 1:
        shape[parameters.quantizedDimension] = -1
    return torch.tensor([float(s) for s in parameters.scale]).reshape(shape)


def _constant(tree: schema.ModelT, tensor: Any) -> Tensor | None:
    """Real values of a constant; integers that are no codes (axes, shapes) stay integers."""
    import numpy as np

    data = tree.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    if tensor.type not in NUMPY_TYPES:
        return None
    array = np.asarray(data, np.uint8).view(NUMPY_TYPES[tensor.type]).reshape([int(s) for s in tensor.shape])
    scales = _scales(tensor)
    if scales is None:
        return torch.from_numpy(array.copy())
    zeros = torch.tensor([float(z) for z in tensor.quantization.zeroPoint]).reshape(scales.shape)
    return (torch.from_numpy(array.astype(np.float32)) - zeros) * scales


# --- operators ------------------------------------------------------------------------------------

Kernel = Callable[[list[Any], Any, list[tuple[int, ...]]], list[Tensor]]


def _first(x: Tensor) -> Tensor:
    """NHWC -> NCHW as a view."""
    return x.permute(0, 3, 1, 2)


def _last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _activated(x: Tensor, code: int) -> Tensor:
    """TFLite's fused activation functions."""
    if code == 1:
        return x.relu()
    if code == 2:
        return x.clamp(-1, 1)
    return x.clamp(0, 6) if code == 3 else x


def _same(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: int, fill: float = 0.0) -> Tensor:
    """`x` NCHW with TensorFlow's SAME padding (0) or none (1)."""
    if padding == 1:
        return x
    sides = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return nnf.pad(x, (left, right, top, bottom), value=fill) if any((top, bottom, left, right)) else x


def _convolution(operands: list[Any], options: Any, shapes: list[tuple[int, ...]], deep: bool = False) -> list[Tensor]:
    x, weights, bias = (*operands, None)[:3]
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    kernel = tuple((k - 1) * d + 1 for k, d in zip(weights.shape[1:3], dilation, strict=True))
    data = _same(_first(x), (kernel[0], kernel[1]), stride, options.padding)
    filters = weights.permute(3, 0, 1, 2) if deep else weights.permute(0, 3, 1, 2)
    groups = data.shape[1] // filters.shape[1]
    y = nnf.conv2d(data, filters, bias, stride=stride, dilation=dilation, groups=groups)
    return [_activated(_last(y), options.fusedActivationFunction)]


def unfolded(x: Tensor, weights: Tensor, options: Any) -> Tensor:
    """The inputs of a CONV_2D as rows [N*h*w, in * taps], in the order of its weights as [out, in, height, width]."""
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    height, width = (int(k) for k in weights.shape[1:3])
    reach = ((height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1)
    data = _same(_first(x), reach, stride, options.padding)
    columns = nnf.unfold(data, (height, width), dilation=dilation, stride=stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def _depthwise(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    return _convolution(operands, options, shapes, deep=True)


def _transposed(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    _, weights, x, bias = (*operands, None)[:4]
    stride = (options.strideH, options.strideW)
    y = nnf.conv_transpose2d(_first(x), weights.permute(3, 0, 1, 2), bias, stride=stride)
    height, width = shapes[0][1:3]
    top, left = (max(0, (y.shape[2] - height) // 2), max(0, (y.shape[3] - width) // 2))
    return [_last(y[:, :, top : top + height, left : left + width])]


def _connected(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    x, weights, bias = (*operands, None)[:3]
    y = nnf.linear(x if options.keepNumDims else x.reshape(-1, weights.shape[1]), weights, bias)
    return [_activated(y, options.fusedActivationFunction)]


def _concatenation(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    count = max(x.shape[0] for x in operands)
    parts = [x.repeat(count // x.shape[0], *[1] * (x.dim() - 1)) if x.shape[0] < count else x for x in operands]
    return [_activated(torch.cat(parts, dim=options.axis), options.fusedActivationFunction)]


def _pad(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    x, amounts, fill = (*operands, None)[:3]
    sides = [int(v) for pair in reversed(amounts.tolist()) for v in pair]
    return [nnf.pad(x, sides, value=0.0 if fill is None else float(fill))]


def _max_pool(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    kernel, stride = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    x = _same(_first(operands[0]), kernel, stride, options.padding, fill=float("-inf"))
    return [_activated(_last(nnf.max_pool2d(x, kernel, stride)), options.fusedActivationFunction)]


def _average_pool(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    kernel, stride = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    x = _first(operands[0])
    ones = _same(torch.ones_like(x[:1, :1]), kernel, stride, options.padding)
    share = nnf.avg_pool2d(ones, kernel, stride)  # padding does not count
    y = nnf.avg_pool2d(_same(x, kernel, stride, options.padding), kernel, stride) / share
    return [_activated(_last(y), options.fusedActivationFunction)]


def _mean(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    axes = [int(a) for a in operands[1].reshape(-1)]
    return [operands[0].mean(dim=axes, keepdim=bool(options.keepDims))]


def _nearest(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    x = operands[0]
    down, across = shapes[0][1] // x.shape[1], shapes[0][2] // x.shape[2]
    if (x.shape[1] * down, x.shape[2] * across) != shapes[0][1:3] or options.alignCorners:
        raise NotSimulatedError("no simulation of a resize by a fraction", HINT)
    return [x.repeat_interleave(down, dim=1).repeat_interleave(across, dim=2)]


def _strided_slice(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    x, begin, end, step = operands[0], *(o.tolist() for o in operands[1:4])
    places = [slice(None)]  # the batch: the file says 1
    for axis in range(1, x.dim()):
        low = None if options.beginMask >> axis & 1 else begin[axis]
        high = None if options.endMask >> axis & 1 else end[axis]
        places.append(slice(low, high, step[axis]))
    return [x[tuple(places)]]


def _slice(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    x, begin, size = operands[0], operands[1].tolist(), operands[2].tolist()
    places = [slice(b, None if s < 0 else b + s) for b, s in zip(begin, size, strict=True)]
    return [x[(slice(None), *places[1:])]]


def _split(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    axis, x = int(operands[0]), operands[1]
    return list(torch.split(x, [shape[axis] for shape in shapes], dim=axis))


def _split_v(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    axis = int(operands[2])
    return list(torch.split(operands[0], [shape[axis] for shape in shapes], dim=axis))


def _reshape(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    return [operands[0].reshape(-1, *shapes[0][1:])]


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    def kernel(operands: list[Any], options: Any, shapes: list[tuple[int, ...]]) -> list[Tensor]:
        return [_activated(function(operands[0], operands[1]), getattr(options, "fusedActivationFunction", 0))]

    return kernel


def _unary(function: Callable[[Tensor], Tensor]) -> Kernel:
    return lambda operands, options, shapes: [function(operands[0])]


KERNELS: dict[str, Kernel] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _connected,
    "CONCATENATION": _concatenation,
    "PAD": _pad,
    "PADV2": _pad,
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _mean,
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": lambda operands, options, shapes: [operands[0].permute(*operands[1].tolist())],
    "ADD": _elementwise(torch.add),
    "SUB": _elementwise(torch.sub),
    "MUL": _elementwise(torch.mul),
    "DIV": _elementwise(torch.div),
    "MAXIMUM": _elementwise(torch.maximum),
    "MINIMUM": _elementwise(torch.minimum),
    "LOGISTIC": _unary(torch.sigmoid),
    "TANH": _unary(torch.tanh),
    "LOG": _unary(lambda x: x.clamp(min=torch.finfo(x.dtype).tiny).log()),  # of 0 the least that the grid holds
    "RELU": _unary(torch.relu),
    "RELU6": _unary(lambda x: x.clamp(0, 6)),
    "HARD_SWISH": _unary(nnf.hardswish),
    "LEAKY_RELU": lambda operands, options, shapes: [nnf.leaky_relu(operands[0], options.alpha)],
    "SOFTMAX": lambda operands, options, shapes: [torch.softmax(operands[0] * options.beta, dim=-1)],
    "QUANTIZE": _unary(lambda x: x),
    "DEQUANTIZE": _unary(lambda x: x),
}
