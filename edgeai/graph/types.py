"""The typed, read-only form of a network that every analysis works on, whatever file it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from edgeai.errors import InputError
from edgeai.graph.opcodes import BITS

# Limits of what is taken for a network. An activation of 2 GiB fits no board; the limit keeps sizes of damaged files,
# and what is computed from them, within reason.
MAX_RANK = 16
MAX_ELEMENTS = 2**31 - 1

# operator kinds with weights: position of the weights and of the bias among the inputs
WEIGHT_OPERANDS: dict[str, tuple[int, int]] = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
    "FULLY_CONNECTED": (1, 2),
    "CONV_3D": (1, 2),
    "BATCH_MATMUL": (1, -1),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1, -1),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3, -1),
}

# Recurrent operators, whose weights every step of the sequence meets: positions of the weights among the inputs.
_GATES = (*range(1, 12), 16)  # TFLite: input to gates, state to gates, peepholes; projection
RECURRENT: dict[tuple[str, str], tuple[int, ...]] = {
    ("onnx", "LSTM"): (1, 2, 7),
    ("onnx", "GRU"): (1, 2),
    ("onnx", "RNN"): (1, 2),
    ("tflite", "LSTM"): _GATES,
    ("tflite", "UNIDIRECTIONAL_SEQUENCE_LSTM"): _GATES,
    ("tflite", "BIDIRECTIONAL_SEQUENCE_LSTM"): (*_GATES, *(17 + i for i in _GATES), *range(40, 48)),
    ("tflite", "RNN"): (1, 2),
    ("tflite", "UNIDIRECTIONAL_SEQUENCE_RNN"): (1, 2),
    ("tflite", "BIDIRECTIONAL_SEQUENCE_RNN"): (1, 2, 5, 6, 10, 11),
    ("tflite", "SVDF"): (1, 2),
}
BASIC_LSTM_INPUTS, BASIC_LSTM_WEIGHTS = 5, (2,)  # TFLite's LSTM in its basic form: all gates in one matrix

# operators that only turn numbers into integers or back
QUANTIZERS = frozenset({"QUANTIZE", "QuantizeLinear"})
DEQUANTIZERS = frozenset({"DEQUANTIZE", "DequantizeLinear"})
TRANSPARENT = QUANTIZERS | DEQUANTIZERS | {"Identity"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. real = scale * (q - zero_point), for each index of axis `quantized_dimension` if there are several.

    `shape` holds -1 where the file leaves a dimension open; `dynamic` says that it may change at run time (a batch
    dimension that is only declared open in TFLite's shape signature does not count). `minimum` and `maximum` are
    calibration ranges, mostly absent. `data` is a view of the constant's bytes in the file, None for an activation.
    `buffer` is the number of those bytes in a file whose tensors may share them, -1 where each has its own. Scales and
    zero points are as the file has them: edgeai.graph.scales says whether they can be computed with. `flaw` says what a
    reader found wrong with them besides, and put something in the place of.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    quantized_dimension: int = 0
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    data: memoryview | None = field(default=None, repr=False)
    dynamic: bool = False
    buffer: int = -1
    flaw: str = ""

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def elements(self) -> int:
        """Number of elements; an open dimension counts as 1."""
        return math.prod(d if d >= 0 else 1 for d in self.shape)

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        bits = BITS.get(self.dtype, 0)
        if not bits and self.data is not None:
            return len(self.data)
        return (self.elements * bits + 7) // 8

    @property
    def quantized(self) -> bool:
        return bool(self.scales)

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def scale(self) -> float:
        """The scale; 0.0 where the tensor is not quantised, the first of them where it is quantised per channel."""
        return self.scales[0] if self.scales else 0.0

    @property
    def zero_point(self) -> int:
        return self.zero_points[0] if self.zero_points else 0


@dataclass(frozen=True, slots=True)
class Op:
    """One operator; `kind` is its name in the file's own vocabulary (`CONV_2D` or `Conv`).

    `inputs` and `outputs` are tensor indices, -1 for an optional input that is absent. An operator with bodies of its
    own (`If`, `WHILE`) has their constants, and what they read from outside, behind its inputs. Pairs are (height,
    width).
    `padding` is `same`, `valid`, or `explicit` with the amounts in `pads` as ONNX lists them (all begins, all ends).
    `perm` are the axes of ONNX's Transpose; TFLite has them as an operand. `version` is that of TFLite's operator code.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (0, 0)
    padding: str = ""
    pads: tuple[int, ...] = ()
    activation: str = ""
    depth_multiplier: int = 1
    group: int = 1
    axis: int = 0
    transpose_a: bool = False
    transpose_b: bool = False
    perm: tuple[int, ...] = ()
    attributes: tuple[tuple[str, float], ...] = ()
    version: int = 1

    def attribute(self, name: str) -> float:
        """One of the options that few operators have, by its name in TFLite's schema; 0 where it is absent."""
        return next((value for key, value in self.attributes if key == name), 0)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: tensors and operators in the order of execution.

    `attached` is the whole file where a zip archive stands behind the network, as TFLite's associated files do.
    Raises InputError on construction where an operator reads a tensor before it is computed or two operators write one.
    """

    format: Literal["tflite", "onnx"]
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: tuple[tuple[str, memoryview], ...] = ()
    attached: memoryview | None = field(default=None, repr=False)
    _producer: dict[int, int] = field(init=False, repr=False, compare=False)
    _consumers: dict[int, tuple[Op, ...]] = field(init=False, repr=False, compare=False)
    _origin: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        producer: dict[int, int] = {}
        consumers: dict[int, list[Op]] = {}
        origin: dict[int, int] = {}
        for op in self.ops:
            for t in dict.fromkeys(op.inputs):
                if t >= 0:
                    consumers.setdefault(t, []).append(op)
            if op.kind in TRANSPARENT and op.outputs and op.inputs[:1] > (-1,):
                origin[op.outputs[0]] = origin.get(op.inputs[0], op.inputs[0])
            for t in op.outputs:
                if t in producer:
                    raise InputError(f"the network is damaged: two operators write tensor {t}")
                if t in consumers:
                    raise InputError(f"the network is damaged: tensor {t} is read before it is computed")
                producer[t] = op.index
        object.__setattr__(self, "_producer", producer)
        object.__setattr__(self, "_consumers", {t: tuple(readers) for t, readers in consumers.items()})
        object.__setattr__(self, "_origin", origin)

    def producer(self, tensor: int) -> Op | None:
        """The operator that computes a tensor; None for inputs and constants."""
        found = self._producer.get(tensor)
        return None if found is None else self.ops[found]

    def consumers(self, tensor: int) -> tuple[Op, ...]:
        """The operators that read a tensor, each once, in order."""
        return self._consumers.get(tensor, ())

    def lookup(self, name: str) -> bytes | None:
        """The metadata entry of that name."""
        return next((bytes(value) for key, value in self.metadata if key == name), None)

    def operand(self, op: Op, position: int) -> Tensor | None:
        """An input of an operator; None where it is absent."""
        if not 0 <= position < len(op.inputs) or op.inputs[position] < 0:
            return None
        return self.tensors[op.inputs[position]]

    def behind_quantizers(self, tensor: Tensor) -> Tensor:
        """The tensor whose numbers these are: goes back over operators that only quantise, dequantise or copy."""
        return self.tensors[self._origin.get(tensor.index, tensor.index)]

    def on_grid(self, tensor: Tensor) -> Tensor:
        """The tensor whose scale and zero point the numbers of `tensor` have: itself, or what it de-quantises."""
        seen = tensor
        while not seen.quantized:
            op = self.producer(seen.index)
            if op is None or op.kind not in DEQUANTIZERS | {"Identity"} or op.inputs[:1] < (0,):
                return tensor
            seen = self.tensors[op.inputs[0]]
        return seen

    def weights(self, op: Op) -> Tensor | None:
        """The constant weights of a convolution or a matrix product; None for other operators."""
        return self._constant(op, WEIGHT_OPERANDS.get(op.kind, (-1, -1))[0])

    def bias(self, op: Op) -> Tensor | None:
        """The constant bias that goes with the weights."""
        return self._constant(op, WEIGHT_OPERANDS.get(op.kind, (-1, -1))[1])

    def _constant(self, op: Op, position: int) -> Tensor | None:
        operand = self.operand(op, position)
        if operand is None:
            return None
        source = self.behind_quantizers(operand)
        return source if source.is_constant else None

    def stored(self, tensors: Iterable[Tensor]) -> int:
        """Bytes that constants take in the file: each once, and once what several of them share."""
        sizes: dict[int, int] = {}
        for tensor in tensors:
            key = tensor.buffer if tensor.buffer >= 0 else -1 - tensor.index
            sizes[key] = max(sizes.get(key, 0), tensor.nbytes)
        return sum(sizes.values())

    def recurrent_weights(self, op: Op) -> tuple[Tensor, ...]:
        """The weights of a recurrent operator, constant or not; nothing for other operators."""
        positions = RECURRENT.get((self.format, op.kind), ())
        if self.format == "tflite" and op.kind == "LSTM" and len(op.inputs) == BASIC_LSTM_INPUTS:
            positions = BASIC_LSTM_WEIGHTS
        return tuple(tensor for p in positions if (tensor := self.operand(op, p)) is not None)

    def _recurrent_macs(self, op: Op) -> int:
        """Every step of the sequence, of every member of the batch, meets every weight."""
        source = self.operand(op, 0)
        if source is None or not source.shape:
            return 0
        steps = source.elements // max(source.shape[-1], 1)
        return steps * sum(weights.elements for weights in self.recurrent_weights(op))

    def output_channels(self, op: Op) -> int:
        """Number of output channels of an operator with weights."""
        weights = self.weights(op)
        if weights is None or not weights.shape:
            return 0
        shape = weights.shape
        if op.kind in ("DEPTHWISE_CONV_2D", "CONV_3D", "MatMul", "QLinearMatMul", "BATCH_MATMUL"):
            return shape[-2] if op.kind == "BATCH_MATMUL" and op.transpose_b and len(shape) > 1 else shape[-1]
        if op.kind == "ConvTranspose":
            return (shape[1] if len(shape) > 1 else 1) * op.group
        if op.kind == "Gemm" and not op.transpose_b:
            return shape[-1]
        return shape[0]

    def macs(self, op: Op) -> int:
        """Multiply-accumulate operations of a convolution, a matrix product or a recurrent operator, batch and steps of
        the sequence included; 0 for other operators. Open dimensions count as 1.
        """
        position = WEIGHT_OPERANDS.get(op.kind, (-1, -1))[0]
        weights, out = self.operand(op, position), self.tensors[op.outputs[0]] if op.outputs else None
        if weights is None or out is None or not weights.shape:
            return self._recurrent_macs(op)
        shape = [max(d, 1) for d in weights.shape]
        if op.kind in ("TRANSPOSE_CONV", "ConvTranspose"):  # every input element meets every tap
            source = self.operand(op, 2 if op.kind == "TRANSPOSE_CONV" else 0)
            per_input = math.prod(shape[:-1]) if op.kind == "TRANSPOSE_CONV" else math.prod(shape[1:])
            return source.elements * per_input if source else 0
        if op.kind in ("DEPTHWISE_CONV_2D", "CONV_3D"):
            return out.elements * math.prod(shape[:-1])
        if op.kind in ("BATCH_MATMUL", "MatMul", "QLinearMatMul"):
            inner = shape[-1] if op.transpose_b else shape[-2] if len(shape) > 1 else shape[0]
            return out.elements * inner
        if op.kind == "Gemm":
            return out.elements * (shape[-1] if op.transpose_b else shape[0])
        return out.elements * math.prod(shape[1:])  # CONV_2D, FULLY_CONNECTED, Conv: output channels come first


def checked_shape(shape: Iterable[int], name: str) -> tuple[int, ...]:
    """`shape` as a tuple, -1 for every open dimension. Raises InputError beyond MAX_RANK or MAX_ELEMENTS."""
    dims = tuple(d if d >= 0 else -1 for d in shape)
    if len(dims) > MAX_RANK:
        raise InputError(f"the network is damaged: tensor {name!r} has {len(dims)} dimensions")
    if math.prod(max(d, 1) for d in dims) > MAX_ELEMENTS:
        raise InputError(f"tensor {name!r} has an impossible shape: {'×'.join(map(str, dims))}")
    return dims
