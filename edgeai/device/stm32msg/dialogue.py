"""Requests and their answers: what the host may hear next, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeai.device.stm32msg.faults import Garbled, Refused
from edgeai.device.stm32msg.messages import Ack, Log, Request, Response, State
from edgeai.device.stm32msg.packet import Link
from edgeai.device.stm32msg.protobuf import decode, encode
from edgeai.device.stm32msg.transport import Deadline


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait for what, in seconds. `run` is for the computation itself and the only one worth changing;
    `spare` is added to four times the longest computation once there is one."""

    sync: float = 0.5
    answer: float = 1.0
    model: float = 5.0
    input: float = 10.0
    run: float = 50.0
    tensor: float = 2.0
    spare: float = 2.0


class Dialogue:
    """One request at a time on one line; `log` hears what the firmware prints in between."""

    def __init__(self, link: Link, waits: Waits, log: Callable[[Log], object] | None) -> None:
        self.link, self.waits = link, waits
        self._log = log
        self._reqid = 0

    def request(self, command: int, deadline: Deadline, param: int = 0, name: str = "", opt: int = 0) -> int:
        """Send a request; its id."""
        self._reqid = self._reqid % 0x7FFF_FFFF + 1
        self._send(Request(self._reqid, int(command), param, name, opt), deadline)
        return self._reqid

    def _send(self, message: object, deadline: Deadline) -> None:
        self.link.send(encode(message), deadline)

    def _await(
        self, what: str, deadline: Deadline, payload: str, state: State | None = None, limit: int = 0
    ) -> Response:
        """The next answer; log messages in between are acknowledged."""
        while True:
            answer = decode(Response, self.link.receive(deadline, what, limit))
            if answer.reqid != self._reqid:
                raise Garbled(f"an answer to request {answer.reqid} instead of {self._reqid}")
            if answer.log is None:
                break
            if self._log is not None:
                self._log(answer.log)
            self._send(Ack(0, 0), deadline.within(self.waits.answer))
        if answer.ack is not None and answer.state == State.ERROR:
            raise Refused(what, answer.ack.error, answer.ack.param)
        if answer.payload != payload:
            raise Garbled(f"{answer.payload or 'nothing'} instead of {payload} for {what}")
        if state is not None and answer.state != state:
            raise Garbled(f"state {answer.state} instead of {int(state)} for {what}")
        return answer
