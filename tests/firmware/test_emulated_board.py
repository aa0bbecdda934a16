"""The committed firmware on QEMU, without the data kit; and whether it is what its sources make."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from firmware_tools import FIRMWARE, make, need
from test_protocol import two_inputs
from tiny_models import Answer, Reference, random_inputs
from wire import CONST_VALUE, IO_ONLY, NETWORK_INFO, NETWORK_RUN, PER_LAYER, PERF, SYNC, WITH_DATA, Host, data

from edgeai.device.emulated.m55 import EmulatedM55, default_firmware
from edgeai.errors import DeviceError, InputError, ToolError
from edgeai.firmware.blob import make_blob

qemu = pytest.mark.usefixtures("has_qemu")


@pytest.fixture
def has_qemu() -> None:
    need("qemu-system-arm")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    folder = tmp_path_factory.mktemp("emulated")
    content = two_inputs()
    (folder / "two.tflite").write_bytes(content)
    (folder / "two.blob").write_bytes(make_blob(folder / "two.tflite").data)
    reference = Reference(content)
    return folder / "two.blob", reference.run(random_inputs(reference.inputs, 4))


def open_line(board: EmulatedM55) -> serial.SerialBase:
    line: serial.SerialBase = serial.serial_for_url(board.port, timeout=10)
    return line


def host_on(line: serial.SerialBase) -> Host:
    def read(n: int) -> bytes:
        content = line.read(n)
        assert len(content) == n, f"{len(content)} of {n} bytes"
        return bytes(content)

    return Host(line.write, read)


@pytest.fixture
def board(has_qemu: None, model: tuple[Path, Answer]) -> Iterator[EmulatedM55]:
    with EmulatedM55([model[0], model[0]]) as found:
        yield found


@pytest.mark.parametrize("tcp", [False, True], ids=["pty", "tcp"])
@qemu
def test_models_run_bit_exact(model: tuple[Path, Answer], tcp: bool) -> None:
    with EmulatedM55([model[0], model[0]], tcp=tcp) as board, open_line(board) as line:
        host = host_on(line)
        assert host.ask(SYNC).value(1) == 769
        assert [host.ask(NETWORK_INFO, i).kind for i in range(3)] == ["minfo", "minfo", "ack"]
        assert host.run("two", model[1].inputs).outputs == model[1].outputs
        run = host.run("two", model[1].inputs, IO_ONLY | PER_LAYER | WITH_DATA)
        assert [len(node[3][0]) for node in run.nodes] == [32, 32, 128]
        assert host.run("two", [b"\1", b"\2"], PERF | CONST_VALUE).ticks > 0


def test_the_line_answers_at_once(board: EmulatedM55) -> None:
    """QEMU looks for a listener on a pseudo terminal once a second; the board must not need that."""
    with open_line(board) as line:
        started = time.monotonic()
        host_on(line).ask(SYNC)
        assert time.monotonic() - started < 0.5


def test_reset_during_a_dialogue(board: EmulatedM55, model: tuple[Path, Answer]) -> None:
    with open_line(board) as line:
        host = host_on(line)
        host.ask(NETWORK_RUN, IO_ONLY, "two")
        host.send(data(model[1].inputs[0]))
        host.receive()
        board.qmp("system_reset")
        time.sleep(0.3)
        line.reset_input_buffer()
        assert host.ask(SYNC).kind == "sync"
        assert host.run("two", model[1].inputs).outputs == model[1].outputs  # blobs survive a reset


def test_a_stopped_board_is_silent_and_goes_on(board: EmulatedM55) -> None:
    with open_line(board) as line:
        host = host_on(line)
        host.ask(SYNC)
        board.qmp("stop")
        host.reqid += 1
        from wire import request

        host.send(request(host.reqid, SYNC))
        line.timeout = 0.5
        assert line.read(33) == b""
        line.timeout = 10
        board.qmp("cont")
        assert host.receive().kind == "sync"


def test_the_line_vanishes_with_the_board(board: EmulatedM55) -> None:
    with open_line(board) as line:
        host_on(line).ask(SYNC)
        board.kill()
        assert not board.running
        with pytest.raises((serial.SerialException, OSError, AssertionError)):
            host_on(line).ask(SYNC)
        with pytest.raises(DeviceError):
            board.qmp("cont")


@qemu
def test_the_board_dies_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import time\nfrom edgeai.device.emulated.m55 import EmulatedM55\nb = EmulatedM55()\nb.start()\n"
        "print(b._process.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while _alive(child):
        assert time.monotonic() < deadline, "QEMU outlived its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_cannot_start(model: tuple[Path, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("qemu-system-arm")
    with pytest.raises(InputError, match=r"absent\.blob does not exist"):
        EmulatedM55([tmp_path / "absent.blob"]).start()
    with pytest.raises(InputError, match="holds 8"):
        EmulatedM55([model[0]] * 9).start()
    with pytest.raises(DeviceError, match="qemu-system-arm ended"):
        EmulatedM55(firmware=tmp_path / "absent.elf").start()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="qemu-system-arm is not installed"):
        EmulatedM55().start()


# --- the committed file ---------------------------------------------------------------------------


def test_the_committed_firmware_has_its_hash() -> None:
    elf = default_firmware()
    recorded = (elf.parent / f"{elf.name}.sha256").read_text().split()[0]
    assert hashlib.sha256(elf.read_bytes()).hexdigest() == recorded


def text_section(elf: Path, folder: Path) -> bytes:
    out = folder / "text.bin"
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", elf, out], check=True)
    return out.read_bytes()


def test_the_committed_firmware_is_what_the_sources_make(tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True)
    wanted = (FIRMWARE / "prebuilt" / "edgeai-bench-an547.compiler").read_text().strip()
    if version.stdout.strip() != wanted:
        pytest.skip(f"arm-none-eabi-gcc {version.stdout.strip()}, the committed file was made with {wanted}")
    make(tmp_path, "an547", "arm-none-eabi-gcc")
    built = tmp_path / "an547" / default_firmware().name
    assert text_section(built, tmp_path) == text_section(default_firmware(), tmp_path)
