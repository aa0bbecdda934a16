"""A simulated program written back into its int8 TFLite file: grids, biases and weight codes, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.graph.flat import pack, tree_of
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.simulate.program import Program

INT32 = 2**31 - 1


def patched(quantized: bytes, program: Program) -> bytes:
    """`quantized` with the grids, biases and weights of `program`, which was read from it. No operator changes.

    Bias scales follow from the new input scales (TFLite: input scale times weight scale), so every bias is coded anew.
    """
    tree = tree_of(quantized)
    tensors = tree.subgraphs[0].tensors
    for index, grid in program.grids.items():
        parameters = tensors[index].quantization
        parameters.scale, parameters.zeroPoint = [grid.scale], [grid.zero_point]
    for node in program.nodes:
        layout = LAYOUTS.get(node.kind)
        if layout is None:
            continue
        data, weights = (node.inputs[i] for i in (layout.data, layout.weights))
        if data not in program.grids or weights not in program.weight_scales:
            continue  # a layer that stays in floating point
        scales = program.weight_scales[weights].double().numpy()
        scale = scales.ravel()
        tensors[weights].quantization.scale = scale.tolist()
        codes = np.rint(program.constants[weights].double().numpy() / scales)
        _store(tree, tensors[weights], codes.clip(-127, 127).astype(np.int8))
        if len(node.inputs) > layout.bias and node.inputs[layout.bias] >= 0:
            bias = node.inputs[layout.bias]
            step = program.grids[data].scale * scale
            coded = np.rint(program.constants[bias].double().numpy() / step).clip(-INT32, INT32)
            tensors[bias].quantization.scale = step.tolist()
            tensors[bias].quantization.zeroPoint = [0] * step.size
            _store(tree, tensors[bias], coded.astype(np.int32))
    return pack(tree)


def _store(tree: Any, tensor: Any, values: NDArray[Any]) -> None:
    tree.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
