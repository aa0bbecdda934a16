"""Nothing that a host sends, and nothing in a model blob, makes the firmware write out of bounds: the same sources
under AddressSanitizer and UBSan, fed with mutated dialogues and mutated blobs."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from firmware_tools import make
from tiny_models import Model
from wire import (
    CONST_VALUE,
    IO_ONLY,
    MEMORY_CHECKSUM,
    MEMORY_READ,
    MEMORY_WRITE,
    NETWORK_INFO,
    NETWORK_RUN,
    PER_LAYER,
    SYNC,
    SYS_INFO,
    WITH_DATA,
    ack,
    data,
    packets,
    request,
)  # fmt: skip

from edgeai.firmware.blob import make_blob

FRAMES, BLOBS = 1500, 100
ARENA = 0x7000_0000


@pytest.fixture(scope="session")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that plays recorded dialogues, under the sanitizers."""
    folder = tmp_path_factory.mktemp("asan")
    make(folder, "asan", "gcc")
    return folder / "asan" / "edgeai-bench-replay"


@pytest.fixture(scope="session")
def blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that uses most kernels once."""
    rng = np.random.default_rng(3)
    model = Model()

    def quantized(*shape: int) -> int:
        return model.tensor(shape, scale=0.05, zero=-3)

    x = quantized(1, 8, 8, 4)
    kernel = model.tensor((4, 3, 3, 4), scale=[0.01] * 4, data=rng.integers(-127, 128, (4, 3, 3, 4)))
    depth = model.tensor((1, 3, 3, 4), scale=[0.01] * 4, axis=3, data=rng.integers(-127, 128, (1, 3, 3, 4)))
    bias = model.tensor((4,), "int32", data=rng.integers(-99, 99, 4))
    a, b, c, d = (quantized(1, 8, 8, 4) for _ in range(4))
    model.op("CONV_2D", [x, kernel, bias], [a], "Conv2DOptions", 3, strideH=1, strideW=1)
    model.op("DEPTHWISE_CONV_2D", [a, depth, bias], [b], "DepthwiseConv2DOptions", 3, strideH=1, strideW=1,
             depthMultiplier=1)  # fmt: skip
    model.op("ADD", [a, b], [c], "AddOptions", 2)
    model.op("MUL", [c, b], [d], "MulOptions", 2)
    small, big, joined = quantized(1, 4, 4, 4), quantized(1, 8, 8, 4), quantized(1, 8, 8, 8)
    model.op("MAX_POOL_2D", [d], [small], "Pool2DOptions", 2, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    size = model.tensor((2,), "int32", data=np.array([8, 8]))
    model.op("RESIZE_BILINEAR", [small, size], [big], "ResizeBilinearOptions", 3)
    model.op("CONCATENATION", [d, big], [joined], "ConcatenationOptions", 2, axis=3)
    mean, axes = quantized(1, 8), model.tensor((2,), "int32", data=np.array([1, 2]))
    model.op("MEAN", [joined, axes], [mean], "ReducerOptions", 2)
    probabilities = model.tensor((1, 8), scale=1 / 256, zero=-128)
    model.op("SOFTMAX", [mean], [probabilities], "SoftmaxOptions", 2, beta=1.0)
    best, axis = model.tensor((1,), "int32"), model.tensor((), "int32", data=np.array(1))
    model.op("ARG_MAX", [probabilities, axis], [best], "ArgMaxOptions", 2, outputType=model.schema.TensorType.INT32)
    folder = tmp_path_factory.mktemp("damage")
    (folder / "net.tflite").write_bytes(model.pack([x], [probabilities, best]))
    (folder / "net.blob").write_bytes(make_blob(folder / "net.tflite").data)
    return folder / "net.blob"


def dialogues() -> list[bytes]:
    def run(mode: int, content: bytes) -> bytes:
        return join(request(1, NETWORK_RUN, mode, "net", 1), data(content), ack())

    return [
        join(request(1, SYNC), request(2, SYS_INFO), request(3, NETWORK_INFO, 0), request(4, NETWORK_INFO, 1)),
        run(IO_ONLY, bytes(256)),
        run(IO_ONLY | PER_LAYER | WITH_DATA, bytes(range(256))),
        run(IO_ONLY | CONST_VALUE, b"\1"),
        join(request(1, MEMORY_WRITE, ARENA, "", 300), data(bytes(300), ARENA)),
        join(request(1, MEMORY_READ, ARENA, "", 5000), ack(), ack()),
        join(request(1, MEMORY_CHECKSUM, ARENA, "crc32", 5000)),
    ]


def join(*messages: bytes) -> bytes:
    return b"".join(packet for message in messages for packet in packets(message))


def mutated(content: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, lost, doubled or inserted; where it hurts most, more often."""
    found = bytearray(content)
    for _ in range(1 + dice.randrange(4)):
        at = dice.randrange(len(found))
        if dice.random() < 0.5:
            at = at // 33 * 33 + dice.randrange(12)  # headers, lengths and tags
        at = min(at, len(found) - 1)
        kind = dice.randrange(4)
        if kind == 0:
            found[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif kind == 1:
            del found[at]
        elif kind == 2:
            found.insert(at, found[at])
        else:
            found[at:at] = dice.randbytes(1 + dice.randrange(40))
    return bytes(found)


def play(replay: Path, blob: Path, files: list[Path]) -> None:
    env = {**os.environ, "BENCH_BLOB": str(blob), "UBSAN_OPTIONS": "print_stacktrace=1"}
    result = subprocess.run([replay, *files], capture_output=True, text=True, env=env, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


def test_the_sanitizers_are_on(replay: Path) -> None:
    symbols = subprocess.run(["nm", replay], capture_output=True, text=True, check=True).stdout
    assert "__asan_report_store" in symbols and "__ubsan_handle_type_mismatch" in symbols


def test_mutated_dialogues(replay: Path, blob: Path, tmp_path: Path) -> None:
    dice, seeds, files = random.Random(6), dialogues(), []
    for i in range(FRAMES):
        content = seeds[i % len(seeds)]
        path = tmp_path / f"{i}"
        path.write_bytes(mutated(content, dice) + (content if i % 3 == 0 else b"") if i >= len(seeds) else content)
        files.append(path)
    play(replay, blob, files)


def test_mutated_blobs(replay: Path, blob: Path, tmp_path: Path) -> None:
    """Blobs with a right checksum and wrong contents: refused, or run without harm."""
    dice, content = random.Random(7), blob.read_bytes()
    whole = tmp_path / "run"
    whole.write_bytes(b"".join(dialogues()))
    tables = struct.unpack_from("<I", content, 144 + 4 * 5 + 8 * 4)[0]  # where the constants start
    for _ in range(BLOBS):
        damaged = bytearray(content)
        for _ in range(1 + dice.randrange(3)):
            at = dice.randrange(144, tables) // 4 * 4
            value = dice.choice((0, 1, 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_FFFF, dice.randrange(1 << 12)))
            struct.pack_into("<I", damaged, at, value)
        struct.pack_into("<I", damaged, 12, zlib.crc32(damaged[16:]))
        path = tmp_path / "bad.blob"
        path.write_bytes(damaged)
        play(replay, path, [whole])


@pytest.mark.parametrize("size", [0, 3, 16, 200, 1000])
def test_cut_blobs_are_no_models(replay: Path, blob: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "cut.blob").write_bytes(blob.read_bytes()[:size] or b"\0")
    (tmp_path / "run").write_bytes(b"".join(dialogues()))
    play(replay, tmp_path / "cut.blob", [tmp_path / "run"])
