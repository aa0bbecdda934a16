"""A board that is worked with: connected, identified, kept in step, its results confirmed.

The protocol has no checksum on what it carries, so a result that came whole may still be wrong: a byte changed on its
way in gives a right-looking output of a wrong input. A result counts only when it is confirmed in one of two ways:

* the board's checksums of its own input and output memory equal those of what was sent and received. This needs
  firmware with memory access and an input that survives the inference;
* a second run of the same input gives the same bytes. Errors of the line do not repeat themselves.

What the board says about itself is read twice. A duration is held against the cycle counters that come with it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from edgeai.artifacts import Count
from edgeai.device.stm32msg.client import RESULT, Client, RunRecord, can_check
from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import (
    BoardReset,
    BoardSilent,
    Garbled,
    LineFault,
    LineLost,
    Overdue,
    Refused,
    Unconfirmed,
)
from edgeai.device.stm32msg.messages import Log, ModelInfo, Operator, RunMode, Sync, SystemInfo, TensorFlag
from edgeai.device.stm32msg.packet import Link, begins_packet
from edgeai.device.stm32msg.resync import DEFAULT, Patience, resync
from edgeai.device.stm32msg.transport import DEFAULT_BAUD, Address, open_transport
from edgeai.errors import DeviceError

T = TypeVar("T")

RETRIES = 5
DURATION_TOLERANCE = 1e-5  # a duration is a 32-bit float of ms, a counter is exact
LARGEST = 1 << 12  # bytes: a message without a tensor


class Session:
    """An open session. `faults` counts by kind what went wrong and was mended; `on_fault` hears of each at once.

    A `trusted` line is one that cannot change a byte, such as that of an emulator on this computer: no run is repeated
    to confirm another.
    Methods raise DeviceError (or a child in `edgeai.device.stm32msg.faults`) when a fault persists.
    """

    def __init__(
        self,
        client: Client,
        patience: Patience = DEFAULT,
        retries: int = RETRIES,
        on_fault: Callable[[LineFault], object] | None = None,
        trusted: bool = False,
    ) -> None:
        self.client, self.retries, self.patience, self.trusted = client, retries, patience, trusted
        self.faults: Counter[str] = Counter()
        self._on_fault = on_fault
        self._clocked: bool | None = None  # whether durations follow from the cycle counters; not known yet
        self._misfits = 0
        self._largest = LARGEST
        transport = client.link.transport
        try:
            transport.drain(self.patience.quiet, self.patience.total)
            self.sync: Sync = resync(client, patience)
            self.system: SystemInfo = self._twice(client.system_info)
            self.models: tuple[ModelInfo, ...] = self._twice(client.models)
        except BoardSilent as fault:
            raise _no_firmware(transport.name, fault) from None
        self._largest = LARGEST + max((4 * desc.size for m in self.models for desc in m.inputs), default=0)

    # --- inferences ---------------------------------------------------------------------------------

    def infer(self, model: ModelInfo, inputs: Sequence[bytes]) -> RunRecord:
        """One inference with real inputs and outputs; the record returned is confirmed."""
        seen: list[tuple[bytes, ...]] = []

        def attempt() -> RunRecord:
            record = self._run(model, inputs, RunMode.IO_ONLY)
            agrees = self._memory_agrees(model, inputs, record)
            if agrees is False:
                raise Unconfirmed("an output arrived changed")
            if agrees or self.trusted:
                return record
            return self._repeated(record, model, inputs, RunMode.IO_ONLY, seen)

        return self._persist(attempt)

    def layers(self, model: ModelInfo, inputs: Sequence[bytes]) -> RunRecord:
        """One inference with the output of every layer, confirmed by a second run."""
        mode = RunMode.IO_ONLY | RunMode.PER_LAYER | RunMode.PER_LAYER_WITH_DATA
        seen: list[tuple[bytes, ...]] = []

        def attempt() -> RunRecord:
            record = self._run(model, inputs, mode)
            return record if self.trusted else self._repeated(record, model, inputs, mode, seen)

        return self._persist(attempt)

    def perf(self, model: ModelInfo, per_layer: bool = False) -> RunRecord:
        """One inference on constant inputs: only times travel. The outputs are not looked at."""
        mode = RunMode.IO_ONLY | RunMode.PERF | RunMode.CONST_VALUE | (RunMode.PER_LAYER if per_layer else 0)
        element = [bytes(8)] * len(model.inputs)
        return self._persist(lambda: self._run(model, element, RunMode(mode)))

    def _run(self, model: ModelInfo, inputs: Sequence[bytes], mode: RunMode, first: bool = True) -> RunRecord:
        record = self.client.run(model, inputs, mode, first)
        for op in (record.whole, *(layer.op for layer in record.layers)):
            self._check_time(op)
        return record

    # --- confirmation -------------------------------------------------------------------------------

    def _repeated(
        self,
        record: RunRecord,
        model: ModelInfo,
        inputs: Sequence[bytes],
        mode: RunMode,
        seen: list[tuple[bytes, ...]],
    ) -> RunRecord:
        """`record`, where an earlier run (`seen`) or one more gives the same bytes. Raises Unconfirmed otherwise."""
        for candidate in (record, None):
            found = candidate or self._run(model, inputs, mode, first=False)
            data = _carried(found)
            if data in seen:
                return found
            seen.append(data)
        raise Unconfirmed("two runs of one input differ")

    def _memory_agrees(self, model: ModelInfo, inputs: Sequence[bytes], record: RunRecord) -> bool | None:
        """True: inputs and outputs are those of the board's memory. False: an output is not. None: no telling."""
        agrees = self.client.checksum_agrees
        if not can_check(self.sync.capability) or not all(t.desc.addr for t in record.outputs):
            return None
        if not all(agrees(t.desc.addr, t.data.datas) for t in record.outputs):
            return False
        if any(not desc.addr or desc.flags & TensorFlag.IN_MEMPOOL for desc in model.inputs):
            return None  # an input that shares its memory with activations does not survive
        pairs = zip(model.inputs, inputs, strict=True)
        return True if all(agrees(desc.addr, data) for desc, data in pairs) else None

    def _check_time(self, op: Operator) -> None:
        """Raises where a duration is no number, or does not fit its counters in a session where they do fit."""
        ms, cycles = op.duration, sum(op.cycles)
        if not math.isfinite(ms) or ms < 0:
            raise Garbled(f"a duration of {ms} ms")
        if not cycles or not self.system.sclock or self._clocked is False:
            return
        fits = abs(ms - cycles * 1e3 / self.system.sclock) <= DURATION_TOLERANCE * ms
        if fits:
            self._clocked = True
        elif self._clocked or not self._misfits:
            self._misfits += 1
            raise Unconfirmed(f"{ms:g} ms do not fit {cycles} cycles")
        else:
            self._clocked = False  # twice in a row from the start: this firmware counts something else

    def _twice(self, read: Callable[[], T]) -> T:
        """What two readings in a row agree on."""

        def attempt() -> T:
            first, second = read(), read()
            if first != second:
                raise Unconfirmed("the board describes itself differently each time")
            return first

        return self._persist(attempt)

    # --- faults -------------------------------------------------------------------------------------

    def _persist(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, brought back into step after each fault, at most `retries` times."""
        for tries in range(self.retries + 1):
            begin = time.monotonic()
            try:
                return attempt()
            except LineLost as fault:
                self._count(fault)
                raise
            except LineFault as fault:
                if isinstance(fault, Unconfirmed):
                    self._count(fault)
                    last: LineFault = fault
                else:
                    last = self._mend(fault)
                if tries == self.retries:
                    raise _persistent(last, tries + 1, time.monotonic() - begin) from None
        raise AssertionError

    def _mend(self, fault: LineFault) -> LineFault:
        """Back in step, and what the fault turns out to have been. Raises BoardSilent, LineLost, DeviceError."""
        waited = isinstance(fault, Overdue) and fault.waiting_for == RESULT and not begins_packet(fault.received)
        try:
            found = resync(self.client, self.patience, self._largest)
        except LineFault as worse:
            self._count(worse)
            if isinstance(worse, BoardSilent):
                raise BoardSilent(f"the board is silent: {fault.message}", worse.hint) from None
            raise
        if waited:
            fault = BoardReset(
                f"{fault.message}, and the board is idle again: it was reset, or it gave up",
                "look for a watchdog, the power supply, or a hand on the reset button",
            )
        self._count(fault)
        if hasattr(self, "sync") and found != self.sync and self._twice(self.client.models) != self.models:
            raise DeviceError("the board came back with other firmware or another model", "start over")
        return fault

    def _count(self, fault: LineFault) -> None:
        self.faults[fault.kind] += 1
        if self._on_fault is not None:
            self._on_fault(fault)

    def counts(self) -> tuple[Count, ...]:
        """The faults so far, by kind."""
        return tuple(Count(kind, count) for kind, count in sorted(self.faults.items()))

    # --- life ---------------------------------------------------------------------------------------

    def close(self) -> None:
        self.client.link.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _carried(record: RunRecord) -> tuple[bytes, ...]:
    """Every tensor of a run."""
    inner = [tensor.data.datas for layer in record.layers for tensor in layer.tensors]
    return (*inner, *(tensor.data.datas for tensor in record.outputs))


def _persistent(fault: LineFault, tries: int, seconds: float) -> DeviceError:
    """A fault that did not go away; a refusal is the board's last word, not a fault of the line."""
    if isinstance(fault, Refused):
        return fault
    fault.message = f"{fault.message} ({tries} attempts, the last took {seconds:.1f} s)"
    fault.hint = fault.hint or "a bad cable or hub loses bytes; `edgeai doctor --serial` looks at the line"
    return fault


def _no_firmware(name: str, fault: LineFault) -> DeviceError:
    return BoardSilent(
        f"nothing on {name} answers: {fault.message}",
        "is the validation firmware loaded, and the baud rate right? `edgeai doctor --serial` looks",
    )


def open_session(
    address: Address,
    baud: int = DEFAULT_BAUD,
    *,
    waits: Waits | None = None,
    trusted: bool = False,
    patience: Patience = DEFAULT,
    on_fault: Callable[[LineFault], object] | None = None,
    log: Callable[[Log], object] | None = None,
) -> Session:
    """Open the line, get in step and identify the board. Raises DeviceError that says what is wrong and what to do."""
    transport = open_transport(address, baud)
    try:
        return Session(
            Client(Link(transport, ahead=int(trusted)), waits, log), patience, on_fault=on_fault, trusted=trusted
        )
    except BaseException:
        transport.close()
        raise
