"""What can go wrong on the line to a board, told apart: each kind has its own remedy."""

from __future__ import annotations

from edgeai.errors import DeviceError

# ruff: noqa: N818  (each is the name of a state of the line)


class LineFault(DeviceError):
    """Base of the faults of a dialogue. `kind` is the word under which it is counted in results."""

    kind = "fault"


class LineLost(LineFault):
    """The port is gone: cable unplugged, adapter reset, emulator ended. Opening it again is the only way on."""

    kind = "line lost"


class Overdue(LineFault):
    """No byte came in time. `waiting_for` says what; `received` is what came of it before."""

    kind = "overdue"

    def __init__(self, waiting_for: str, seconds: float, received: bytes = b"") -> None:
        super().__init__(f"no {waiting_for} within {seconds:.2g} s")
        self.waiting_for, self.received = waiting_for, received


class Garbled(LineFault):
    """Bytes that are no packet, no message, or not the message of this place in the dialogue."""

    kind = "garbled"


class Refused(LineFault):
    """The board answered with an error of the protocol. `code` is its number (0 none ... 10 generic)."""

    kind = "refused"

    def __init__(self, what: str, code: int, param: int) -> None:
        super().__init__(f"the board refuses {what}: {ERROR_NAMES.get(code, f'error {code}')} (parameter {param})")
        self.code, self.param = code, param


class BoardReset(LineFault):
    """The board lost a run half-way and answers again: it was reset, by a watchdog, a crash or a hand."""

    kind = "reset"


class BoardSilent(LineFault):
    """The line is there and the board does not answer: stuck, still computing, or other firmware."""

    kind = "silent"


class Babble(LineFault):
    """Bytes without end that nobody asked for: noise, wrong baud rate, or firmware that prints."""

    kind = "noise"


class Unconfirmed(LineFault):
    """Results that came whole, and that differ from what the board holds or from a second run."""

    kind = "unconfirmed"


ERROR_NAMES = {
    1: "invalid size",
    2: "invalid format",
    3: "invalid state",
    4: "invalid parameter",
    5: "invalid shape",
    6: "invalid command",
    7: "model not initialised",
    8: "memory overflow",
    10: "generic error",
}
