"""Byte streams to a board: serial port, pseudo terminal, TCP, RFC 2217. Every call has a deadline."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import time
import urllib.parse
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from edgeai.device.stm32msg.faults import Babble, LineFault, LineLost, Overdue
from edgeai.errors import DeviceError, InputError, need

DEFAULT_BAUD = 115200
READ_SIZE = 1 << 16
POLL_S = 0.02  # one look at a port that the operating system cannot wait for
WRITE_S = 2.0
CONNECT_S = 5.0


class Deadline:
    """A moment after which nobody waits any more."""

    __slots__ = ("end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.end

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and one in `seconds`."""
        return Deadline(min(seconds, self.left))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a board is: what pyserial opens, and the baud rate (0: that of the board's profile)."""

    url: str
    baud: int = 0


def parse_address(text: str) -> Address:
    """`/dev/ttyACM0`, `COM3:921600`, `serial:PORT:BAUD`, `socket:HOST:PORT`, `socket://HOST:PORT`, `rfc2217://...`.

    Raises InputError where it is none of them.
    """
    if "://" in text:
        return Address(text)
    parts = [part for part in text.split(":") if part]
    scheme = parts[0].lower() if parts else ""
    if scheme == "socket":
        host = next((part for part in parts[1:] if not part.isdigit()), "localhost")
        port = next((part for part in parts[1:] if part.isdigit()), "10000")
        return Address(f"socket://{host}:{port}")
    rest = parts[1:] if scheme == "serial" else parts
    bauds = [int(part) for part in rest if part.isdigit()]
    ports = [part for part in rest if not part.isdigit()]
    if len(ports) > 1 or len(bauds) > 1 or not (ports or scheme == "serial"):
        raise InputError(f"{text!r} is no port", "for example /dev/ttyACM0, COM3:921600 or socket://localhost:10000")
    return Address(ports[0] if ports else "", bauds[0] if bauds else 0)


class Transport:
    """An open line. Not for several threads. A context manager that closes it. `received` counts all bytes so far."""

    def __init__(self, port: Any, name: str) -> None:
        self.name = name
        self._port = port
        self.received = 0
        self._buffer = bytearray()
        self._fd = _descriptor(port)

    # --- read ---------------------------------------------------------------------------------------

    def read(self, size: int, deadline: Deadline, what: str) -> bytes:
        """Exactly `size` bytes. Raises Overdue, naming `what` is missing, or LineLost."""
        while len(self._buffer) < size:
            chunk = self._receive(deadline.left)
            self.received += len(chunk)
            if not chunk:
                raise Overdue(what, deadline.seconds, bytes(self._buffer))
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_some(self, deadline: Deadline) -> bytes:
        """What has come by now, at least one byte unless the deadline passes. Raises LineLost."""
        if not self._buffer:
            chunk = self._receive(deadline.left)
            self.received += len(chunk)
            return chunk
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def drain(self, quiet: float, limit: float) -> bytes:
        """Throw away (return) what comes until the line is quiet for `quiet` seconds. Raises Babble after `limit`."""
        deadline, thrown = Deadline(limit), bytearray()
        while chunk := self.read_some(deadline.within(quiet)):
            thrown += chunk
            if deadline.over:
                raise Babble(f"{self.name} brings bytes without end", "wrong baud rate, or firmware that prints?")
        return bytes(thrown)

    def _receive(self, seconds: float) -> bytes:
        """The bytes there are, waiting up to `seconds` for the first; empty where none came."""
        if self._fd is None:
            return self._receive_polled(seconds)
        try:
            if not select.select([self._fd], [], [], seconds)[0]:
                return b""
            chunk = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as error:
            raise self._lost(error) from None
        if not chunk:
            raise self._lost(None)
        return chunk

    def _receive_polled(self, seconds: float) -> bytes:
        deadline = Deadline(seconds)
        with self._pyserial():
            while True:  # each read waits POLL_S; to change that is a negotiation over the network with RFC 2217
                if chunk := bytes(self._port.read(self._port.in_waiting or 1)):
                    return chunk
                if deadline.over:
                    return b""
        raise AssertionError

    # --- write --------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview, deadline: Deadline, what: str) -> None:
        """All of `data`. Raises Overdue where the line does not take it, or LineLost."""
        if self._fd is None:
            with self._pyserial():
                self._port.write(data)
            return
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                if not select.select([], [self._fd], [], deadline.left)[1]:
                    raise Overdue(f"room on the line for {what}", deadline.seconds) from None
            except OSError as error:
                raise self._lost(error) from None

    @contextlib.contextmanager
    def _pyserial(self) -> Any:
        import serial

        try:
            yield
        except serial.SerialTimeoutException:
            raise Overdue("room on the line", WRITE_S) from None
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from None

    def _lost(self, error: BaseException | None) -> LineFault:
        why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        return LineLost(f"{self.name} is gone{why}", "is the cable plugged in, and the board powered?")

    # --- life ---------------------------------------------------------------------------------------

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_transport(address: Address, baud: int = DEFAULT_BAUD) -> Transport:
    """Open a line for ourselves alone. Raises DeviceError that says why it does not open and what to do."""
    try:
        import serial
    except ImportError:
        raise need("pyserial", "dev") from None

    try:
        # RFC 2217 knows no limit for writing
        limit = {} if address.url.startswith("rfc2217://") else {"write_timeout": WRITE_S}
        rate = address.baud or baud
        if address.url.startswith("socket://"):
            port: Any = _SocketPort(address.url)
        else:
            port = serial.serial_for_url(address.url, baudrate=rate, timeout=POLL_S, exclusive=True, **limit)
    except (serial.SerialException, OSError, ValueError) as error:
        raise _not_opened(address.url, error) from None
    return Transport(port, address.url)


def _not_opened(url: str, error: BaseException) -> DeviceError:
    """The reason in plain words: no such port, no permission, taken by somebody."""
    from edgeai.device.stm32msg.holders import holders

    text = " ".join(str(error).split())
    if re.search(r"exclusively lock|busy|EBUSY", text, re.IGNORECASE):
        who = ", ".join(str(holder) for holder in holders(url)) or "another program"
        return DeviceError(f"{url} is in use by {who}", "close that program; only one can speak with a board")
    if re.search(r"permission|access is denied", text, re.IGNORECASE):
        return DeviceError(f"no permission to open {url}", "Linux: sudo usermod -aG dialout $USER, then log in again")
    if "No such file" in text or "FileNotFound" in text:
        return DeviceError(f"no port {url}", "`edgeai doctor --serial` lists the ports there are")
    return DeviceError(f"{url} does not open: {text[:120]}", "`edgeai doctor --serial` lists the ports there are")


class _SocketPort:
    """A TCP line in the shape of a pyserial port. pyserial's own says of a socket only that at least one byte waits,
    which reads a message byte by byte where there is no select on descriptors (Windows).
    """

    in_waiting = READ_SIZE

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if not parts.hostname or not parts.port:
            raise ValueError("write it as socket://HOST:PORT")
        self._socket = socket.create_connection((parts.hostname, parts.port), CONNECT_S)
        # without this every packet of 33 bytes waits 40 ms for the acknowledgement of the one before (Nagle)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, size: int) -> bytes:
        """What there is, up to `size` bytes; empty after POLL_S. Raises OSError where the other side is gone."""
        if not select.select([self._socket], [], [], POLL_S)[0]:
            return b""
        if chunk := self._socket.recv(size):
            return chunk
        raise ConnectionResetError(errno.ECONNRESET, "the other side closed the connection")

    def write(self, data: bytes | memoryview) -> None:
        self._socket.settimeout(WRITE_S)
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


def _descriptor(port: Any) -> int | None:
    """What select takes; None where the port has no such thing (Windows, RFC 2217)."""
    if os.name != "posix":
        return None
    try:
        descriptor = int(port.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    os.set_blocking(descriptor, False)
    return descriptor
