#!/usr/bin/env bash
# int8 DIV of LiteRT and of TFLite Micro answers the largest code for quotients below half a step of the output.
#
# Seen on 2026-12-01 with ai-edge-litert 2.3.0 (all three kernel sets) and tflite-micro 0.dev20261023182759, Python 3.11,
# x86-64. It happens where scale(dividend) / (scale(divisor) x scale(output)) is below 64, which is where an output range
# that is wide beside the operands leads. With operands between 1 and 128 it is quotients up to a quarter of a step that come out as
# 127 instead of 0, as if a right shift by more than 31 bits had been taken modulo 32. From a ratio of 64 on every
# quotient of all 65,280 pairs of codes is right. A normalisation by a large sum therefore gives ones where it should give
# zeros, without a message.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6 tflite-micro==0.dev20261023182759
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
from tflite_micro.python.tflite_micro import runtime

dividend, divisor = (a.astype(np.int8).reshape(1, -1) for a in np.meshgrid(np.arange(-128, 128), np.arange(1, 128)))


def wrong(ratio, kernels):
    """How many quotients are off by more than a step, and the largest such quotient, in steps of the output."""
    tensors = [(dividend.shape, 1.0, 0, None), (divisor.shape, 1.0, 0, None), (divisor.shape, 1 / ratio, 0, None)]
    content = model_of("DIV", "DivOptions", {}, tensors, [0, 1], [2], 2)
    if kernels == "TFLite Micro":
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 20)
        interpreter.set_input(dividend, 0)
        interpreter.set_input(divisor, 1)
        interpreter.invoke()
        got = np.array(interpreter.get_output(0)).astype(np.float64)
    else:
        got = run(content, [dividend, divisor], kernels)
    real = ratio * dividend.astype(np.float64) / divisor
    bad = np.abs(got - real.clip(-128, 127)) > 1
    return int(bad.sum()), round(float(np.abs(real[bad]).max()), 2) if bad.any() else 0.0


print("ratio of the scales: quotients that are off by more than a step, and the largest of them in steps")
for kernels in (*SETS, "TFLite Micro"):
    found = {ratio: wrong(ratio, kernels) for ratio in (1.0, 8.0, 64.0)}
    print(f"{kernels}: {found}")
    assert found[1.0][0] > 1000 and found[8.0][0] > 100 and found[64.0] == (0, 0.0), "changed"
    assert found[1.0][1] < 0.5 and found[8.0][1] < 0.5, "changed: larger quotients are wrong, too"
print("as seen: small quotients saturate below a ratio of 64")
PYTHON
