"""An STM32MP2-like board that runs on this computer: a 64-bit Arm Linux with a serial console, in QEMU.

It has the CPU of an MP2 (Cortex-A35) and its way of working: log in on the serial line, push a file, run a benchmark.
It has neither its NPU nor its GPU nor its tools. Time is counted in instructions: one takes one nanosecond of the
board's clock, which says nothing about a real board.

    with EmulatedLinux() as board:
        ...  # open board.port with pyserial
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgeai.cache import default_root
from edgeai.device.emulated.child import die_with_parent
from edgeai.device.emulated.initramfs import initramfs
from edgeai.errors import DeviceError, ToolError

QEMU = "qemu-system-aarch64"
MEMORY_MIB = 256
START_SECONDS = 20.0
REDIRECTED = re.compile(r"redirected to (\S+)")
HOW_TO_GET = "make emulated-mp2 fetches them from Debian (22 MB), into the user's cache"


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """An arm64 Linux kernel image and a static busybox."""

    kernel: Path
    busybox: Path


def guest_files() -> GuestFiles:
    """Where `make emulated-mp2` put them: $EDGEAI_MP2, or edgeai's cache. Raises ToolError where it did not."""
    folder = Path(os.environ.get("EDGEAI_MP2") or default_root() / "emulated-mp2")
    found = GuestFiles(folder / "vmlinuz", folder / "busybox")
    for path in (found.kernel, found.busybox):
        if not path.is_file():
            raise ToolError(f"the emulated MP2 board lacks {path}", HOW_TO_GET)
    return found


def find_qemu() -> str:
    """Path of qemu-system-aarch64. Raises ToolError where it is not installed."""
    found = shutil.which(QEMU)
    if found is None:
        raise ToolError(f"{QEMU} is not installed", "apt-get install qemu-system-arm (macOS: brew install qemu)")
    return found


class EmulatedLinux:
    """A context manager: starts QEMU, waits for its serial line, stops it at the end. The line is there at once, the
    login some seconds later.

    `icount` makes time count instructions; without it the board's clock follows this computer's. Raises ToolError where
    QEMU or the guest's files are missing, DeviceError where QEMU does not start.
    """

    port: str
    """What pyserial's `serial_for_url` opens."""

    def __init__(self, files: GuestFiles | None = None, *, icount: bool = True) -> None:
        self.files = files or guest_files()
        self.icount = icount
        self.port = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._held = -1

    def __enter__(self) -> EmulatedLinux:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the board; `port` is valid afterwards."""
        qemu = find_qemu()
        self._folder = tempfile.TemporaryDirectory(prefix="edgeai-mp2-")
        try:
            self._launch(qemu, Path(self._folder.name))
        except BaseException:
            self.stop()
            raise

    def _launch(self, qemu: str, folder: Path) -> None:
        archive, log = folder / "initramfs", folder / "qemu.log"
        archive.write_bytes(initramfs(self.files.busybox.read_bytes()))
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [qemu, *self._arguments(archive)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to handle
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes one system call
            )
        self.port = self._serial_line(log)
        # Somebody must hold the line, or QEMU looks for a listener only once a second.
        self._held = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._held)

    def _arguments(self, archive: Path) -> list[str]:
        return [
            "-M", "virt", "-cpu", "cortex-a35", "-smp", "1", "-m", str(MEMORY_MIB),
            "-nodefaults", "-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot",
            "-kernel", str(self.files.kernel), "-initrd", str(archive),
            "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init", "-serial", "pty",
            *(("-icount", "shift=0,align=off,sleep=off") if self.icount else ()),
        ]  # fmt: skip

    def _serial_line(self, log: Path) -> str:
        deadline = time.monotonic() + START_SECONDS
        while True:
            text = log.read_text(errors="replace")
            found = REDIRECTED.search(text)
            if found:
                return found.group(1)
            if not self.running:
                last = text.strip().splitlines()[-1] if text.strip() else "without a word"
                raise DeviceError(f"{QEMU} ended: {last[:160]}", "it needs QEMU 7.0 or later")
            if time.monotonic() > deadline:
                raise DeviceError(f"{QEMU} does not start within {START_SECONDS:g} s")
            time.sleep(0.01)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Pull the plug: the serial line vanishes, the context stays."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop the board; does nothing where it is not running."""
        self.kill()
        self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
