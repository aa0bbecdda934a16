#!/usr/bin/env bash
# XNNPACK's int8 MEAN over the innermost axis wraps around on long rows; LiteRT's other kernels do not.
#
# Seen on 2026-11-30 with ai-edge-litert 2.3.0 (Python 3.11, x86-64 with AVX-512), whose default kernels are XNNPACK's:
# a constant tensor of 12,288 codes of 102 has the mean -69, of -128 the mean 43. Rows of up to 8,192 codes are right at
# any value; rows of 9,408 are wrong near the ends of int8 (127 becomes -96), longer ones also at 102. The reduction over
# an axis that is not the innermost is right. The error is what a sum in lanes of 16 bits would give. A network that ends
# in a mean over all axes of a feature map, or begins with one over its picture, answers nonsense without a message.
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


def mean_of(length):
    """int8 [1, length] -> MEAN over axis 1 -> int8 [1], one scale and zero point on both sides."""
    graph, model = schema.SubGraphT(), schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(np.array([1], np.int32).tobytes(), np.uint8)
    graph.tensors = []
    for name, shape, kind, buffer in (("in", [1, length], "INT8", 0), ("axis", [1], "INT32", 1), ("out", [1], "INT8", 0)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
        tensor.type = getattr(schema.TensorType, kind)
        if kind == "INT8":
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [1 / 255], [-128]
        graph.tensors.append(tensor)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MEAN
    code.version, model.operatorCodes = 2, [code]
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [2]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(length, value, kernels):
    interpreter = Interpreter(model_content=mean_of(length), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.full((1, length), value, np.int8))
    interpreter.invoke()
    return int(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])


print("ai-edge-litert", importlib.metadata.version("ai-edge-litert"), platform.machine())
print("codes in a row, their value: XNNPACK, builtin, reference")
wrong = {}
for length in (8192, 12288, 65536):
    for value in (50, 102, -128):
        found = [run(length, value, k) for k in (
            OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.BUILTIN_REF)]
        print(f"{length}, {value}: {found[0]}, {found[1]}, {found[2]}")
        assert found[1:] == [value, value], "changed: the other kernels are wrong, too"
        wrong[length, value] = found[0] != value
expected = {(n, v): n > 8192 and v != 50 for n, v in wrong}
assert wrong == expected, "changed: XNNPACK answers otherwise than on 2026-11-30"
print("as seen: wrong from 12,288 codes on")
PYTHON
