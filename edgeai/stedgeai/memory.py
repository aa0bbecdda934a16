"""Memory and epochs in the tool's text: pools, ranges, section sizes, epoch tables."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeai.artifacts import CompiledPool, Epoch, Epochs, LibrarySize
from edgeai.stedgeai.text import Size, integer, size

_AMOUNT = r"([\d.,]+)\s+([kKMG]?i?B)"
_POOL = re.compile(
    rf"^\s*(\S+)\s+\[0x([0-9A-Fa-f]+) - 0x([0-9A-Fa-f]+)\]:\s+{_AMOUNT}\s*/\s*{_AMOUNT}\s+\([^)]*\)"
    rf"(?:\s*--\s*weights:\s+{_AMOUNT}[^a]*activations:\s+{_AMOUNT})?"
)
_RANGE = re.compile(r"^\s*(\S+)\s+\[0x[0-9A-Fa-f]+ - 0x[0-9A-Fa-f]+\]:\s+0x([0-9A-Fa-f]+)-0x([0-9A-Fa-f]+)\s*$")
_TOTAL = re.compile(rf"^\s*Total:\s+{_AMOUNT}(?:\s+--\s*weights:\s+{_AMOUNT}\s+activations:\s+{_AMOUNT})?")
_USER = re.compile(r"Memory to be allocated by the user:\s*(.*)$")
_USER_PART = re.compile(rf"(inputs|outputs)\s*\({_AMOUNT}\)")
_SECTION_TITLE = re.compile(r"Requested memory size by section")
_DATA = ("weights", "activations", "states", "io", "TOTAL")
_SECTION_HEADER = ("text", "rodata", "data", "bss")
_TOTALS_A = re.compile(r"Total number of epochs:\s*(\d+)(?:\s+of which\s+(\d+)\s+implemented in software)?")
_TOTALS_B = re.compile(r"Total number of epochs\s+(\d+)\s*$")
_PART_B = re.compile(r"^\s*>>\s*(pure software|hybrid|pure hardware)[^\n]*?epochs(?:\s*\([^)]*\))?\s+(\d+)\b(.*)$")
_BLOBS = re.compile(r"implemented in (\d+) epoch controller")
_ROW_A = re.compile(r"^\s*epoch\s+(\d+)\s+-?([A-Za-z/+]+|\?+)-?(?:\s+\(\s*(.*?)\s*\))?\s*$")
_ROW_B = re.compile(r"^\s*\|\s*epochs?[_ ]+(\d+)(?:\s*->\s*(\d+))?\s*\|\s*([A-Za-z/+]+|\?+)\s*\|\s*(.*?)\s*\|\s*$")


@dataclass(frozen=True, slots=True)
class PoolTable:
    """`Memory usage information`: the pools, and the totals where they are printed. `io` is left to the user.

    `ranges` are the bytes of `Used memory ranges`, rounded up to 16.
    """

    pools: tuple[CompiledPool, ...]
    ranges: tuple[tuple[str, int], ...]
    weights: Size | None
    activations: Size | None
    io: Size | None


@dataclass(frozen=True, slots=True)
class Sections:
    """`Requested memory size by section`: exact bytes; None where a row is missing. `states` outlive an inference."""

    weights: int | None
    activations: int | None
    states: int
    io: int | None
    runtime: LibrarySize | None


def pool_table(lines: Sequence[str]) -> PoolTable | None:
    """The pools of the accelerator's compiler. Pools that join others are left out: they overlap their members."""
    rows = [found for line in lines if (found := _POOL.match(line))]
    if not rows:
        return None
    rows = _one_table(rows)
    names = {row[1] for row in rows}
    pools = tuple(_pool(row) for row in rows if not joins(row[1], names))
    total = next((found for line in lines if (found := _TOTAL.match(line)) and found[3]), None)
    user = next((found[1] for line in lines if (found := _USER.search(line))), "")
    included = any("input/output buffers are included in activations" in line for line in lines)
    parts = [size(part[2], part[3]) for part in _USER_PART.finditer(user)]
    return PoolTable(
        pools=pools,
        ranges=tuple((m[1], int(m[3], 16) - int(m[2], 16)) for line in lines if (m := _RANGE.match(line))),
        weights=size(total[3], total[4]) if total else None,
        activations=size(total[5], total[6]) if total else None,
        io=Size(sum(p.count for p in parts), sum(p.resolution for p in parts)) if parts or included else None,
    )


def _one_table(rows: list[re.Match[str]]) -> list[re.Match[str]]:
    """The rows of the last table where a log repeats it."""
    starts = [i for i, row in enumerate(rows) if row[1] == rows[0][1]]
    return rows[starts[-1] :]


def joins(name: str, names: Iterable[str]) -> bool:
    """Whether a pool's name is made of the names of others: such a virtual pool overlaps its members."""
    parts = name.split("_")
    return len(parts) > 1 and _splits(parts, {other for other in names if other != name})


def _splits(parts: list[str], names: set[str]) -> bool:
    """Whether `parts`, joined again by underscores, are names one after the other (which may hold underscores)."""
    if not parts:
        return True
    heads = ("_".join(parts[:i]) for i in range(1, len(parts) + 1))
    return any(head in names and _splits(parts[i:], names) for i, head in enumerate(heads, 1))


def _pool(row: re.Match[str]) -> CompiledPool:
    start, end = int(row[2], 16), int(row[3], 16)
    used = size(row[4], row[5])
    weights = size(row[8], row[9]) if row[8] else Size(0, used.resolution)
    activations = size(row[10], row[11]) if row[10] else Size(0, used.resolution)
    return CompiledPool(
        name=row[1],
        kind=pool_kind(row[1], start),
        address=start,
        capacity=end - start,
        used=used.count,
        weights=weights.count,
        activations=activations.count,
        resolution=max(used.resolution, weights.resolution, activations.resolution),
    )


def pool_kind(name: str, address: int | None, read_only: bool = False) -> str:
    """`ram`, `external-ram` or `flash`, by the address map of the STM32 families (0x60000000 up is external)."""
    if read_only or "flash" in name.lower():
        return "flash"
    return "external-ram" if address is not None and address >= 0x6000_0000 else "ram"


def sections(lines: Sequence[str]) -> Sections | None:
    """The exact sizes by section, columns by their header."""
    start = next((i for i, line in enumerate(lines) if _SECTION_TITLE.search(line)), None)
    if start is None:
        return None
    header: list[str] = []
    rows: dict[str, dict[str, int]] = {}
    for line in lines[start + 1 :]:
        words = line.split()
        if words[:1] == ["module"]:
            header = words[1:]
        elif header and len(words) > len(header) and all(_is_number(word) for word in words[-len(header) :]):
            rows[" ".join(words[: -len(header)])] = dict(zip(header, map(integer, words[-len(header) :]), strict=True))
        elif rows and (line.strip().startswith("*") or "Summary" in line):
            break
    if not rows or not set(_SECTION_HEADER) <= set(header):
        return None
    return Sections(
        weights=_flash(rows["weights"]) if "weights" in rows else None,
        activations=_ram(rows["activations"]) if "activations" in rows else None,
        states=_ram(rows["states"]) if "states" in rows else 0,
        io=_ram(rows["io"]) if "io" in rows else None,
        runtime=_runtime(rows),
    )


def _runtime(rows: dict[str, dict[str, int]]) -> LibrarySize | None:
    """The runtime's own bytes. A row `*atonbuf*` is the weights again, linked into the program.

    None where the modules do not add up to their total: then one of them is missing.
    """
    total = next((row for name, row in rows.items() if name.startswith("RT total")), None)
    modules = {name: row for name, row in rows.items() if not name.startswith("RT total") and name not in _DATA}
    if total is None or any(sum(row[part] for row in modules.values()) != total[part] for part in _SECTION_HEADER):
        return None
    own = [row for name, row in modules.items() if "atonbuf" not in name]
    return LibrarySize(flash=sum(map(_flash, own)), ram=sum(map(_ram, own)))


def _flash(row: dict[str, int]) -> int:
    return row["text"] + row["rodata"] + row["data"]


def _ram(row: dict[str, int]) -> int:
    return row["data"] + row["bss"]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[\d,]+", word) is not None


def epochs(lines: Sequence[str]) -> Epochs | None:
    """The epochs, in the layout of 2.x (one line of totals) or from 3.0 on (four lines and a table)."""
    rows: list[Epoch] = []
    total, software, blobs = None, None, None
    parts: dict[str, int] = {}
    for line in lines:
        if found := _TOTALS_A.search(line):
            total, software = int(found[1]), int(found[2]) if found[2] else None
            rows, parts = [], {}
        elif found := _TOTALS_B.search(line):
            total, software = int(found[1]), None
            rows, parts = [], {}
        elif total is not None and (found := _PART_B.match(line)):
            parts[found[1]] = int(found[2])
            if count := _BLOBS.search(found[3]):
                blobs = int(count[1])
        elif total is not None and (found := _ROW_A.match(line)):
            rows.append(Epoch(int(found[1]), int(found[1]), _kind(found[2]), found[3] or ""))
        elif total is not None and (found := _ROW_B.match(line)):
            rows.append(Epoch(int(found[1]), int(found[2] or found[1]), _kind(found[3]), found[4]))
    if total is None:
        return None
    software = parts.get("pure software", software)
    complete = len(rows) == total and not _count(rows, "?")
    if software is None and complete:
        software = _count(rows, "SW")
    hybrid = parts.get("hybrid", _count(rows, "Hybrid") if complete else None)
    hardware = parts.get("pure hardware", _count(rows, "HW") + _count(rows, "EC") if complete else None)
    return Epochs(total, software, hybrid, hardware, blobs, tuple(rows))


def _kind(word: str) -> str:
    word = word.upper()
    if word in ("HYBRID", "MIX", "MIXED") or {"HW", "SW"} <= set(re.split(r"[/+]", word)):
        return "Hybrid"
    return "?" if word.startswith("?") else word


def _count(rows: Sequence[Epoch], kind: str) -> int:
    return sum(row.last - row.first + 1 for row in rows if row.kind == kind)


def reconcile(table: PoolTable, weights: int | None, activations: int | None) -> tuple[CompiledPool, ...]:
    """Pools with rounded figures made exact, where exact totals confirm the used ranges or leave one possibility."""
    pools = table.pools
    if activations is not None:
        pools = _by_ranges(pools, table.ranges, activations)
    for field, total in (("weights", weights), ("activations", activations)):
        if total is not None:
            pools = _by_rest(pools, field, total)
    return pools


def _by_ranges(
    pools: tuple[CompiledPool, ...], ranges: tuple[tuple[str, int], ...], total: int
) -> tuple[CompiledPool, ...]:
    """Activations as the printed ranges have them, if these add up to the total to the byte."""
    lengths = dict(ranges)
    holders = [pool for pool in pools if pool.activations and not pool.weights]
    near = all(abs(lengths.get(p.name, -p.resolution - 1) - p.activations) <= p.resolution for p in holders)
    if not near or sum(lengths.get(pool.name, 0) for pool in holders) != total:
        return pools
    return tuple(
        dataclasses.replace(pool, used=lengths[pool.name], activations=lengths[pool.name], resolution=0)
        if pool in holders
        else pool
        for pool in pools
    )


def _by_rest(pools: tuple[CompiledPool, ...], field: str, total: int) -> tuple[CompiledPool, ...]:
    """One rounded pool is what the exact ones leave of the total."""
    holders = [pool for pool in pools if getattr(pool, field)]
    rounded = [pool for pool in holders if pool.resolution]
    if len(rounded) != 1:
        return pools
    pool = rounded[0]
    rest = total - sum(getattr(other, field) for other in holders if other is not pool)
    both = pool.weights and pool.activations
    if both or abs(rest - getattr(pool, field)) > pool.resolution:
        return pools
    exact = dataclasses.replace(pool, used=rest, resolution=0)
    exact = (
        dataclasses.replace(exact, weights=rest) if field == "weights" else dataclasses.replace(exact, activations=rest)
    )
    return tuple(exact if other is pool else other for other in pools)


def overlapping(pools: Sequence[CompiledPool]) -> str:
    """The names of two pools that share addresses, or nothing: their sizes must not be added."""
    placed = sorted((p for p in pools if p.address is not None and p.capacity), key=lambda p: p.address or 0)
    for low, high in itertools.pairwise(placed):
        if (low.address or 0) + (low.capacity or 0) > (high.address or 0):
            return f"{low.name} and {high.name}"
    return ""
