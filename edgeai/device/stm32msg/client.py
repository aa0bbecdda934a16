"""The host's side of stm32msg: one method a command. It reports every departure from the dialogue and mends none."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeai.device.stm32msg.dialogue import Dialogue, Waits
from edgeai.device.stm32msg.faults import Garbled, Refused, Unconfirmed
from edgeai.device.stm32msg.messages import (
    ERROR_GENERIC,
    Ack,
    Capability,
    Command,
    Data,
    Log,
    ModelInfo,
    Operator,
    OperatorFlag,
    RunMode,
    State,
    Sync,
    SystemInfo,
    Tensor,
    TensorFlag,
    bsd_checksum,
    tensor_dtype,
)
from edgeai.device.stm32msg.packet import Link
from edgeai.device.stm32msg.transport import Deadline
from edgeai.errors import DeviceError

MAJOR, NEWEST_MINOR = 3, 1
RESULT = "result of the inference"
MAX_MODELS = 64
MAX_LAYERS = 100_000
READ_CHUNK = 1 << 20
SPREAD = 4.0  # an inference that takes so many times longer than the longest before it has ended in a fault
SLOWEST = 4000.0  # bytes per second: below it a transfer is stuck, not slow (115200 baud moves 11,000)


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One operator as the board reported it, with its output tensors (empty datas without data)."""

    op: Operator
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One inference: the whole-model operator, the layers in per-layer modes, the outputs."""

    whole: Operator
    layers: tuple[LayerRecord, ...]
    outputs: tuple[Tensor, ...]


class Client(Dialogue):
    """One board on one line. `log` hears what the firmware prints. Not for several threads.

    Every method raises Overdue, Garbled, Refused or LineLost (`edgeai.device.stm32msg.faults`).
    """

    def __init__(self, link: Link, waits: Waits | None = None, log: Callable[[Log], object] | None = None) -> None:
        super().__init__(link, waits or Waits(), log)
        self._usual = 0.0  # the longest computation so far, in seconds

    # --- what the board is --------------------------------------------------------------------------

    def sync(self, wait: float = 0.0) -> Sync:
        """Whether our firmware, or ST's, is there. Raises DeviceError for a version of the protocol nobody knows."""
        deadline = Deadline(wait or self.waits.sync)
        self.request(Command.SYNC, deadline)
        found = self._await("answer to SYNC", deadline, "sync").sync
        assert found is not None
        if found.version >> 8 != MAJOR:
            version = f"{found.version >> 8}.{found.version & 0xFF}"
            raise DeviceError(
                f"the firmware speaks version {version} of the protocol, not {MAJOR}.x",
                "build the validation firmware with ST Edge AI Core 2.x to 4.x",
            )
        return found

    def system_info(self) -> SystemInfo:
        deadline = Deadline(self.waits.answer)
        self.request(Command.SYS_INFO, deadline)
        found = self._await("system information", deadline, "sinfo").sinfo
        assert found is not None
        return found

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that the firmware holds. Raises Refused where one of them is not initialised."""
        found: list[ModelInfo] = []
        while len(found) < MAX_MODELS:
            deadline = Deadline(self.waits.model)
            self.request(Command.NETWORK_INFO, deadline, param=len(found))
            try:
                answer = self._await("model information", deadline, "minfo")
            except Refused as end:
                if end.code == ERROR_GENERIC:
                    raise
                return tuple(found)
            assert answer.minfo is not None
            found.append(answer.minfo)
        raise Garbled("a list of models without end")

    # --- run ----------------------------------------------------------------------------------------

    def run(self, model: ModelInfo, inputs: Sequence[bytes], mode: RunMode, first: bool = True) -> RunRecord:
        """One inference on raw little-endian inputs; with CONST_VALUE only their first element is sent."""
        sent = [_first_element(model, i, data) if mode & RunMode.CONST_VALUE else data for i, data in enumerate(inputs)]
        whole = Deadline(self.run_limit(model))
        self.request(Command.NETWORK_RUN, whole.within(self.waits.answer), int(mode), model.name, int(first))
        self._await("start of the run", whole.within(self.waits.answer), "ack", State.WAITING)
        for place, data in enumerate(sent):
            self._send_input(data, place + 1 == len(sent), whole)
        begin = time.monotonic()
        layers, op = self._layers(mode, whole)
        self._usual = max(self._usual, time.monotonic() - begin)
        return RunRecord(op, layers, self._outputs(model, whole))

    @property
    def run_wait(self) -> float:
        """Seconds to wait for a result: less than the limit once it is known how long this board takes."""
        return min(self.waits.run, SPREAD * self._usual + self.waits.spare) if self._usual else self.waits.run

    def run_limit(self, model: ModelInfo) -> float:
        """Seconds that one run may take from start to end."""
        moved = sum(_tensor_bytes(d.format, d.size) for d in (*model.inputs, *model.outputs))
        return self.run_wait + self.waits.answer + self.waits.input + 2 * self.waits.tensor + moved / SLOWEST

    def _send_input(self, data: bytes, last: bool, whole: Deadline) -> None:
        self._send(Data(size=len(data), datas=data), whole)
        state = State.PROCESSING if last else State.WAITING
        self._await("acknowledgement of an input", whole.within(self.waits.input), "ack", state)
        self._send(Ack(0, 0), whole.within(self.waits.answer))

    def _layers(self, mode: RunMode, whole: Deadline) -> tuple[tuple[LayerRecord, ...], Operator]:
        """The layers, and the operator of the whole model that follows them."""
        found: list[LayerRecord] = []
        while len(found) < MAX_LAYERS:
            answer = self._await(RESULT, whole.within(self.run_wait), "op", State.PROCESSING)
            assert answer.op is not None
            if not answer.op.flags & (OperatorFlag.INTERNAL | OperatorFlag.LAST):
                if mode & (RunMode.PER_LAYER | RunMode.PER_LAYER_WITH_DATA) and not _complete(found):
                    raise Garbled("layers are missing")
                return tuple(found), answer.op
            tensors: tuple[Tensor, ...] = ()
            if not answer.op.flags & OperatorFlag.WITHOUT_TENSOR:
                tensors = self._layer_tensors(whole)
            found.append(LayerRecord(answer.op, tensors))
        raise Garbled("layers without end")

    def _layer_tensors(self, whole: Deadline) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        while not found or not found[-1].desc.flags & TensorFlag.LAST:
            answer = self._await("tensor of a layer", whole.within(self.waits.tensor), "tensor", State.PROCESSING, BIG)
            assert answer.tensor is not None
            found.append(_checked(answer.tensor))
        return tuple(found)

    def _outputs(self, model: ModelInfo, whole: Deadline) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for place, desc in enumerate(model.outputs):
            last = place + 1 == len(model.outputs)
            state = State.DONE if last else State.PROCESSING
            room = _tensor_bytes(desc.format, desc.size)
            answer = self._await("output", whole.within(self.waits.tensor), "tensor", state, room)
            assert answer.tensor is not None
            tensor = _checked(answer.tensor)
            if bool(tensor.desc.flags & TensorFlag.LAST) != last or tensor.desc.size != desc.size:
                raise Garbled("an output that is not the one expected")
            found.append(tensor)
        return tuple(found)

    # --- memory -------------------------------------------------------------------------------------

    def checksum_agrees(self, address: int, data: bytes) -> bool:
        """Whether the board's memory at `address` holds `data`, as far as a checksum tells.

        Our firmware gives a CRC-32, ST's the 16-bit BSD sum whatever it is asked for.
        """
        try:
            found = self._checksum(address, len(data), "crc32")
        except Refused:
            found = self._checksum(address, len(data), "")
        return found == zlib.crc32(data) or found == bsd_checksum(data)

    def _checksum(self, address: int, size: int, kind: str) -> int:
        deadline = Deadline(self.waits.model)
        self.request(Command.MEMORY_CHECKSUM, deadline, address, kind, size)
        ack = self._await("checksum", deadline, "ack", State.DONE).ack
        assert ack is not None
        return ack.param

    def read_memory(self, address: int, size: int) -> bytes:
        """`size` bytes of the board's memory."""
        whole = Deadline(self.waits.model + size / SLOWEST)
        self.request(Command.MEMORY_READ, whole, address, "", size)
        self._await("start of the memory", whole.within(self.waits.answer), "ack", State.PROCESSING)
        parts, got = [], 0
        while True:
            answer = self._await("memory", whole.within(self.waits.tensor), "data", None, READ_CHUNK)
            assert answer.data is not None
            parts.append(answer.data.datas)
            got += len(answer.data.datas)
            if answer.state == State.DONE:
                break
            if got >= size or not answer.data.datas:
                raise Garbled("more memory than was asked for")
            self._send(Ack(0, 0), whole)
        if got != size:
            raise Garbled(f"{got} bytes of memory instead of {size}")
        return b"".join(parts)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write `data`; the board's checksum of every chunk is compared. Raises Unconfirmed where one differs."""
        whole = Deadline(self.waits.model + len(data) / SLOWEST)
        self.request(Command.MEMORY_WRITE, whole, address, "", len(data))
        ack = self._await("room for memory", whole.within(self.waits.answer), "ack", State.WAITING).ack
        assert ack is not None
        chunk = ack.param
        if not 0 < chunk <= READ_CHUNK:
            raise Garbled(f"a chunk of {chunk} bytes")
        for place in range(0, len(data), chunk):
            part = data[place : place + chunk]
            self._send(Data(size=len(part), addr=address + place, datas=part), whole)
            state = State.DONE if place + chunk >= len(data) else State.WAITING
            answer = self._await("acknowledgement of memory", whole.within(self.waits.input), "ack", state).ack
            assert answer is not None
            if answer.param != bsd_checksum(part):
                raise Unconfirmed(f"memory at {address + place:#x} arrived changed on the board")


BIG = 1 << 28  # bytes: room for the tensor of a layer, whose size is not known beforehand


def _complete(layers: Sequence[LayerRecord]) -> bool:
    return bool(layers) and bool(layers[-1].op.flags & OperatorFlag.LAST)


def _checked(tensor: Tensor) -> Tensor:
    """A tensor whose counts agree with each other."""
    data = tensor.data
    if tensor.desc.flags & TensorFlag.NO_DATA:
        if data.datas:
            raise Garbled(f"tensor {tensor.desc.name!r} without data has some")
        return tensor
    expected = _tensor_bytes(tensor.desc.format, tensor.desc.size)
    if data.size != len(data.datas) or (expected and len(data.datas) != expected):
        raise Garbled(f"tensor {tensor.desc.name!r} has {len(data.datas)} bytes instead of {expected or data.size}")
    return tensor


def _tensor_bytes(word: int, elements: int) -> int:
    """Bytes of a tensor; 0 where its element type has no whole bytes."""
    dtype = tensor_dtype(word)
    return elements * dtype.itemsize if dtype is not None else 0


def _first_element(model: ModelInfo, place: int, data: bytes) -> bytes:
    dtype = tensor_dtype(model.inputs[place].format)
    return data[: dtype.itemsize] if dtype is not None else data[:1]


def can_check(capability: int) -> bool:
    """Whether the firmware gives checksums of its memory."""
    return bool(capability & Capability.READ_WRITE)
