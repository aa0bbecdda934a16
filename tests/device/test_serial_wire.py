"""Messages and packets, against bytes computed with the published schema and against Google's implementation."""

from __future__ import annotations

import os
import socket
import threading
import tty
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.device.stm32msg import transport
from edgeai.device.stm32msg.faults import Garbled, LineLost, Overdue
from edgeai.device.stm32msg.messages import (
    Ack,
    Data,
    ModelInfo,
    Operator,
    Request,
    Response,
    Sync,
    SystemInfo,
    TensorDesc,
    bsd_checksum,
    tensor_dtype,
    tensor_shape,
)
from edgeai.device.stm32msg.packet import Link
from edgeai.device.stm32msg.protobuf import decode, encode
from edgeai.device.stm32msg.transport import Address, Deadline, open_transport, parse_address
from edgeai.errors import DeviceError, InputError

DESC = TensorDesc("x", 0x840440, 4, 5 << 24 | 2, (1, 4), 0.5, -128, 0, 1 | 256)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Request(1, 0, 0, "", 0), "08 01 10 00 18 00 22 00 28 00"),
        (Response(1, 0, sync=Sync(769, 1, 65540)), "08 01 10 00 52 09 08 81 06 20 01 28 84 80 04"),
        (Ack(0, 0), "08 00 10 00"),
        (
            DESC,
            "0A 01 78 10 C0 88 90 04 18 04 20 82 80 80 28 28 01 28 04 35 00 00 00 3F 38 80 FF FF FF FF FF FF FF FF 01 "
            "40 00 48 81 02",
        ),
    ],
)
def test_reference_bytes(message: object, text: str) -> None:
    assert encode(message) == bytes.fromhex(text)
    assert decode(type(message), bytes.fromhex(text)) == message


KINDS = {"uint32": 13, "uint64": 4, "int32": 5, "float": 2, "string": 9, "bytes": 12}  # FieldDescriptorProto.Type


def google(name: str, fields: list[tuple[str, int, str, bool]]) -> type:
    """Google's class for a flat message."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="t", syntax="proto2")
    entry = file.message_type.add(name=name)
    for field, number, kind, repeated in fields:
        entry.field.add(name=field, number=number, type=KINDS[kind], label=3 if repeated else 1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))


OPERATOR = [
    ("name", 1, "string", False), ("type", 2, "uint32", False), ("id", 3, "uint32", False),
    ("duration", 4, "float", False), ("counter_type", 5, "uint32", False), ("counters", 6, "uint32", True),
    ("stack_used", 7, "int32", False), ("heap_used", 8, "int32", False),
]  # fmt: skip
U32, I32 = st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.builds(Operator, st.text(max_size=20), U32, U32, FLOATS, U32, st.lists(U32, max_size=5).map(tuple), I32, I32))
def test_google_reads_ours_and_we_read_google(message: Operator) -> None:
    theirs = google("Operator", OPERATOR)()
    theirs.ParseFromString(encode(message))
    assert all(getattr(theirs, name) == getattr(message, name) for name, _, _, repeated in OPERATOR if not repeated)
    assert tuple(theirs.counters) == message.counters
    assert theirs.SerializeToString() == encode(message)
    assert decode(Operator, theirs.SerializeToString()) == message


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_garbled(data: bytes) -> None:
    for kind in (Response, ModelInfo, Data, SystemInfo):
        try:
            decode(kind, data)
        except Garbled:
            continue


def test_newer_schemas_are_read() -> None:
    info = SystemInfo(0x486, 8, 4, 0, (0, 1000, 900, 0))
    unknown = bytes.fromhex("9A 06 02 01 02")  # field 99
    assert decode(SystemInfo, encode(info) + unknown).extra == (0, 1000, 900, 0)
    later = SystemInfo(0x486, 8, 4, 0, (0,), (0, 1000, 900, 0))
    assert decode(SystemInfo, encode(later)).extra == (0, 1000, 900, 0)
    packed = encode(SystemInfo(0x486)) + bytes.fromhex("2A 03 00 E8 07")
    assert decode(SystemInfo, packed).extra == (0, 1000)


def test_counters_of_both_widths() -> None:
    assert Operator("a", 0, 0, 1.0, 0, (5, 1, 7, 0)).cycles == (5 + (1 << 32), 7)
    assert Operator("a", 0, 0, 1.0, 1 << 16, (5, 6, 7)).cycles == (5, 6, 7)


def test_tensor_formats_and_shapes() -> None:
    words = {0x840440: "int8", 0x40440: "uint8", 0x841040: "int32", 0x842040: "int64", 0x01821040: "float32"}
    assert {word: str(tensor_dtype(word)) for word in words} == words
    assert tensor_dtype(0x8400C0) is None  # one bit
    assert tensor_shape(TensorDesc(n_dims=4 << 24 | 2, dims=(8, 8))) == (1, 8, 8)
    assert tensor_shape(TensorDesc(n_dims=(4 | 64) << 24 | 3, dims=(1, 8, 8))) == (1, 8, 8)
    assert tensor_shape(TensorDesc(n_dims=2, dims=(3, 4))) == (3, 4)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_the_checksum_sees_every_single_wrong_byte(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    wrong = bytearray(data)
    wrong[place] ^= draw.draw(st.integers(1, 255))
    assert bsd_checksum(bytes(wrong)) != bsd_checksum(data)


# --- packets ----------------------------------------------------------------------------------------


@pytest.fixture
def line() -> Iterator[tuple[Link, int]]:
    """A link over a pseudo terminal, and the other end."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with open_transport(Address(os.ttyname(slave))) as transport:
        yield Link(transport, next_s=0.2, packet_s=0.1), master
    os.close(master)
    os.close(slave)


def exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


@pytest.mark.parametrize("size", [0, 1, 30, 31, 32, 33, 62, 63, 64, 65, 128, 5000])
def test_what_is_sent_arrives(line: tuple[Link, int], size: int) -> None:
    link, far = line
    message = bytes(i % 251 for i in range(size))
    packets: list[bytes] = []

    def board() -> None:
        """The receive loop of the protocol's description."""
        body = b""
        while True:
            packets.append(exactly(far, 33))
            body += packets[-1][1 : 1 + (packets[-1][0] & 0x7F)]
            length, start = body[0] & 0x7F, 1
            if body[0] & 0x80:
                length, start = length | body[1] << 7, 2
            if len(body) >= start + length:
                return
            os.write(far, b"\xaa")

    thread = threading.Thread(target=board)
    thread.start()
    link.send(message, Deadline(5))
    thread.join(5)
    assert not thread.is_alive()
    body = b"".join(packet[1 : 1 + packet[0]] for packet in packets)
    assert body[1 if size < 128 else 2 :] == message
    assert all(packet[0] == 32 for packet in packets[:-1]) and 1 <= packets[-1][0] <= 32


def test_sync_on_the_wire(line: tuple[Link, int]) -> None:
    link, far = line
    link.send(encode(Request(1, 0, 0, "", 0)), Deadline(1))
    assert exactly(far, 33) == bytes.fromhex("0B 0A 08 01 10 00 18 00 22 00 28 00") + bytes(21)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 3000])
@pytest.mark.parametrize("empty_last", [False, True])
def test_what_the_board_sends_is_read(line: tuple[Link, int], size: int, empty_last: bool) -> None:
    link, far = line
    message = bytes(i % 251 for i in range(size))
    parts = [message[i : i + 32] for i in range(0, size, 32)]
    if empty_last and len(parts[-1]) == 32:
        parts.append(b"")
    wire = b"".join(bytes([len(part)]) + part.ljust(32, b"\0") for part in parts[:-1])
    wire += bytes([0x80 | len(parts[-1])]) + parts[-1].ljust(32, b"\0")
    os.write(far, b"\xaa" + wire)  # a request that came twice stands in front
    assert link.receive(Deadline(1), "a message") == message


def test_packets_that_are_none(line: tuple[Link, int]) -> None:
    link, far = line
    for header in (0xA1, 0x21, 0x05, 0x00):
        os.write(far, bytes([header]) + bytes(32))
        with pytest.raises(Garbled):
            link.receive(Deadline(1), "a message")
    os.write(far, bytes([32]) + bytes(40))
    with pytest.raises(Overdue) as caught:
        link.receive(Deadline(1), "a message")
    assert len(caught.value.received) == 8


# --- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/ttyACM0", Address("/dev/ttyACM0")),
        ("COM3:921600", Address("COM3", 921600)),
        ("serial:921600:/dev/ttyUSB1", Address("/dev/ttyUSB1", 921600)),
        ("serial", Address("")),
        ("socket", Address("socket://localhost:10000")),
        ("socket:lab:4000", Address("socket://lab:4000")),
        ("rfc2217://lab:4000", Address("rfc2217://lab:4000")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "a:b", "COM3:1:2", "921600"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError):
        parse_address(text)


@pytest.mark.parametrize("selectable", [True, False], ids=["by descriptor", "as on Windows"])
def test_a_socket_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch, selectable: bool) -> None:
    if not selectable:
        monkeypatch.setattr(transport, "_descriptor", lambda port: None)
    data = bytes(range(256)) * 256
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = open_transport(Address(f"socket://127.0.0.1:{server.getsockname()[1]}"))
        far, _ = server.accept()
        with line, far:
            counted = counting(monkeypatch, line)
            far.sendall(data)
            assert line.read(len(data), Deadline(5), "a block") == data
            assert len(counted) < 100
            line.write(b"answer", Deadline(1), "an answer")
            assert far.recv(6) == b"answer"
            assert line.read_some(Deadline(0.05)) == b""
            far.close()
            with pytest.raises(LineLost):
                line.read(1, Deadline(1), "more")


def counting(monkeypatch: pytest.MonkeyPatch, line: transport.Transport) -> list[int]:
    """The sizes of the reads that follow."""
    sizes: list[int] = []
    receive = line._receive

    def counted(seconds: float) -> bytes:
        chunk = receive(seconds)
        sizes.append(len(chunk))
        return chunk

    monkeypatch.setattr(line, "_receive", counted)
    return sizes


@pytest.mark.parametrize("url", ["socket://", "socket://localhost", "socket://localhost:x", "socket://localhost:99999"])
def test_sockets_that_are_none(url: str) -> None:
    with pytest.raises(DeviceError, match="does not open"):
        open_transport(Address(url))


def test_ports_that_do_not_open() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    with open_transport(Address(name)), pytest.raises(DeviceError, match="in use"):
        open_transport(Address(name))
    os.close(master)
    os.close(slave)
    with pytest.raises(DeviceError, match="no port /dev/ttyNONE"):
        open_transport(Address("/dev/ttyNONE"))
    with pytest.raises(DeviceError, match="does not open"):
        open_transport(Address("socket://127.0.0.1:1"))
