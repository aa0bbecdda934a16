"""TFLite files as a `Graph`. Field numbers: TensorFlow Lite's schema.fbs, version 3c."""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct

from edgeai.errors import InputError
from edgeai.graph.flatbuffer import DamagedError, Reader, Table
from edgeai.graph.opcodes import ACTIVATIONS, CUSTOM, OPERATORS, PADDINGS, TENSOR_TYPES
from edgeai.graph.types import WEIGHT_OPERANDS, Graph, Op, Tensor, checked_shape

IDENTIFIER = b"TFL3"
UNFIT = -1  # the axis of scales that a shape does not take along the one that the file names
BODIED = frozenset({"IF", "WHILE", "CALL", "CALL_ONCE"})

ZIP_TAIL = (1 << 16) + 22  # the longest comment of a zip archive, and its last record

# fields of the option tables in use: union type -> field numbers
CONV_2D, DEPTHWISE, POOL_2D, TRANSPOSE_CONV, BATCH_MATMUL, CONV_3D = 1, 2, 5, 49, 101, 106
FULLY_CONNECTED, CONCATENATION, ADD, MUL, SUB = 8, 10, 11, 21, 28
FUSED_ACTIVATION = {CONV_2D: 3, DEPTHWISE: 4, POOL_2D: 5, TRANSPOSE_CONV: 3, CONV_3D: 4, CONCATENATION: 1}
FUSED_ACTIVATION |= dict.fromkeys((FULLY_CONNECTED, ADD, MUL, SUB), 0)
STRIDES = {CONV_2D: (2, 1), DEPTHWISE: (2, 1), POOL_2D: (2, 1), TRANSPOSE_CONV: (2, 1), CONV_3D: (3, 2)}  # h, w
DILATIONS = {CONV_2D: (5, 4), DEPTHWISE: (6, 5), CONV_3D: (7, 6)}

# options of single operators: kind -> (name, field, code), absent ones are 0
ATTRIBUTES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "SOFTMAX": (("beta", 0, "f"),),
    "LEAKY_RELU": (("alpha", 0, "f"),),
    "RESIZE_BILINEAR": (("align_corners", 2, "B"), ("half_pixel_centers", 3, "B")),
    "RESIZE_NEAREST_NEIGHBOR": (("align_corners", 0, "B"), ("half_pixel_centers", 1, "B")),
    "STRIDED_SLICE": (
        ("begin_mask", 0, "i"), ("end_mask", 1, "i"), ("ellipsis_mask", 2, "i"), ("new_axis_mask", 3, "i"),
        ("shrink_axis_mask", 4, "i"), ("offset", 5, "B"),
    ),
    "PACK": (("axis", 1, "i"),),
    "UNPACK": (("axis", 1, "i"),),
    "GATHER": (("axis", 0, "i"), ("batch_dims", 1, "i")),
    "DEPTH_TO_SPACE": (("block_size", 0, "i"),),
    "SPACE_TO_DEPTH": (("block_size", 0, "i"),),
    "GELU": (("approximate", 0, "B"),),
}  # fmt: skip


def is_tflite(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a TFLite file."""
    return head[4:8] == IDENTIFIER


def read_tflite(data: bytes, name: str = "the file") -> Graph:
    """The main graph (subgraph 0) of a TFLite file. Raises InputError for everything that is not a sound one."""
    if not is_tflite(data):
        raise InputError(f"{name} is not a TFLite file: it lacks the identifier TFL3")
    try:
        return _read_model(Reader(data))
    except (DamagedError, struct.error) as error:
        detail = str(error) if isinstance(error, DamagedError) else "it ends too early"
        message = f"{name} is a truncated or damaged TFLite file: {detail}"
        raise InputError(message, "copy or convert it again") from None
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from None


# --- the schema ---------------------------------------------------------------------------------


def _read_model(reader: Reader) -> Graph:
    model = Table(reader, reader.follow(0))
    subgraph = next(model.tables(2), None)
    if subgraph is None:
        raise InputError("the file holds no network")
    buffers = tuple(_buffer(table) for table in model.tables(4))
    kinds = tuple((_operator_name(table), table.scalar(2, "i", 1)) for table in model.tables(1))
    tensors = tuple(_tensor(i, table, buffers) for i, table in enumerate(subgraph.tables(0)))
    count = len(tensors)
    ops = tuple(_operator(i, table, kinds, count) for i, table in enumerate(subgraph.tables(3)))
    if not ops:
        raise InputError("the network holds no operators")
    if any(_has_body(op) for op in ops):
        tensors, ops = _with_bodies(model, buffers, tensors, ops)
    return Graph(
        format="tflite",
        tensors=_settled(tensors, ops),
        ops=ops,
        inputs=_ends(subgraph.numbers(1, "i"), count),
        outputs=_ends(subgraph.numbers(2, "i"), count),
        metadata=tuple(_metadata(table, buffers) for table in model.tables(6)),
        attached=_archive(reader.whole),
    )


def _has_body(op: Op) -> bool:
    """Whether an operator runs other subgraphs of the file."""
    return op.kind in BODIED or op.kind.startswith("STABLEHLO_")


def _with_bodies(
    model: Table, buffers: tuple[memoryview, ...], tensors: tuple[Tensor, ...], ops: tuple[Op, ...]
) -> tuple[tuple[Tensor, ...], tuple[Op, ...]]:
    """The constants of the other subgraphs behind the main one's tensors and behind the inputs of what runs them."""
    found = list(tensors)
    for subgraph in itertools.islice(model.tables(2), 1, None):
        for table in subgraph.tables(0):
            tensor = _tensor(len(found), table, buffers)
            if tensor.is_constant:
                found.append(tensor)
    inner = tuple(range(len(tensors), len(found)))
    whole = (dataclasses.replace(op, inputs=op.inputs + inner) if _has_body(op) else op for op in ops)
    return tuple(found), tuple(whole)


def _settled(tensors: tuple[Tensor, ...], ops: tuple[Op, ...]) -> tuple[Tensor, ...]:
    """The tensors, where the axis of several scales did not fit with one that does.

    TFLite Micro never reads the axis or the scales of a bias: they are the input's times the weights'. Converters of
    2019 and 2020 wrote the axis of the weights there.
    """
    unfit = {tensor.index for tensor in tensors if tensor.quantized_dimension == UNFIT}
    if not unfit:
        return tensors
    made = {index: _fitted(tensors, tensors[index], ops) for index in unfit}
    return tuple(made.get(tensor.index, tensor) for tensor in tensors)


def _fitted(tensors: tuple[Tensor, ...], tensor: Tensor, ops: tuple[Op, ...]) -> Tensor:
    if tensor.shape == (len(tensor.scales),):  # one dimension: there is no other axis
        return dataclasses.replace(tensor, quantized_dimension=0)
    readers = [op for op in ops if tensor.index in op.inputs]
    if readers and all(_is_bias(op, tensor.index) for op in readers):
        op = readers[0]
        source = tensors[op.inputs[2 if op.kind == "TRANSPOSE_CONV" else 0]]
        weights = tensors[op.inputs[WEIGHT_OPERANDS[op.kind][0]]]
        scales = tuple(source.scales[0] * scale for scale in weights.scales) if source.scales else ()
        if len(scales) in (1, tensor.elements):
            axis = next((i for i, side in enumerate(tensor.shape) if side > 1), 0)
            return dataclasses.replace(tensor, scales=scales, zero_points=(0,) * len(scales), quantized_dimension=axis)
    shape, count = list(tensor.shape), len(tensor.scales)
    raise InputError(f"tensor {tensor.name!r} has {count} scales, which its shape {shape} does not take")


def _is_bias(op: Op, tensor: int) -> bool:
    """Whether an operator reads a tensor as its bias and as nothing else."""
    bias = WEIGHT_OPERANDS.get(op.kind, (-1, -1))[1]
    return bias >= 0 and op.inputs[bias : bias + 1] == (tensor,) and op.inputs.count(tensor) == 1


def _buffer(table: Table) -> memoryview:
    """A buffer's bytes: in the flatbuffer, or behind it (offset 0 and 1 mean that there are none)."""
    offset, size = table.scalar(1, "Q"), table.scalar(2, "Q")
    if offset <= 1:
        return table.view(0) or memoryview(b"")
    if offset + size > len(table.reader.data):
        raise DamagedError("a constant lies beyond its end")
    return table.reader.data[offset : offset + size]


def _metadata(table: Table, buffers: tuple[memoryview, ...]) -> tuple[str, memoryview]:
    index = table.scalar(1, "I")
    if index >= len(buffers):
        raise DamagedError(f"metadata in buffer {index} of {len(buffers)}")
    return table.text(0), buffers[index]


def _operator_name(table: Table) -> str:
    # codes above 127 do not fit the older 8-bit field, which then holds a placeholder
    code = max(table.scalar(0, "b"), table.scalar(3, "i"))
    if not 0 <= code < len(OPERATORS):
        raise InputError(f"operator code {code} is not one of TFLite's", "the file is damaged or newer than edgeai")
    return f"CUSTOM:{table.text(1) or '?'}" if code == CUSTOM else OPERATORS[code]


def _indices(values: tuple[int, ...], count: int, lowest: int) -> tuple[int, ...]:
    for value in values:
        if not lowest <= value < count:
            raise DamagedError(f"it names tensor {value} of {count}")
    return values


def _ends(values: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Inputs or outputs of the network."""
    if len(values) > count:
        raise DamagedError(f"it has {len(values)} inputs or outputs and {count} tensors")
    return _indices(values, count, 0)


def _tensor(index: int, table: Table, buffers: tuple[memoryview, ...]) -> Tensor:
    name = table.text(3) or f"tensor {index}"
    shape = checked_shape(table.numbers(0, "i"), name)
    signature = table.numbers(7, "i")
    type_code, buffer = table.scalar(1, "b"), table.scalar(2, "I")
    if not 0 <= type_code < len(TENSOR_TYPES):
        raise InputError(f"tensor {name!r} has the unknown type {type_code}")
    if buffer >= len(buffers):
        raise DamagedError(f"a constant in buffer {buffer} of {len(buffers)}")
    dtype, bits = TENSOR_TYPES[type_code]
    data = buffers[buffer] if len(buffers[buffer]) else None
    sparse = bool(table.slot(6))
    if data is not None and bits and not sparse and len(data) != (math.prod(shape) * bits + 7) // 8:
        raise DamagedError(f"constant {name!r} has {len(data)} bytes, which its shape {list(shape)} does not take")
    scales, zero_points, axis, low, high, flaw = _quantization(table.table(4), shape)
    return Tensor(
        index=index,
        name=name,
        shape=shape,
        dtype=dtype,
        scales=scales,
        zero_points=zero_points,
        quantized_dimension=axis,
        minimum=low,
        maximum=high,
        data=data,
        dynamic=-1 in shape or -1 in signature[1:],
        buffer=buffer if data is not None else -1,
        flaw=flaw,
    )


_Quantization = tuple[tuple[float, ...], tuple[int, ...], int, tuple[float, ...], tuple[float, ...], str]


def _quantization(table: Table | None, shape: tuple[int, ...]) -> _Quantization:
    """Scales, zero points (as many), axis (UNFIT where the shape does not take so many), minimum, maximum, and what was
    wrong with the number of zero points."""
    if table is None:
        return (), (), 0, (), (), ""
    scales, zero_points = table.numbers(2, "f"), table.numbers(3, "q")
    axis = table.scalar(6, "i")
    if len(scales) > 1 and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
        axis = UNFIT
    flaw = f"{len(zero_points)} zero points for {len(scales)} scales" if len(zero_points) != len(scales) else ""
    if flaw:
        zero_points = (zero_points[0] if zero_points else 0,) * len(scales)
    return scales, zero_points, axis, table.numbers(0, "f"), table.numbers(1, "f"), flaw * bool(scales)


def _operator(index: int, table: Table, kinds: tuple[tuple[str, int], ...], tensors: int) -> Op:
    code = table.scalar(0, "I")
    if code >= len(kinds):
        raise DamagedError(f"operator code {code} of {len(kinds)}")
    kind, version = kinds[code]
    inputs = _indices(table.numbers(1, "i"), tensors, -1)
    outputs = _indices(table.numbers(2, "i"), tensors, 0)
    union, options = table.scalar(3, "B"), table.table(4)
    if options is None:
        return Op(index, kind, inputs, outputs, version=version)
    return Op(
        index=index,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        stride=_pair(options, STRIDES[union], 0) if union in STRIDES else (1, 1),
        dilation=_pair(options, DILATIONS[union], 1) if union in DILATIONS else (1, 1),
        kernel=_pair(options, (4, 3), 0) if union == POOL_2D else (0, 0),
        padding=_named(PADDINGS, options.scalar(0, "b")) if union in STRIDES else "",
        activation=_activation(options, union),
        depth_multiplier=options.scalar(3, "i") if union == DEPTHWISE else 1,
        axis=options.scalar(0, "i") if union == CONCATENATION else 0,
        transpose_a=bool(options.scalar(0, "B")) if union == BATCH_MATMUL else False,
        transpose_b=bool(options.scalar(1, "B")) if union == BATCH_MATMUL else False,
        attributes=tuple((n, options.scalar(field, c)) for n, field, c in ATTRIBUTES.get(kind, ())),
        version=version,
    )


def _activation(options: Table, union: int) -> str:
    field = FUSED_ACTIVATION.get(union)
    return "" if field is None else _named(ACTIVATIONS, options.scalar(field, "b"))


def _pair(options: Table, fields: tuple[int, int], default: int) -> tuple[int, int]:
    return options.scalar(fields[0], "i", default), options.scalar(fields[1], "i", default)


def _named(names: tuple[str, ...], value: int) -> str:
    if not 0 <= value < len(names):
        raise DamagedError(f"an operator's option has the value {value}")
    return names[value]


# --- behind the network -----------------------------------------------------------------------------


def _archive(data: bytes) -> memoryview | None:
    """The file where a zip archive ends it: the end-of-directory record stands within its last 64 KiB."""
    return memoryview(data) if data.rfind(b"PK\x05\x06", max(0, len(data) - ZIP_TAIL)) >= 0 else None
