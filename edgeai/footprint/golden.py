"""Published figures as a table to check estimates against: which file, how surely, fit or reporting split."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from edgeai.artifacts import Granularity, decode
from edgeai.errors import InputError
from edgeai.files import existing_file

SPLIT = Path(__file__).resolve().parent / "data" / "golden.toml"
TARGETS = ("n6", "mcu", "mp2", "mp1")
COLUMNS = ("model_name", "tool_version", "model_file_match", "kit_file", "caveat", "latency_ms", "weights_flash_kib")


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    match: str
    split: str
    reason: str


@dataclass(frozen=True, slots=True)
class StandIn:
    """A file that takes the place of one that is not at hand: the same network, its input scaled to `imgsz`."""

    model: str
    file: str
    imgsz: int
    granularity: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    family: tuple[Family, ...]
    stand_in: tuple[StandIn, ...]


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One published row with a file. `match`: `exact`, `name` (same file name) or `scaled` (a stand-in).

    Values in KiB and milliseconds as printed, None where the row has none. `caveat` is why not to trust it, if any.
    """

    row: str
    target: str
    model: str
    version: str
    board: str
    family: str
    split: str
    match: str
    caveat: str
    file: Path
    imgsz: int
    granularity: Granularity | None
    internal_kib: float | None
    external_kib: float | None
    weights_kib: float | None
    activations_kib: float | None
    latency_ms: float | None


@cache
def split() -> Split:
    """The fixed split, checked."""
    return decode(Split, tomllib.loads(SPLIT.read_text(encoding="utf-8")), SPLIT.name)


def golden_rows(published: Path) -> tuple[GoldenRow, ...]:
    """All rows of `n6.csv`, `mcu.csv`, `mp2.csv` and `mp1.csv` in a folder whose model file is there.

    Paths in the column `kit_file` count from the folder above. Raises InputError where the folder holds no such table.
    """
    found: list[GoldenRow] = []
    tables = [(target, published / f"{target}.csv") for target in TARGETS if (published / f"{target}.csv").is_file()]
    if not tables:
        raise InputError(f"{published} holds none of {', '.join(f'{t}.csv' for t in TARGETS)}", "pass ST's tables")
    for target, path in tables:
        existing_file(path, "a table of published figures")
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(f"{path}: the column {missing[0]!r} is missing")
            found += [row for line in reader if (row := _row(target, line, published.parent)) is not None]
    return tuple(found)


def _row(target: str, line: dict[str, str], root: Path) -> GoldenRow | None:
    model = line["model_name"]
    stand_in = next((s for s in split().stand_in if s.model == model), None)
    file, imgsz = line["kit_file"], 0
    match = "exact" if line["model_file_match"].startswith("exact") else "name"
    if not file and stand_in is not None:
        file, imgsz, match = stand_in.file, stand_in.imgsz, "scaled"
    if not file or not (root / file).is_file():
        return None
    stem = Path(file).stem
    family = next(f for f in split().family if fnmatch(stem, f.match))
    forced = stand_in.granularity if stand_in is not None and match == "scaled" else ""
    granularity: Granularity | None = "per-tensor" if forced == "per-tensor" else None
    return GoldenRow(
        row=line.get("row_ids", ""),
        target=target,
        model=model,
        version=line["tool_version"].lstrip("v"),
        board=line.get("board_time") or line.get("board_memory") or "",
        family=family.name,
        split=(stand_in.split if stand_in is not None and match == "scaled" else "") or family.split,
        match=match,
        caveat=line["caveat"],
        file=root / file,
        imgsz=imgsz,
        granularity=granularity,
        internal_kib=_number(line.get("internal_ram_kib")),
        external_kib=_number(line.get("external_ram_kib")),
        weights_kib=_number(line.get("weights_flash_kib")),
        activations_kib=_number(line.get("activation_ram_kib")),
        latency_ms=_number(line.get("latency_ms")),
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
