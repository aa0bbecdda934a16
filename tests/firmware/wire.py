"""The wire protocol from the host's side, as little of it as the firmware's tests need, written from the protocol's
description alone: it shares nothing with edgeai's own client."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

PAYLOAD = 32

SYNC, SYS_INFO, NETWORK_INFO, NETWORK_RUN = 0, 1, 10, 11
MEMORY_READ, MEMORY_WRITE, MEMORY_CHECKSUM = 20, 21, 22
IDLE, WAITING, PROCESSING, DONE, ERROR = range(5)
IO_ONLY, PER_LAYER, WITH_DATA, PERF, CONST_VALUE = 1, 2, 4, 8, 512
PAYLOADS = {10: "sync", 11: "sinfo", 12: "ack", 13: "log", 15: "data", 16: "op", 17: "tensor", 22: "minfo"}


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field_number: int, value: int) -> bytes:
    return varint(field_number << 3) + varint(value)


def blob(field_number: int, value: bytes) -> bytes:
    return varint(field_number << 3 | 2) + varint(len(value)) + value


def request(reqid: int, cmd: int, param: int = 0, name: str = "", opt: int = 0) -> bytes:
    return number(1, reqid) + number(2, cmd) + number(3, param) + blob(4, name.encode()) + number(5, opt)


def data(content: bytes, address: int = 0) -> bytes:
    return number(1, 0) + number(2, len(content)) + number(3, address) + blob(4, content)


def ack() -> bytes:
    return number(1, 0) + number(2, 0)


def packets(message: bytes) -> list[bytes]:
    whole = varint(len(message)) + message
    parts = [whole[i : i + PAYLOAD] for i in range(0, len(whole), PAYLOAD)]
    return [bytes([len(part)]) + part.ljust(PAYLOAD, b"\0") for part in parts]


def fields(message: bytes) -> dict[int, list[int | bytes]]:
    """A message by field number, values in order."""
    found: dict[int, list[int | bytes]] = {}
    at = 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = take()
        if tag & 7 == 0:
            value: int | bytes = take()
        elif tag & 7 == 2:
            size = take()
            value, at = message[at : at + size], at + size
        else:
            assert tag & 7 == 5
            value, at = message[at : at + 4], at + 4
        found.setdefault(tag >> 3, []).append(value)
    assert at == len(message)
    return found


@dataclass(frozen=True)
class Answer:
    reqid: int
    state: int
    kind: str
    payload: dict[int, list[int | bytes]]

    def value(self, number: int) -> int:
        found = self.payload[number][0]
        assert isinstance(found, int)
        return found

    def text(self, number: int) -> str:
        found = self.payload[number][0]
        assert isinstance(found, bytes)
        return found.decode()

    def inner(self, number: int) -> dict[int, list[int | bytes]]:
        found = self.payload[number][0]
        assert isinstance(found, bytes)
        return fields(found)


@dataclass
class Run:
    """What came back of a run: outputs' bytes, the whole model's ticks, and (name, code, ticks, data) of each node."""

    outputs: list[bytes] = field(default_factory=list)
    ticks: int = 0
    nodes: list[tuple[str, int, int, list[bytes]]] = field(default_factory=list)


class Host:
    """A host at the other end: `write(bytes)` and `read(n)`, which returns exactly n bytes or raises."""

    def __init__(self, write: Callable[[bytes], object], read: Callable[[int], bytes]) -> None:
        self.write, self.read = write, read
        self.reqid = 0

    def send(self, message: bytes) -> None:
        first, *rest = packets(message)
        self.write(first)
        for packet in rest:
            assert self.read(1) == b"\xaa"
            self.write(packet)

    def receive(self) -> Answer:
        parts = []
        while True:
            packet = self.read(PAYLOAD + 1)
            used = packet[0] & 0x7F
            assert used <= PAYLOAD and not any(packet[1 + used :]), packet.hex()
            parts.append(packet[1 : 1 + used])
            if packet[0] & 0x80:
                break
            assert used == PAYLOAD
        outer = fields(b"".join(parts))
        ((number_, (content,)),) = ((n, v) for n, v in outer.items() if n > 2)
        assert isinstance(content, bytes) and outer[1][0] == self.reqid
        return Answer(int(outer[1][0]), int(outer[2][0]), PAYLOADS[number_], fields(content))  # type: ignore[arg-type]

    def ask(self, cmd: int, param: int = 0, name: str = "", opt: int = 0) -> Answer:
        self.reqid += 1
        self.send(request(self.reqid, cmd, param, name, opt))
        return self.receive()

    def run(self, name: str, inputs: list[bytes], mode: int = IO_ONLY) -> Run:
        start = self.ask(NETWORK_RUN, mode, name)
        assert (start.kind, start.state) == ("ack", WAITING), start
        for i, content in enumerate(inputs):
            self.send(data(content))
            answer = self.receive()
            assert answer.state == (PROCESSING if i + 1 == len(inputs) else WAITING), answer
            self.send(ack())
        run = Run()
        while True:
            answer = self.receive()
            if answer.kind == "op":
                low, high = answer.payload[6]
                ticks = int(low) | int(high) << 32  # type: ignore[arg-type]
                if not answer.value(2) >> 24:
                    run.ticks = ticks
                    break
                run.nodes.append((answer.text(1), answer.value(2) & 0xFFFF, ticks, []))
            else:
                run.nodes[-1][3].append(answer.inner(2)[4][0])  # type: ignore[arg-type]
        while True:
            answer = self.receive()
            assert answer.kind == "tensor"
            run.outputs.append(answer.inner(2)[4][0])  # type: ignore[arg-type]
            last = int(answer.inner(1)[9][0]) & 256  # type: ignore[arg-type]
            assert bool(last) == (answer.state == DONE)
            if last:
                return run


def float_of(raw: bytes) -> float:
    return float(struct.unpack("<f", raw)[0])
