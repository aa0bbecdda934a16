"""Run a tool that may print much, hang or crash: in its own process group, with a deadline, its output in a log."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.errors import ToolError

# What is kept of the output: its head, where the report is, and its tail, where the error is.
HEAD_LIMIT = 4 << 20
TAIL_LIMIT = 1 << 20
GRACE_S = 2.0
LINE_LIMIT = 1000
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: exit status (negative: a signal), seconds, whether its deadline passed, and its output."""

    status: int
    limit_s: float
    seconds: float
    timed_out: bool
    left_out: int
    text: str


class _Log:
    """The output on its way into a file that never grows beyond HEAD_LIMIT + TAIL_LIMIT."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("wb")
        self._head, self._written = bytearray(), 0
        self._tail = bytearray()
        self.left_out = 0

    def add(self, block: bytes) -> None:
        room = HEAD_LIMIT - self._written
        if room > 0:
            self._stream.write(block[:room])
            self._stream.flush()
            self._head += block[:room]
            self._written += len(block[:room])
            block = block[room:]
        self._tail += block
        if len(self._tail) > 2 * TAIL_LIMIT:
            self.left_out += len(self._tail) - TAIL_LIMIT
            del self._tail[:-TAIL_LIMIT]

    def close(self) -> str:
        if self.left_out:
            self._stream.write(f"\n[{self.left_out} bytes left out]\n".encode())
        self._stream.write(bytes(self._tail))
        self._stream.close()
        return (bytes(self._head) + b"\n" + bytes(self._tail)).decode("utf-8", errors="replace")


def run(
    command: Sequence[str],
    log: Path,
    cwd: Path,
    timeout_s: float,
    on_line: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run `command` to its end or to the deadline; nothing of its process group is left behind, whatever happens.

    Standard output and error go to `log`; `on_line` hears each line. Raises ToolError where it cannot be started.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            list(command), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except OSError as error:
        why = error.strerror or error
        raise ToolError(f"{command[0]} cannot be started: {why}", "`edgeai doctor` says why") from None
    kept = _Log(log)
    try:
        timed_out = _follow(process, kept, started + timeout_s, on_line)
    finally:
        _end_group(process)
        text = kept.close()
    return Outcome(process.returncode, timeout_s, time.monotonic() - started, timed_out, kept.left_out, text)


def _follow(
    process: subprocess.Popen[bytes], log: _Log, deadline: float, on_line: Callable[[str], None] | None
) -> bool:
    """Pass the output on until the process ends; whether the deadline passed first."""
    assert process.stdout is not None
    pending = b""
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return process.poll() is None
            ready = selector.select(min(left, 0.2))
            block = os.read(process.stdout.fileno(), _BLOCK) if ready else None
            if block:
                log.add(block)
                pending = _lines(pending + block, on_line)
            elif block == b"":
                return _wait(process, deadline)
            elif process.poll() is not None:  # ended, but a child of it holds the pipe
                return False


def _lines(data: bytes, on_line: Callable[[str], None] | None) -> bytes:
    *lines, rest = data.replace(b"\r", b"\n").split(b"\n")
    if on_line is not None:
        for line in lines:
            if text := line[:LINE_LIMIT].decode("utf-8", errors="replace").strip():
                on_line(text)
    return rest[-LINE_LIMIT:]


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """The output is closed; the process itself may still run."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return True
    return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, then make it. The group outlives its leader where the leader left children."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def ended(outcome: Outcome) -> str:
    """How a run ended, in words."""
    if outcome.timed_out:
        return f"did not end within {outcome.limit_s:.0f} s"
    if outcome.status < 0:
        name = signal.Signals(-outcome.status).name
        return f"was killed ({name}{', perhaps out of memory' if name == 'SIGKILL' else ''})"
    return f"ended with status {outcome.status}"
