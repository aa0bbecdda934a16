"""From a board's profile to an open session: find its port, or start its emulator with the model in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeai.board import Board
from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import LineFault
from edgeai.device.stm32msg.session import Session, open_session
from edgeai.device.stm32msg.transport import DEFAULT_BAUD, Address, parse_address
from edgeai.errors import InputError

EMULATED_BAUD = DEFAULT_BAUD  # a pseudo terminal has none


def runs_linux(board: Board) -> bool:
    """Whether the board is spoken to through a shell."""
    return board.family.startswith("STM32MP") or (board.emulator is not None and board.emulator.kind == "linux")


@contextmanager
def connected(
    board: Board,
    model: Path | None,
    port: str = "",
    baud: int = 0,
    timeout: float = 60.0,
    on_fault: Callable[[LineFault], object] | None = None,
    counting: bool = True,
) -> Iterator[Session]:
    """A session with a microcontroller board, closed at the end; an emulated one is started and stopped.

    `counting` makes an emulator count instructions, which is slower. Raises InputError for a board that speaks no
    stm32msg or a model it cannot run, DeviceError where nothing answers.
    """
    waits = Waits(run=timeout)
    if board.emulator is not None and board.emulator.kind == "m55" and not port:
        if model is None:
            raise InputError(f"{board.name} is empty: it runs the model it is given", "pass a .tflite file")
        with _emulated(board, model, waits, on_fault, counting) as session:
            yield session
        return
    if runs_linux(board):
        raise InputError(f"{board.name} runs Linux and speaks no stm32msg", "its accuracy is measured with --as-on")
    address = parse_address(port) if port else Address("")
    if not address.url:
        from edgeai.device.ports import choose_port

        address = Address(choose_port(board.connection.usb).device, address.baud)
    with open_session(address, baud or board.connection.baud, waits=waits, on_fault=on_fault) as session:
        yield session


@contextmanager
def _emulated(
    board: Board, model: Path, waits: Waits, on_fault: Callable[[LineFault], object] | None, counting: bool
) -> Iterator[Session]:
    from edgeai.device.emulated.m55 import EmulatedM55
    from edgeai.firmware.blob import write_blob

    with tempfile.TemporaryDirectory(prefix="edgeai-") as folder:
        blob = Path(folder) / "model.blob"
        write_blob(model, blob)
        with EmulatedM55([blob], icount=counting) as machine:
            address = Address(machine.port)
            with open_session(address, EMULATED_BAUD, waits=waits, on_fault=on_fault, trusted=True) as session:
                yield session
