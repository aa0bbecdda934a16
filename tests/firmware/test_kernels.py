"""Every operator of the firmware, in 210 draws, against the kernels that the table names: every byte of them.

Two thirds of the draws have scales whose results fall on halves. In the host build one file an operator; on the
emulated board eight files a boot.
"""

from __future__ import annotations

import functools
from pathlib import Path

import movers  # noqa: F401  (registers its operators)
import numpy as np
import pytest
import serial
from firmware_tools import Infer, need
from operators import OPERATORS, Draw
from tiny_models import Model, random_inputs
from wire import SYNC, Host

from edgeai.device.emulated.m55 import BLOB_SLOTS, EmulatedM55
from edgeai.errors import InputError
from edgeai.firmware.blob import make_blob
from edgeai.kernels.interpreter import open_mixed
from edgeai.kernels.table import named, rows
from edgeai.kernels.variants import variant_of

DRAWS = 210  # with an input and an output each they are so many buffers that the planner places them once
FEW = 24  # of what takes a minute to send to the board
# what the firmware has no kernel for, and says so
NOT_COMPUTED = {
    "ABS", "DIV coarse", "DIV fine", "ELU", "EXP", "GELU", "L2_NORMALIZATION", "LOG_SOFTMAX", "MIRROR_PAD", "NEG",
    "NEG with a zero point", "PRELU", "REDUCE_PROD", "BATCH_MATMUL per channel", "RSQRT", "SQRT",
    "SQUARED_DIFFERENCE", "SUM", "SUM of long rows", "MAXIMUM other scales", "MINIMUM other scales",
    "AVERAGE_POOL_2D other scales", "MAX_POOL_2D other scales", "REDUCE_MAX other scales", "REDUCE_MIN other scales",
    "CONCATENATION other scales", "MIRROR_PAD other scales",
}  # fmt: skip
# what LiteRT refuses, and the firmware computes as TFLite Micro does: codes are copied
REFUSED_BY_LITERT = {f"{kind} other scales" for kind in ("EXPAND_DIMS", "PACK", "UNPACK")}
COMPUTED = sorted(set(OPERATORS) - NOT_COMPUTED - REFUSED_BY_LITERT)


def drawn(name: str, path: Path) -> list[np.ndarray]:
    """A file of operators side by side, and its inputs."""
    model = Model()
    inputs, outputs = [], []
    for number in range(FEW if "long rows" in name else DRAWS):
        rng = np.random.default_rng([number, *name.encode(), 1])
        given, made = OPERATORS[name](Draw(model, rng, ties=number % 3))
        inputs += given
        outputs += made
    path.write_bytes(model.pack(inputs, outputs))
    found = []
    for place, index in enumerate(inputs):
        tensor = model.graph.tensors[index]
        dtype = {"FLOAT32": np.float32, "INT8": np.int8, "UINT8": np.uint8}[
            next(name for name, code in vars(model.schema.TensorType).items() if code == tensor.type)
        ]
        found += random_inputs([{"shape": tensor.shape, "dtype": dtype}], place)
    return found


@functools.cache
def expected(name: str, path: Path) -> tuple[list[bytes], list[bytes]]:
    """Inputs, and what the kernels that the table names make of them."""
    inputs = drawn(name, path)
    interpreter = open_mixed(path)
    for op in interpreter.graph.ops:
        row = variant_of(interpreter.graph, op)
        assert row in rows(), f"{row} was not measured"
        assert named(row) or "scales differ" in row, f"no kernel of {row} is right"
    outputs = interpreter.run(inputs)
    return [values.tobytes() for values in inputs], [values.tobytes() for values in outputs]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operators")


def blob_of(folder: Path, name: str) -> Path:
    path = folder / f"{COMPUTED.index(name)}.blob"
    if not path.exists():
        path.write_bytes(make_blob(path.with_suffix(".tflite"), path.stem).data)
    return path


@pytest.mark.parametrize("name", COMPUTED)
def test_bit_exact(name: str, infer: Infer, folder: Path) -> None:
    inputs, outputs = expected(name, folder / f"{COMPUTED.index(name)}.tflite")
    got, want = infer(blob_of(folder, name), inputs), b"".join(outputs)
    assert len(got) == len(want)
    differing = int((np.frombuffer(got, np.uint8) != np.frombuffer(want, np.uint8)).sum())
    assert differing == 0, f"{differing} of {len(want)} bytes differ"


@pytest.mark.parametrize("first", range(0, len(COMPUTED), BLOB_SLOTS))
def test_bit_exact_on_the_emulated_board(first: int, folder: Path) -> None:
    need("qemu-system-arm")
    names = COMPUTED[first : first + BLOB_SLOTS]
    answers = {name: expected(name, folder / f"{COMPUTED.index(name)}.tflite") for name in names}
    blobs = [blob_of(folder, name) for name in names]
    with EmulatedM55(blobs) as board, serial.Serial(board.port, timeout=30, exclusive=True) as line:
        host = Host(line.write, line.read)
        assert host.ask(SYNC).kind == "sync"
        for name, (inputs, outputs) in answers.items():
            got = host.run(str(COMPUTED.index(name)), inputs).outputs
            wrong = [number for number, (a, b) in enumerate(zip(got, outputs, strict=True)) if a != b]
            assert not wrong, f"{name}: outputs {wrong[:5]} of {len(outputs)} differ"


@pytest.mark.parametrize("name", sorted(NOT_COMPUTED))
def test_what_is_not_computed_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    model = Model()
    (tmp_path / "m.tflite").write_bytes(model.pack(*OPERATORS[name](Draw(model, np.random.default_rng(1)))))
    kind = name.split(maxsplit=1)[0]
    with pytest.raises(
        InputError, match=rf"{kind} #0 \((no kernel|input and output differ|operands that differ|a scale per channel)"
    ):
        make_blob(tmp_path / "m.tflite")
