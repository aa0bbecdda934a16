"""What tuning computes with, operator by operator: the kernels that the table names give the same to one step."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))

import movers  # noqa: E402, F401  (registers its operators)
from operators import OPERATORS, Draw  # noqa: E402
from tiny_models import Model, random_inputs  # noqa: E402

from edgeai.errors import NotSimulatedError  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.kernels.interpreter import open_mixed  # noqa: E402
from edgeai.kernels.table import named  # noqa: E402
from edgeai.kernels.variants import variant_of  # noqa: E402
from edgeai.simulate.program import KERNELS, Program  # noqa: E402

DRAWS = 24
KNOWN = sorted(name for name in OPERATORS if name.partition(" ")[0] in KERNELS)


def codes_of(program: Program, path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    graph = load_graph(path)
    values = {}
    for t, codes in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[t]
        real = codes.astype(np.float32)
        values[t] = torch.from_numpy(
            (real - tensor.zero_point) * np.float32(tensor.scale) if tensor.quantized else real
        )
    for _ in program.walk(values):
        pass
    found = []
    for t in graph.outputs:
        tensor, real = graph.tensors[t], values[t].numpy()
        found.append(np.rint(real / tensor.scale) + tensor.zero_point if tensor.quantized else real)
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_to_one_step(name: str, tmp_path: Path) -> None:
    compared = refused = 0
    for number in range(DRAWS):
        model = Model()
        rng = np.random.default_rng([number, *name.encode(), 2])
        path = tmp_path / "m.tflite"
        path.write_bytes(model.pack(*OPERATORS[name](Draw(model, rng, ties=number % 3))))
        graph = load_graph(path)
        given = [graph.tensors[t] for t in graph.inputs]
        if any(tensor.shape[:1] != (1,) for tensor in given):
            continue  # a batch of another size than the program's
        try:
            program = Program(path.read_bytes())
            inputs = random_inputs([{"shape": t.shape, "dtype": np.dtype(t.dtype).type} for t in given], number)
            if name.startswith("DIV"):  # not by zero
                zero = given[1].zero_point
                inputs[1] = np.where(inputs[1] == zero, zero + 1, inputs[1]).astype(np.int8)
            simulated = codes_of(program, path, inputs)
        except NotSimulatedError:
            refused += 1
            continue
        assert named(variant_of(graph, graph.ops[0])), "no kernel is right, and the simulation says nothing"
        for codes, output in zip(simulated, open_mixed(path).run(inputs), strict=True):
            assert np.abs(codes - output.astype(np.float64)).max() <= 1
        compared += 1
    assert compared or refused or name.partition(" ")[0] in BATCHED


# drawn with two pictures only, or with rows for pictures
BATCHED = frozenset(
    "CONCATENATION SPLIT SPLIT_V SLICE STRIDED_SLICE TRANSPOSE RESHAPE SQUEEZE EXPAND_DIMS SOFTMAX QUANTIZE "
    "DEQUANTIZE FULLY_CONNECTED".split()
)
