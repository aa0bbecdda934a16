"""`network_c_info.json`, schema 2.0: the machine-readable result of the tool. Read in preference to the text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.artifacts import CompiledNode, CompiledPool, Epoch, Epochs, LibrarySize, OutputMetric, TensorAudit
from edgeai.errors import InputError
from edgeai.files import existing_file
from edgeai.stedgeai.memory import joins, pool_kind
from edgeai.stedgeai.report import model_hash
from edgeai.stedgeai.text import STAND_IN

SCHEMA = "2.0"
JSON_LIMIT = 256 << 20
_DTYPES = {"S8": "int8", "U8": "uint8", "S16": "int16", "U16": "uint16", "S32": "int32", "FLOAT": "float32"}


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One entry of `aton_execution_time`: milliseconds, share, and CPU cycles before, during and after."""

    ms: float
    percent: float
    cycles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CInfo:
    """What the file holds. None where the tool of this version, or this command, does not write it."""

    version: str
    compiler: str
    arguments: str
    stand_in: bool
    model_file: str
    model_bytes: int | None
    target: str
    device: str
    weights: int | None
    activations: int | None
    io: int | None
    runtime: LibrarySize | None
    pools: tuple[CompiledPool, ...]
    nodes: tuple[CompiledNode, ...]
    inputs: tuple[TensorAudit, ...]
    outputs: tuple[TensorAudit, ...]
    macs: int | None
    epochs: Epochs | None
    metrics: tuple[OutputMetric, ...]
    times: tuple[NodeTime, ...]
    gaps: tuple[str, ...]
    model_hash: str = ""

    @property
    def describes_memory(self) -> bool:
        return self.weights is not None


def read_c_info(path: Path) -> CInfo:
    """The file, checked. Raises InputError where it is no such file; what is missing in it is named in `gaps`."""
    existing_file(path, "a network_c_info.json")
    if path.stat().st_size > JSON_LIMIT:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: too large for a network_c_info.json")
    try:
        body = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", "the compiler may have been stopped while it wrote") from None
    if not isinstance(body, dict) or "json_schema_version" not in body:
        raise InputError(f"{path} is not a network_c_info.json", "pass the file that `stedgeai generate` wrote")
    try:
        return _CInfoReader(body).read()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: damaged: {type(error).__name__} {error}", "compile again") from None


class _CInfoReader:
    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.gaps: list[str] = []
        if body["json_schema_version"] != SCHEMA:
            self.gaps.append(f"c_info schema {body['json_schema_version']} is not known; read as {SCHEMA}")

    def read(self) -> CInfo:
        environment = self.body.get("environment") or {}
        tools = [tool for tool in environment.get("tools") or [] if isinstance(tool, dict)]
        core = next((tool for tool in tools if tool.get("name") == "ST.EdgeAI.Core"), tools[0] if tools else {})
        compiler = next((tool for tool in tools if "ATONN" in str(tool.get("name", "")).upper()), {})
        source = core.get("input_model") or {}
        files = source.get("model_files") or [{}]
        footprint = self.body.get("memory_footprint")
        pools = self._pools(footprint or {})
        if footprint is None:
            footprint = self._from_pools(pools)
        graph = (self.body.get("graphs") or [{}])[0]
        nodes = tuple(_compiled_nodes(graph))
        return CInfo(
            version=str(core.get("version", "")),
            compiler=str(compiler.get("version", "")).split()[0] if compiler.get("version") else "",
            arguments=str(core.get("arguments", "")),
            stand_in=any(STAND_IN in str(tool.get("name", "")) for tool in tools),
            model_file=str(files[0].get("name", "")),
            model_bytes=source.get("size"),
            target=_target(str(core.get("arguments", "")), bool(compiler)) or str(footprint.get("series") or ""),
            device=str(environment.get("device") or ""),
            weights=footprint.get("weights"),
            activations=footprint.get("activations"),
            io=sum(footprint["io"]) if isinstance(footprint.get("io"), list) else None,
            runtime=_runtime(footprint),
            pools=pools,
            nodes=nodes,
            inputs=tuple(self._tensors(graph, "inputs")),
            outputs=tuple(self._tensors(graph, "outputs")),
            macs=sum(node.macs for node in nodes) or None,
            epochs=_epochs(nodes) if compiler and not self.body.get("ec_blobs_info") else None,
            metrics=tuple(_metrics(self.body.get("validation") or {})),
            times=tuple(_times(self.body.get("aton_execution_time") or [])),
            gaps=tuple(self.gaps),
            model_hash=model_hash(str(files[0].get("signature", ""))),
        )

    def _from_pools(self, pools: tuple[CompiledPool, ...]) -> dict[str, Any]:
        """The totals, where only the pools are there: the N6 compiler's own file in the workspace is like that. Inputs
        and outputs are among its buffers.
        """
        used = {buffer.get("mpool_id") for buffer in self.body.get("buffers") or []}
        if not pools or not used:
            self.gaps.append("c_info holds no memory_footprint")
            return {}
        self.gaps.append("the compiler's own c_info: totals are what its pools add up to")
        return {
            "weights": sum(pool.weights for pool in pools),
            "activations": sum(pool.activations for pool in pools),
            "io": [0],
        }

    def _pools(self, footprint: dict[str, Any]) -> tuple[CompiledPool, ...]:
        """Members only: pools that join them overlap them. Named where they do not add up to the printed total."""
        entries = self.body.get("memory_pools") or []
        names = [str(entry.get("name", "")) for entry in entries]
        real = [e for e in entries if not (e.get("virtual") or e.get("subpools") or joins(str(e["name"]), names))]
        virtual = {e["id"]: e for e in entries if e not in real}
        pools = tuple(self._pool(entry, virtual) for entry in real)
        for field in ("weights", "activations"):
            total, added = footprint.get(field), sum(getattr(pool, field) for pool in pools)
            if pools and total is not None and total != added:
                self.gaps.append(f"the pools add up to {added:,} bytes of {field}, the compiler says {total:,}")
        return pools

    def _pool(self, entry: dict[str, Any], virtual: dict[int, dict[str, Any]]) -> CompiledPool:
        address = _address(entry.get("address"))
        capacity = None if entry.get("size_bytes", -1) < 0 else int(entry["size_bytes"])
        read_only = entry.get("rights") == "ACC_READ"
        used = int(entry.get("used_size_bytes") or 0)
        weights = used if read_only else min(used, self._constant_bytes(entry, address, capacity, virtual))
        return CompiledPool(
            name=str(entry["name"]),
            kind=pool_kind(str(entry["name"]), address, read_only),
            address=address,
            capacity=capacity,
            used=used,
            weights=weights,
            activations=used - weights,
        )

    def _constant_bytes(
        self, entry: dict[str, Any], address: int | None, capacity: int | None, virtual: dict[int, dict[str, Any]]
    ) -> int:
        """Bytes of constants in a pool that can be written to, those that reach into it by a virtual pool included."""
        ranges = []
        for buffer in self.body.get("buffers") or []:
            if not buffer.get("is_param"):
                continue
            start, length = int(buffer.get("offset_start") or 0), int(buffer["size_bytes"])
            if buffer.get("mpool_id") == entry["id"]:
                ranges.append((start, start + length))
            elif buffer.get("mpool_id") in virtual and address is not None and capacity:
                start += (_address(virtual[buffer["mpool_id"]].get("address")) or 0) - address
                ranges.append((max(start, 0), min(start + length, capacity)))
        return _union(ranges)

    def _tensors(self, graph: dict[str, Any], side: str) -> Iterator[TensorAudit]:
        """Inputs or outputs of the compiled network; of the original one where its buffers are not listed."""
        by_id = {buffer["id"]: buffer for buffer in self.body.get("buffers") or []}
        found = [by_id[i] for i in graph.get(side) or [] if i in by_id]
        for buffer in found:
            linear = buffer.get("intq") or {}
            yield TensorAudit(
                name=str(buffer["name"]),
                shape=tuple(buffer["shape"]) if buffer.get("batch") else (1, *buffer["shape"]),
                dtype=_dtype(str(buffer["format"])),
                scale=float((linear.get("scales") or [0.0])[0]),
                zero_point=int((linear.get("offsets") or [0])[0]),
            )
        if not found and graph:
            self.gaps.append(f"c_info does not list the {side}")


def _union(ranges: Sequence[tuple[int, int]]) -> int:
    """Bytes covered by ranges that may overlap."""
    covered, reached = 0, 0
    for start, end in sorted(ranges):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def _target(arguments: str, npu: bool) -> str:
    words = arguments.split()
    named = next((words[i + 1] for i, word in enumerate(words[:-1]) if word == "--target"), "")
    return named + ("npu" if named == "stm32n6" and (npu or "--st-neural-art" in words) else "")


def _address(value: object) -> int | None:
    """A decimal or hexadecimal number in a string; None for a C symbol and `NULL`."""
    try:
        return int(str(value), 0)
    except ValueError:
        return None


def _runtime(footprint: dict[str, Any]) -> LibrarySize | None:
    flash, ram = footprint.get("kernel_flash"), footprint.get("kernel_ram")
    if flash is None or ram is None:
        return None
    return LibrarySize(flash + (footprint.get("toolchain_flash") or 0), ram + (footprint.get("toolchain_ram") or 0))


def _dtype(text: str) -> str:
    short = text.removeprefix("STAI_FORMAT_")
    return _DTYPES.get(short, short.lower())


def _compiled_nodes(graph: dict[str, Any]) -> Iterator[CompiledNode]:
    """Nodes that run; pseudo nodes at entry and exit are left out. An epoch's kind is its operators'."""
    for node in graph.get("nodes") or []:
        mapping = str(node.get("mapping", ""))
        if mapping == "NODE_NO_X":
            continue
        parts = node.get("subgraph_nodes") or []
        inner = [str(sub.get("type", "")) for sub in parts]
        units = {_unit(str(sub.get("mapping", ""))) for sub in parts} | {_unit(mapping)}
        kind = str(node.get("description") or node.get("type") or " + ".join(filter(None, inner)))
        yield CompiledNode(
            index=int(node["id"]),
            name=str(node["name"]),
            kind=kind,
            unit="Hybrid" if {"HW", "SW"} <= units else _unit(mapping),
            shape=(),
            parameters=0,
            weights_bytes=0,
            macs=int(node.get("macc") or 0),
        )


def _unit(mapping: str) -> str:
    return "HW" if mapping == "NODE_HW" else "SW" if mapping.startswith("NODE_SW") else ""


def _epochs(nodes: Sequence[CompiledNode]) -> Epochs | None:
    """Epochs as the nodes `epoch_N` show them; their number in the name."""
    named = [node for node in nodes if node.name.removeprefix("epoch_").isdigit()]
    if not named:
        return None
    rows = tuple(
        Epoch(number, number, node.unit, node.kind if node.unit != "HW" else "")
        for node in named
        if (number := int(node.name.removeprefix("epoch_"))) >= 0
    )
    kinds = [row.kind for row in rows]
    return Epochs(len(rows), kinds.count("SW"), kinds.count("Hybrid"), kinds.count("HW"), None, rows)


def _metrics(validation: dict[str, Any]) -> Iterator[OutputMetric]:
    for entry in validation.get("val_metrics") or []:
        yield OutputMetric(
            name=str(entry.get("desc", "")),
            tensor="",
            rmse=float(entry["rmse"]),
            mae=float(entry["mae"]),
            l2r=float(entry["l2r"]),
            mean=float(entry["mean"]),
            std=float(entry["std"]),
            nse=float(entry["nse"]),
            cos=float(entry["cos"]),
            acc=_optional(entry.get("acc")),
            snr_db=_optional(entry.get("snr")),
        )


def _optional(value: object) -> float | None:
    """A finite number, else None: the tool writes `n.a.` and `inf`."""
    try:
        number = float(str(value).rstrip("%"))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _times(entries: Sequence[dict[str, Any]]) -> Iterator[NodeTime]:
    for entry in entries:
        yield NodeTime(float(entry["duration_ms"]), float(entry["percentage"]), tuple(map(int, entry["counters"])))
