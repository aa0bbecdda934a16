"""The firmware's side of the wire protocol, byte for byte, against the host build over pipes."""

from __future__ import annotations

import select
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import Answer, Model, Reference, random_inputs
from wire import (
    CONST_VALUE,
    DONE,
    ERROR,
    IDLE,
    IO_ONLY,
    MEMORY_CHECKSUM,
    MEMORY_READ,
    MEMORY_WRITE,
    NETWORK_INFO,
    NETWORK_RUN,
    PER_LAYER,
    PERF,
    PROCESSING,
    SYNC,
    SYS_INFO,
    WAITING,
    WITH_DATA,
    Host,
    ack,
    data,
    float_of,
    packets,
    request,
)  # fmt: skip

from edgeai.firmware.blob import make_blob
from edgeai.graph.opcodes import OPERATORS

INVALID_SIZE, INVALID_FORMAT, INVALID_PARAM, GENERIC = 1, 2, 4, 10
ARENA, BLOBS = 0x7000_0000, 0x7200_0000
SECONDS = 5.0


def two_inputs() -> bytes:
    """Two inputs, two outputs, three operators, a negative zero point and a tensor of a multiple of 32 bytes."""
    model = Model()
    a, b = model.tensor((1, 4, 4, 2), scale=0.1, zero=-128), model.tensor((1, 4, 4, 2), scale=0.05, zero=3)
    total, curve = (
        model.tensor((1, 4, 4, 2), scale=0.15, zero=-10),
        model.tensor((1, 4, 4, 2), scale=1 / 256, zero=-128),
    )
    real = model.tensor((1, 4, 4, 2), "float32")
    model.op("ADD", [a, b], [total], "AddOptions", 2)
    model.op("LOGISTIC", [total], [curve], version=2)
    model.op("DEQUANTIZE", [total], [real], "DequantizeOptions", 2)
    return model.pack([a, b], [curve, real])


class Board:
    """The host build as a process; everything it sends can be read with a deadline."""

    def __init__(self, program: Path, *blobs: Path) -> None:
        self.process = subprocess.Popen([program, *blobs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.host = Host(self.write, self.read)

    def write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)

    def read(self, n: int) -> bytes:
        assert self.process.stdout is not None
        found = b""
        while len(found) < n:
            assert not self.silent(SECONDS), f"{len(found)} of {n} bytes within {SECONDS} s"
            piece = self.process.stdout.read(n - len(found))
            assert piece, f"the board went away after {len(found)} of {n} bytes"
            found += piece
        return found

    def silent(self, seconds: float) -> bool:
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    folder = tmp_path_factory.mktemp("protocol")
    content = two_inputs()
    (folder / "two.tflite").write_bytes(content)
    (folder / "two.blob").write_bytes(make_blob(folder / "two.tflite").data)
    reference = Reference(content)
    return folder / "two.blob", reference.run(random_inputs(reference.inputs, 0))


@pytest.fixture
def board(host_program: Path, model: tuple[Path, Answer]) -> Iterator[Board]:
    found = Board(host_program, model[0])
    yield found
    found.close()


def test_reference_bytes(board: Board) -> None:
    """The SYNC request and its answer as the protocol's description prints them, but for our capabilities."""
    board.write(bytes.fromhex("0b0a08011000180022002800") + bytes(21))
    answer = board.read(33)
    assert answer.hex() == "8f" + "080110005209088106" + "2009" + "28828004" + "00" * 17


def test_system_info(board: Board) -> None:
    answer = board.host.ask(SYS_INFO)
    assert (answer.kind, answer.state) == ("sinfo", IDLE)
    assert answer.value(1) == 0x155
    assert all(n in answer.payload for n in (1, 2, 3, 4))  # required, zero or not


def test_model_list(board: Board, model: tuple[Path, Answer]) -> None:
    answer = board.host.ask(NETWORK_INFO, 0)
    assert (answer.kind, answer.state, answer.text(1)) == ("minfo", IDLE, "two")
    assert len(answer.text(3)) == 32
    assert [answer.value(n) for n in (8, 10, 12, 14, 16)] == [3, 2, 2, 1, 1]
    assert set(answer.payload) == {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 20}
    from wire import fields

    first = fields(answer.payload[11][0])  # type: ignore[arg-type]
    assert first[2] == [0x840440] and first[3] == [32] and first[5] == [1, 4, 4, 2]
    assert first[4] == [5 << 24 | 4]
    assert float_of(first[6][0]) == pytest.approx(0.1)  # type: ignore[arg-type]
    assert first[7] == [2**64 - 128]  # a negative int32 in ten bytes
    assert fields(answer.payload[13][1])[2] == [0x821040]  # type: ignore[arg-type]
    end = board.host.ask(NETWORK_INFO, 1)
    assert (end.kind, end.state, end.value(2)) == ("ack", ERROR, INVALID_PARAM)


def test_run_with_two_inputs_and_outputs(board: Board, model: tuple[Path, Answer]) -> None:
    for _ in range(3):
        assert board.host.run("two", model[1].inputs).outputs == model[1].outputs


def test_layers(board: Board, model: tuple[Path, Answer]) -> None:
    run = board.host.run("two", model[1].inputs, IO_ONLY | PER_LAYER | WITH_DATA)
    assert [OPERATORS[code] for _, code, _, _ in run.nodes] == ["ADD", "LOGISTIC", "DEQUANTIZE"]
    assert sum(ticks for _, _, ticks, _ in run.nodes) == run.ticks
    assert run.nodes[1][3] == [model[1].outputs[0]] and run.nodes[2][3] == [model[1].outputs[1]]
    plain = board.host.run("two", model[1].inputs, IO_ONLY | PER_LAYER)
    assert [node[3] for node in plain.nodes] == [[b""]] * 3 and plain.outputs == model[1].outputs


def test_performance_mode_moves_no_tensors(board: Board) -> None:
    run = board.host.run("two", [b"\x10", b"\x20"], IO_ONLY | PERF | CONST_VALUE | PER_LAYER)
    assert run.outputs == [b"", b""] and len(run.nodes) == 3


def test_constant_value_fills_the_tensor(board: Board) -> None:
    constant = board.host.run("two", [b"\x10", b"\xe0"], IO_ONLY | CONST_VALUE)
    assert constant.outputs == board.host.run("two", [b"\x10" * 32, b"\xe0" * 32]).outputs


@pytest.mark.parametrize("size", [0, 1, 31, 33, 5000])
def test_a_wrong_size_is_refused(board: Board, model: tuple[Path, Answer], size: int) -> None:
    assert board.host.ask(NETWORK_RUN, IO_ONLY, "two").state == WAITING
    board.host.send(data(bytes(size)))
    answer = board.host.receive()
    assert (answer.kind, answer.state, answer.value(2)) == ("ack", ERROR, INVALID_SIZE)
    assert board.host.run("two", model[1].inputs).outputs == model[1].outputs


@pytest.mark.parametrize(
    ("cmd", "param", "name"), [(NETWORK_RUN, 1, "absent"), (200, 0, ""), (100, 0, ""), (12, 0, "")]
)
def test_unknown_requests(board: Board, cmd: int, param: int, name: str) -> None:
    answer = board.host.ask(cmd, param, name)
    assert (answer.kind, answer.state, answer.value(2)) == ("ack", ERROR, INVALID_PARAM)


def bsd(content: bytes) -> int:
    total = 0
    for byte in content:
        total = ((total >> 1) + ((total & 1) << 15) + byte) & 0xFFFF
    return total


@pytest.mark.parametrize("size", [1, 32, 2048, 2049, 5000])
def test_memory(board: Board, size: int) -> None:
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    host, address = board.host, ARENA + 0x100000
    answer = host.ask(MEMORY_WRITE, address, opt=size)
    assert (answer.kind, answer.state) == ("ack", WAITING)
    chunk, at = answer.value(1), 0
    while at < size:
        piece = content[at : at + chunk]
        host.send(data(piece, address + at))
        at += len(piece)
        answer = host.receive()
        assert (answer.state, answer.value(1)) == (DONE if at == size else WAITING, bsd(piece))
    assert host.ask(MEMORY_READ, address, opt=size).state == PROCESSING
    found = b""
    while True:
        answer = host.receive()
        found += answer.payload[4][0]  # type: ignore[operator]
        if answer.state == DONE:
            break
        host.send(ack())
    assert found == content
    answer = host.ask(MEMORY_CHECKSUM, address, opt=size)
    assert (answer.state, answer.value(1)) == (DONE, bsd(content))
    assert host.ask(MEMORY_CHECKSUM, address, "crc32", size).value(1) == zlib.crc32(content)


@pytest.mark.parametrize("cmd", [MEMORY_READ, MEMORY_WRITE, MEMORY_CHECKSUM])
@pytest.mark.parametrize(
    ("address", "size"), [(0, 4), (ARENA, 0), (ARENA - 1, 4), (0xFFFF_FFFF, 4), (BLOBS, 0xFFFF_FFFF)]
)
def test_memory_outside_is_refused(board: Board, cmd: int, address: int, size: int) -> None:
    answer = board.host.ask(cmd, address, opt=size)
    assert (answer.kind, answer.state, answer.value(2)) == ("ack", ERROR, INVALID_PARAM)


def test_the_inputs_stay_readable_after_a_run(board: Board, model: tuple[Path, Answer]) -> None:
    """A host can check that what the board computed with is what it sent."""
    from wire import fields

    info = board.host.ask(NETWORK_INFO, 0)
    board.host.run("two", model[1].inputs)
    for described, content in zip(info.payload[11] + info.payload[13], model[1].inputs + model[1].outputs, strict=True):
        address = fields(described)[8][0]  # type: ignore[arg-type]
        assert board.host.ask(MEMORY_CHECKSUM, int(address), "crc32", len(content)).value(1) == zlib.crc32(content)


def test_a_model_can_be_loaded_over_the_line(host_program: Path, model: tuple[Path, Answer]) -> None:
    board = Board(host_program)
    assert board.host.ask(NETWORK_INFO, 0).kind == "ack"
    content = model[0].read_bytes()
    host, at = board.host, 0
    chunk = host.ask(MEMORY_WRITE, BLOBS, opt=len(content)).value(1)
    while at < len(content):
        host.send(data(content[at : at + chunk], BLOBS + at))
        at += chunk
        assert host.receive().state in (WAITING, DONE)
    assert board.host.run("two", model[1].inputs).outputs == model[1].outputs
    # a changed blob is checked again before it is used
    host.ask(MEMORY_WRITE, BLOBS + len(content) - 1, opt=1)
    host.send(data(b"\x55", BLOBS + len(content) - 1))
    host.receive()
    log = host.ask(NETWORK_INFO, 0)
    assert log.kind == "log" and "checksum" in log.text(2)
    host.send(ack())
    answer = host.receive()
    assert (answer.kind, answer.state, answer.value(2)) == ("ack", ERROR, GENERIC)
    board.close()


# --- a host that fails ----------------------------------------------------------------------------


def answers_sync(board: Board) -> bool:
    answer = board.host.ask(SYNC)
    return (answer.kind, answer.state, answer.value(1)) == ("sync", IDLE, 769)


@pytest.mark.parametrize("steps", range(5))
def test_a_request_in_the_middle_of_a_dialogue_starts_anew(
    board: Board, model: tuple[Path, Answer], steps: int
) -> None:
    if steps > 0:
        board.host.ask(NETWORK_RUN, IO_ONLY, "two")
    if steps > 1:
        board.host.send(data(model[1].inputs[0]))
        board.host.receive()
    if steps > 2:
        board.host.send(ack())
    if steps > 3:
        board.host.ask(MEMORY_WRITE, ARENA, opt=100)
    assert answers_sync(board)
    assert board.host.run("two", model[1].inputs).outputs == model[1].outputs


@pytest.mark.parametrize(
    "noise", [b"\0", b"\xff" * 7, b"\x05\x01", bytes(33), b"\x21" + bytes(32), b"\x01\xff" + bytes(31)]
)
def test_noise_before_a_request(board: Board, noise: bytes) -> None:
    """Dropped when the line has been quiet for a while; nothing is answered, for there is no request to answer."""
    board.write(noise)
    assert board.silent(1.3)
    assert answers_sync(board)


def test_a_message_that_stops_is_given_up(board: Board) -> None:
    """The host learns of it by an error where it expects the byte that asks for the next packet."""
    board.host.ask(NETWORK_RUN, IO_ONLY, "two")
    board.write(packets(data(bytes(32)))[0][:20])
    started = time.monotonic()
    answer = board.host.receive()
    assert (answer.kind, answer.state, answer.value(2)) == ("ack", ERROR, INVALID_FORMAT)
    assert time.monotonic() - started < 2.0
    assert answers_sync(board)


@pytest.mark.parametrize("broken", [
    request(9, SYNC)[:-2],  # without its last field
    b"\x09" + bytes(8),  # a fixed64 in place of a varint
    b"\x0f",  # a wire type that does not exist
    b"\x22\xff\xff\xff\xff\x0f",  # a string longer than the message
    b"\x80" * 12,  # a varint without an end
])  # fmt: skip
def test_malformed_requests_are_dropped(board: Board, broken: bytes) -> None:
    board.write(packets(broken)[0])
    assert board.silent(0.2)
    assert answers_sync(board)


def test_unknown_fields_are_skipped(board: Board) -> None:
    board.host.reqid += 1
    extra = b"\x32\x03abc" + b"\x38\x05" + b"\x45abcd" + b"\x49abcdefgh"
    board.host.send(request(board.host.reqid, SYNC) + extra)
    assert board.host.receive().kind == "sync"
