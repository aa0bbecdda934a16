"""A console session with a board that is a real process on a real terminal, and a line that misbehaves."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fakes.linux_board import Habits, LinuxBoard

from edgeai.device.linux.console import Console
from edgeai.device.linux.shell import CommandTimeoutError
from edgeai.device.stm32msg.faults import LineLost
from edgeai.device.stm32msg.transport import Address, Deadline, open_transport
from edgeai.errors import DeviceError

FILE_BYTES = 120_000


def opened(board: LinuxBoard) -> Console:
    return Console(open_transport(Address(board.port)))


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A file that does not compress."""
    path = tmp_path / "model.bin"
    path.write_bytes(np.random.default_rng(4).bytes(FILE_BYTES))
    return path


# --- login ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "habits",
    [
        Habits(),
        Habits(boot=1.5),
        Habits(lost_names=1),
        Habits(password="secret"),
        Habits(shell="/bin/bash"),
        Habits(kernel=0.02),
    ],
    ids=["at its login", "still booting", "losing names", "with a password", "bash", "a kernel that talks"],
)
def test_login_and_commands(habits: Habits) -> None:
    with LinuxBoard(habits) as board, opened(board) as console:
        console.login(password=habits.password)
        for i in range(10):
            assert console.run(f"echo {i}; exit_status() {{ return {i}; }}; exit_status").output == str(i)
        assert console.run("printf 'a b'").output == "a b"
        assert console.run("printf 'a\\nb\\n\\nc\\n'").output == "a\nb\n\nc"
        assert console.run("false").status == 1
        assert console.run("nothing_of_that_name").status == 127
        assert console.run("if then (").status
        assert console.run(": >/proc/nothing").status
        assert console.run("echo '@@E1@0@' '@@B2@'").output == "@@E1@0@ @@B2@"
        assert console.run("cat").output == ""  # nobody types


def test_wrong_password_and_missing_password() -> None:
    with LinuxBoard(Habits(password="secret")) as board:
        with opened(board) as console, pytest.raises(DeviceError, match="password"):
            console.login()
        board.plug(board.habits)
        with opened(board) as console, pytest.raises(DeviceError, match="refuses the login"):
            console.login(password="guess")
        board.plug(board.habits)
        with opened(board) as console:
            console.login(password="secret")
            assert console.run("echo in").output == "in"


def test_logout_leaves_the_login_prompt() -> None:
    with LinuxBoard(Habits()) as board:
        with opened(board) as console:
            console.login()
        with open_transport(Address(board.port)) as line:
            line.write(b"\n", Deadline(1), "a newline")
            assert b"login: " in line.drain(0.5, 5)


@pytest.mark.parametrize("left", ["echo 'half a word", "cat <<'EOF'\nsome text", "sleep 1000", "PS1=; echo quiet"])
def test_a_session_that_died_is_taken_over(left: str) -> None:
    """A cable pulled in the middle of anything leaves a shell in the middle of it."""
    with LinuxBoard(Habits()) as board:
        console = opened(board)
        console.login()
        console._send(left.encode() + b"\n")
        board.plug(Habits())
        with opened(board) as again:
            again.login()
            assert again.run("echo here").output == "here"


def test_silent_board() -> None:
    with LinuxBoard(Habits(silent=True)) as board, opened(board) as console:
        start = time.monotonic()
        with pytest.raises(DeviceError, match="no login prompt") as caught:
            console.login(seconds=3)
        assert caught.value.exit_code == 6
        assert time.monotonic() - start < 5


# --- commands ---------------------------------------------------------------------------------------------


def test_a_command_that_does_not_end_is_interrupted() -> None:
    with LinuxBoard(Habits()) as board, opened(board) as console:
        console.login()
        start = time.monotonic()
        with pytest.raises(CommandTimeoutError, match="sleep did not end within 1 s"):
            console.run("sleep 1000", seconds=1)
        assert time.monotonic() - start < 3
        assert console.run("echo on").output == "on"


def test_output_larger_than_any_buffer() -> None:
    with LinuxBoard(Habits(kernel=0.001)) as board, opened(board) as console:
        console.login()
        lines = console.run("seq 1 20000").output.splitlines()
        assert lines == [str(i) for i in range(1, 20001)]


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("habits", [Habits(), Habits(kernel=0.01), Habits(corrupt_to_board=2e-5)])
def test_files_arrive_whole(habits: Habits, payload: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    with LinuxBoard(Habits()) as board, opened(board) as console:
        console.login()
        board.habits = habits
        target = str(tmp_path / "there")
        console.push(payload, target, lambda part, whole: done.append((part, whole)))
        assert Path(target).read_bytes() == payload.read_bytes()
        board.habits = Habits(kernel=habits.kernel)
        assert console.pull(target) == payload.read_bytes()
        with pytest.raises(DeviceError, match="there is no"):
            console.pull(str(tmp_path / "absent"))
    assert done[-1] == (FILE_BYTES, FILE_BYTES)
    assert done == sorted(done)
    assert len(done) > 50


def test_a_file_that_is_there_is_not_sent_again(payload: Path, tmp_path: Path) -> None:
    with LinuxBoard(Habits()) as board, opened(board) as console:
        console.login()
        (tmp_path / "there").write_bytes(payload.read_bytes())
        before = board.sent
        console.push(payload, str(tmp_path / "there"))
        assert board.sent - before < 1000


def test_no_room_on_the_board(payload: Path) -> None:
    with LinuxBoard(Habits()) as board, opened(board) as console:
        console.login()
        with pytest.raises(DeviceError, match="making a file failed"):
            console.push(payload, "/proc/edgeai")
        assert console.run("echo on").output == "on"


# --- the cable --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [40, 1200, 60_000, 160_000], ids=["login", "setup", "upload", "end of upload"])
def test_cable_pulled_and_next_run_works(after: int, payload: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "there")
    with LinuxBoard(Habits(cut_to_board=after)) as board:
        with pytest.raises(LineLost) as caught, opened(board) as console:
            console.login()
            console.push(payload, target)
            console.run("sleep 5")
        assert caught.value.exit_code == 6
        assert caught.value.hint
        board.plug(Habits())
        with opened(board) as console:
            console.login()
            console.push(payload, target)
            assert Path(target).read_bytes() == payload.read_bytes()
            # what had arrived was not sent again
            assert board.sent < 1.45 * FILE_BYTES * 4 / 3 - max(0, after - 10_000)


def test_cable_pulled_while_a_program_runs() -> None:
    with LinuxBoard(Habits()) as board:
        with pytest.raises(LineLost), opened(board) as console:
            console.login()
            board.habits = Habits(cut_to_host=board._received + 300)
            console.run("seq 1 100; sleep 20")
        board.plug(Habits())
        with opened(board) as console:
            console.login()
            assert console.run("echo next").output == "next"
