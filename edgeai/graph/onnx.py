"""ONNX files as a `Graph`. Scales of QuantizeLinear and DequantizeLinear go to the integer tensors they describe."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Any

from edgeai.errors import InputError, need
from edgeai.graph.types import Graph, Op, Tensor, checked_shape
from edgeai.worker import silent_stderr

# TensorProto.DataType of onnx.proto; the place is the number in the file
_DTYPES = """
unknown float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 complex128
bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint4 int4
"""
DTYPES: tuple[str, ...] = tuple(_DTYPES.split())
DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})  # the last: operators of onnxruntime's optimiser and quantiser
INTERPOLATIONS = frozenset({b"linear", b"bilinear", b"cubic"})
AUTO_PADS: dict[Any, str] = {b"SAME_UPPER": "same", b"SAME_LOWER": "same", b"VALID": "valid"}
MAX_NODES = 20_000
# what an exporter leaves to be computed although it follows from fixed shapes
UNFOLDED = frozenset({"Shape", "ConstantOfShape", "Range"})

QLINEAR_OF_ONE = ("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearAveragePool",
                  "QLinearGlobalAveragePool", "QLinearReduceMean")  # fmt: skip
# operators that hold quantisation parameters: (tensor among inputs, its scale, its zero point, default axis)
QUANTIZED_INPUTS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "DequantizeLinear": ((0, 1, 2, 1),),
    "QuantizeLinear": ((0, 1, 2, 1),),  # matters where the input is a constant
    "QLinearConv": ((0, 1, 2, 1), (3, 4, 5, 0)),
    "QLinearMatMul": ((0, 1, 2, 1), (3, 4, 5, 1)),
    # onnxruntime's (com.microsoft)
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), ((0, 1, 2, 1), (3, 4, 5, 1))),
    **dict.fromkeys(QLINEAR_OF_ONE, ((0, 1, 2, 1),)),
}
# the same for their output: (scale, zero point, default axis)
QUANTIZED_OUTPUTS: dict[str, tuple[int, int, int]] = {
    "QuantizeLinear": (1, 2, 1),
    "QLinearConv": (6, 7, 1),
    "QLinearMatMul": (6, 7, 1),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (6, 7, 1)),
    **dict.fromkeys(QLINEAR_OF_ONE, (3, 4, 1)),
    "QLinearConcat": (0, 1, 1),
}

_Scales = tuple[tuple[float, ...], tuple[int, ...], int]


def read_onnx(data: bytes, name: str = "the file", imgsz: int = 0) -> Graph:
    """The network in the bytes of an ONNX file. Files that it names (external data) are not opened.

    `imgsz` fixes the height and width of an image input that leaves them open, and a batch of one with them.
    Raises InputError where the bytes are no sound ONNX model, ToolError where onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise need("onnx", "convert") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's error type is its own
        message = f"{name} is a truncated or damaged ONNX file, or none at all"
        raise InputError(message, "copy or export it again") from None
    if not model.graph.node:
        raise InputError(f"{name} holds no ONNX network", "copy or export it again")
    if model.graph.sparse_initializer:
        raise InputError(f"{name} holds sparse constants, which nothing here reads", "export it with dense weights")
    try:
        in_order(model.graph)
        if imgsz:
            fix_input(model.graph, imgsz)
        return _Builder(_with_shapes(model)).graph()
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from None


def read_folded(data: bytes, imgsz: int = 0) -> Graph | None:
    """The network in the bytes of an ONNX file, constants folded by onnxsim; None where that is missing or fails."""
    try:
        import onnx
        import onnxsim
    except ImportError:
        return None
    try:
        model = onnx.load_model_from_string(data)
        in_order(model.graph)
        if imgsz:
            fix_input(model.graph, imgsz)
        with silent_stderr():
            small, _ = onnxsim.simplify(model, check_n=0)
        return _Builder(_with_shapes(small)).graph()
    except Exception:  # onnx, protobuf and onnxsim raise several types; what was not folded remains
        return None


def _with_shapes(model: Any) -> Any:
    """The model with the shapes of its intermediate tensors, as far as onnx can tell them."""
    import onnx

    known = {info.name for info in (*model.graph.value_info, *model.graph.output) if not _is_open(info)}
    if all(output in known for node in model.graph.node for output in node.output):
        return model
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # onnx raises several types for models it cannot follow; what the file states remains
        return model


def _is_open(info: Any) -> bool:
    kind = info.type.tensor_type
    return not kind.HasField("shape") or not all(d.HasField("dim_value") for d in kind.shape.dim)


def in_order(graph: Any) -> None:
    """Put the nodes of an ONNX graph, in place, behind those that they read; onnxruntime does not mind their order.

    Nodes that wait for each other, or for nothing there is, stay where they are, for whoever reads on.
    """
    made = {output: i for i, node in enumerate(graph.node) for output in node.output if output}
    waits = [{made[name] for name in node.input if made.get(name, i) != i} for i, node in enumerate(graph.node)]
    if all(max(before, default=-1) < i for i, before in enumerate(waits)):
        return
    readers: dict[int, list[int]] = {}
    for i, before in enumerate(waits):
        for other in before:
            readers.setdefault(other, []).append(i)
    left = [len(before) for before in waits]
    ready = [i for i, count in enumerate(left) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers.get(order[-1], ()):
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, reader)
    if len(order) == len(graph.node):
        nodes = [graph.node[i] for i in order]
        del graph.node[:]
        graph.node.extend(nodes)


def fix_input(graph: Any, imgsz: int) -> None:
    """Fix an image input of an ONNX graph, in place, where it is open; shapes that followed from it are forgotten."""
    constants = {entry.name for entry in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    dims = list(inputs[0].type.tensor_type.shape.dim) if len(inputs) == 1 else []
    if len(dims) != 4 or all(d.dim_value for d in dims):
        return
    last = dims[3].dim_value in (1, 3) and dims[1].dim_value not in (1, 3)
    for place, dim in enumerate(dims):
        if not dim.dim_value:
            channels = place == (3 if last else 1)
            dim.Clear()
            dim.dim_value = 1 if place == 0 else 3 if channels else imgsz
    del graph.value_info[:]
    for output in graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()


class _Builder:
    """Numbers the values of an ONNX graph and turns its nodes into operators."""

    def __init__(self, model: Any) -> None:
        self.model, self.source = model, model.graph
        self.index: dict[str, int] = {}
        self.constants: dict[str, Any] = {proto.name: proto for proto in self.source.initializer}
        self.types = {i.name: i for i in (*self.source.value_info, *self.source.output, *self.source.input)}
        self.nodes = []
        if len(self.source.node) > MAX_NODES:
            raise InputError(f"it has {len(self.source.node)} nodes: no network for an STM32")
        for node in self.source.node:
            value = _constant_value(node) if node.op_type == "Constant" else None
            if value is not None and node.output:
                self.constants[node.output[0]] = value
            else:
                self.nodes.append(node)

    def graph(self) -> Graph:
        inputs = [i.name for i in self.source.input if i.name not in self.constants]
        for name in inputs:
            self.number(name)
        ops = tuple(self.op(i, node) for i, node in enumerate(self.nodes))
        outputs = tuple(self.number(o.name) for o in self.source.output)
        scales = self.scales()
        return Graph(
            format="onnx",
            tensors=tuple(self.tensor(i, name, scales.get(name)) for name, i in self.index.items()),
            ops=ops,
            inputs=tuple(self.number(name) for name in inputs),
            outputs=outputs,
            metadata=tuple((p.key, memoryview(p.value.encode())) for p in self.model.metadata_props),
        )

    def number(self, name: str) -> int:
        """The index of a value; -1 for the empty name of an absent input."""
        return self.index.setdefault(name, len(self.index)) if name else -1

    def op(self, index: int, node: Any) -> Op:
        attributes = _attributes(node)
        pads = _integers(attributes.get("pads"))
        return Op(
            index=index,
            kind=node.op_type if node.domain in DOMAINS else f"CUSTOM:{node.domain}:{node.op_type}",
            inputs=tuple(self.number(name) for name in (*node.input, *self.bodies(node))),
            outputs=tuple(self.number(name) for name in node.output if name),
            stride=_pair(attributes.get("strides"), 1),
            dilation=_pair(attributes.get("dilations"), 1),
            kernel=_pair(attributes.get("kernel_shape"), 0),
            padding=AUTO_PADS.get(attributes.get("auto_pad", b""), "explicit" if pads else ""),
            pads=pads,
            group=_integer(attributes.get("group"), 1),
            axis=_integer(attributes.get("axis"), 0),
            transpose_a=bool(_integer(attributes.get("transA"), 0)),
            transpose_b=bool(_integer(attributes.get("transB"), 0)),
            perm=_integers(attributes.get("perm")),
            attributes=(("interpolates", 1.0),) if attributes.get("mode") in INTERPOLATIONS else (),
        )

    def bodies(self, node: Any) -> Iterator[str]:
        """The values that the bodies of an `If`, `Loop` or `Scan` use: their constants, and what they read outside."""
        for body in _bodies(node):
            inside = {value.name for value in (*body.input, *body.initializer)}
            inside |= {name for inner in body.node for name in inner.output}
            values = [(proto.name, proto) for proto in body.initializer]
            made = [node for node in body.node if node.op_type == "Constant" and node.output]
            values += [(n.output[0], v) for n in made if (v := _constant_value(n)) is not None]
            for name, proto in values:
                # branches may use one name for different constants
                unique = f"{name} in {node.name or node.op_type} {len(self.constants)}"
                self.constants[unique] = proto
                yield unique
            for inner in body.node:
                yield from (name for name in inner.input if name and name not in inside and self.is_known(name))
                yield from (name for name in self.bodies(inner) if name not in inside)

    def is_known(self, name: str) -> bool:
        return name in self.constants or name in self.index

    def tensor(self, index: int, name: str, scales: _Scales | None) -> Tensor:
        proto, info = self.constants.get(name), self.types.get(name)
        dims: tuple[int, ...] = ()
        open_shape, code, data = False, 0, None
        if proto is not None:
            dims, code, data = tuple(proto.dims), proto.data_type, _bytes(proto)
        elif info is not None and info.type.HasField("tensor_type"):
            kind = info.type.tensor_type
            code, open_shape = kind.elem_type, not kind.HasField("shape")
            dims = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
        else:
            open_shape = True
        shape = checked_shape(dims, name)
        scale, zero_point, axis = _fitting(scales, shape, name)
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=DTYPES[code] if 0 <= code < len(DTYPES) else "unknown",
            scales=scale,
            zero_points=zero_point,
            quantized_dimension=axis,
            data=data,
            dynamic=open_shape or -1 in shape,
        )

    def scales(self) -> dict[str, _Scales]:
        """Scales, zero points and axis of every value that a quantising operator describes."""
        found: dict[str, _Scales] = {}
        for node in self.nodes:
            if node.op_type not in QUANTIZED_OUTPUTS and node.op_type not in QUANTIZED_INPUTS:
                continue
            axis = _integer(_attributes(node).get("axis"), -100)
            joined = range(2, len(node.input), 3) if node.op_type == "QLinearConcat" else ()
            for value, scale, zero, default in (
                *QUANTIZED_INPUTS.get(node.op_type, ()), *((place, place + 1, place + 2, 1) for place in joined),
            ):  # fmt: skip
                name = _input(node, value)
                if node.op_type != "QuantizeLinear" or name in self.constants:
                    self.describe(found, name, node, (scale, zero, default if axis == -100 else axis))
            if node.op_type in QUANTIZED_OUTPUTS and node.output:
                scale, zero, default = QUANTIZED_OUTPUTS[node.op_type]
                self.describe(found, node.output[0], node, (scale, zero, default if axis == -100 else axis))
        return found

    def describe(self, found: dict[str, _Scales], name: str, node: Any, at: tuple[int, int, int]) -> None:
        scales = self.values(_input(node, at[0]))
        if not scales or not name:
            return
        zeros = self.values(_input(node, at[1])) or (0,)
        if len(zeros) != len(scales):
            zeros = (zeros[0],) * len(scales)
        try:
            found[name] = tuple(float(s) for s in scales), tuple(int(z) for z in zeros), at[2]
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"the zero point of {name!r} is no whole number") from None

    def values(self, name: str) -> tuple[Any, ...]:
        """The numbers of a constant; nothing where it is computed."""
        proto = self.constants.get(name)
        if proto is None:
            return ()
        from onnx import numpy_helper

        try:
            return tuple(numpy_helper.to_array(proto).reshape(-1).tolist())
        except Exception:  # numpy and onnx raise several types for a tensor that is not what it says
            raise InputError(f"the constant {name!r} is damaged") from None


def _constant_value(node: Any) -> Any:
    """The tensor of a Constant node, however it states it; None where it has none that is read."""
    from onnx import helper

    for entry in node.attribute:
        if entry.name == "value":
            return entry.t
        single = {"value_float": (1, "f"), "value_int": (7, "i")}.get(entry.name)
        if single is not None:
            return helper.make_tensor("", single[0], (), [getattr(entry, single[1])])
        several = {"value_floats": (1, "floats"), "value_ints": (7, "ints")}.get(entry.name)
        if several is not None:
            values = list(getattr(entry, several[1]))
            return helper.make_tensor("", several[0], (len(values),), values)
    return None


def _bodies(node: Any) -> Iterator[Any]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        yield from ((attribute.g,) if attribute.type == 5 else attribute.graphs)


def _attributes(node: Any) -> dict[str, Any]:
    """Values of a node's attributes of the types in use: int, ints, string, tensor."""
    fields = {2: "i", 3: "s", 4: "t", 7: "ints"}
    return {a.name: getattr(a, fields[a.type]) for a in node.attribute if a.type in fields}


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default


def _integers(value: Any) -> tuple[int, ...]:
    return () if value is None or isinstance(value, (int, bytes)) else tuple(value)


def _pair(value: Any, default: int) -> tuple[int, int]:
    """(height, width) of an attribute; one number is a width."""
    height, width = (default, default, *_integers(value))[-2:]
    return height, width


def _input(node: Any, position: int) -> str:
    return str(node.input[position]) if position < len(node.input) else ""


def _bytes(proto: Any) -> memoryview:
    """The bytes of a constant, little-endian."""
    if proto.data_location == 1:
        raise InputError(
            f"the constant {proto.name!r} is kept in another file", "save the model as one file (no external data)"
        )
    if proto.HasField("raw_data") or not proto.dims:
        expected = math.prod(proto.dims) * _item_size(proto.data_type)
        if proto.HasField("raw_data") and expected and len(proto.raw_data) != expected:
            raise InputError(f"the constant {proto.name!r} has {len(proto.raw_data)} bytes instead of {expected}")
        if proto.HasField("raw_data"):
            return memoryview(proto.raw_data)
    if proto.data_type == DTYPES.index("string"):
        return memoryview(b"".join(proto.string_data))
    from onnx import numpy_helper

    checked_shape(proto.dims, proto.name)
    try:
        return memoryview(numpy_helper.to_array(proto).tobytes())
    except Exception:  # as in _Builder.values
        raise InputError(f"the constant {proto.name!r} is damaged") from None


def _item_size(code: int) -> int:
    """Bytes per element; 0 where elements are smaller than a byte or have no fixed size."""
    from edgeai.graph.opcodes import BITS

    return BITS.get(DTYPES[code] if 0 <= code < len(DTYPES) else "", 0) // 8


def _fitting(scales: _Scales | None, shape: tuple[int, ...], name: str) -> _Scales:
    """Checked against the tensor they describe; the axis counted from the front."""
    if scales is None:
        return (), (), 0
    values, zeros, axis = scales
    axis = axis + len(shape) if axis < 0 else axis
    if len(values) > 1 and shape and (not 0 <= axis < len(shape) or shape[axis] not in (-1, len(values))):
        raise InputError(f"tensor {name!r} has {len(values)} scales, which its shape {list(shape)} does not take")
    return values, zeros, axis
