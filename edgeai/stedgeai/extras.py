"""The side files: quantization and cycle estimates of the compiler, logs of build, loader and runner."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.artifacts import CompiledModel, Count, FileRef, PoolUse, TensorAudit, ValidationResult
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref
from edgeai.stedgeai.c_info import JSON_LIMIT, read_c_info
from edgeai.stedgeai.failures import Failure, find_failures
from edgeai.stedgeai.loader import LoaderLog, read_loader_log
from edgeai.stedgeai.mpool import MemoryPool, Profile, read_pool_file, read_profiles
from edgeai.stedgeai.read import Validated, read_compiled, read_texts, read_validated
from edgeai.stedgeai.text import read_text, segments

_REGION = re.compile(r"^\s*(\w+):\s+(\d+) (B|KB|MB)\s+([\d.]+) (B|KB|MB|GB)\s+([\d.]+)%")
_SIZE = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[0-9a-f]+\s+\S+\.elf")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True, slots=True)
class QuantizedTensors:
    """`*_Q.json`: what quantization the compiler was told; `per_channel` counts tensors of several scales."""

    tool: str
    tensors: tuple[TensorAudit, ...]
    per_channel: int


@dataclass(frozen=True, slots=True)
class CycleEstimate:
    """`cycles.json`: the compiler's own estimate. `ms` is cycles at `mhz`."""

    cycles: int
    ideal_cycles: int
    operations: int
    epochs: int
    mhz: float

    @property
    def ms(self) -> float:
        return self.cycles / self.mhz / 1000


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The linker's and `size`'s figures of the validation firmware, in bytes; regions are (name, used, capacity)."""

    regions: tuple[tuple[str, int, int], ...]
    text: int | None
    data: int | None
    bss: int | None


@dataclass(frozen=True, slots=True)
class RunnerLog:
    """What the host-side runner tried: ports, and the failures."""

    ports: tuple[str, ...]
    failures: tuple[Failure, ...]


Found = (
    CompiledModel | Validated | tuple[MemoryPool, ...] | tuple[Profile, ...] | QuantizedTensors | CycleEstimate
    | BuildLog | LoaderLog | RunnerLog
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToolFile:
    """One file of the tool, read: what it does not hold is None or empty.

    `regions` and `sections` are what a linker says of the validation firmware, `started` is whether the loader's
    program runs, `ports` are those that the runner saw, `failures` what either of them tells of.
    """

    file: FileRef
    compiled: CompiledModel | None = None
    validation: ValidationResult | None = None
    pools: tuple[MemoryPool, ...] = ()
    profiles: tuple[Profile, ...] = ()
    quantization: QuantizedTensors | None = None
    cycles: CycleEstimate | None = None
    regions: tuple[PoolUse, ...] = ()
    sections: tuple[Count, ...] = ()
    started: bool | None = None
    ports: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def read_tool_file(path: Path) -> ToolFile:
    """Any file of the tool; of a log that compiles and validates both. Raises InputError where it is none."""
    found = read_any(path)
    return ToolFile(file_ref(path), **_parts(found, path))


def _parts(found: Found, path: Path) -> dict[str, Any]:  # noqa: PLR0911 - one return for each kind of file
    """The fields of a ToolFile that a reader's result fills."""
    from edgeai.stedgeai.validate import result_of

    match found:
        case CompiledModel():
            log = path.suffix.lower() != ".json" and read_texts(read_text(path)).validations
            return {"compiled": found, "validation": result_of(read_validated([path]), "", None) if log else None}
        case Validated():
            return {"validation": result_of(found, "", None)}
        case QuantizedTensors():
            return {"quantization": found}
        case CycleEstimate():
            return {"cycles": found}
        case BuildLog():
            sizes = (("text", found.text), ("data", found.data), ("bss", found.bss))
            parts = tuple(Count(name, count) for name, count in sizes if count is not None)
            return {"regions": tuple(PoolUse(n, "", size, used) for n, used, size in found.regions), "sections": parts}
        case LoaderLog():
            return {"started": found.started, "failures": _messages(found.failures)}
        case RunnerLog():
            return {"ports": found.ports, "failures": _messages(found.failures)}
    key = "pools" if isinstance(found[0], MemoryPool) else "profiles"
    return {key: found}


def _messages(failures: tuple[Failure, ...]) -> tuple[str, ...]:
    return tuple(f"{failure.message}: {failure.hint}" if failure.hint else failure.message for failure in failures)


def read_any(path: Path) -> Found:
    """Any file of the tool, by its content. Raises InputError where it is none, or the failure that it reports."""
    existing_file(path, "an output of ST Edge AI Core")
    if path.suffix.lower() in (".json", ".mpool"):
        return _read_json(path)
    text = read_text(path)
    if "__main__ --" in text and not any(segment.version for segment in segments(text)):
        return read_loader_log(text)
    if "[D:AiRunner]" in text:
        return read_runner_log(text)
    commands = {segment.command for segment in segments(text)}
    if commands <= {""} and any(_SIZE.match(line) for line in text.splitlines()):
        return read_build_log(text)
    return read_validated([path]) if commands - {""} == {"validate"} else read_compiled([path])


def _read_json(path: Path) -> Found:
    if path.suffix.lower() == ".mpool":
        return read_pool_file(path)
    body = _object(path)
    readers: tuple[tuple[str, Callable[[], Found]], ...] = (
        ("json_schema_version", lambda: _from_c_info(path, body)),
        ("tensors", lambda: read_quantization(path)),
        ("cycles", lambda: read_cycles(path)),
        ("Profiles", lambda: read_profiles(path)),
        ("memory", lambda: read_pool_file(path)),
    )
    for key, reader in readers:
        if key in body:
            return reader()
    if "Profiles" in path.read_text(encoding="utf-8-sig", errors="replace"):  # with comments
        return read_profiles(path)
    raise InputError(f"{path} is no output of ST Edge AI Core", "pass a c_info, a memory pool or a profile")


def _from_c_info(path: Path, body: dict[str, Any]) -> CompiledModel | Validated:
    del body
    return read_compiled([path]) if read_c_info(path).describes_memory else read_validated([path])


def _object(path: Path) -> dict[str, Any]:
    if path.stat().st_size > JSON_LIMIT:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: too large for an output of the tool")
    try:
        body = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def read_quantization(path: Path) -> QuantizedTensors:
    """A `*_Q.json`. Raises InputError where it is damaged."""
    body = _object(path)
    try:
        tools = body.get("environment", {}).get("tools") or [{}]
        found = [_tensor(name, entry) for name, entry in body["tensors"].items()]
        return QuantizedTensors(
            tool=str(tools[0].get("version", "")),
            tensors=tuple(tensor for tensor, _ in found),
            per_channel=sum(scales > 1 for _, scales in found),
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise InputError(f"{path} is no quantization file: {type(error).__name__} {error}") from None


def _tensor(name: str, entry: dict[str, Any]) -> tuple[TensorAudit, int]:
    """One tensor and its number of scales."""
    form = entry.get("format") or {}
    scales, zeros = [*(form.get("params") or []), [], []][:2]
    kind = str(form.get("type", ""))
    dtype = {"S8": "int8", "U8": "uint8", "S16": "int16", "S32": "int32"}.get(kind, kind.lower())
    first, zero = (scales[0] if scales else 0.0), (zeros[0] if zeros else 0)
    return TensorAudit(str(name), (), dtype, float(first), int(zero)), len(scales)


def read_cycles(path: Path) -> CycleEstimate:
    """A `cycles.json`. Raises InputError where it is damaged."""
    body = _object(path)
    try:
        return CycleEstimate(
            cycles=int(body["cycles"]),
            ideal_cycles=int(body["ideal_cycles"]),
            operations=int(body["ops"]),
            epochs=int(body["n_epochs"]),
            mhz=float(body["frequency"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no cycle estimate: {type(error).__name__} {error}") from None


def read_build_log(text: str) -> BuildLog:
    """What the last link of a log says."""
    regions: dict[str, tuple[str, int, int]] = {}
    sizes: tuple[int, int, int] | None = None
    for line in text.splitlines():
        if found := _REGION.match(line):
            capacity = round(float(found[4]) * _UNITS[found[5]])
            regions[found[1]] = (found[1], int(found[2]) * _UNITS[found[3]], capacity)
        elif found := _SIZE.match(line):
            sizes = int(found[1]), int(found[2]), int(found[3])
    return BuildLog(tuple(regions.values()), *(sizes or (None, None, None)))


def read_runner_log(text: str) -> RunnerLog:
    """The runner's log."""
    return RunnerLog(tuple(re.findall(r"'device': '([^']+)'", text)), find_failures(text))
