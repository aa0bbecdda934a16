"""A Cortex-M55 board that runs on this computer: QEMU's `mps3-an547` with our bench firmware.

It speaks the same serial protocol as a real board. Its timings are instruction ticks of an emulator and say nothing
about a real board's latency.

    with EmulatedM55(blobs=[Path("model.blob")]) as board:
        ...  # open board.port with pyserial
        board.qmp("system_reset")
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeai.device.emulated.child import die_with_parent
from edgeai.errors import DeviceError, InputError, ToolError
from edgeai.firmware.brought import brought

QEMU = "qemu-system-arm"
MACHINE = ("-M", "mps3-an547", "-cpu", "cortex-m55")
FIRMWARE = "edgeai-bench-an547.elf"

# Where the firmware looks for model blobs (firmware_stubs/ports/an547/port.c).
BLOB_BASE = 0x7200_0000
BLOB_STRIDE = 0x0100_0000
BLOB_SLOTS = 8

# One instruction takes 2**5 ns of virtual time, which is 1.024 ticks of the board's 32 MHz counter.
ICOUNT_SHIFT = 5

START_SECONDS = 20.0
QMP_SECONDS = 10.0


def default_firmware() -> Path:
    """The bench firmware that edgeai brings. Raises ToolError where it is missing."""
    found = brought("firmware", "prebuilt", FIRMWARE)
    if found is None:
        raise ToolError(f"the bench firmware {FIRMWARE} is missing", "install edgeai again, or run `make firmware`")
    return found


def find_qemu() -> str:
    """Path of qemu-system-arm. Raises ToolError where it is not installed."""
    found = shutil.which(QEMU)
    if found is None:
        raise ToolError(f"{QEMU} is not installed", "apt-get install qemu-system-arm (macOS: brew install qemu)")
    return found


class EmulatedM55:
    """A context manager: starts QEMU, waits for its serial line, stops it at the end.

    `blobs` are model blobs (`edgeai blob`), in the order in which the board lists them. `icount` makes time count
    instructions: slower, but the same run takes the same number of ticks everywhere. `tcp` gives a socket instead of
    a pseudo terminal. QEMU dies with this process. Raises ToolError where QEMU is not installed, InputError for a
    blob that the board's memory cannot hold, DeviceError where QEMU does not start.
    """

    port: str
    """What pyserial's `serial_for_url` opens: `/dev/pts/N`, or `socket://127.0.0.1:PORT`."""

    def __init__(
        self, blobs: Sequence[Path] = (), *, firmware: Path | None = None, icount: bool = False, tcp: bool = False
    ) -> None:
        self.firmware = firmware or default_firmware()
        self.blobs = tuple(blobs)
        self.icount = icount
        self.tcp = tcp
        self.port = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._monitor: _Monitor | None = None
        self._held = -1

    # --- life ---------------------------------------------------------------------------------------

    def __enter__(self) -> EmulatedM55:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the board; `port` is valid afterwards."""
        qemu = find_qemu()
        _check_blobs(self.blobs)
        self._folder = tempfile.TemporaryDirectory(prefix="edgeai-m55-")
        try:
            self._launch(qemu, Path(self._folder.name))
        except BaseException:
            self.stop()
            raise

    def _launch(self, qemu: str, folder: Path) -> None:
        monitor = folder / "qmp.sock"
        with (folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                [qemu, *self._arguments(monitor)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to handle
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes one system call
            )
        self._monitor = _Monitor(monitor, self._running)
        self.port = self._serial_line()
        if not self.tcp:
            # QEMU looks for a listener when it builds the board, and then once a second: hold the line by then.
            self._held = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._held)
        self.qmp("x-exit-preconfig")

    def _arguments(self, monitor: Path) -> list[str]:
        line = "socket,id=line,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on" if self.tcp else "pty,id=line"
        loaders = [
            argument
            for slot, blob in enumerate(self.blobs)
            for argument in ("-device", f"loader,file={_escaped(blob)},addr={_slot(slot):#x},force-raw=on")
        ]
        return [
            *MACHINE, "-display", "none", "-monitor", "none", "-nodefaults", "--preconfig",
            "-semihosting-config", "enable=on,target=native",
            "-kernel", str(self.firmware), *loaders,
            "-chardev", line, "-serial", "chardev:line", "-serial", "null",
            "-qmp", f"unix:{monitor},server=on,wait=off",
            *(("-icount", f"shift={ICOUNT_SHIFT},align=off,sleep=on") if self.icount else ()),
        ]  # fmt: skip

    def _serial_line(self) -> str:
        devices = self.qmp("query-chardev")
        name = next(str(d["filename"]) for d in devices if d["label"] == "line")
        if self.tcp:  # "disconnected:tcp:127.0.0.1:45433,server=on"
            return "socket://" + name.split("tcp:", 1)[1].split(",", 1)[0]
        return name.removeprefix("pty:")

    def stop(self) -> None:
        """Stop the board; does nothing where it is not running."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def kill(self) -> None:
        """Pull the plug: the serial line vanishes, the context stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """Exit status of a board that ends itself (semihosting). Raises DeviceError where it goes on."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DeviceError(f"the emulated board still runs after {seconds:g} s") from None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _running(self) -> None:
        """Raises DeviceError where QEMU has ended, with the last line it wrote."""
        if self.running:
            return
        assert self._folder is not None and self._process is not None
        text = (Path(self._folder.name) / "qemu.log").read_text(errors="replace").strip()
        last = text.splitlines()[-1] if text else f"exit status {self._process.returncode}"
        raise DeviceError(f"{QEMU} ended: {last[:160]}", "it needs QEMU 7.0 or later with the machine mps3-an547")

    # --- control ------------------------------------------------------------------------------------

    def qmp(self, command: str, **arguments: object) -> Any:
        """One command of QEMU's monitor protocol: `stop`, `cont`, `system_reset` and so on; its return value.

        Raises DeviceError where QEMU refuses it or has ended.
        """
        if self._monitor is None:
            raise DeviceError("the emulated board is not running")
        return self._monitor.execute(command, arguments)


class _Monitor:
    """QEMU's monitor (QMP): one JSON document a line, answers among events."""

    def __init__(self, path: Path, alive: Callable[[], None]) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(QMP_SECONDS)
        self._ids = itertools.count(1)
        self._alive = alive
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                alive()
                if time.monotonic() > deadline:
                    raise DeviceError(f"{QEMU} does not start within {START_SECONDS:g} s") from None
                time.sleep(0.01)
        self._lines = self._socket.makefile("rb")
        self._read()  # the greeting
        self.execute("qmp_capabilities", {})

    def execute(self, command: str, arguments: dict[str, object]) -> Any:
        request: dict[str, object] = {"execute": command, "id": next(self._ids)}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while (answer := self._read()).get("id") != request["id"]:
                pass
        except OSError:
            for _ in range(20):  # it may be about to end
                self._alive()
                time.sleep(0.05)
            raise DeviceError(f"{QEMU} does not answer {command}") from None
        if "error" in answer:
            raise DeviceError(f"{QEMU} refuses {command}: {answer['error'].get('desc', '')}")
        return answer["return"]

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._lines.close()
            self._socket.close()


def _slot(slot: int) -> int:
    return BLOB_BASE + slot * BLOB_STRIDE


def _check_blobs(blobs: Sequence[Path]) -> None:
    if len(blobs) > BLOB_SLOTS:
        raise InputError(f"{len(blobs)} models: the emulated board holds {BLOB_SLOTS}")
    for blob in blobs:
        if not blob.is_file():
            raise InputError(f"{blob} does not exist", "make it with `edgeai blob MODEL.tflite -o model.blob`")
        if blob.stat().st_size > BLOB_STRIDE:
            raise InputError(f"{blob} is larger than {BLOB_STRIDE >> 20} MiB, a model's place on the emulated board")


def _escaped(path: Path) -> str:
    """A file name inside one of QEMU's option lists, where a comma would end it."""
    return str(path.resolve()).replace(",", ",,")
