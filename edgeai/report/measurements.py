"""Figures that somebody measured: rows of a CSV in the columns of published tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from edgeai.artifacts import Measurement
from edgeai.errors import InputError
from edgeai.files import existing_file

KIB = 1024
REQUIRED = ("model_name", "latency_ms", "tool_name", "tool_version")


def read_measurements(file: Path) -> tuple[Measurement, ...]:
    """The rows of a CSV with the columns model_name, dataset, resolution, format, quantization_label, the memory in
    KiB (internal_ram_kib ... code_flash_kib), latency_ms, inf_per_s, pct_npu, pct_gpu, pct_cpu, board_memory,
    board_time, tool_name, tool_version, source_repo, source_path, source_commit, model_link, caveat.

    Only model_name, latency_ms, tool_name and tool_version must be there; any cell may be empty. Raises InputError
    naming the line where a number is none.
    """
    try:
        text = existing_file(file, "a CSV of measurements").read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file.name} is not UTF-8 text", "save it as CSV in UTF-8") from None
    reader = csv.reader(text.splitlines())
    header = next(reader, [])
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InputError(f"{file.name} has no column {missing[0]!r}", f"its first line must name {', '.join(REQUIRED)}")
    return tuple(_rows(reader, header, file.name))


def _rows(reader: Iterator[list[str]], header: list[str], name: str) -> Iterator[Measurement]:
    for number, cells in enumerate(reader, start=2):
        if not any(cells):
            continue
        row = _Row(header, cells, f"{name}, line {number}")
        shares = [row.number(f"pct_{unit}") for unit in ("npu", "gpu", "cpu")]
        memory_board, time_board = row.text("board_memory"), row.text("board_time")
        yield Measurement(
            model=row.text("model_name"),
            dataset=row.text("dataset"),
            resolution=row.text("resolution"),
            format=row.text("format"),
            quantization=row.text("quantization_label"),
            series=memory_board if memory_board.startswith("STM32") else "",
            board=time_board or memory_board,
            tool=row.text("tool_name"),
            version=row.text("tool_version"),
            internal_ram=row.bytes("internal_ram_kib"),
            external_ram=row.bytes("external_ram_kib"),
            weights_flash=row.bytes("weights_flash_kib"),
            activation_ram=row.bytes("activation_ram_kib"),
            runtime_ram=row.bytes("runtime_ram_kib"),
            code_flash=row.bytes("code_flash_kib"),
            ms=row.number("latency_ms"),
            shares=tuple(s or 0.0 for s in shares) if any(s is not None for s in shares) else (),
            stated_inf_per_s=row.text("inf_per_s"),
            link=row.text("model_link"),
            source=_source(row),
            caveat=row.text("caveat"),
        )


def _source(row: _Row) -> str:
    repository, path, commit = (row.text(f"source_{part}") for part in ("repo", "path", "commit"))
    at = f"@{commit[:8]}" if commit else ""
    return f"{repository}{at} {path}".strip()


class _Row:
    """A line of the CSV by column name."""

    def __init__(self, header: list[str], cells: list[str], where: str) -> None:
        self._cells, self._where = dict(zip(header, cells, strict=False)), where

    def text(self, column: str) -> str:
        return self._cells.get(column, "").strip()

    def number(self, column: str) -> float | None:
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{self._where}: {column} {text!r} is not a number", "leave a cell empty where unknown")
        return value

    def bytes(self, column: str) -> float | None:
        kib = self.number(column)
        return None if kib is None else kib * KIB


def rate_disagrees(row: Measurement) -> bool:
    """Whether the inferences per second that a row states are not 1000 / its time.

    Printed figures are rounded or cut off: either may be off by one unit of its last digit.
    """
    if not row.ms or not row.stated_inf_per_s:
        return False
    try:
        stated = float(row.stated_inf_per_s)
    except ValueError:
        return True
    step = _last_digit(f"{row.ms:.10g}")
    low, high = 1000 / (row.ms + step), 1000 / max(row.ms - step, step)
    slack = 1.0001 * _last_digit(row.stated_inf_per_s)
    return not low - slack <= stated <= high + slack


def _last_digit(text: str) -> float:
    """What one unit of the last printed digit is worth."""
    return float(10 ** -len(text.partition(".")[2]))
