#!/usr/bin/env bash
# LiteRT's reference kernel of int8 SUM answers something else than the sum; its other kernels and TFLite Micro do not.
#
# Seen on 2026-12-01 with ai-edge-litert 2.3.0, Python 3.11, x86-64: over random codes the reference kernels
# (BUILTIN_REF, which is taken for the exact ones) are off by up to the whole range of int8, with every axis and with the
# zero point at 0, while the built-in kernels and XNNPACK are within half a step of float arithmetic. Who judges another
# runtime by the reference kernels calls a network with a SUM (softmax by hand, weighted boxes, attention) broken.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
"$work/venv/bin/python" - <<'PYTHON' || { echo "this finding no longer holds as written" >&2; exit 1; }
import importlib.metadata
import platform

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SETS = {
    "XNNPACK": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


def model_of(name, options, fields, tensors, inputs, outputs, version):
    """One operator; `tensors` are (shape, scale, zero point, constant int32 values or None)."""
    graph, model = schema.SubGraphT(), schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = []
    for shape, scale, zero, values in tensors:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{len(graph.tensors)}", list(shape), 0
        tensor.type = schema.TensorType.INT32 if values is not None else schema.TensorType.INT8
        if values is None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        else:
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(np.array(values, np.int32).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version, model.operatorCodes = version, [code]
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(range(len(tensors) - 1)), [len(tensors) - 1]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    operator.builtinOptions = getattr(schema, options + "T")()
    for key, value in fields.items():
        setattr(operator.builtinOptions, key, value)
    graph.operators, graph.inputs, graph.outputs = [operator], inputs, outputs
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, arrays, kernels):
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=SETS[kernels])
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), arrays):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(np.float64)


print("ai-edge-litert", importlib.metadata.version("ai-edge-litert"), platform.machine())
rng = np.random.default_rng(0)
values = rng.integers(-128, 128, (1, 6, 5, 16)).astype(np.int8)
print("axis: largest distance from float arithmetic, in steps")
for axis in (1, 3):
    shape = [n for place, n in enumerate(values.shape) if place != axis]
    for zero in (0, -20):
        tensors = [(values.shape, 0.02, zero, None), ([1], 0, 0, [axis]), (shape, 0.1, 5, None)]
        content = model_of("SUM", "ReducerOptions", {"keepDims": False}, tensors, [0], [2], 2)
        real = ((values.astype(np.float64) - zero) * np.float32(0.02)).sum(axis) / np.float32(0.1) + 5
        found = {name: np.abs(run(content, [values], name) - real.clip(-128, 127)).max().round(2) for name in SETS}
        print(axis, "zero point", zero, {name: float(error) for name, error in found.items()})
        assert found["builtin"] < 0.51 and found["XNNPACK"] < 0.51, "changed: another kernel is off"
        assert found["reference"] > 20, "changed: the reference kernel sums"
print("as seen: the reference kernel is off by more than 20 steps, the others by half a step")
PYTHON
