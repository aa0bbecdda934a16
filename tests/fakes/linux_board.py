"""A Linux board that is a process: a login on a terminal, and behind it a real shell.

Between its terminal and the pseudo terminal that is opened as its serial port runs a line that can misbehave: the
kernel writes between any two bytes, bytes change, the cable is pulled and plugged in again while the board goes on.
"""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

KERNEL_MESSAGE = b"[   12.345678] random: crng init done\r\n"
BOOT_TEXT = b"\r\nU-Boot 2023.10\r\nStarting kernel ...\r\n"


@dataclass(frozen=True)
class Habits:
    """How board and line behave. Rates are per byte; `boot` is in seconds, what comes before its end is lost."""

    boot: float = 0.0
    password: str = ""
    shell: str = "/bin/sh"
    kernel: float = 0.0
    corrupt_to_board: float = 0.0
    cut_to_board: int = 0
    cut_to_host: int = 0
    silent: bool = False
    lost_names: int = 0


class Cable:
    """The line between a board's terminal and a port. A context manager.

    `port` is what a serial library opens; `sent` counts bytes to the board since it was plugged in.
    """

    def __init__(self, board: int, habits: Habits, seed: int = 1) -> None:
        self.habits = habits
        self.port = ""
        self.sent = 0
        self._random = random.Random(seed)
        self._board, self._line = board, -1
        self._ends: list[int] = []
        self._plugging = threading.RLock()  # the host sees a pulled cable before this end is done with pulling it
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Self:
        self.plug(self.habits)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.unplug()
        os.close(self._board)

    def plug(self, habits: Habits) -> None:
        """Connect the cable, to a port of a new name."""
        with self._plugging:
            self.unplug()
            self.habits, self.sent, self._received = habits, 0, 0
            line, far = os.openpty()
            tty.setraw(far)
            self.port = os.ttyname(far)
            self._ends = [line, far]
            self._line = line

    def unplug(self) -> None:
        """Pull the cable: the port vanishes, the board goes on."""
        with self._plugging:
            self._line = -1
            while self._ends:
                os.close(self._ends.pop())

    def _carry(self) -> None:
        while not self._stop.is_set():
            line = self._line
            ends = [self._board, *([line] if line >= 0 else [])]
            try:
                ready = select.select(ends, [], [], 0.02)[0]
                for end in ready:
                    data = os.read(end, 512)
                    if end == self._board:
                        self._to_host(data)
                    elif line == self._line:
                        self._to_board(data)
            except (OSError, ValueError):  # the line was closed in between
                time.sleep(0.005)

    def _to_host(self, data: bytes) -> None:
        if self._line < 0:
            return
        noisy = b"".join(
            (KERNEL_MESSAGE if self._random.random() < self.habits.kernel else b"") + bytes([byte]) for byte in data
        )
        self._received += len(noisy)
        self._write(self._line, noisy)
        if self.habits.cut_to_host and self._received >= self.habits.cut_to_host:
            self.unplug()

    def _to_board(self, data: bytes) -> None:
        self.sent += len(data)
        rate = self.habits.corrupt_to_board
        if rate:
            data = bytes(byte ^ 1 if self._random.random() < rate and byte > 0x20 else byte for byte in data)
        self._write(self._board, data)
        if self.habits.cut_to_board and self.sent >= self.habits.cut_to_board:
            self.unplug()

    @staticmethod
    def _write(end: int, data: bytes) -> None:
        while data:
            data = data[os.write(end, data) :]


class LinuxBoard(Cable):
    """A board that is a process, with its cable. `tools` is a folder of programs for its path."""

    def __init__(self, habits: Habits, tools: Path | None = None, seed: int = 1) -> None:
        self._pid, board = pty.fork()
        if self._pid == 0:
            serve(habits, tools)
        super().__init__(board, habits, seed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


# --- the process on the terminal ----------------------------------------------------------------------


def serve(habits: Habits, tools: Path | None) -> None:
    """Boot, then log in whoever knows the password, for ever. Never returns."""
    signal.signal(signal.SIGINT, lambda *_: None)
    say(BOOT_TEXT)
    if habits.silent:
        while True:
            time.sleep(1)
    time.sleep(habits.boot)
    termios.tcflush(0, termios.TCIFLUSH)
    say(b"\r\nWelcome\r\n")
    environment = {"PATH": f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"], "PS1": "root@board:~# "}
    lost = habits.lost_names
    while True:
        say(b"\r\nboard login: ")
        name = read_line()
        if not name:
            continue
        if lost:  # as a getty that starts again
            lost -= 1
            time.sleep(0.5)
            termios.tcflush(0, termios.TCIFLUSH)
            continue
        if habits.password or name != b"root":
            say(b"Password: ")
            if read_line() != habits.password.encode() or name != b"root":
                say(b"\r\nLogin incorrect\r\n")
                continue
        subprocess.call(
            [habits.shell, "-i"],
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        subprocess.call(["stty", "sane"])


def say(text: bytes) -> None:
    os.write(1, text)


def read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        with contextlib.suppress(InterruptedError):
            data = os.read(0, 256)
            if not data:
                os._exit(0)
            line += data
    return line.strip()


if __name__ == "__main__":
    with LinuxBoard(Habits()) as served:
        sys.stdout.write(f"{served.port}\n")
        sys.stdout.flush()
        threading.Event().wait()
