"""The tool's text output, cleaned and cut into runs; numbers as it prints them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.errors import InputError
from edgeai.files import existing_file

# A report of a large network has 0.2 MB; a desktop log with builds 0.2 MB. What is larger is not a report.
TEXT_LIMIT = 32 << 20
LINE_LIMIT = 8000  # characters; the compiler's own command line has some 2000
STAND_IN = "stand-in"

_PROGRESS = re.compile(r"(?:[\w .-]{1,40}:)?[ \t]*\d{1,3}%\|[^|\n]*\|[ \t]*\d+/\d+ \[[^\]\n]*\]")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_VERSION = re.compile(r"ST Edge AI Core v(\d+)\.(\d+)\.(\d+)-(\w+)(?: ([0-9a-f]+))?")
_COMMAND = re.compile(r"stedgeai(?:\.exe)?[\"']?\s+(analyze|generate|validate)\b", re.IGNORECASE)
_SUMMARY = re.compile(r"Exec/report summary \((\w+)\)", re.IGNORECASE)
_ELAPSED = re.compile(r"elapsed time \((\w+)\):\s*([\d.]+)\s*s", re.IGNORECASE)
_PARAMETERS = re.compile(r"^\s*Parameters\s*:\s*(.+)$")
_BEGINNINGS = ("ST Edge AI Core v", "elapsed time (", "Creating txt report file ")
# a log's line up to what the tool itself begins a line with; the executable's own path is no prefix
_LEARNT = re.compile(r"([^\\/>\n]{1,120}?)(?:ST Edge AI Core v\d|elapsed time \(\w+\):|Creating txt report file )")
_STAMP = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?(?: \[?[A-Z]+\]?)?"
    r"(?: [\w.$]+:\d+)?(?: [-|:])? "
)
_UNITS = {"B": 1, "BYTES": 1, "KB": 1 << 10, "KIB": 1 << 10, "KBYTES": 1 << 10, "MB": 1 << 20, "MIB": 1 << 20,
          "MBYTES": 1 << 20, "GB": 1 << 30, "GIB": 1 << 30}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoreVersion:
    """`v4.0.1-20581 7ed50de05`: version, build and hash."""

    major: int
    minor: int
    patch: int
    build: str
    commit: str

    @property
    def number(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes, and by how many of them the printed figure may be off."""

    count: int
    resolution: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The lines of one run of the tool. `command` is `analyze`, `generate`, `validate` or empty where nothing says."""

    command: str
    version: CoreVersion | None
    parameters: str
    elapsed_s: float | None
    lines: tuple[str, ...]


def read_text(path: Path) -> str:
    """The text of a log or report. Raises InputError where it is none."""
    existing_file(path, "a report or log of ST Edge AI Core")
    if path.stat().st_size > TEXT_LIMIT:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: too large for a report of ST Edge AI Core")
    data = path.read_bytes()
    if b"\x00" in data[:4096]:
        raise InputError(f"{path} is not a text file")
    return data.decode("utf-8-sig", errors="replace")


def clean(text: str) -> list[str]:
    """Lines without colours, progress bars, what a carriage return wiped out and what a logger put before each."""
    out: list[str] = []
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    prefix = _prefix(lines)
    for line in lines:
        if line and (found := prefix.match(line, 0, LINE_LIMIT)):
            line = line[found.end() :]  # noqa: PLW2901 - the line of the tool is what is behind it
        if "%|" not in line and "\r" not in line:
            out.append(line[:LINE_LIMIT].rstrip())
            continue
        parts = [_PROGRESS.sub("", part[:LINE_LIMIT]).rstrip() for part in line.split("\r")]
        if len(parts) > 1 or parts[0] != line.rstrip():  # tables must not be torn by lines that only held a bar
            parts = [part for part in parts if part]
        out += parts
    return out


def _prefix(lines: Sequence[str]) -> re.Pattern[str]:
    """What a logger puts before the lines of the tool: learnt from lines that begin with known words in the tool's own
    output, where it holds a number (a time) or stands before half of all lines; else a date and a time, a level and a
    place in the program.
    """
    for line in lines:
        if not any(word in line for word in _BEGINNINGS):
            continue
        found = _LEARNT.match(line[:LINE_LIMIT])
        if not found or not found[1].strip():
            continue
        parts = re.findall(r"[^\W_]+|[\W_]+", found[1])
        words = "".join("\\d+" if p.isdigit() else "\\w+" if p.isalnum() else re.escape(p) for p in parts)
        if any(c.isdigit() for c in found[1]) or _is_common(re.compile(words.rstrip(" \\")), lines):
            return re.compile(f"(?:{words}|{_STAMP.pattern}|{re.escape(found[1].rstrip())}$)")
    return _STAMP


def _is_common(prefix: re.Pattern[str], lines: Sequence[str]) -> bool:
    """Whether at least half of the lines that hold anything begin so."""
    told = [line for line in lines if line.strip()]
    return sum(prefix.match(line, 0, LINE_LIMIT) is not None for line in told) * 2 >= len(told)


def find_version(text: str) -> CoreVersion | None:
    """The first version line of a text."""
    found = _VERSION.search(text)
    if found is None:
        return None
    major, minor, patch, build, commit = found.groups()
    return CoreVersion(int(major), int(minor), int(patch), build, commit or "")


def segments(text: str) -> tuple[Segment, ...]:
    """The runs of the tool in a text: a desktop log holds a generate, a build, a load and a validate."""
    groups: list[list[str]] = [[]]
    for line in clean(text):
        if _VERSION.search(line) or _COMMAND.search(line):
            groups.append([])
        groups[-1].append(line)
        if _ELAPSED.search(line):
            groups.append([])
    return tuple(_segment(group) for group in _joined(groups) if any(line.strip() for line in group))


def _joined(groups: list[list[str]]) -> list[list[str]]:
    """A command line stands just before the version line of the same run: both belong together."""
    out: list[list[str]] = []
    for group in groups:
        before = next((line for line in reversed(out[-1]) if line.strip()), "") if out else ""
        bare = bool(out) and not any(_VERSION.search(line) for line in out[-1])
        if bare and group and _VERSION.search(group[0]) and _COMMAND.search(before):
            out[-1] += group
        else:
            out.append(list(group))
    return out


def _segment(lines: list[str]) -> Segment:
    command, parameters, elapsed = "", "", None
    for line in lines:
        if found := _PARAMETERS.match(line):
            parameters = found[1].strip()
            command = command or parameters.split()[0].lower()
        elif found := _SUMMARY.search(line) or _ELAPSED.search(line) or _COMMAND.search(line):
            command = command or found[1].lower()
        if found := _ELAPSED.search(line):
            elapsed = float(found[2])
    if not command and any("Setting validation data" in line or "(AI RUNNER)" in line for line in lines):
        command = "validate"
    version = next((v for line in lines if (v := find_version(line))), None)
    return Segment(command, version, parameters, elapsed, tuple(lines))


def key_value(line: str) -> tuple[str, str] | None:
    """`key   :   value`; a blank stands before the colon."""
    key, mark, value = line.partition(" :")
    return (key.strip(), value.strip()) if mark and key.strip() and value[:1] in ("", " ") else None


def integer(text: str) -> int:
    """`1,585,152` as a number."""
    return int(text.replace(",", ""))


def size(number: str, unit: str) -> Size:
    """`12.016 kB` in bytes. Raises ValueError for a unit that is not known."""
    try:
        factor = _UNITS[unit.upper()]
    except KeyError:
        raise ValueError(f"unit {unit!r}") from None
    number = number.replace(",", "")
    digits = len(number.partition(".")[2])
    off = factor / 10**digits / 2 if factor > 1 else 0.0
    return Size(round(float(number) * factor), math.ceil(off))
