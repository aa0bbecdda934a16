"""`edgeai doctor --serial`: what answers on a port, and advice where nothing does."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.board import FakeBoard, Script
from helpers import edgeai

from edgeai.cli.doctor import render_serial
from edgeai.cli.render import width
from edgeai.device import ports
from edgeai.device.ports import Port, PortReport, SerialReport, choose_port, diagnose, list_ports
from edgeai.device.stm32msg.holders import holders
from edgeai.errors import DeviceError


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "BAUDS", (921600, 115200))


def test_a_board_answers() -> None:
    with FakeBoard() as board:
        found = diagnose(Port(board.port, "", "", ""))
    assert (found.state, found.advice) == ("board", "")
    assert "Corstone" in found.found and "3.1" in found.found and "tiny" in found.found


@pytest.mark.parametrize(
    ("script", "state", "advice"),
    [
        (Script(deaf=True), "silent", "own port"),
        (Script(babble=0.001), "noise", "validation firmware"),
    ],
)
def test_what_is_wrong_otherwise(script: Script, state: str, advice: str) -> None:
    with FakeBoard(script=script) as board:
        found = diagnose(Port(board.port, "", "", ""))
    assert found.state == state and advice in found.advice


def test_an_stlink_that_is_silent_gets_other_advice() -> None:
    with FakeBoard(script=Script(deaf=True)) as board:
        found = diagnose(Port(board.port, "STM32 STLink", "0483:3754", ""))
    assert "boot switches" in found.advice and "validation firmware" in found.advice


def test_a_port_somebody_holds() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=slave)
    try:
        assert child.pid in [holder.pid for holder in holders(name)]
        found = diagnose(Port(name, "", "", ""))
        assert found.state == "busy" and f"process {child.pid}" in found.found
    finally:
        child.kill()
        child.wait()
        os.close(master)
        os.close(slave)


def test_no_such_port_and_no_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert diagnose(Port("/dev/ttyNONE", "", "", "")).state == "error"
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "tty").touch()
    found = diagnose(Port(str(tmp_path / "tty"), "", "", ""))
    assert found.state == "forbidden" and "usermod" in found.advice


def fake_ports(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, int | None, int, str]) -> None:
    from serial.tools import list_ports as source

    found = [
        SimpleNamespace(device=device, vid=vid, pid=pid, description=text, serial_number="")
        for device, vid, pid, text in entries
    ]
    monkeypatch.setattr(source, "comports", lambda: found)


def test_stlink_comes_first_and_mainboard_sockets_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ports(
        monkeypatch, ("/dev/ttyS0", None, 0, "n/a"), ("/dev/ttyUSB0", 0x10C4, 0xEA60, "CP2102"),
        ("/dev/ttyACM3", 0x0483, 0x3754, "STLINK-V3"), ("/dev/ttyAMA0", None, 0, "n/a"),
    )  # fmt: skip
    assert [port.device for port in list_ports()] == ["/dev/ttyACM3", "/dev/ttyUSB0", "/dev/ttyAMA0"]
    assert choose_port("0483:3754").device == "/dev/ttyACM3"


def test_the_port_is_chosen_only_where_it_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ports(monkeypatch, ("/dev/ttyUSB0", 0x10C4, 0xEA60, "CP2102"))
    with pytest.raises(DeviceError, match="no ST-LINK") as caught:
        choose_port("0483:3754")
    assert "/dev/ttyUSB0" in caught.value.hint
    fake_ports(monkeypatch, ("/dev/ttyACM0", 0x0483, 0x3754, "a"), ("/dev/ttyACM1", 0x0483, 0x3754, "b"))
    with pytest.raises(DeviceError, match="2 boards"):
        choose_port("0483:3754")
    fake_ports(monkeypatch, ("/dev/ttyACM0", 0x0483, 0x374B, "a"), ("/dev/ttyACM1", 0x0483, 0x3754, "b"))
    assert choose_port("0483:3754").device == "/dev/ttyACM1"


def entry(device: str, usb: str, serial: str = "", location: str | None = None, text: str = "") -> SimpleNamespace:
    vendor, product = (int(part, 16) for part in usb.split(":"))
    return SimpleNamespace(
        device=device, vid=vendor, pid=product, description=text, serial_number=serial, location=location
    )


def connect(monkeypatch: pytest.MonkeyPatch, *entries: SimpleNamespace) -> None:
    from serial.tools import list_ports as source

    monkeypatch.setattr(source, "comports", lambda: list(entries))


@pytest.mark.parametrize(
    ("usb", "text"),
    [
        ("0483:5740", "marlin_STM32F446 CDC"),
        ("0483:5740", "STMicroelectronics Virtual COM Port (COM7)"),
        ("0483:5740", "STLink emulation"),  # what a device calls itself proves nothing
        ("0483:df11", "STM32 BOOTLOADER"),
        ("0483:3258", "STM32 Nucleo USB device library"),
        ("1366:0105", "J-Link"),
    ],
)
def test_other_devices_with_the_vendor_of_st_are_no_stlink(
    monkeypatch: pytest.MonkeyPatch, usb: str, text: str
) -> None:
    connect(monkeypatch, entry("/dev/ttyACM0", usb, "X", text=text))
    with pytest.raises(DeviceError, match="no ST-LINK serial port is connected") as caught:
        choose_port("0483:3754")
    assert "/dev/ttyACM0" in caught.value.hint and text in caught.value.hint
    connect(monkeypatch, entry("/dev/ttyACM0", usb, "X"), entry("/dev/ttyACM1", "0483:374e", "A"))
    assert choose_port().device == "/dev/ttyACM1"


def test_a_board_whose_profile_names_its_own_adapter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, entry("/dev/ttyACM0", "0483:5740", "X"))
    assert choose_port("0483:5740").device == "/dev/ttyACM0"


@pytest.mark.parametrize(
    "places",
    [(None, None), ("3-1.2:1.1", "3-1.2:1.4"), ("3-1.2", "3-1.2")],
    ids=["serial number only", "interfaces told", "socket told"],
)
def test_a_probe_with_two_ports_is_one_board(
    monkeypatch: pytest.MonkeyPatch, places: tuple[str | None, str | None]
) -> None:
    first = entry("/dev/ttyACM2", "0483:3753", "0042", places[0])
    second = entry("/dev/ttyACM10", "0483:3753", "0042", places[1])
    connect(monkeypatch, second, first)
    assert choose_port("0483:3753").device == "/dev/ttyACM2"
    connect(monkeypatch, second, first, entry("/dev/ttyACM3", "0483:374e", "0043"))
    with pytest.raises(DeviceError, match="2 boards") as caught:
        choose_port()
    assert "ttyACM10" not in caught.value.message


def test_two_probes_of_one_serial_number_are_two_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = [entry(f"/dev/ttyACM{i}", "0483:374e", "1", f"3-{i + 1}:1.2") for i in range(2)]
    connect(monkeypatch, *probes)
    with pytest.raises(DeviceError, match="2 boards"):
        choose_port()


def test_the_doctor_writes_to_no_port_that_is_no_stlink(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    connect(monkeypatch, entry(name, "0483:5740", "X", text="a printer"))
    told = edgeai(capsys, "doctor", "--serial", "--json")
    shown = edgeai(capsys, "doctor", "--serial")
    sent = bool(select.select([master], [], [], 0)[0])
    os.close(master)
    os.close(slave)
    assert json.loads(told.out)["ports"][0]["state"] == "not asked" and not sent
    assert "nothing was sent" in shown.out and f"--port {name}" in " ".join(shown.out.split())


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeBoard() as board:
        shown = edgeai(capsys, "doctor", "--port", board.port)
        told = edgeai(capsys, "doctor", "--port", board.port, "--json")
    assert shown.code == 0 and "board, 921600 baud" in shown.out
    assert json.loads(told.out)["ports"][0]["state"] == "board"
    fake_ports(monkeypatch)
    assert "no serial port" in edgeai(capsys, "doctor", "--serial").out


def test_the_text_fits_80_columns() -> None:
    port = Port("/dev/ttyACM0", "STM32 STLink - ST-Link VCP Ctrl", "0483:3754", "0045")
    report = PortReport(port, "noise", 921600, "bytes that are no protocol", "load ST's validation firmware " * 4)
    assert all(width(line) <= 80 for line in render_serial(SerialReport((report,))).splitlines())
