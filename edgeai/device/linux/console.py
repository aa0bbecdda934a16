"""A Linux board at the other end of a serial line: its shell, and files over it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from edgeai.device.linux.remote import (
    COMMAND_SECONDS,
    DIGEST,
    TRANSFER_RETRIES,
    Progress,
    checked,
    digest_on_board,
    last_line,
)
from edgeai.device.linux.shell import CommandTimeoutError, Shell
from edgeai.errors import DeviceError
from edgeai.files import sha256_bytes

CHUNK = 2280  # base64 characters: with its command below the 4096 bytes of a terminal's line buffer
CHUNK_SECONDS = 15.0


class Console(Shell):
    """A session on a serial console; call `login` first. Not for several threads.

    Raises LineLost where the line vanishes, DeviceError for everything else that goes wrong.
    """

    def folder(self, key: str) -> str:
        # the same one for the same key: an upload that was cut off goes on where it stopped
        path = f"/tmp/edgeai-{key}"
        checked(self, f"mkdir -p {path}", f"making {path}")
        return path

    def push(self, source: Path, target: str, progress: Progress | None = None) -> None:
        """Copy a file to the board, gzip and base64, chunk by chunk, each one acknowledged with its hash.

        A part of the same file that is there from an upload that was cut off is kept. Raises DeviceError where the
        hash of the whole is not right in the end.
        """
        data = source.read_bytes()
        wanted = sha256_bytes(data)
        if digest_on_board(self, target) == wanted:
            return
        payload = base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()
        name, part = shlex.quote(target), shlex.quote(f"{target}.part")
        for _ in range(TRANSFER_RETRIES):
            for done in self._upload(payload, part):
                if progress is not None:
                    progress(done * len(data) // len(payload), len(data))
            unpack = f"base64 -d {part} | gzip -dc >{name}; rm -f {part}"
            checked(self, unpack, "unpacking the file", COMMAND_SECONDS + len(data) / 1e5)
            if digest_on_board(self, target) == wanted:
                return
        raise DeviceError(f"{source.name} does not arrive whole on {self.name}", "is the line noisy, or its disk full?")

    def _upload(self, payload: str, part: str) -> Iterator[int]:
        """Append what is missing of `payload` to the file `part`; yields how many characters are there."""
        start = self._resumable(payload, part)
        if not start:
            checked(self, f": >{part}", "making a file")
        checked(self, f"EDGEAI_PART={part}; EDGEAI_AT={start}", "making a file")
        for offset in range(start, len(payload), CHUNK):
            chunk = payload[offset : offset + CHUNK]
            self._put(offset, chunk)
            yield offset + len(chunk)

    def _resumable(self, payload: str, part: str) -> int:
        size = self.run(f"wc -c <{part}").output.strip()
        start = int(size) if size.isdigit() else 0
        if not 0 < start <= len(payload):
            return 0
        found = DIGEST.search(self.run(f"sha256sum {part}").output)
        same = found is not None and found.group(1) == hashlib.sha256(payload[:start].encode()).hexdigest()
        return start if same else 0

    def _put(self, offset: int, chunk: str) -> None:
        command = f"edgeai_put {offset} {hashlib.sha256(chunk.encode()).hexdigest()} {chunk}"
        for attempt in range(TRANSFER_RETRIES + 1):
            try:
                done = self.run(command, CHUNK_SECONDS)
            except CommandTimeoutError:
                if attempt == TRANSFER_RETRIES:
                    raise
                continue
            if done.status == 0:
                return
        raise DeviceError(f"{self.name} does not take a file: {last_line(done)}", "is there room on its disk?")

    def pull(self, source: str) -> bytes:
        """The bytes of a file on the board. Raises DeviceError where there is none or it does not arrive whole."""
        name = shlex.quote(source)
        wanted = digest_on_board(self, source)
        if not wanted:
            raise DeviceError(f"there is no {source} on {self.name}")
        for _ in range(TRANSFER_RETRIES):
            size = int(checked(self, f"wc -c <{name}", "reading a file"))
            done = self.run(f"gzip -c {name} | base64", COMMAND_SECONDS + size / 1e3)
            with contextlib.suppress(binascii.Error, gzip.BadGzipFile, EOFError, ValueError):
                data = gzip.decompress(base64.b64decode("".join(done.output.split()), validate=True))
                if sha256_bytes(data) == wanted:
                    return data
        raise DeviceError(f"{source} does not arrive whole from {self.name}", "is the line noisy?")
