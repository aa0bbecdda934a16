"""The file system of the emulated MP2 board: busybox, a login on the serial line, nothing else.

The archive is in the `newc` format of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. It is
built in memory, the same bytes from the same files, and needs neither root nor cpio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DIRECTORY, FILE, LINK = 0o040755, 0o100644, 0o120777
PROGRAM = 0o100755
HOST_NAME = "emulated-mp2"

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
hostname {HOST_NAME}
while :; do
    setsid getty -L 115200 ttyAMA0 vt100 </dev/null >/dev/null 2>&1
done
"""
PASSWD = "root::0:0:root:/root:/bin/sh\n"
PROFILE = "PS1='root@\\h:\\w# '\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the archive, without a leading slash; `data` is the target of a link."""

    path: str
    mode: int
    data: bytes = b""


def initramfs(busybox: bytes, extra: Iterable[Entry] = ()) -> bytes:
    """The archive that the kernel unpacks and starts `/init` from."""
    folders = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "usr/local", "usr/local/bin")
    entries = [
        *(Entry(folder, DIRECTORY) for folder in folders),
        Entry("bin/busybox", PROGRAM, busybox),
        Entry("sbin", LINK, b"bin"),
        Entry("init", PROGRAM, INIT.encode()),
        Entry("etc/passwd", FILE, PASSWD.encode()),
        Entry("etc/profile", FILE, PROFILE.encode()),
        *extra,
    ]
    archive = b"".join(_record(number, entry) for number, entry in enumerate(entries, 1))
    return archive + _record(0, Entry("TRAILER!!!", 0))


def _record(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links, owner, time, device = 1, 0, 0, 0
    fields = (
        number, entry.mode, owner, owner, links, time, len(entry.data),
        device, device, device, device, len(name), 0,
    )  # fmt: skip
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
