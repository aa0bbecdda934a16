"""Back into step with a board after a fault, without restarting it or the host."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.device.stm32msg.client import Client
from edgeai.device.stm32msg.faults import Babble, BoardSilent, LineFault, LineLost, Overdue
from edgeai.device.stm32msg.messages import Sync
from edgeai.device.stm32msg.packet import FILLER, FILLER_BYTE, PACKET, REQUEST
from edgeai.device.stm32msg.transport import Deadline

NOISE = 4 * PACKET  # bytes: a board that is only out of step sends fewer before it is silent


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: `quiet` is the silence after which a line counts as drained, `answer` what a living board needs to
    answer SYNC, `rest` what makes firmware with timeouts drop half a message, `gap` what a board needs to ask for the
    next packet; `total` bounds it all."""

    quiet: float = 0.03
    answer: float = 0.25
    rest: float = 0.3
    gap: float = 0.01
    total: float = 2.0


DEFAULT = Patience()


def resync(client: Client, patience: Patience = DEFAULT, largest: int = 1 << 20) -> Sync:
    """Drain, ask, and where nothing answers, first rest, then complete what the board may still be waiting for.

    A board that lost a byte sits in the middle of a packet or of a message of up to `largest` bytes. Raises
    BoardSilent where nothing helps, Babble where the line is never quiet, LineLost.
    """
    deadline = Deadline(patience.total)
    transport = client.link.transport
    rested = False
    before = transport.received
    transport.drain(patience.quiet, patience.total)
    while True:
        try:
            return client.sync(patience.answer)
        except (LineLost, Babble):
            raise
        except LineFault as fault:
            mute = isinstance(fault, Overdue) and not fault.received
        if deadline.over:
            if transport.received - before > NOISE:
                raise Babble("bytes that are no protocol", "wrong baud rate, or firmware that prints?")
            raise BoardSilent("the board does not answer", "it is stuck, still computing, or runs other firmware")
        if not mute or rested:
            _align(client, patience, largest)
        rested = not rested
        transport.drain(patience.rest, patience.total)


def _align(client: Client, patience: Patience, largest: int) -> None:
    """Feed the board byte by byte until it reacts: that was the end of a packet. Where it asks for more, a message was
    given up half-way: give it meaningless packets until it has enough."""
    transport = client.link.transport
    transport.drain(patience.gap, patience.total)
    for _ in range(PACKET):
        transport.write(bytes([FILLER_BYTE]), Deadline(patience.answer), "filler")
        if got := transport.read_some(Deadline(patience.gap)):
            break
    for _ in range(largest // (PACKET - 1) + 2):
        if not got or got.strip(REQUEST):
            return
        transport.write(FILLER, Deadline(patience.answer), "filler")
        got = transport.read_some(Deadline(patience.answer))
