"""What a Linux board can be asked for, over whatever line: run a command, take a file, give one back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edgeai.errors import DeviceError

Progress = Callable[[int, int], object]
"""Called with bytes done and bytes in all."""

COMMAND_SECONDS = 20.0
TRANSFER_RETRIES = 2
DIGEST = re.compile(r"^([0-9a-f]{64})\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended: what it wrote (both streams, in order) and its exit status."""

    output: str
    status: int


class Remote(Protocol):
    """A board with a shell. `link` is `console` or `ssh`, `name` the port or address."""

    link: str
    name: str

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> Completed:
        """Run a shell command. Raises DeviceError where it does not end in time or the line fails."""
        ...

    def push(self, source: Path, target: str, progress: Progress | None = None) -> None:
        """Copy a file to the board; its hash is compared there. Raises DeviceError."""
        ...

    def pull(self, source: str) -> bytes:
        """The bytes of a file on the board, their hash compared. Raises DeviceError."""
        ...

    def folder(self, key: str) -> str:
        """A folder of our own on the board, made now. `key` is made of letters and digits."""
        ...

    def close(self) -> None:
        """End the session. Raises nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def checked(remote: Remote, command: str, what: str, seconds: float = COMMAND_SECONDS) -> str:
    """The output of a command that must succeed. Raises DeviceError with the last line it wrote."""
    done = remote.run(command, seconds)
    if done.status:
        raise DeviceError(f"{what} failed on {remote.name}: {last_line(done)}")
    return done.output


def digest_on_board(remote: Remote, path: str) -> str:
    """SHA-256 of a file on the board, empty where there is no such file."""
    found = DIGEST.search(remote.run(f"sha256sum {shlex.quote(path)}").output)
    return found.group(1) if found else ""


def last_line(done: Completed) -> str:
    """The last line that says something, made fit for a message."""
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    text = lines[-1] if lines else "it wrote nothing"
    clean = "".join(c if c.isprintable() else "?" for c in text)[:160]
    return f"{clean} (exit status {done.status})"
