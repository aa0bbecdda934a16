"""A bench held against other figures: ST's published row, the estimate, a stored bench, limits for CI."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeai.artifacts import BenchCheck, BenchComparison, BenchProtocol, BenchResult, from_json
from edgeai.board import Board
from edgeai.errors import InputError
from edgeai.files import existing_file

KIB = 1024
REQUIRED = ("model_name", "latency_ms", "board_time", "tool_version")
# What makes two timings of different things; how many runs were made does not
COMPARABLE: tuple[tuple[str, Callable[[BenchProtocol], object]], ...] = (
    ("board", lambda p: p.board),
    ("unit", lambda p: p.unit),
    ("link", lambda p: p.link.split()[0]),
    ("mode", lambda p: p.mode),
)


# --- published rows ---------------------------------------------------------------------------------


def with_published(result: BenchResult, table: Path, row: str = "") -> BenchResult:
    """`result` beside the row of a table of published figures (CSV with the columns `model_name`, `latency_ms`,
    `board_time`, `tool_version` and, where known, `row_ids`, `internal_ram_kib`, `weights_flash_kib`, `caveat`).

    `row` is part of a row's `row_ids`; without it the row of this model and board is taken, of the newest version of
    the tool. Raises InputError where the table is none, or has no such row or several.
    """
    if result.protocol.emulated:
        raise InputError("an emulator's ticks cannot be compared with published milliseconds", "bench a real board")
    chosen = _choose(_rows(table), result, row, table)
    source = f"{table.name} {chosen.get('row_ids', '') or chosen['model_name']}, {chosen['tool_version']}"
    note = chosen.get("caveat", "") or chosen.get("note", "")
    pairs = [
        ("latency", "ms", result.time.mean, _number(chosen["latency_ms"])),
        ("activations", "bytes", _float(result.memory.activations), KIB * _number(chosen.get("internal_ram_kib", ""))),
        ("weights", "bytes", _float(result.memory.weights), KIB * _number(chosen.get("weights_flash_kib", ""))),
    ]
    found = tuple(
        BenchComparison(name, unit, mine, theirs, mine / theirs, source, note)
        for name, unit, mine, theirs in pairs
        if mine and theirs
    )
    if not found:
        raise InputError(f"the row {source} has no figure that was measured here")
    return replace(result, comparisons=(*result.comparisons, *found))


def _rows(table: Path) -> list[dict[str, str]]:
    existing_file(table, "a CSV table of published figures")
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{table.name} has no column {missing[0]!r}", f"columns: {', '.join(REQUIRED)}")
            return [{k: v or "" for k, v in entry.items() if isinstance(k, str)} for entry in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table.name} is not a CSV table: {error}") from None


def _choose(rows: Sequence[dict[str, str]], result: BenchResult, row: str, table: Path) -> dict[str, str]:
    stem = Path(result.model.name).stem.lower()
    if row:
        found = [entry for entry in rows if row in entry.get("row_ids", "").split("+")]
    else:
        mine = (result.protocol.board.lower(), stem)
        found = [entry for entry in rows if (entry["board_time"].lower(), entry["model_name"].lower()) == mine]
    if not found:
        what = f"row {row}" if row else f"{stem} on {result.protocol.board}"
        raise InputError(f"{table.name} has no {what}", "name a row with --row, by its row_ids")
    newest = max(found, key=lambda entry: _version(entry["tool_version"]))
    same = [entry for entry in found if entry["tool_version"] == newest["tool_version"]]
    if len(same) > 1:
        names = ", ".join(entry.get("row_ids", "?") for entry in same[:6])
        raise InputError(f"{table.name} has {len(same)} rows of it: {names}", "name one with --row")
    return newest


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _float(value: int | None) -> float:
    return float(value or 0)


# --- estimate ---------------------------------------------------------------------------------------


def with_estimate(result: BenchResult, model: Path, board: Board) -> BenchResult:
    """`result` beside edgeai's own latency estimate; unchanged where there is none for this board, or in ticks."""
    from edgeai.latency.estimate import assess

    if result.protocol.emulated:
        return result
    try:
        latency = assess(model, board).latency
    except InputError:
        return result
    if latency is None:
        return result
    low, point, high = latency.ms.low, latency.ms.point, latency.ms.high
    inside = "inside" if low <= result.time.mean <= high else "outside"
    source = f"edgeai estimate, {latency.table}"
    note = f"{inside} its interval {low:.4g} to {high:.4g} ms"
    entry = BenchComparison("latency", "ms", result.time.mean, point, result.time.mean / point, source, note)
    return replace(result, comparisons=(*result.comparisons, entry))


# --- limits -----------------------------------------------------------------------------------------


def read_bench(path: Path) -> BenchResult:
    """A BenchResult that `edgeai bench` wrote. Raises InputError."""
    existing_file(path, "a result that edgeai bench wrote")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not JSON", "pass a result that edgeai bench wrote") from None
    return from_json(BenchResult, text, str(path))


def with_limits(
    result: BenchResult, max_latency: float | None, baseline: BenchResult | None, max_regression: float | None
) -> BenchResult:
    """`result` with its checks: mean latency in ms, and per cent above the mean of a stored bench.

    Raises InputError where a limit makes no sense for this result, or the baseline measured something else.
    """
    checks = list(result.checks)
    if max_latency is not None:
        if result.protocol.unit != "ms":
            raise InputError("--max-latency is in milliseconds, an emulator counts ticks", "use --max-regression")
        checks.append(_check("latency", "ms", result.time.mean, max_latency))
    if (baseline is None) != (max_regression is None):
        raise InputError("--baseline and --max-regression go together", "as in --baseline main.json --max-regression 5")
    if baseline is not None and max_regression is not None:
        _same_protocol(baseline.protocol, result.protocol)
        change = 100 * (result.time.mean / baseline.time.mean - 1) if baseline.time.mean else 0.0
        checks.append(_check("regression", "%", change, max_regression))
    return replace(result, checks=tuple(checks))


def _check(name: str, unit: str, measured: float, limit: float) -> BenchCheck:
    return BenchCheck(name, unit, measured, limit, measured <= limit)


def _same_protocol(old: BenchProtocol, new: BenchProtocol) -> None:
    differing = [(name, read(old), read(new)) for name, read in COMPARABLE if read(old) != read(new)]
    if differing:
        name, before, now = differing[0]
        raise InputError(f"the baseline was measured differently: {name} {before}, now {now}", "make a new baseline")
