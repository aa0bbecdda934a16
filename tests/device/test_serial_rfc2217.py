"""A board behind a network serial server (RFC 2217), with pyserial's own server half in between."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import serial
from fakes.board import FakeBoard, FakeModel, infer
from serial import rfc2217

from edgeai.device.stm32msg.faults import LineLost
from edgeai.device.stm32msg.session import open_session
from edgeai.device.stm32msg.transport import Address, parse_address

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Server(threading.Thread):
    """Bytes between one TCP connection and one port, as pyserial's example of such a server moves them."""

    def __init__(self, port: str) -> None:
        super().__init__(daemon=True)
        self._port = serial.serial_for_url(port, timeout=0.01)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self.ended = threading.Event()

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def run(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        manager = rfc2217.PortManager(self._port, self)
        threading.Thread(target=self._upstream, args=(manager,), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := self._connection.recv(1024):
                self._port.write(b"".join(manager.filter(data)))
        self.ended.set()

    def _upstream(self, manager: rfc2217.PortManager) -> None:
        with contextlib.suppress(OSError, serial.SerialException, TypeError):
            while not self.ended.is_set():
                if data := self._port.read(self._port.in_waiting or 1):
                    self.write(b"".join(manager.escape(data)))

    def stop(self) -> None:
        self.ended.set()
        self._listener.close()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Server]:
    with FakeBoard(tcp=True) as board:  # a pseudo terminal has no DTR, which such a server sets
        made = Server(board.port)
        made.start()
        yield made
        made.stop()


def test_a_board_behind_a_server(server: Server) -> None:
    x = b"\xff" * 12 + bytes(12)  # 0xFF is escaped on the way
    with open_session(parse_address(server.url)) as session:
        assert session.infer(session.models[0], [x]).outputs[0].data.datas == infer(FakeModel(), [x])[0]


def test_a_server_that_goes_away(server: Server) -> None:
    with open_session(Address(server.url)) as session:
        server.stop()
        with pytest.raises(LineLost):
            session.perf(session.models[0])
