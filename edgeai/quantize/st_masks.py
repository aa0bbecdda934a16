"""Masks as ST's applications read them: prototypes multiplied inside the file.

ST's post-processing (library 0.8.0 and 0.14.2, and the Python of its model zoo) sets a mask pixel where the
de-quantised product of coefficients and prototypes is at least 0.5, without a sigmoid. Balanced concat divides the
coefficients by k, so that rule alone would mean a logit of k / 2. One MUL of the prototypes by GAIN * k makes it a
logit of 1/16 in every version of ST's code. Scale and factor multiply exactly, so the codes stay what they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgeai.artifacts import Contract
from edgeai.errors import InputError
from edgeai.graph.contract import HIGHEST_ST_LOGIT, ST_GAIN, st_mask_logit
from edgeai.graph.flat import add_buffer, pack, tree_of

FLOAT32, INT8, UINT8 = 0, 9, 3  # TensorType of TFLite's schema


def with_st_masks(model: bytes, contract: Contract) -> tuple[bytes, Contract]:
    """`model` with its prototypes multiplied for ST's rule, and its contract; both as they are where they need nothing.

    `contract` names the outputs of `model`. Raises InputError where the prototypes are of a type that cannot be
    multiplied.
    """
    logit = st_mask_logit(contract)
    if logit is None or logit <= HIGHEST_ST_LOGIT:
        return model, contract
    factor = ST_GAIN * contract.coef_divisor / contract.proto_factor
    place = next(role.index for role in contract.roles if role.kind == "proto")
    tree = tree_of(model)
    _multiply_output(tree, place, factor)
    return pack(tree), replace(contract, proto_factor=contract.proto_factor * factor)


def _multiply_output(tree: Any, place: int, factor: float) -> None:
    """Put a MUL by `factor` behind the operator that computes output `place`; a DEQUANTIZE at the end stays last."""
    graph = tree.subgraphs[0]
    kinds = [_code(entry) for entry in tree.operatorCodes]
    target = int(graph.outputs[place])
    number = _producer(graph, target)
    reader = None
    if kinds[graph.operators[number].opcodeIndex] in _converters():
        reader, target = graph.operators[number], int(graph.operators[number].inputs[0])
        number = _producer(graph, target)
    scaled = _scaled(tree, target, factor)
    graph.operators.insert(number + 1, _mul(tree, target, _constant(tree, graph.tensors[target], factor), scaled))
    if reader is None:
        graph.outputs = [scaled if i == place else int(t) for i, t in enumerate(graph.outputs)]
        _rename_signature(tree, target, scaled)
    else:
        reader.inputs = [scaled]
        _scale_again(graph.tensors[int(graph.outputs[place])], factor)


def _scaled(tree: Any, source: int, factor: float) -> int:
    """A new tensor like `source` whose scale is `factor` times as large; its index."""
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    old, new = graph.tensors[source], schema.TensorT()
    if old.type not in (FLOAT32, INT8, UINT8):
        raise InputError("the prototypes are neither float32 nor 8-bit", "quantize with --output-type int8")
    new.shape, new.shapeSignature, new.type, new.hasRank = old.shape, old.shapeSignature, old.type, old.hasRank
    new.buffer = 0
    name = old.name.decode() if isinstance(old.name, bytes) else str(old.name)
    new.name = f"{name.partition(';')[0]}_for_st"
    new.quantization = schema.QuantizationParametersT()
    if old.type != FLOAT32:
        new.quantization.scale = [float(old.quantization.scale[0])]
        new.quantization.zeroPoint = [int(old.quantization.zeroPoint[0])]
        _scale_again(new, factor)
    graph.tensors.append(new)
    return len(graph.tensors) - 1


def _scale_again(tensor: Any, factor: float) -> None:
    parameters = tensor.quantization
    if parameters is not None and parameters.scale is not None and len(parameters.scale):
        parameters.scale = [float(np.float32(float(parameters.scale[0]) * factor))]


def _constant(tree: Any, like: Any, factor: float) -> int:
    """`factor` as a constant of the type of `like`: an integer 1 on a scale of `factor`; its tensor index."""
    from ai_edge_litert import schema_py_generated as schema

    graph, new = tree.subgraphs[0], schema.TensorT()
    new.shape, new.type, new.name = [1], like.type, "st_mask_factor"
    new.quantization = schema.QuantizationParametersT()
    if like.type == FLOAT32:
        new.buffer = add_buffer(tree, np.array([factor], np.float32))
    else:
        new.quantization.scale, new.quantization.zeroPoint = [factor], [0]
        new.buffer = add_buffer(tree, np.array([1], np.uint8))
    graph.tensors.append(new)
    return len(graph.tensors) - 1


def _mul(tree: Any, source: int, constant: int, result: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    operator = schema.OperatorT()
    operator.opcodeIndex = _mul_code(tree)
    operator.inputs, operator.outputs = [source, constant], [result]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
    return operator


def _mul_code(tree: Any) -> int:
    """The place of MUL among the operator codes; added in version 2, the first with int8, where it is missing."""
    from ai_edge_litert import schema_py_generated as schema

    mul = int(schema.BuiltinOperator.MUL)
    for index, entry in enumerate(tree.operatorCodes):
        if _code(entry) == mul and entry.version >= 2:
            return index
    new = schema.OperatorCodeT()
    new.builtinCode, new.deprecatedBuiltinCode, new.version = mul, mul, 2
    tree.operatorCodes.append(new)
    return len(tree.operatorCodes) - 1


def _producer(graph: Any, tensor: int) -> int:
    for number, operator in enumerate(graph.operators):
        if tensor in [int(t) for t in operator.outputs]:
            return number
    raise InputError("no operator of the file computes its prototypes", "quantize the model again")


def _converters() -> frozenset[int]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return frozenset({int(BuiltinOperator.DEQUANTIZE), int(BuiltinOperator.QUANTIZE)})


def _code(entry: Any) -> int:
    return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))


def _rename_signature(tree: Any, before: int, after: int) -> None:
    """Signatures name outputs by tensor."""
    for signature in tree.signatureDefs or []:
        for entry in signature.outputs or []:
            if int(entry.tensorIndex) == before:
                entry.tensorIndex = after
