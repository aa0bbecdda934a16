"""Memory-pool files and compiler profiles: made from a board profile, and read back.

The file format and the figures for power are those of the pool files that ST ships with its application examples.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.board import KIB, Board, Pool
from edgeai.errors import InputError
from edgeai.files import existing_file

PROFILE_NAME = "edgeai"
POOL_FILE = "board.mpool"
PROFILE_FILE = "neural_art.json"
# The options of ST's stock profile n6-extflash, as the compiler arguments in reports of 2.2 list them.
OPTIONS = (
    "--optimization 3 --all-buffers-info --mvei --cache-maintenance --Oauto-sched --native-float "
    "--enable-virtual-mem-pools --Omax-ca-pipe 4 --Ocache-opt --Os"
)
# Bus name, read and write power of the N6's memories: the figures in ST's pool files.
_N6 = {
    "flexMEM": ("AXIFLEXMEM", 9.381, 8.569),
    "cpuRAM1": ("AXISRAM1", 16.616, 14.522),
    "cpuRAM2": ("AXISRAM2", 17.324, 15.321),
    "npuRAM3": ("AXISRAM3", 18.531, 16.201),
    "npuRAM4": ("AXISRAM4", 18.531, 16.201),
    "npuRAM5": ("AXISRAM5", 18.531, 16.201),
    "npuRAM6": ("AXISRAM6", 19.006, 15.79),
    "hyperRAM": ("xSPI1", 380.0, 340.0),
    "octoFlash": ("xSPI2", 110.0, 400.0),
}
# Where ST's getting-started applications for the N6 have their networks: address and KiB of the pool files they bring
# (stm32n6-app2_*.mpool). The weights stand right behind the application, frame buffers lie in the hyperRAM from
# 0x91000000 on.
APPLICATION = {"octoFlash": (0x70380000, 62464), "hyperRAM": (0x90000000, 16384)}
_N6_CACHE = {
    "nlines": 512, "linesize": 64, "associativity": 8, "bypass_enable": 1,
    "prop": {"rights": "ACC_WRITE", "throughput": "MID", "latency": "MID", "byteWidth": 8, "freqRatio": 2.5,
             "read_power": 13.584, "write_power": 12.645},
}  # fmt: skip
_MAGNITUDES = {"BYTES": 1, "KBYTES": 1 << 10, "MBYTES": 1 << 20}
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*')


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """One pool of a file. Bytes; `size` 0 keeps the pool for the application."""

    name: str
    address: int
    size: int
    rights: str
    throughput: str
    latency: str


def pool_file(board: Board, application: bool = False) -> str:
    """The memory-pool file of an accelerator's compiler for a board, in the order of their addresses; `application`
    leaves to ST's applications what they use themselves.
    """
    known = [_for_application(pool) if application else pool for pool in board.pools]
    pools = [_n6_pool(pool) for pool in sorted(known, key=lambda pool: pool.address)]
    limit = max((pool.size_kib for pool in board.pools if pool.kind == "ram"), default=0)
    parameter = {"paramname": "max_onchip_sram_size", "value": str(limit), "magnitude": "KBYTES"}
    memory = {"cacheinfo": [_N6_CACHE], "mem_file_prefix": "atonbuf", "mempools": pools}
    return json.dumps({"params": {"param": [parameter]}, "memory": memory}, indent=2) + "\n"


def _n6_pool(pool: Pool) -> dict[str, Any]:
    name, read, write = _N6.get(pool.name, (pool.name, 0.0, 0.0))
    fast = pool.kind == "ram" and 0 < pool.freq_ratio < 2
    prop: dict[str, Any] = {
        "rights": "ACC_READ" if pool.read_only else "ACC_WRITE",
        "throughput": "HIGH" if fast else "MID",
        "latency": "LOW" if fast else "MID" if pool.kind == "ram" else "HIGH",
        "byteWidth": pool.byte_width,
        "freqRatio": pool.freq_ratio,
        "read_power": read,
        "write_power": write,
    }
    if pool.kind != "ram":
        prop |= {"cacheable": "CACHEABLE_ON", "constants_preferred": "true"}
    usable = bool({"activations", "weights"} & set(pool.users))
    return {
        "fname": name,
        "name": pool.name,
        "fformat": "FORMAT_RAW",
        "prop": prop,
        "offset": {"value": f"0x{pool.address:08x}", "magnitude": "BYTES"},
        "size": {"value": str(pool.size_kib if usable else 0), "magnitude": "KBYTES"},
    }


def _for_application(pool: Pool) -> Pool:
    if pool.name not in APPLICATION:
        return pool
    address, size_kib = APPLICATION[pool.name]
    return dataclasses.replace(pool, address=address, size_kib=size_kib)


def pool_name(pool: Pool) -> str:
    """A pool's name as an identifier of C."""
    return re.sub(r"\W", "_", pool.name)


def mcu_pool_file(board: Board) -> str | None:
    """The smaller file for MCU targets; None where one RAM holds the activations and no file is needed."""
    pools = board.pools_for("activations", "ram", "external-ram")
    if len(pools) < 2:
        return None
    entries = [
        {
            "name": pool_name(pool),
            "prop": {
                "rights": "ACC_WRITE",
                "throughput": "HIGH" if pool.kind == "ram" else "MID",
                "latency": "LOW" if pool.kind == "ram" else "MID",
            },
            "offset": {"value": f"0x{pool.address:08x}", "magnitude": "BYTES"},
            "size": {"value": str(pool.size_kib), "magnitude": "KBYTES"},
        }
        for pool in pools
    ]
    return json.dumps({"memory": {"mempools": entries}}, indent=2) + "\n"


def profile_file(pool_name: str = POOL_FILE, options: str = OPTIONS) -> str:
    """The profile file `neural_art.json`; `pool_name` is relative to it."""
    profile = {"memory_pool": f"./{pool_name}", "options": options}
    return json.dumps({"Globals": {}, "Profiles": {PROFILE_NAME: profile}}, indent=2) + "\n"


def read_pool_file(path: Path) -> tuple[MemoryPool, ...]:
    """The pools of a file. Raises InputError where it is none."""
    body = _json(path, "a memory-pool file")
    try:
        return tuple(_pool(entry) for entry in body["memory"]["mempools"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no memory-pool file: {type(error).__name__} {error}") from None


def _pool(entry: dict[str, Any]) -> MemoryPool:
    prop = entry.get("prop") or {}
    return MemoryPool(
        name=str(entry["name"]),
        address=_amount(entry["offset"]),
        size=_amount(entry["size"]),
        rights=str(prop.get("rights", "ACC_WRITE")),
        throughput=str(prop.get("throughput", "")),
        latency=str(prop.get("latency", "")),
    )


def _amount(entry: dict[str, Any]) -> int:
    return int(str(entry["value"]), 0) * _MAGNITUDES[str(entry.get("magnitude", "BYTES"))]


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of a file: its memory-pool file and the compiler's options."""

    name: str
    memory_pool: str
    options: str


def read_profiles(path: Path) -> tuple[Profile, ...]:
    """The profiles of a file. Raises InputError where it is none."""
    body = _json(path, "a profile file")
    profiles = body.get("Profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise InputError(f"{path} holds no profiles", 'the file needs {"Profiles": {NAME: {"memory_pool": …}}}')
    found = []
    for name, entry in profiles.items():
        if not isinstance(entry, dict):
            raise InputError(f"{path}: the profile {name!r} is not a table")
        found.append(Profile(str(name), str(entry.get("memory_pool", "")), str(entry.get("options", ""))))
    return tuple(found)


def check_profile(text: str) -> tuple[str, Path]:
    """A user's `NAME@FILE`: the name is in the file and its memory pool exists. Raises InputError otherwise."""
    name, mark, file = text.partition("@")
    if not mark:
        raise InputError(f"--profile {text!r} names no file", "write it as NAME@user_neuralart.json")
    path = Path(file)
    profiles = read_profiles(path)
    chosen = next((profile for profile in profiles if profile.name == name), None)
    if chosen is None:
        raise InputError(f"{path} has no profile {name!r}", f"it has {', '.join(p.name for p in profiles)}")
    if chosen.memory_pool:
        read_pool_file(path.parent / chosen.memory_pool)
    return name, path


def differences(pools: tuple[MemoryPool, ...], board: Board) -> tuple[str, ...]:
    """Where a pool file disagrees with the board profile: pools that reach beyond the memory that is there."""
    found = []
    known = {pool.name: pool for pool in board.pools}
    for pool in pools:
        there = known.get(pool.name)
        if pool.size and there is None:
            found.append(f"{pool.name}: not a memory of {board.name}")
        elif there is not None and pool.size and pool.address + pool.size > there.address + there.size_kib * KIB:
            found.append(f"{pool.name}: ends beyond that of {board.name}")
    return tuple(found)


def _json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object; `//` comments are allowed in these files."""
    existing_file(path, what)
    try:
        text = path.read_text(encoding="utf-8-sig")
        body = json.loads(_COMMENT.sub(lambda found: found[1] or "", text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", f"pass {what}") from None
    if not isinstance(body, dict):
        raise InputError(f"{path} is not {what}")
    return body
