"""Faults of the line and of the board, scripted and counted: nothing wrong is taken for right, nothing hangs."""

from __future__ import annotations

import random
import time

import pytest
from fakes.board import CLOCK_HZ, FakeBoard, FakeModel, Firmware, Script, infer

from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import Babble, BoardReset, BoardSilent, LineFault, LineLost
from edgeai.device.stm32msg.resync import Patience
from edgeai.device.stm32msg.session import Session, open_session
from edgeai.device.stm32msg.transport import Address

WAITS = Waits(sync=0.1, answer=0.1, model=0.1, input=0.1, run=0.1, tensor=0.1, spare=0.1)
PATIENCE = Patience(quiet=0.005, answer=0.05, rest=0.01, gap=0.002, total=1.0)
MODEL = FakeModel()
X = bytes(range(24))
RIGHT = infer(MODEL, [X])[0]


def opened(board: FakeBoard, heard: list[tuple[float, LineFault]] | None = None, waits: Waits = WAITS) -> Session:
    def hear(fault: LineFault) -> None:
        if heard is not None:
            heard.append((time.monotonic(), fault))

    session = open_session(Address(board.port), waits=waits, patience=PATIENCE, on_fault=hear)
    session.client.link.next_s = session.client.link.packet_s = 0.1
    return session


@pytest.mark.parametrize(
    ("firmware", "runs"),
    [(Firmware(), 500), (Firmware(read_write=False), 250), (Firmware(crc=False, input_survives=False), 250)],
    ids=["checksums", "repetition", "both"],
)
def test_a_thousand_runs_on_a_bad_line(firmware: Firmware, runs: int) -> None:
    """Bytes are lost, changed and doubled at 1e-4 in both directions: every result is right, every fault is mended."""
    generator = random.Random(1)
    limit = 0.0
    with FakeBoard(script=Script(rate=1e-4, seed=runs), firmware=firmware) as board, opened(board) as session:
        # one run and its confirmation within their deadline, and what it takes to get back into step, for each attempt
        bound = session.client.run_limit(session.models[0]) + PATIENCE.total + 1.0
        for _ in range(runs):
            x = generator.randbytes(MODEL.inputs[0])
            faults, begin = sum(session.faults.values()), time.monotonic()
            record = session.infer(session.models[0], [x])
            attempts = 1 + sum(session.faults.values()) - faults
            limit = max(limit, (time.monotonic() - begin) / attempts)
            assert record.outputs[0].data.datas == infer(MODEL, [x])[0]
            cycles = record.whole.cycles[0]
            assert 3_200_000 < cycles <= 3_200_000 + board.runs
            assert record.whole.duration == pytest.approx(cycles * 1e3 / CLOCK_HZ, rel=1e-6)
        assert limit < bound
        injected, mended = sum(board.injected.values()), sum(session.faults.values())
    assert injected >= runs // 40, "the line was too good to prove anything"
    assert mended >= injected // 3


def test_ten_times_worse() -> None:
    with FakeBoard(script=Script(rate=1e-3, seed=5), firmware=Firmware(read_write=False)) as board:
        try:
            session = opened(board)
        except LineFault:
            pytest.skip("the line did not even let the board introduce itself")  # never seen with this seed
        right = 0
        for _ in range(30):
            try:
                right += session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT
            except LineFault:
                right += 1  # given up, which is allowed; a wrong result is not
        assert right == 30


@pytest.mark.parametrize("boot_text", [b"", b"\r\nboot 1.0\r\n", bytes(range(256))], ids=["quiet", "text", "noise"])
def test_a_reset_during_inference_is_reported_and_survived(boot_text: bytes) -> None:
    heard: list[tuple[float, LineFault]] = []
    script = Script(at_run={1: "reset"}, boot_text=boot_text)
    with FakeBoard(script=script) as board, opened(board, heard) as session:
        session.infer(session.models[0], [X])
        deadline = session.client.run_wait
        begin = time.monotonic()
        assert session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT
        (at, fault), = heard
        assert at - begin < deadline + 2.0
        if not boot_text:
            assert isinstance(fault, BoardReset)
        assert board.injected["reset"] == 1 and sum(session.faults.values()) == 1


def test_a_stall_is_reported_and_the_board_comes_back() -> None:
    with FakeBoard(script=Script(at_run={0: "stall"})) as board, opened(board) as session:
        begin = time.monotonic()
        with pytest.raises(BoardSilent, match="silent"):
            session.infer(session.models[0], [X])
        assert time.monotonic() - begin < session.client.run_wait + PATIENCE.total + 1.0
        board.resume.set()
        time.sleep(0.05)
        assert session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT


def test_a_port_that_vanishes_is_told_apart() -> None:
    with FakeBoard(script=Script(at_run={0: "vanish"})) as board, opened(board) as session:
        begin = time.monotonic()
        with pytest.raises(LineLost, match="is gone"):
            session.infer(session.models[0], [X])
        assert time.monotonic() - begin < 1.0
        assert session.faults["line lost"] == 1


def test_a_connection_that_closes_is_told_apart() -> None:
    with FakeBoard(script=Script(at_run={0: "vanish"}), tcp=True) as board, opened(board) as session, pytest.raises(
        LineLost
    ):
        session.infer(session.models[0], [X])


@pytest.mark.parametrize("noise", [b"\xaa" * 40, b"\x20" + bytes(20), b"hello\r\n" * 30, bytes(range(256)) * 4])
def test_garbage_at_connect(noise: bytes) -> None:
    with FakeBoard(script=Script(noise_at_open=noise)) as board, opened(board) as session:
        assert session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT


@pytest.mark.parametrize("pause", [0.001, 0.02], ids=["fast", "slow"])
def test_babble_is_told_apart(pause: float) -> None:
    begin = time.monotonic()
    with FakeBoard(script=Script(babble=pause)) as board, pytest.raises(Babble):
        opened(board)
    assert time.monotonic() - begin < PATIENCE.total + 2.0


def test_a_slow_board_is_waited_for() -> None:
    patient = Waits(sync=0.1, answer=0.1, model=0.1, input=0.1, run=2.0, tensor=0.1, spare=1.0)
    script = Script(at_run={0: "slow", 2: "slow"}, slow_s=0.5)
    with FakeBoard(script=script) as board, opened(board, waits=patient) as session:
        for _ in range(3):
            assert session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT
        assert not session.faults


def test_a_board_that_loses_any_one_byte() -> None:
    """Bytes of a run from the host are lost, one a time, on a board without any timeout of its own."""
    with FakeBoard(firmware=Firmware(read_write=True)) as board, opened(board) as session:
        session.infer(session.models[0], [X])
        for place in range(0, 4 * 33, 5):
            lost = [place]

            def line(data: bytes, lost: list[int] = lost) -> bytes:
                if lost[0] < 0 or lost[0] >= len(data):
                    lost[0] -= len(data) if lost[0] >= 0 else 0
                    return data
                at, lost[0] = lost[0], -1
                return data[:at] + data[at + 1 :]

            board._faulty = line  # type: ignore[method-assign]
            assert session.infer(session.models[0], [X]).outputs[0].data.datas == RIGHT, place
