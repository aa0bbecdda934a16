"""Whether a model fits a board: weights in flash, activations placed in the RAM pools, and why not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai import __version__
from edgeai.artifacts import Count, Fact, Footprint, MemoryEstimate, PoolUse, Provenance
from edgeai.board import Board, Pool
from edgeai.errors import BudgetError, InputError
from edgeai.files import file_ref
from edgeai.footprint.live import Peak, live_ranges, peak
from edgeai.footprint.memory import estimate_memory, summarise_support, target_of
from edgeai.footprint.planner import Plan, plan
from edgeai.footprint.support import unplaced
from edgeai.footprint.weights import constants
from edgeai.graph import load_graph
from edgeai.graph.contract import input_size
from edgeai.graph.types import Graph

SIZE_STEP_PX = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of a call, bytes and milliseconds; 0 leaves the profile's."""

    ram: int = 0
    flash: int = 0
    latency_ms: float = 0.0


def estimate(path: Path, board: Board, version: str = "", limits: Limits | None = None) -> Footprint:
    """The memory a TFLite or ONNX file needs on a board, before any vendor tool has seen it.

    Weights and biases go to flash (on boards without a flash pool to RAM). Activations, inputs and outputs included,
    are placed with their offsets; `activations_bytes` is the sum of the pools' high-water marks.
    `memory` is what ST's tools of `version` (the newest known where none is given) are expected to report.
    Raises InputError where the file is not sound or leaves dimensions open.
    """
    return estimate_graph(load_graph(path, computing=False), path, board, version, limits)


def estimate_graph(
    graph: Graph, path: Path, board: Board, version: str = "", limits: Limits | None = None
) -> Footprint:
    """As `estimate`, of a network that has been read from `path`, or of a variant of it."""
    _readable(graph, path)
    unknown = _does_not_run(graph, board, version)
    _closed(graph, path, unknown)
    ranges = live_ranges(graph)
    top = peak(graph, ranges)
    weights = constants(graph).total
    room = _Room.of(board, weights)
    placed = plan(ranges, room.ram)
    pools = (*_ram_use(room, placed, weights), *_filled(room.flash, weights))
    memory = estimate_memory(graph, board, version, placed)
    blocking = _overflows(pools)
    blocking += _over_runtime(board, room, memory) if target_of(board) == "mcu" and not blocking else []
    blocking += _over_budget(board, limits or Limits(), placed, memory)
    reasons = [*unknown, *blocking]
    if blocking:
        limit = sum(pool.size for pool in room.ram)
        budget = (limits.ram if limits else 0) or board.budget.ram_kib * 1024
        limit = min(limit, budget) if budget else limit
        reasons.append(_what_to_try(graph, top, placed, limit))
    reasons += _spill(graph, placed, room.ram)
    activations = sum(used for _, used in placed.used)
    if target_of(board) != "mp2":
        ram = memory.ram
        interval = f"{_kib(ram.low)} to {_kib(ram.high)} of RAM, most likely {_kib(ram.point)}"
        reasons.append(f"ST Edge AI Core {memory.version} may report {interval} ({memory.table})")
    return Footprint(
        model=file_ref(path),
        board=board.name,
        target=board.toolchain.target,
        source="estimate",
        weights_bytes=weights,
        activations_bytes=activations,
        io_bytes=sum(graph.tensors[t].nbytes for t in dict.fromkeys((*graph.inputs, *graph.outputs))),
        peak_operator=f"{top.op.kind} #{top.op.index}",
        peak_tensors=tuple(Count(entry.name, entry.size) for entry in top.live),
        pools=pools,
        fits=not blocking and not unknown,
        reasons=tuple(reasons),
        provenance=Provenance(
            stage="footprint",
            inputs=(file_ref(path), board.file),
            options=(Fact("board", board.name), Fact("profile", board.file.sha256)),
            versions=(Fact("edgeai", __version__),),
        ),
        memory=memory,
        support=summarise_support(graph, board, version),
    )


def _readable(graph: Graph, path: Path) -> None:
    # protobuf hands out bytes where a text of a damaged file is not UTF-8
    if not all(isinstance(text, str) for text in (*(op.kind for op in graph.ops), *(t.name for t in graph.tensors))):
        raise InputError(f"{path} is damaged: a name in it is no text", "copy or convert it again")


def _closed(graph: Graph, path: Path, unknown: Sequence[str]) -> None:
    """Raises BudgetError where a shape is open because an operator is `unknown`, InputError where it is for others."""
    open_tensor = next((t for t in graph.tensors if t.dynamic and not t.is_constant and t.name), None)
    if open_tensor is not None and unknown and open_tensor.index not in graph.inputs:
        raise BudgetError(f"{path}: {unknown[0]}", "the shapes behind it are not known, so there is no memory to tell")
    if open_tensor is not None:
        raise InputError(
            f"{path}: tensor {open_tensor.name!r} has no fixed shape, so its memory is not known",
            "export the model with a fixed input size and a batch of 1",
        )


# --- pools --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Room:
    """The pools as the model sees them: the application's reserve is taken off.

    On boards without a flash pool the weights take the start of a RAM pool: `ram` is what they leave, `whole` the RAM
    with them, `weights_pool` the pool they are in.
    """

    ram: tuple[Pool, ...]
    whole: tuple[Pool, ...]
    flash: tuple[Pool, ...]
    weights_pool: str = ""

    @staticmethod
    def of(board: Board, weights: int) -> _Room:
        ram = board.pools_for("activations", "ram") + board.pools_for("activations", "external-ram")
        whole = _without(ram, board.reserve.ram_kib)
        flash = _without(board.pools_for("weights", "flash"), board.reserve.flash_kib)
        if flash:
            return _Room(whole, whole, flash)
        shared = next(pool.name for pool in ram if "weights" in pool.users)
        left = [_without([pool], -(-weights // 1024))[0] if pool.name == shared else pool for pool in whole]
        return _Room(tuple(left), whole, (), shared)


def _without(pools: Sequence[Pool], kib: int) -> tuple[Pool, ...]:
    """The pools less a reserve, taken from the end of the last one; external RAM is not touched."""
    left: list[Pool] = []
    for pool in reversed(pools):
        taken = 0 if pool.kind == "external-ram" else min(pool.size_kib, kib)
        kib -= taken
        left.append(dataclasses.replace(pool, size_kib=pool.size_kib - taken) if taken else pool)
    return tuple(reversed(left))


def _ram_use(room: _Room, placed: Plan, weights: int) -> list[PoolUse]:
    used = dict(placed.used)
    if room.weights_pool:
        used[room.weights_pool] += weights
    return [PoolUse(pool.name, pool.kind, pool.size, used[pool.name]) for pool in room.whole]


def _filled(pools: Sequence[Pool], needed: int) -> list[PoolUse]:
    """One pool after the other; the last takes what is left, even if it does not fit."""
    found = []
    for i, pool in enumerate(pools):
        used = needed if i == len(pools) - 1 else min(needed, pool.size)
        needed -= used
        found.append(PoolUse(pool.name, pool.kind, pool.size, used))
    return found


# --- reasons ------------------------------------------------------------------------------------


def _does_not_run(graph: Graph, board: Board, version: str) -> list[str]:
    """Operators that nothing on the board is known to run, whatever memory there is."""
    return [
        f"{count} × {kind} does not run on {board.name}: {place.reason}; {place.advice}"
        for kind, count, place in unplaced(graph, target_of(board), version)
    ]


def _kib(count: float) -> str:
    return f"{count / 1024:,.1f} KiB"


def _overflows(pools: Sequence[PoolUse]) -> list[str]:
    return [
        f"{p.pool} overflows by {_kib(p.used - p.capacity)}: {_kib(p.used)} needed, {_kib(p.capacity)} there"
        for p in pools
        if p.used > p.capacity
    ]


def _over_runtime(board: Board, room: _Room, memory: MemoryEstimate) -> list[str]:
    """Where edgeai's own placement fits and ST's CPU runtime, with its padded copies, scratch and code, does not."""
    ram, flash = sum(pool.size for pool in room.ram), sum(pool.size for pool in room.flash)
    needed = memory.weights.point + memory.code
    found = []
    if memory.ram.point > ram:
        found.append(f"ST's runtime needs about {_kib(memory.ram.point)} of RAM, {_kib(ram)} there")
    if flash and needed > flash:
        found.append(f"weights and code need about {_kib(needed)} of flash, {_kib(flash)} of {board.name} are free")
    return found


def _over_budget(board: Board, limits: Limits, placed: Plan, memory: MemoryEstimate) -> list[str]:
    """Budgets are held against what ST's tools are expected to report; without such a figure against the placement."""
    checked = target_of(board) != "mp2"
    ram = memory.ram.point + memory.external if checked else float(sum(used for _, used in placed.used))
    checks = (
        ("RAM", ram, limits.ram or board.budget.ram_kib * 1024),
        ("flash", memory.weights.point, limits.flash or board.budget.flash_kib * 1024),
    )
    return [
        f"{name} is over its budget by {_kib(used - limit)}: {_kib(used)} of {_kib(limit)}"
        for name, used, limit in checks
        if limit and used > limit
    ]


def _what_to_try(graph: Graph, top: Peak, placed: Plan, room: int) -> str:
    if not placed.overflow and sum(used for _, used in placed.used) <= room:
        return "the activations fit, the weights do not: try a smaller network"
    text = f"the peak of {_kib(top.bytes)} is in {top.op.kind} #{top.op.index}"
    size = _largest_size(graph, placed, room)
    return f"{text}; try {f'an input of {size} px' if size else 'a smaller input'} or a narrower network"


def _spill(graph: Graph, placed: Plan, pools: Sequence[Pool]) -> list[str]:
    used = dict(placed.used)
    external = [(pool, used[pool.name]) for pool in pools if pool.kind == "external-ram" and used[pool.name]]
    found = [f"spills {_kib(count)} to {pool.name}: expect several times the latency" for pool, count in external]
    size = _largest_size(graph, placed, sum(pool.size for pool in pools if pool.kind == "ram")) if found else 0
    return [f"{found[0]}; an input of {size} px should stay on chip", *found[1:]] if size else found


def _largest_size(graph: Graph, placed: Plan, room: int) -> int:
    """Input size in pixels at which the activations, which grow with its square, need no more than `room` bytes."""
    imgsz = input_size(graph)
    need = sum(used for _, used in placed.used)
    if imgsz is None or need <= room:
        return 0
    return int(imgsz * math.sqrt(room / need)) // SIZE_STEP_PX * SIZE_STEP_PX
