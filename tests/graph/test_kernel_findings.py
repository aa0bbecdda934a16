"""`inspect` names what kernels compute wrong without a message, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))

import movers  # noqa: F401  (registers its operators)
from operators import OPERATORS, Draw
from tiny_models import Model

from edgeai.recognise.audit import audit

WRONG = {
    "DIV coarse": "DIV, coarse output (#0): wrong by up to 255 steps without a message on every kernel set",
    "NEG with a zero point": "NEG, with a zero point (#0): wrong by up to 255 steps without a message on every",
    "AVERAGE_POOL_2D other scales": "AVERAGE_POOL_2D, scales differ (#0): wrong",
    "MAX_POOL_2D other scales": "MAX_POOL_2D, scales differ",
    "REDUCE_MAX other scales": "REDUCE_MAX, scales differ",
    "PAD other scales": "PAD, scales differ",
    "TRANSPOSE other scales": "TRANSPOSE, scales differ",
    "LOGISTIC another output scale": "LOGISTIC, another output scale (#0): wrong",
    "RELU6": "RELU6, scales differ (#0): wrong by up to 255 steps without a message on TFLite Micro; right on LiteRT's",
    "BATCH_MATMUL per channel": "BATCH_MATMUL, per channel (#0): wrong by up to 215 steps without a message on every",
    "SUM": "SUM (#0): wrong by up to 254 steps without a message on LiteRT's reference kernels; right on",
    "RESIZE_BILINEAR 20 to 480": "RESIZE_BILINEAR, positions that drift (#0): wrong by up to",
}
SOUND = ["CONV_2D per channel", "ADD", "MUL", "LOGISTIC", "SOFTMAX", "MEAN", "PAD", "TRANSPOSE",
         "DIV fine", "CONCATENATION", "MAX_POOL_2D", "QUANTIZE int8", "TILE version 3"]  # fmt: skip


def findings(name: str, folder: Path, seed: int) -> list[str]:
    model = Model()
    content = model.pack(*OPERATORS[name](Draw(model, np.random.default_rng(seed))))
    (folder / "m.tflite").write_bytes(content)
    return [finding for finding in audit(folder / "m.tflite").findings if "without a message" in finding]


@pytest.mark.parametrize("name", WRONG)
def test_named(name: str, tmp_path: Path) -> None:
    found = findings(name, tmp_path, 4)
    assert len(found) == 1 and found[0].startswith(WRONG[name]), found


@pytest.mark.parametrize("name", SOUND)
def test_not_named(name: str, tmp_path: Path) -> None:
    for seed in range(5):
        assert findings(name, tmp_path, seed) == []


def test_broken_shapes_are_no_traceback(tmp_path: Path) -> None:
    """A resize to no rows, a product of one operand, a QUANTIZE of nothing."""
    from edgeai.graph.tflite import read_tflite
    from edgeai.kernels.plan import silently_wrong

    for kind, options, inputs in (("RESIZE_BILINEAR", "ResizeBilinearOptions", 1), ("QUANTIZE", "QuantizeOptions", 0),
                                  ("BATCH_MATMUL", "BatchMatMulOptions", 1)):  # fmt: skip
        model = Model()
        x = model.tensor((1, 4, 4, 3), scale=0.1)
        y = model.tensor((1, 0, 4, 3), scale=0.1)
        model.op(kind, [x][:inputs], [y], options, 2)
        assert silently_wrong(read_tflite(model.pack([x], [y]))) == []


def test_the_last_digit_of_a_scale_is_no_difference(tmp_path: Path) -> None:
    from edgeai.graph.tflite import read_tflite
    from edgeai.kernels.variants import variant_of

    model = Model()
    x = model.tensor((2, 6), scale=0.05)
    y = model.tensor((3, 4), scale=float(np.nextafter(np.float32(0.05), np.float32(1))))
    model.op("RESHAPE", [x, model.tensor((2,), "int32", data=np.array([3, 4]))], [y], "ReshapeOptions", 1)
    graph = read_tflite(model.pack([x], [y]))
    assert variant_of(graph, graph.ops[0]) == "RESHAPE"
