"""`edgeai doctor`: what is there, what is missing, and how to get it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.artifacts import DoctorReport
from edgeai.cli.options import PathParam, json_option
from edgeai.cli.render import emit

if TYPE_CHECKING:
    from edgeai.device.ports import SerialReport

WIDTH = 80
SERIAL_MARKS = {"board": "ok", "console": "ok"}
MARKS = {"ok": "ok", "warning": "??", "missing": "--"}


@click.command(short_help="Say which tools are there and how to get the others.")
@click.option("--stedgeai", type=PathParam, metavar="PATH", help="Folder or executable of ST Edge AI Core.")
@click.option("--serial", is_flag=True, help="List the serial ports, and ask each ST-LINK what answers on it.")
@click.option("--port", default="", metavar="PORT", help="Ask this port only.")
@json_option
def command(stedgeai: Path | None, serial: bool, port: str, as_json: bool) -> None:
    """Look for ST Edge AI Core, compilers, emulators, serial ports and Python packages. Nothing is changed.

    \b
    edgeai doctor
    edgeai doctor --stedgeai /opt/ST/STEdgeAI/4.0
    edgeai doctor --serial
    """
    if serial or port:
        _serial(port, as_json)
        return
    from edgeai.stedgeai.doctor import examine

    found = examine(stedgeai)
    emit(found, render(found), as_json)


def _serial(port: str, as_json: bool) -> None:
    from edgeai.cli.progress import Progress
    from edgeai.device.ports import Port, SerialReport, diagnose, list_ports, not_asked

    ports = (Port(port, "", "", ""),) if port else list_ports()
    with Progress("ask the serial ports", len(ports)) as progress:
        reports = []
        for entry in ports:
            reports.append(diagnose(entry) if port or entry.stlink else not_asked(entry))
            progress.advance()
    found = SerialReport(tuple(reports))
    emit(found, render_serial(found), as_json)


def render_serial(report: SerialReport) -> str:
    """One line a port, ST-LINK first, with what to do below those that do not answer."""
    if not report.ports:
        return "no serial port: plug the board's ST-LINK socket in, and use a cable that carries data"
    lines = []
    for entry in report.ports:
        rate = f", {entry.baud} baud" if entry.baud else ""
        usb = ", ".join(text for text in (entry.port.description, entry.port.usb) if text and text != "n/a")
        head = f"{entry.port.device}" + (f" ({usb})" if usb else "")
        mark = SERIAL_MARKS.get(entry.state, "--")
        lines.append(_fill(f"{head}: {entry.state}{rate}: {entry.found}", f"{mark}  ", "    "))
        if entry.advice:
            lines.append(_fill(entry.advice, "    → ", "      "))
    return "\n".join(lines)


def render(report: DoctorReport) -> str:
    """One line a tool, with what to do below those that are not there."""
    name_width = max(len(check.name) for check in report.checks)
    indent = " " * (name_width + 6)
    lines = []
    for check in report.checks:
        head = f"{MARKS[check.state]}  {check.name:<{name_width}}  "
        lines.append(_fill(check.found, head, indent))
        if check.state != "ok":
            lines.append(_fill(f"{check.hint} (for: {check.needed_for})", f"{indent}→ ", f"{indent}  "))
    return "\n".join(lines)


def _fill(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )
