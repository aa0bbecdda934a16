"""Small TFLite files made on the spot, and what LiteRT's reference kernels answer to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DTYPES = {"float32": "FLOAT32", "int8": "INT8", "uint8": "UINT8", "int32": "INT32", "int64": "INT64"}


class Model:
    """A network in the making; tensors and operators get numbers in the order in which they come."""

    def __init__(self) -> None:
        self.schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated")
        self.flatbuffers: Any = pytest.importorskip("flatbuffers")
        self.model = self.schema.ModelT()
        self.model.version = 3
        self.model.buffers = [self.schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scale: float | list[float] | None = None,
        zero: int = 0,
        axis: int = 0,
        data: np.ndarray | None = None,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.shape = list(shape)
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.type = getattr(self.schema.TensorType, DTYPES[dtype])
        if scale is not None:
            scales = scale if isinstance(scale, list) else [scale]
            quantization = self.schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = scales, [zero] * len(scales)
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).astype(dtype).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(
        self, name: str, inputs: list[int], outputs: list[int], options: str = "", version: int = 1, **fields: Any
    ) -> None:
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options:
            table = getattr(self.schema, f"{options}T")()
            for field, value in fields.items():
                setattr(table, field, value)
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = table
        self.graph.operators.append(operator)

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = self.flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


@dataclass(frozen=True)
class Answer:
    """Inputs and outputs of one run."""

    inputs: list[bytes]
    outputs: list[bytes]


def random_inputs(details: list[dict[str, Any]], seed: int) -> list[np.ndarray]:
    """Numbers over the whole range of the inputs' types; of three seeds of nine, in a narrow part of it, as a flat part
    of a picture has them."""
    rng = np.random.default_rng(seed)
    found = []
    for detail in details:
        shape, dtype = tuple(detail["shape"]), detail["dtype"]
        if dtype == np.float32:
            found.append((rng.normal(size=shape) * 4).astype(np.float32))
        else:
            limits = np.iinfo(dtype)
            low, high = limits.min, limits.max + 1
            if seed // 3 % 3 == 2:
                low = int(rng.integers(low, high - 20))
                high = low + 20
            found.append(rng.integers(low, high, size=shape).astype(dtype))
    return found


class Reference:
    """LiteRT's reference kernels on one file."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        self.interpreter.allocate_tensors()
        self.inputs = self.interpreter.get_input_details()

    def run(self, inputs: list[np.ndarray]) -> Answer:
        for detail, value in zip(self.inputs, inputs, strict=True):
            self.interpreter.set_tensor(detail["index"], value)
        self.interpreter.invoke()
        outputs = [self.interpreter.get_tensor(d["index"]).tobytes() for d in self.interpreter.get_output_details()]
        return Answer([value.tobytes() for value in inputs], outputs)


def reference_of(path: Path) -> Reference:
    """The reference kernels on a published file. The resolver knows TILE up to version 2, and computes version 3 as
    well: the version in the file is the only difference."""
    content = path.read_bytes()
    schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers: Any = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    tiles = [c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.TILE and c.version > 2]
    if tiles:
        for code in tiles:
            code.version = 2
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        content = bytes(builder.Output())
    return Reference(content)
