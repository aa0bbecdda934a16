"""`edgeai doctor --serial`: what answers on a port, and advice where nothing does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.board import FakeBoard, Script
from helpers import edgeai

from edgeai.cli.doctor import render_serial
from edgeai.cli.render import width
from edgeai.device import ports
from edgeai.device.ports import Port, PortReport, SerialReport, choose_port, diagnose, holders, list_ports
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
