"""Faults of the emulated board itself: the real firmware is reset, frozen and killed in the middle of an inference."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeai.device.emulated.m55 import EmulatedM55
from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import BoardReset, BoardSilent, LineFault, LineLost, Overdue
from edgeai.device.stm32msg.resync import Patience
from edgeai.device.stm32msg.session import Session, open_session
from edgeai.device.stm32msg.transport import Address
from edgeai.firmware.blob import write_blob

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
MODEL = "mobilenet_v1_0.5_224_int8.tflite"  # takes most of a second: long enough to be disturbed
WAITS = Waits(run=3.0, spare=0.0)
PATIENCE = Patience(total=1.5)


@pytest.fixture(scope="module")
def blob(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("blob") / "model.blob"
    write_blob(kit / "tflite" / MODEL, target)
    return target


@pytest.fixture
def board(blob: Path) -> Iterator[EmulatedM55]:
    with EmulatedM55([blob]) as machine:
        yield machine


def opened(board: EmulatedM55, heard: list[tuple[float, LineFault]]) -> Session:
    def hear(fault: LineFault) -> None:
        heard.append((time.monotonic(), fault))

    return open_session(Address(board.port), waits=WAITS, patience=PATIENCE, on_fault=hear, trusted=True)


def soon(action: Callable[[], object]) -> None:
    threading.Timer(0.1, action).start()


@pytest.mark.parametrize("per_layer", [False, True])
def test_a_reset_during_inference(board: EmulatedM55, per_layer: bool) -> None:
    heard: list[tuple[float, LineFault]] = []
    with opened(board, heard) as session:
        begin = time.monotonic()
        soon(lambda: board.qmp("system_reset"))
        record = session.perf(session.models[0], per_layer=per_layer)
        (at, fault), = heard
        # layer by layer the reset may cut the report of a layer in two, which looks like lost bytes
        cut = per_layer and isinstance(fault, Overdue) and "of a layer" in fault.waiting_for
        assert (isinstance(fault, BoardReset) or cut) and at - begin < WAITS.run + 2.0
        assert record.whole.duration > 0  # the run was made again
        assert len(record.layers) == per_layer * session.models[0].n_nodes


def test_a_frozen_board(board: EmulatedM55) -> None:
    heard: list[tuple[float, LineFault]] = []
    with opened(board, heard) as session:
        begin = time.monotonic()
        soon(lambda: board.qmp("stop"))
        with pytest.raises(BoardSilent):
            session.perf(session.models[0])
        assert time.monotonic() - begin < WAITS.run + PATIENCE.total + 1.0
        board.qmp("cont")
        time.sleep(1.0)  # it computes the run that was given up
        assert session.perf(session.models[0]).whole.duration > 0


def test_a_board_that_dies(board: EmulatedM55) -> None:
    with opened(board, []) as session:
        begin = time.monotonic()
        soon(board.kill)
        with pytest.raises(LineLost):
            session.perf(session.models[0])
        assert time.monotonic() - begin < 2.0
