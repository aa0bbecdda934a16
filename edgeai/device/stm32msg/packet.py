"""Packets of stm32msg: 33 bytes, of which the first counts the used ones of the other 32.

Host to board: a length and a message, cut into packets; the board asks for each further packet with one byte.
Board to host: a message without length; bit 7 of the header marks its last packet.
"""

from __future__ import annotations

from edgeai.device.stm32msg.faults import Garbled
from edgeai.device.stm32msg.protobuf import varint
from edgeai.device.stm32msg.transport import Deadline, Transport

PACKET = 33
PAYLOAD = 32
LAST = 0x80
NEXT = 0xAA  # the byte by which the board asks for the next packet
REQUEST = bytes([NEXT])
# A full packet that means nothing wherever it lands: as header it counts 32 bytes, as length it asks for 32 more.
FILLER_BYTE = 0x20
FILLER = bytes([FILLER_BYTE]) * PACKET
NEXT_S = 5.0
PACKET_S = 1.0
SMALL = 1 << 16  # bytes: longer than any message but a tensor


class Link:
    """Whole messages over a transport. `next_s` is how long the board may take to ask for the next packet, `packet_s`
    how long to send one within a message, in seconds. `ahead` packets are sent before they are asked for: only where
    the line holds a sender back, as that of an emulator does; a UART would lose them."""

    def __init__(
        self, transport: Transport, next_s: float = NEXT_S, packet_s: float = PACKET_S, ahead: int = 0
    ) -> None:
        self.transport, self.next_s, self.packet_s, self.ahead = transport, next_s, packet_s, ahead

    def send(self, message: bytes, deadline: Deadline) -> None:
        """One message. Raises Overdue where the board stops asking for packets, Garbled where it says other things."""
        data = varint(len(message)) + message
        asked, last = 0, (len(data) - 1) // PAYLOAD
        for place in range(last + 1):
            while asked < place - self.ahead:
                asked += self._request(deadline)
            part = data[place * PAYLOAD : (place + 1) * PAYLOAD]
            self.transport.write((bytes([len(part)]) + part).ljust(PACKET, b"\0"), deadline, "a packet")
        while asked < last:
            asked += self._request(deadline)

    def _request(self, deadline: Deadline) -> int:
        """Wait until the board asks for one more packet."""
        wait = deadline.within(self.next_s)
        if self.transport.read(1, wait, "request for the next packet") != REQUEST:
            raise Garbled("the board answers in the middle of a message")
        return 1

    def receive(self, deadline: Deadline, what: str, limit: int = SMALL) -> bytes:
        """One message of at most about `limit` bytes; its first packet comes by `deadline`, each other one soon after.

        Raises Overdue or Garbled.
        """
        read = self.transport.read
        packet = read(PACKET, deadline, what)
        while packet[0] == NEXT:  # a request that came twice; no packet begins like this
            packet = packet[1:] + read(1, deadline, what)
        parts, size = [], 0
        while not packet[0] & LAST:
            if packet[0] != PAYLOAD:  # only the last packet of a message may be short
                raise Garbled("bytes that are no packet")
            parts.append(packet[1:])
            size += PAYLOAD
            if size > limit + SMALL:
                raise Garbled("a message that is longer than it can be")
            packet = read(PACKET, Deadline(self.packet_s), f"rest of {what}")
        parts.append(_used(packet, packet[0] & ~LAST))
        return b"".join(parts)


def begins_packet(data: bytes) -> bool:
    """Whether `data` may be the start of a packet to the host; what a board prints when it boots is not."""
    return bool(data) and (data[0] == PAYLOAD or LAST <= data[0] <= LAST | PAYLOAD)


def _used(packet: bytes, count: int) -> bytes:
    if count > PAYLOAD:
        raise Garbled("bytes that are no packet")
    return packet[1 : count + 1]
