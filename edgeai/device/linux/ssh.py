"""A Linux board on the network, through the ssh program that is installed: its keys, its configuration, its agent.

Files travel through `cat`, not scp: it needs no sftp on the board, and no option that only some versions of scp know.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeai.device.linux.remote import COMMAND_SECONDS, TRANSFER_RETRIES, Completed, Progress, checked, digest_on_board
from edgeai.errors import DeviceError, InputError, ToolError
from edgeai.files import sha256_bytes, sha256_file

CONNECT_SECONDS = 5
SSH_FAILED = 255  # ssh's own exit status, ssh(1)
SLOWEST_BYTES_PER_SECOND = 50_000
ADDRESS = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:%-]*")
OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=accept-new", f"ConnectTimeout={CONNECT_SECONDS}",
           "ServerAliveInterval=5", "ServerAliveCountMax=3")  # fmt: skip


class Ssh:
    """A board at `[user@]host`. Raises InputError for an address that is none, ToolError where ssh is not installed."""

    link = "ssh"

    def __init__(self, address: str, user: str = "root") -> None:
        if not ADDRESS.fullmatch(address):
            raise InputError(f"{address!r} is no address of a board", "for example root@192.168.7.1")
        found = shutil.which("ssh")
        if found is None:
            raise ToolError("ssh is not installed", "apt-get install openssh-client")
        self.name = address
        target = address if "@" in address else f"{user}@{address}"
        self._command = [found, *(f"-o{option}" for option in OPTIONS), target]
        self._folders: list[str] = []

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> Completed:
        done = self._call(f"{{ {command}\n}} 2>&1", b"", seconds)
        return Completed(done.stdout.decode(errors="replace").removesuffix("\n"), done.returncode)

    def _call(self, command: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        # ssh hands one string to the board's shell: quoted here once, it arrives as one argument of sh
        try:
            done = subprocess.run(
                [*self._command, f"sh -c {shlex.quote(command)}"],
                input=data,
                capture_output=True,
                timeout=seconds + CONNECT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            word = command.strip("{ ").partition(" ")[0]
            raise DeviceError(
                f"{word[:60]} did not end within {seconds:g} s on {self.name}", "raise --timeout"
            ) from None
        if done.returncode == SSH_FAILED:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            clean = "".join(c if c.isprintable() else "?" for c in lines[-1])[:160]
            raise DeviceError(f"ssh to {self.name} failed: {clean}", f"does `ssh {self.name}` work without a password?")
        return done

    def folder(self, key: str) -> str:
        path = checked(self, f"mktemp -d /tmp/edgeai-{key}-XXXXXX", "making a folder").strip()
        if not re.fullmatch(r"/tmp/edgeai-[A-Za-z0-9_-]+", path):
            raise DeviceError(f"{self.name} made no folder: {path[:80]!r}")
        self._folders.append(path)
        return path

    def push(self, source: Path, target: str, progress: Progress | None = None) -> None:
        data, wanted = source.read_bytes(), sha256_file(source)
        if progress is not None:
            progress(0, len(data))
        for _ in range(TRANSFER_RETRIES):
            self._call(f"cat >{shlex.quote(target)}", data, COMMAND_SECONDS + len(data) / SLOWEST_BYTES_PER_SECOND)
            if digest_on_board(self, target) == wanted:
                if progress is not None:
                    progress(len(data), len(data))
                return
        raise DeviceError(f"{source.name} does not arrive whole on {self.name}", "is there room on its disk?")

    def pull(self, source: str) -> bytes:
        wanted = digest_on_board(self, source)
        if not wanted:
            raise DeviceError(f"there is no {source} on {self.name}")
        for _ in range(TRANSFER_RETRIES):
            done = self._call(f"cat {shlex.quote(source)}", b"", 10 * COMMAND_SECONDS)
            if sha256_bytes(done.stdout) == wanted:
                return done.stdout
        raise DeviceError(f"{source} does not arrive whole from {self.name}")

    def close(self) -> None:
        while self._folders:
            with contextlib.suppress(DeviceError):
                self.run(f"rm -rf {shlex.quote(self._folders.pop())}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
