"""A board that is a thread: it speaks stm32msg over a pseudo terminal or TCP as ST's firmware does, and has bad days.

Like firmware that polls its UART, it waits for ever for the rest of a packet or of a message. Faults are scripted:
bytes are lost, changed or doubled at a rate in both directions; at given runs it resets, stalls or goes away.

`python tests/fakes/board.py` serves one on a pseudo terminal whose name it prints.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import sys
import threading
import time
import tty
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from edgeai.device.stm32msg import messages as m
from edgeai.device.stm32msg.faults import Garbled
from edgeai.device.stm32msg.protobuf import decode, encode, read_varint, varint

S8 = 0x840440
CLOCK_HZ = 32_000_000
INPUT_ADDRESS, OUTPUT_ADDRESS = 0x7000_0000, 0x7100_0000
WRITE_CHUNK = 48
MESSAGE_LIMIT = 1 << 16
BOOT_TEXT = b"\r\nboot 1.0\r\n"


class Reset(Exception):  # noqa: N818
    """Everything the board was doing is forgotten."""


class Gone(Exception):  # noqa: N818
    """The line or the test has ended."""


@dataclass(frozen=True)
class FakeModel:
    name: str = "tiny"
    inputs: tuple[int, ...] = (24,)
    outputs: tuple[int, ...] = (16,)
    layers: int = 3
    layer_bytes: int = 20


def infer(model: FakeModel, inputs: Sequence[bytes]) -> list[bytes]:
    """The outputs: every input byte changes every output byte."""
    data = b"".join(inputs)
    return [
        bytes(sum(x * (2 * (i + j + k) + 1) for i, x in enumerate(data)) + 31 * j & 0xFF for j in range(size))
        for k, size in enumerate(model.outputs)
    ]


def layer_data(model: FakeModel, inputs: Sequence[bytes], layer: int) -> bytes:
    return infer(replace(model, outputs=(model.layer_bytes + layer,)), [*inputs, bytes([layer + 1])])[0]


@dataclass
class Script:
    """What goes wrong. `at_run` maps the number of an inference (from 0) to `reset`, `stall`, `vanish` or `slow`;
    `babble` prints a line every so many seconds."""

    rate: float = 0.0
    seed: int = 0
    at_run: Mapping[int, str] = field(default_factory=dict)
    slow_s: float = 0.2
    noise_at_open: bytes = b""
    babble: float = 0.0
    deaf: bool = False
    boot_text: bytes = BOOT_TEXT


@dataclass(frozen=True)
class Firmware:
    """Which firmware it is. `extra_field` is 5 (version 3.1) or 6."""

    version: tuple[int, int] = (3, 1)
    read_write: bool = True
    crc: bool = True
    extra_field: int = 5
    logs: bool = False
    input_survives: bool = True
    unknown_fields: bool = False
    devid: int = 0x155
    extra: tuple[int, ...] = ()
    broken_model: bool = False


class FakeBoard(threading.Thread):
    """A context manager; `port` is what the client opens, `injected` counts the faults by kind."""

    def __init__(
        self,
        models: Sequence[FakeModel] = (FakeModel(),),
        script: Script | None = None,
        firmware: Firmware | None = None,
        tcp: bool = False,
    ) -> None:
        super().__init__(daemon=True)
        self.models, self.script, self.firmware = tuple(models), script or Script(), firmware or Firmware()
        self.injected: Counter[str] = Counter()
        self.runs = 0
        self.resume = threading.Event()
        self._random = random.Random(self.script.seed)
        self._stop_read, self._stop_write = os.pipe()
        self._rx = bytearray()
        self._fds: list[int] = []
        self._server: socket.socket | None = None
        if tcp:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.port = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        else:
            master, slave = os.openpty()
            tty.setraw(slave)
            self._fds, self.port = [master, slave], os.ttyname(slave)
            os.write(master, self.script.noise_at_open)
        self._memory = {INPUT_ADDRESS: bytearray(), OUTPUT_ADDRESS: bytearray()}
        self._until = self._gap()

    # --- life ---------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume.set()
        os.write(self._stop_write, b"x")
        self.join(5)
        self._hang_up()

    def _hang_up(self) -> None:
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._fds = []

    def run(self) -> None:
        try:
            if self._server is not None:
                ready = select.select([self._server, self._stop_read], [], [])[0]
                if self._stop_read in ready:
                    return
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._fds = [connection.detach()]
                os.write(self._fds[0], self.script.noise_at_open or b"")
            while True:
                try:
                    if self.script.babble:
                        self._babble()
                    self._serve()
                except Reset:
                    self._rx.clear()
                    self._put(self.script.boot_text)
        except (Gone, OSError):
            return

    def _babble(self) -> None:
        while not select.select([self._stop_read], [], [], self.script.babble)[0]:
            os.write(self._fds[0], b"counter 1234567\r\n")
        raise Gone

    # --- bytes --------------------------------------------------------------------------------------

    def _gap(self) -> float:
        """Bytes until the next fault."""
        return self._random.expovariate(self.script.rate) if self.script.rate else float("inf")

    def _faulty(self, data: bytes) -> bytes:
        if self._until > len(data):
            self._until -= len(data)
            return data
        out = bytearray()
        for byte in data:
            self._until -= 1
            if self._until > 0:
                out.append(byte)
                continue
            self._until = self._gap()
            kind = self._random.choice(("lost", "changed", "doubled"))
            self.injected[kind] += 1
            if kind == "changed":
                out.append(byte ^ self._random.randrange(1, 256))
            elif kind == "doubled":
                out += bytes([byte, byte])
        return bytes(out)

    def _get(self, size: int) -> bytes:
        while len(self._rx) < size:
            ready = select.select([self._fds[0], self._stop_read], [], [])[0]
            if self._stop_read in ready:
                raise Gone
            chunk = os.read(self._fds[0], 4096)
            if not chunk:
                raise Gone
            if not self.script.deaf:
                self._rx += self._faulty(chunk)
        data = bytes(self._rx[:size])
        del self._rx[:size]
        return data

    def _put(self, data: bytes) -> None:
        view = memoryview(self._faulty(data))
        while view:
            view = view[os.write(self._fds[0], view) :]

    # --- packets ------------------------------------------------------------------------------------

    def _receive(self) -> bytes:
        body = bytearray()
        while True:
            packet = self._get(33)
            body += packet[1 : 1 + (packet[0] & 0x7F)]
            try:
                size, start = read_varint(bytes(body), 0)
            except Garbled:
                if len(body) > 9:
                    raise
                size, start = MESSAGE_LIMIT, 0
            if size > MESSAGE_LIMIT:
                raise Garbled("more than the board has room for")
            if len(body) >= start + size:
                return bytes(body[start : start + size])
            self._put(b"\xaa")

    def _send(self, message: m.Response) -> None:
        body = encode(message)
        if self.firmware.unknown_fields:
            body += varint(99 << 3 | 2) + b"\x03new"
        packets = [body[i : i + 32] for i in range(0, len(body), 32)]
        for packet in packets[:-1]:
            self._put(bytes([32]) + packet)
        self._put((bytes([0x80 | len(packets[-1])]) + packets[-1]).ljust(33, b"\0"))

    # --- dialogue -----------------------------------------------------------------------------------

    def _answer(self, state: m.State, **payload: object) -> None:
        if self.firmware.logs:
            self._send(m.Response(self._id, m.State.PROCESSING, log=m.Log(1, "s:config:version:1.0")))
            decode(m.Ack, self._receive())
        self._send(m.Response(self._id, int(state), **payload))  # type: ignore[arg-type]

    def _ack(self, state: m.State, param: int = 0, error: int = 0) -> None:
        self._answer(state, ack=m.Ack(param, error))

    def _serve(self) -> None:
        self._id = 0
        while True:
            try:
                request = decode(m.Request, self._receive())
                self._id = request.reqid
                self._command(request)
            except Garbled:
                self._send(m.Response(self._id, m.State.ERROR, ack=m.Ack(0, 2)))

    def _command(self, request: m.Request) -> None:
        firmware = self.firmware
        if request.cmd == m.Command.SYNC:
            capability = m.Capability.OBSERVER | (m.Capability.READ_WRITE if firmware.read_write else 0)
            version = firmware.version[0] << 8 | firmware.version[1]
            self._answer(m.State.IDLE, sync=m.Sync(version, int(capability), 2 | 1 << 16))
        elif request.cmd == m.Command.SYS_INFO:
            late = firmware.extra_field == 6
            fifth, sixth = ((0,), firmware.extra) if late else (firmware.extra, ())
            info = m.SystemInfo(firmware.devid, CLOCK_HZ, CLOCK_HZ, 0x0501_0C00, fifth, sixth)
            self._answer(m.State.IDLE, sinfo=info)
        elif request.cmd == m.Command.NETWORK_INFO:
            if firmware.broken_model:
                self._ack(m.State.ERROR, request.param, m.ERROR_GENERIC)
            elif request.param < len(self.models):
                self._answer(m.State.IDLE, minfo=self._info(self.models[request.param]))
            else:
                self._ack(m.State.ERROR, error=4)
        elif request.cmd == m.Command.NETWORK_RUN:
            self._run_network(request)
        elif request.cmd == m.Command.MEMORY_CHECKSUM and firmware.read_write:
            data = self._slice(request.param, request.opt)
            crc = firmware.crc and request.name == "crc32"
            self._ack(m.State.DONE, zlib.crc32(data) if crc else m.bsd_checksum(data))
        elif request.cmd == m.Command.MEMORY_READ and firmware.read_write:
            self._memory_read(request)
        elif request.cmd == m.Command.MEMORY_WRITE and firmware.read_write:
            self._memory_write(request)
        else:
            self._ack(m.State.ERROR, error=4)

    def _info(self, model: FakeModel) -> m.ModelInfo:
        pools = 0 if self.firmware.input_survives else int(m.TensorFlag.IN_MEMPOOL)
        inputs = _descs(model.inputs, "in", INPUT_ADDRESS, m.TensorFlag.INPUT | pools)
        outputs = _descs(model.outputs, "out", OUTPUT_ADDRESS, m.TensorFlag.OUTPUT)
        return m.ModelInfo(
            model.name, 2, "0x1234", "today", 1 << 24, 1 << 24, 12345, model.layers, len(inputs), inputs, len(outputs),
            outputs, 1, (m.TensorDesc("activations", S8, 4096),), 1, (m.TensorDesc("weights", S8, 999),), "fake",
        )  # fmt: skip

    def _run_network(self, request: m.Request) -> None:
        model = next((entry for entry in self.models if entry.name == request.name), None)
        if model is None:
            self._ack(m.State.ERROR, error=4)
            return
        self._ack(m.State.WAITING)
        mode, inputs = m.RunMode(request.param & 0xFFFF), list[bytes]()
        for place, size in enumerate(model.inputs):
            data = decode(m.Data, self._receive()).datas
            expected = 1 if mode & m.RunMode.CONST_VALUE else size
            if len(data) != expected:
                self._ack(m.State.ERROR, expected, 1)
                return
            inputs.append(data if expected == size else data * size)
            self._ack(m.State.PROCESSING if place + 1 == len(model.inputs) else m.State.WAITING)
            decode(m.Ack, self._receive())
        outputs = self._compute(model, inputs)
        with_data = bool(mode & m.RunMode.PER_LAYER_WITH_DATA) and not mode & m.RunMode.PERF
        if mode & (m.RunMode.PER_LAYER | m.RunMode.PER_LAYER_WITH_DATA):
            self._send_layers(model, inputs, with_data)
        self._answer(m.State.PROCESSING, op=_operator(model.name, 0, 0, 3_200_000 + self.runs))
        for place, (desc, data) in enumerate(
            zip(_descs(model.outputs, "out", OUTPUT_ADDRESS, m.TensorFlag.OUTPUT), outputs, strict=True)
        ):
            last = place + 1 == len(outputs)
            self._tensor(desc, data, m.State.DONE if last else m.State.PROCESSING, last, not mode & m.RunMode.PERF)

    def _compute(self, model: FakeModel, inputs: list[bytes]) -> list[bytes]:
        fault = self.script.at_run.get(self.runs, "")
        self.runs += 1
        if fault:
            self.injected[fault] += 1
        if fault == "reset":
            raise Reset
        if fault == "vanish":
            self._hang_up()
            raise Gone
        if fault == "slow":
            time.sleep(self.script.slow_s)
        if fault == "stall":
            self.resume.wait()
            raise Reset
        outputs = infer(model, inputs)
        survives = b"".join(inputs) if self.firmware.input_survives else bytes(sum(model.inputs))
        self._memory = {INPUT_ADDRESS: bytearray(survives), OUTPUT_ADDRESS: bytearray(b"".join(outputs))}
        return outputs

    def _send_layers(self, model: FakeModel, inputs: list[bytes], with_data: bool) -> None:
        for layer in range(model.layers):
            last = m.OperatorFlag.LAST if layer + 1 == model.layers else 0
            flags = int(m.OperatorFlag.INTERNAL | last)
            self._answer(m.State.PROCESSING, op=_operator(f"conv_{layer}", 3, flags, 1_000_000 + layer, layer))
            data = layer_data(model, inputs, layer)
            desc = m.TensorDesc(f"t{layer}", S8, len(data), 5 << 24 | 2, (1, len(data)), 0.5, -3)
            self._tensor(replace(desc, flags=int(m.TensorFlag.INTERNAL)), data, m.State.PROCESSING, True, with_data)

    def _tensor(self, desc: m.TensorDesc, data: bytes, state: m.State, last: bool, with_data: bool) -> None:
        flags = desc.flags | (m.TensorFlag.LAST if last else 0) | (0 if with_data else m.TensorFlag.NO_DATA)
        body = m.Data(0, len(data), desc.addr, data) if with_data else m.Data(0, 0, desc.addr, b"")
        self._answer(state, tensor=m.Tensor(replace(desc, flags=int(flags)), body))

    # --- memory -------------------------------------------------------------------------------------

    def _slice(self, address: int, size: int) -> bytes:
        for base, data in self._memory.items():
            if base <= address and address + size <= base + len(data):
                return bytes(data[address - base : address - base + size])
        return b""

    def _memory_read(self, request: m.Request) -> None:
        data = self._slice(request.param, request.opt)
        if not data:
            self._ack(m.State.ERROR, error=4)
            return
        self._ack(m.State.PROCESSING)
        for place in range(0, len(data), WRITE_CHUNK):
            part, last = data[place : place + WRITE_CHUNK], place + WRITE_CHUNK >= len(data)
            message = m.Data(0, len(part), request.param + place, part)
            self._answer(m.State.DONE if last else m.State.PROCESSING, data=message)
            if not last:
                decode(m.Ack, self._receive())

    def _memory_write(self, request: m.Request) -> None:
        self._ack(m.State.WAITING, WRITE_CHUNK)
        written = 0
        while written < request.opt:
            part = decode(m.Data, self._receive()).datas
            for base, data in self._memory.items():
                if base <= request.param + written < base + len(data):
                    at = request.param + written - base
                    data[at : at + len(part)] = part
            written += len(part)
            self._ack(m.State.DONE if written >= request.opt else m.State.WAITING, m.bsd_checksum(part))


def _descs(sizes: Sequence[int], name: str, address: int, flags: int) -> tuple[m.TensorDesc, ...]:
    found, at = [], address
    for i, size in enumerate(sizes):
        found.append(m.TensorDesc(f"{name}{i}", S8, size, 5 << 24 | 2, (1, size), 0.25, -128, at, int(flags)))
        at += size
    return tuple(found)


def _operator(name: str, kind: int, flags: int, cycles: int, number: int = 0) -> m.Operator:
    counters = (cycles & 0xFFFF_FFFF, cycles >> 32)
    return m.Operator(name, kind | flags << 24, number, cycles * 1e3 / CLOCK_HZ, 0, counters, -1, -1)


if __name__ == "__main__":
    with FakeBoard() as board:
        print(board.port, flush=True)
        sys.stdin.read()
