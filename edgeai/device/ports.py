"""Serial ports of this computer: which there are, who holds them, and what answers on them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeai.device.stm32msg.client import Client
from edgeai.device.stm32msg.devices import device_name
from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import Babble, BoardSilent
from edgeai.device.stm32msg.holders import holders
from edgeai.device.stm32msg.packet import Link
from edgeai.device.stm32msg.resync import Patience, resync
from edgeai.device.stm32msg.transport import Address, Deadline, open_transport
from edgeai.errors import DeviceError, need

# ST-LINK probes by vendor:product. The vendor alone is ST's: every firmware with its USB classes has it too (5740: the
# virtual COM port of printers and flight controllers, df11 the boot loader). Source: ids in OpenOCD's ST-LINK driver.
STLINKS = frozenset(
    f"0483:{product}"
    for product in (
        "3744", "3748", "374b", "374d", "374e", "374f", "3752", "3753", "3754", "3755", "3757",
    )
)  # fmt: skip
BAUDS = (921600, 115200, 460800, 230400)  # the N6's rate, then that of the other validation firmware
PROBE = Patience(quiet=0.05, answer=0.5, rest=0.1, gap=0.002, total=1.0)
PROMPTS = (b"login:", b"# ", b"$ ")


@dataclass(frozen=True, slots=True)
class Port:
    """One serial port. `usb` is vendor:product, empty where it is no USB adapter; `location` is the socket it is
    plugged into and, behind a colon, the interface, empty where the system does not tell.
    """

    device: str
    description: str
    usb: str
    serial: str
    location: str = ""

    @property
    def stlink(self) -> bool:
        return self.usb in STLINKS

    @property
    def probe(self) -> str:
        """What the ports of one probe have in common: its socket, else its serial number, else the port alone."""
        return self.location.partition(":")[0] or (f"{self.usb} {self.serial}" if self.serial else self.device)


@dataclass(frozen=True, slots=True)
class PortReport:
    """What the doctor found on a port. `state` is what the port can be used for now."""

    port: Port
    state: Literal["board", "console", "silent", "noise", "busy", "forbidden", "error", "not asked"]
    baud: int
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class SerialReport:
    """Every port that was looked at."""

    ports: tuple[PortReport, ...]


def list_ports() -> tuple[Port, ...]:
    """Serial ports, ST-LINK first. Raises ToolError where pyserial is not installed."""
    try:
        from serial.tools import list_ports as source
    except ImportError:
        raise need("pyserial", "dev") from None
    found = []
    for entry in source.comports():
        if not entry.vid and entry.device.startswith("/dev/ttyS"):
            continue  # the sockets of a PC's mainboard, there whether anything is connected or not
        usb = f"{entry.vid:04x}:{entry.pid:04x}" if entry.vid is not None else ""
        location = getattr(entry, "location", None) or ""
        found.append(Port(entry.device, entry.description or "", usb, entry.serial_number or "", location))
    return tuple(sorted(found, key=lambda port: (not port.stlink, not port.usb, _in_order(port))))


def _in_order(port: Port) -> tuple[tuple[int, str], ...]:
    """Sorts `ttyACM2` before `ttyACM10`, and the interfaces of one probe in their order."""
    parts = re.findall(r"\d+|\D+", port.device)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def choose_port(usb: str = "") -> Port:
    """The port of the one board that is connected; `usb` is the adapter the board has. Raises DeviceError.

    A probe with several ports is one board: its first interface is the one that is wired to the microcontroller, the
    second of an STLINK-V3 a bridge. Nothing is opened or written to here.
    """
    ports = list_ports()
    fitting = [port for port in ports if usb and port.usb == usb.lower()] or [port for port in ports if port.stlink]
    boards: dict[str, Port] = {}
    for port in sorted(fitting, key=lambda port: (port.location.partition(":")[2], _in_order(port))):
        boards.setdefault(port.probe, port)
    if len(boards) == 1:
        return next(iter(boards.values()))
    if not boards:
        others = ", ".join(f"{port.device} ({port.description})" if port.description else port.device for port in ports)
        hint = f"name it with --port; there are {others}" if others else "is the board's ST-LINK socket plugged in?"
        raise DeviceError("no ST-LINK serial port is connected", hint)
    names = ", ".join(f"{port.device} ({port.serial or port.description})" for port in boards.values())
    raise DeviceError(f"{len(boards)} boards are connected: {names}", "choose one with --port")


# --- doctor -----------------------------------------------------------------------------------------


def not_asked(port: Port) -> PortReport:
    """A port that is no ST-LINK: what is behind it is not known, so nothing is written to it."""
    advice = f"if it is a board: edgeai doctor --port {port.device}"
    return PortReport(port, "not asked", 0, "no ST-LINK, nothing was sent to it", advice)


def diagnose(port: Port, progress: Callable[[str], object] | None = None) -> PortReport:
    """What answers on a port, at which rate, and what to do where nothing does."""
    closed = _closed(port)
    if closed is not None:
        return closed
    noisy = console = 0
    for baud in BAUDS:
        if progress is not None:
            progress(f"{port.device} at {baud}")
        try:
            found = probe(Address(port.device), baud)
        except Babble:
            noisy = noisy or baud
        except BoardSilent:
            continue
        except DeviceError as fault:
            return PortReport(port, "error", baud, fault.message, fault.hint)
        else:
            if found != CONSOLE:
                return PortReport(port, "board", baud, found, "")
            console = baud
    return _unanswered(port, noisy, console)


def _closed(port: Port) -> PortReport | None:
    """Why the port cannot be opened, where that is plain to see."""
    taken = holders(port.device)
    if taken:
        who = ", ".join(map(str, taken))
        return PortReport(port, "busy", 0, f"open in {who}", "close that program; only one can speak with a board")
    if not port.device.startswith("/"):
        return None
    if not Path(port.device).exists():
        return PortReport(port, "error", 0, "there is no such port", "plug the board in, then list the ports again")
    if not os.access(port.device, os.R_OK | os.W_OK):
        advice = f"sudo usermod -aG {_group(port.device)} $USER, then log in again"
        return PortReport(port, "forbidden", 0, "you may not open it", advice)
    return None


def _group(device: str) -> str:
    """The group that may open a port: dialout on Debian, uucp on Arch."""
    try:
        return Path(device).group()
    except (KeyError, OSError):
        return "dialout"


CONSOLE = "a console"


def probe(address: Address, baud: int) -> str:
    """What answers at one baud rate, in words. Raises BoardSilent, Babble or another DeviceError."""
    with open_transport(address, baud) as transport:
        client = Client(Link(transport), Waits(sync=PROBE.answer))
        early = transport.drain(PROBE.quiet, PROBE.total)
        try:
            sync = resync(client, PROBE)
            models = client.models()
            system = client.system_info()
        except BoardSilent:
            transport.write(b"\r\n", Deadline(0.5), "a newline")
            answer = early + transport.read_some(Deadline(0.5))
            if any(prompt in answer for prompt in PROMPTS):
                return CONSOLE
            raise
        names = ", ".join(model.name for model in models) or "no model"
        return f"{device_name(system.devid)}, stm32msg {sync.version >> 8}.{sync.version & 0xFF}, {names}"


def _unanswered(port: Port, noisy: int, console: int) -> PortReport:
    if console:
        advice = "a Linux board: `edgeai bench --board STM32MP257F-EV1 --port " + port.device + "`"
        return PortReport(port, "console", console, "a Linux console", advice)
    if noisy:
        advice = "firmware that prints has the line: load ST's validation firmware (edgeai validate builds it)"
        return PortReport(port, "noise", noisy, "bytes that are no protocol", advice)
    tried = ", ".join(map(str, BAUDS))
    advice = (
        "load ST's validation firmware, or our bench firmware; set the boot switches for development; press reset"
        if port.stlink
        else "no ST-LINK: is this the board's own port?"
    )
    return PortReport(port, "silent", 0, f"nothing answers at {tried} baud", advice)
