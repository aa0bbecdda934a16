"""An int8 TFLite file as a QDQ ONNX file: the same codes, scales and zero points, operator by operator.

ST Edge AI Core and onnxruntime take int8 networks as float ONNX operators between QuantizeLinear and DequantizeLinear.
Both files come from one calibration, so they agree up to the rounding of single values. Tensors of four axes are kept
in ONNX's order (NCHW); where TFLite reshapes or transposes them, its order is restored first. Input and outputs are
float32, as ST's own QDQ files have them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract
from edgeai.errors import ToolError
from edgeai.export.to_onnx import OPSET, with_contract
from edgeai.quantize.improve.bias import LAYOUTS

if TYPE_CHECKING:
    import onnx

    from edgeai.simulate.program import Node

NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
ELEMENTWISE = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min"}
UNARY = {"LOGISTIC": "Sigmoid", "TANH": "Tanh", "RELU": "Relu", "HARD_SWISH": "HardSwish", "LOG": "Log"}
FUSED = {1: "RELU", 3: "RELU6"}


def write_qdq(tflite: Path, contract: Contract, out: Path) -> Contract:
    """Write the int8 file `tflite` as QDQ ONNX to `out`; returns its contract.

    Raises ToolError for an operator that has no counterpart here.
    """
    import onnx

    model = with_contract(_Writer(tflite.read_bytes()).model(), contract)
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    return contract


class _Pieces:
    """The ONNX graph in the making: values, constants, nodes, and the grids of the TFLite file."""

    def __init__(self, data: bytes) -> None:
        from edgeai.simulate.program import Program

        self.program = Program(data)
        self.codes = _codes(data)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value: dict[int, str] = {}  # the de-quantised value of a tensor, in ONNX's order

    def _shape(self, index: int) -> list[int]:
        shape = self.program.shapes[index]
        return [shape[i] for i in NCHW] if len(shape) == 4 else list(shape)

    def _constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        from onnx import numpy_helper

        if all(constant.name != name for constant in self.constants[-8:]):
            self.constants.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def _emit(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _quantised(self, index: int, value: str) -> None:
        """`value` rounded to the grid of the tensor; as it is where the file does not quantise it."""
        grid = self.program.grids.get(index)
        if grid is None:
            self.value[index] = value
            return
        scale = self._constant(f"scale_{index}", np.float32(grid.scale))
        zero = self._constant(f"zero_{index}", np.int8(grid.zero_point))
        code = self._emit("QuantizeLinear", [value, scale, zero], f"code_{index}")
        self.value[index] = self._emit("DequantizeLinear", [code, scale, zero], f"real_{index}")

    def _weights(self, index: int, order: tuple[int, ...], axis: int) -> str:
        """A constant of int8 codes behind a DequantizeLinear, its axes in `order`."""
        codes, scales, dimension = self.codes[index]
        scale = np.asarray(scales, np.float32)
        per_channel = scale.size > 1
        data = self._constant(f"weights_{index}", codes.transpose(order))
        step = self._constant(f"wscale_{index}", scale if per_channel else scale[0])
        zeros = np.zeros(scale.size, np.int8)
        zero = self._constant(f"wzero_{index}", zeros if per_channel else zeros[0])
        extra = {"axis": order.index(dimension)} if per_channel else {}
        return self._emit("DequantizeLinear", [data, step, zero], f"real_weights_{index}", **extra)

    def _bias(self, index: int) -> str:
        codes, scales, _ = self.codes[index]
        scale = np.asarray(scales, np.float32)
        data = self._constant(f"bias_{index}", codes)
        step = self._constant(f"bscale_{index}", scale if scale.size > 1 else scale[0])
        extra = {"axis": 0} if scale.size > 1 else {}
        return self._emit("DequantizeLinear", [data, step], f"real_bias_{index}", **extra)

    def _real(self, index: int) -> str:
        """An operand: an activation, or a constant in ONNX's order."""
        if index in self.value:
            return self.value[index]
        values = self.program.constants[index].numpy()
        ordered = values.transpose(NCHW) if values.ndim == 4 else values
        return self._constant(f"constant_{index}", ordered.astype(np.float32))


class _Writer(_Pieces):
    """One pass over the operators of a TFLite file."""

    def model(self) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        source = self.program.inputs[0]
        self._quantised(source, "images")
        for node in self.program.nodes:
            if node.kind in ("QUANTIZE", "DEQUANTIZE") and node.inputs[0] not in self.program.grids:
                self.value[node.outputs[0]] = self.value[node.inputs[0]]
                self._quantised(node.outputs[0], self.value[node.inputs[0]])
                continue
            self._quantised(node.outputs[0], self._operator(node))
        outputs = []
        for index in self.program.outputs:
            name = f"out_{index}"
            self._emit("Identity", [self.value[index]], name)
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, self._shape(index)))
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, self._shape(source))
        graph = helper.make_graph(self.nodes, "edgeai", [images], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    # --- operators --------------------------------------------------------------------------------

    def _operator(self, node: Node) -> str:
        name = f"op_{node.outputs[0]}"
        if node.kind in LAYOUTS:
            return self._weighted(node, name)
        if node.kind in ELEMENTWISE:
            return self._emit(ELEMENTWISE[node.kind], [self._real(i) for i in node.inputs[:2]], name)
        if node.kind in UNARY:
            return self._emit(UNARY[node.kind], [self._real(node.inputs[0])], name)
        if node.kind == "RELU6":
            return self._limited(node.kind, self._real(node.inputs[0]), name)
        if node.kind == "LEAKY_RELU":
            return self._emit("LeakyRelu", [self._real(node.inputs[0])], name, alpha=float(node.options.alpha))
        writer = self._writers().get(node.kind)
        if writer is None:
            raise ToolError(f"no QDQ form of {node.kind}", "use --format tflite")
        return writer(node, name)

    def _writers(self) -> dict[str, Callable[[Node, str], str]]:
        return {
            "QUANTIZE": lambda node, name: self.value[node.inputs[0]],
            "PAD": self._pad,
            "PADV2": self._pad,
            "CONCATENATION": self._concatenation,
            "SOFTMAX": self._softmax,
            "MAX_POOL_2D": self._max_pool,
            "RESIZE_NEAREST_NEIGHBOR": self._resize,
            "STRIDED_SLICE": self._slice,
            **dict.fromkeys(("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"), self._reordered),
        }

    def _concatenation(self, node: Node, name: str) -> str:
        rank = len(self.program.shapes[node.outputs[0]])
        return self._emit("Concat", [self._real(i) for i in node.inputs], name, axis=_axis(node.options.axis, rank))

    def _softmax(self, node: Node, name: str) -> str:
        rank = len(self.program.shapes[node.outputs[0]])
        return self._emit("Softmax", [self._real(node.inputs[0])], name, axis=_axis(-1, rank))

    def _weighted(self, node: Node, name: str) -> str:
        layout, options = LAYOUTS[node.kind], node.options
        x, weights = self.value[node.inputs[layout.data]], node.inputs[layout.weights]
        has_bias = len(node.inputs) > layout.bias and node.inputs[layout.bias] >= 0
        bias = [self._bias(node.inputs[layout.bias])] if has_bias else []
        if node.kind == "FULLY_CONNECTED":
            result = self._emit("Gemm", [x, self._weights(weights, (0, 1), 0), *bias], name, transB=1)
        elif node.kind == "TRANSPOSE_CONV":
            kernel = self._weights(weights, (3, 0, 1, 2), 1)
            strides = [options.strideH, options.strideW]
            auto = {"auto_pad": "SAME_UPPER"} if options.padding == 0 else {}
            result = self._emit("ConvTranspose", [x, kernel, *bias], name, strides=strides, **auto)
        else:
            deep = node.kind == "DEPTHWISE_CONV_2D"
            kernel = self._weights(weights, (3, 0, 1, 2) if deep else (0, 3, 1, 2), 0)
            depth = self.program.shapes[node.inputs[0]][3]
            result = self._emit(
                "Conv", [x, kernel, *bias], name,
                strides=[options.strideH, options.strideW],
                dilations=[options.dilationHFactor, options.dilationWFactor],
                group=depth if deep else depth // self.program.shapes[weights][3],
                auto_pad="SAME_UPPER" if options.padding == 0 else "VALID",
            )  # fmt: skip
        code = options.fusedActivationFunction
        if not code:
            return result
        if code not in FUSED:
            raise ToolError(f"no QDQ form of fused activation {code}", "use --format tflite")
        return self._limited(FUSED[code], result, f"{name}_act")

    def _limited(self, kind: str, value: str, name: str) -> str:
        """RELU or RELU6 of a value."""
        if kind == "RELU":
            return self._emit("Relu", [value], name)
        ends = [self._constant(f"{name}_{end}", np.asarray(end, np.float32)) for end in (0.0, 6.0)]
        return self._emit("Clip", [value, *ends], name)

    def _pad(self, node: Node, name: str) -> str:
        amounts = self.program.constants[node.inputs[1]].numpy()
        ordered = amounts[list(NCHW)] if len(amounts) == 4 else amounts
        fill = [float(self.program.constants[node.inputs[2]])] if len(node.inputs) > 2 else [0.0]
        pads = self._constant(f"{name}_pads", ordered.T.astype(np.int64).reshape(-1))
        value = self._constant(f"{name}_fill", np.asarray(fill[0], np.float32))
        return self._emit("Pad", [self.value[node.inputs[0]], pads, value], name)

    def _max_pool(self, node: Node, name: str) -> str:
        options = node.options
        return self._emit(
            "MaxPool", [self.value[node.inputs[0]]], name,
            kernel_shape=[options.filterHeight, options.filterWidth],
            strides=[options.strideH, options.strideW],
            auto_pad="SAME_UPPER" if options.padding == 0 else "VALID",
        )  # fmt: skip

    def _resize(self, node: Node, name: str) -> str:
        before, after = (self._shape(i) for i in (node.inputs[0], node.outputs[0]))
        factors = self._constant(f"{name}_scales", np.asarray(after, np.float32) / np.asarray(before, np.float32))
        modes = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        return self._emit("Resize", [self.value[node.inputs[0]], "", factors], name, **modes)

    def _slice(self, node: Node, name: str) -> str:
        begin, end, step = (self.program.constants[i].numpy().astype(np.int64) for i in node.inputs[1:4])
        shape = self.program.shapes[node.inputs[0]]
        axes = range(len(shape))
        low = [0 if node.options.beginMask >> a & 1 else int(begin[a]) for a in axes]
        high = [shape[a] if node.options.endMask >> a & 1 else int(end[a]) for a in axes]
        places = np.asarray([_axis(a, len(shape)) for a in axes], np.int64)
        parts = zip(("starts", "ends", "axes", "steps"), (low, high, places, step), strict=True)
        extra = [self._constant(f"{name}_{part}", np.asarray(values, np.int64)) for part, values in parts]
        return self._emit("Slice", [self.value[node.inputs[0]], *extra], name)

    def _reordered(self, node: Node, name: str) -> str:
        """Reshape or transpose in TFLite's order, and back to ONNX's."""
        value = self.value[node.inputs[0]]
        if len(self.program.shapes[node.inputs[0]]) == 4:
            value = self._emit("Transpose", [value], f"{name}_nhwc", perm=NHWC)
        if node.kind == "TRANSPOSE":
            order = self.program.constants[node.inputs[1]].numpy().tolist()
            value = self._emit("Transpose", [value], f"{name}_perm", perm=order)
        else:
            shape = self._constant(f"{name}_shape", np.asarray(self.program.shapes[node.outputs[0]], np.int64))
            value = self._emit("Reshape", [value, shape], f"{name}_flat")
        if len(self.program.shapes[node.outputs[0]]) == 4:
            value = self._emit("Transpose", [value], f"{name}_nchw", perm=NCHW)
        return value


def _axis(axis: int, rank: int) -> int:
    """TFLite's axis in ONNX's order."""
    axis = axis % rank
    return NCHW.index(axis) if rank == 4 else axis


def _codes(data: bytes) -> dict[int, tuple[NDArray[Any], list[float], int]]:
    """Codes, scales and channel axis of every quantised constant."""
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(data, 0)
    found = {}
    for index, tensor in enumerate(tree.subgraphs[0].tensors):
        raw, parameters = tree.buffers[tensor.buffer].data, tensor.quantization
        dtype = {2: np.int32, 9: np.int8}.get(tensor.type)
        if raw is None or not len(raw) or dtype is None or parameters is None or parameters.scale is None:
            continue
        values = np.asarray(raw, np.uint8).view(dtype).reshape([int(s) for s in tensor.shape])
        found[index] = (values, [float(s) for s in parameters.scale], int(parameters.quantizedDimension))
    return found
