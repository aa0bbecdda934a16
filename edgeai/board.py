"""Board profiles: what a board is, with the source of every fact. The profiles are data, `boards/*.toml`.

A profile is looked up by name or alias, without regard to case; a path that ends in `.toml` names a profile file.
The folder in the environment variable EDGEAI_BOARDS comes first, then the folders of installed Python packages that
announce one (entry points of the group `edgeai.boards`: a package or module whose folder holds the profiles), then the
profiles that edgeai brings.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import tomllib
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgeai.artifacts import FileRef
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref, parse_toml

KIB = 1024
POOL_SIZE_LIMIT_KIB = 1 << 32  # 4 TiB: beyond it, a size is a typing error

ENTRY_POINTS = "edgeai.boards"

PoolKind = Literal["ram", "external-ram", "flash"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """`clock_mhz` and `bus_mhz` as run by the vendor's software; 0 where not known."""

    core: str
    source: str
    cores: int = 1
    clock_mhz: float = 0.0
    bus_mhz: float = 0.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The neural accelerator. `gops` is the maker's peak figure (2 operations per MAC); 0 where not known."""

    name: str
    source: str
    clock_mhz: float = 0.0
    gops: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A piece of memory. `users` says who may have it: `activations`, `weights`, `application`.

    `ram` is fast memory, `external-ram` slow memory to spill to, `flash` holds constants. Size in KiB.
    Relative speed as the vendor's memory-pool files give it: `byte_width` bytes move in `freq_ratio` cycles of the
    accelerator; 0 where not known.
    """

    name: str
    kind: PoolKind
    size_kib: int
    users: tuple[str, ...]
    source: str
    address: int = 0
    read_only: bool = False
    byte_width: int = 0
    freq_ratio: float = 0.0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.size_kib * KIB


@dataclass(frozen=True, slots=True)
class Toolchain:
    """How the vendor's compiler is told about the board: `--target` and further options."""

    target: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Connection:
    """The line to the board. `usb` is vendor:product of the serial adapter, empty where any will do."""

    source: str
    kind: Literal["serial", "ssh"] = "serial"
    baud: int = 115200
    usb: str = ""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Memory that the application keeps for itself, taken off the pools before a model is placed. KiB."""

    ram_kib: int = 0
    flash_kib: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that a project sets below what the board has; 0 means no limit."""

    ram_kib: int = 0
    flash_kib: int = 0
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Emulator:
    """What stands in for the board on this computer: QEMU with a Cortex-M55 (`m55`) or a Cortex-A35 Linux (`linux`).
    Its timings are instruction ticks."""

    kind: Literal["m55", "linux"]
    source: str


@dataclass(frozen=True, slots=True)
class Board:
    """One board. `file` is the profile it was read from. Pools stand in the order in which they are filled."""

    name: str
    family: str
    cpu: Cpu
    toolchain: Toolchain
    connection: Connection
    pools: tuple[Pool, ...]
    file: FileRef = field(metadata={"internal": True})
    aliases: tuple[str, ...] = ()
    accelerator: Accelerator | None = None
    emulator: Emulator | None = None
    reserve: Reserve = Reserve()
    budget: Budget = Budget()
    notes: tuple[str, ...] = ()

    def pools_for(self, user: str, *kinds: PoolKind) -> tuple[Pool, ...]:
        """The pools of these kinds that `user` may have."""
        return tuple(pool for pool in self.pools if pool.kind in kinds and user in pool.users)


# --- lookup -------------------------------------------------------------------------------------


def load_board(name: str) -> Board:
    """The profile of a board, by name, alias or path. Raises InputError, naming the nearest boards."""
    if name.lower().endswith(".toml"):
        return read_board(Path(name))
    boards = all_boards(emulated=True)
    for board in boards:
        if name.lower() in (known.lower() for known in (board.name, *board.aliases)):
            return board
    known = [label for board in boards for label in (board.name, *board.aliases)]
    near = difflib.get_close_matches(name.lower(), [label.lower() for label in known], n=3, cutoff=0.5)
    offered = [label for label in known if label.lower() in near] or [board.name for board in boards]
    raise InputError(f"no board {name!r}", f"{'did you mean' if near else 'known boards are'} {', '.join(offered)}?")


def all_boards(emulated: bool = False) -> tuple[Board, ...]:
    """Every known board, with the emulated ones where asked; of those with one name the user's own comes first."""
    found: list[Board] = []
    for folder in _folders():
        found += [read_board(path) for path in sorted(folder.glob("*.toml"))]
    return tuple(board for board in found if emulated or board.emulator is None)


def _folders() -> list[Path]:
    folders = []
    own = os.environ.get("EDGEAI_BOARDS")
    if own:
        if not Path(own).is_dir():
            raise InputError(f"EDGEAI_BOARDS: {own} is not a folder")
        folders.append(Path(own))
    folders += _announced()
    package = Path(__file__).resolve().parent
    brought = next((f for f in (package / "data" / "boards", package.parent / "boards") if f.is_dir()), None)
    return folders if brought is None else [*folders, brought]


@cache
def _announced() -> tuple[Path, ...]:
    """Folders of other Python packages; one that does not import is an error that names it."""
    import importlib.metadata
    import importlib.util

    found = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            spec = importlib.util.find_spec(entry.module)
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or []) if spec else []
        if spec is not None and not places and spec.origin:
            places = [str(Path(spec.origin).parent)]
        if not places:
            raise InputError(f"the boards of the entry point {entry.name!r} are not there", "reinstall its package")
        found += [Path(place) for place in places]
    return tuple(found)


def read_board(path: Path) -> Board:
    """A profile file. Raises InputError that names the file and the key that is wrong."""
    existing_file(path, "a board profile")
    return _read(path, file_ref(path))


@cache
def _read(path: Path, reference: FileRef) -> Board:
    try:
        body = parse_toml(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    board: Board = _table(Board, body, str(path), {"file": reference})
    _check(board, path)
    return board


def _check(board: Board, path: Path) -> None:
    names = [pool.name for pool in board.pools]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise InputError(f"{path}: pools: two pools are called {twice!r}")
    for pool in board.pools:
        if not 0 <= pool.size_kib <= POOL_SIZE_LIMIT_KIB or pool.address < 0:
            raise InputError(f"{path}: pools.{pool.name}: impossible size or address")
    placed = sorted((pool for pool in board.pools if pool.address), key=lambda pool: pool.address)
    for low, high in itertools.pairwise(placed):
        if low.address + low.size > high.address:
            raise InputError(f"{path}: pools: {low.name} and {high.name} overlap")
    ram = board.pools_for("activations", "ram", "external-ram")
    if not ram:
        raise InputError(f"{path}: pools: no RAM pool has the user 'activations'")
    if not board.pools_for("weights", "flash") and not any("weights" in pool.users for pool in ram):
        raise InputError(f"{path}: pools: no pool has the user 'weights'", "name a flash pool, or RAM of 'activations'")


# --- TOML to dataclasses ------------------------------------------------------------------------


def _table(kind: type, body: dict[str, Any], where: str, given: dict[str, Any] | None = None) -> Any:
    """A dataclass from a TOML table; `given` are fields that do not come from the file."""
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if not f.metadata.get("internal")}
    for key in body:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1, cutoff=0)
            raise InputError(f"{where}: unknown key {key!r}", f"did you mean {near[0]!r}?" if near else "")
    for name, entry in fields.items():
        if entry.default is dataclasses.MISSING and name not in body:
            raise InputError(f"{where}: the key {name!r} is missing")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in body.items()}, **(given or {}))


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _value(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}", f"it can be {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list, not {_name(value)}")
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a table, not {_name(value)}")
        return _table(typing.cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{where} must be {_TYPE_NAMES[kind]}, not {_name(value)}")
    return value


_TYPE_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


# --- JSON schema --------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a profile, for editors; `read_board` checks the same and more."""
    found = _schema(Board)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "edgeai board profile", **found}


def _schema(kind: Any) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _schema(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if not dataclasses.is_dataclass(kind):
        return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[kind]}
    hints = get_type_hints(kind)
    fields = [f for f in dataclasses.fields(kind) if not f.metadata.get("internal")]
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": {f.name: _schema(hints[f.name]) for f in fields},
        "required": [f.name for f in fields if f.default is dataclasses.MISSING],
        "additionalProperties": False,
    }
