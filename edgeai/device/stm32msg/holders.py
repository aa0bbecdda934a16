"""Who has a serial port open."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a port open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def holders(device: str) -> tuple[Holder, ...]:
    """Other processes that have `device` open, as far as /proc tells (Linux; those of other users only to root)."""
    if not sys.platform.startswith("linux") or "://" in device:
        return ()
    target = os.path.realpath(device)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid != os.getpid() and _opens(folder, target):
            found.append(Holder(pid, _process_name(folder)))
    return tuple(sorted(found, key=lambda holder: holder.pid))


def _opens(process: Path, target: str) -> bool:
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()) == target:
                    return True
    return False


def _process_name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip() or "a process"
    except OSError:
        return "a process"
