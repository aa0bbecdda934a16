"""Places live buffers at addresses: greedy by size, first fit, pool after pool; then improved.

The improvement repeats the greedy placement in other orders: by size times life time, by first use, with the buffers
that ended up highest moved to the front, and shaken, which is what hill-climbing allocators do. It stops at the live
peak, the lower bound of every placement.

Pools that follow each other without a gap form a region: a buffer that fits no single pool may lie across their
border, as ST's compiler does with its virtual pool. What fits nowhere is placed behind the last pool, so that the
plan says by how much the memory is too small.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.board import Pool
from edgeai.footprint.live import LiveRange

ALIGNMENT = 16  # bytes
MAX_IMPROVED = 400  # buffers: more are placed once
TRIES = 160
GOOD_ENOUGH = 1.001  # of the lower bound


@dataclass(frozen=True, slots=True)
class Placement:
    """A buffer's place: `offset` bytes from the start of `pool`, taken from operator `first` to `last`.

    It may reach into the pool that follows in memory. An offset beyond the pool's size means that memory ran out.
    """

    tensor: int
    name: str
    pool: str
    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements in the order of first use, the high-water mark of each pool in bytes, and what did not fit.

    Where `overflow` is not 0 the last pool's mark exceeds its size by it. `lower_bound` is the live peak: the sum of
    `used` cannot be less.
    """

    placements: tuple[Placement, ...]
    used: tuple[tuple[str, int], ...]
    overflow: int
    lower_bound: int = 0

    @property
    def gap(self) -> float:
        """How much more memory than the lower bound is used, as a fraction of it."""
        total = sum(used for _, used in self.used)
        return total / self.lower_bound - 1 if self.lower_bound else 0.0


def live_peak(ranges: Sequence[LiveRange]) -> int:
    """The most bytes that live at once."""
    change: dict[int, int] = {}
    for entry in ranges:
        change[entry.first] = change.get(entry.first, 0) + entry.size
        change[entry.last + 1] = change.get(entry.last + 1, 0) - entry.size
    total = best = 0
    for at in sorted(change):
        total += change[at]
        best = max(best, total)
    return best


def plan(ranges: Sequence[LiveRange], pools: Sequence[Pool]) -> Plan:
    """Place every buffer; buffers that live at the same time never share a byte.

    `pools` in the order in which they are to be filled, internal before external; at least one.
    """
    bound = live_peak(ranges)
    order = sorted(ranges, key=lambda r: (-r.size, r.first, r.tensor))
    best = _placed(order, pools, bound)
    if len(order) > MAX_IMPROVED:
        return best
    internal = {pool.name for pool in pools if pool.kind == "ram"}
    orders = [
        sorted(ranges, key=lambda r: (-r.size * (r.last - r.first + 1), r.first, r.tensor)),
        sorted(ranges, key=lambda r: (r.first, -r.size, r.tensor)),
    ]
    kept = order
    dice = random.Random(0)  # seeded: the same network gets the same plan
    tries = TRIES if len(pools) == 1 else TRIES // 4  # marks of several pools seldom add up to the bound
    for attempt in range(tries):
        if _cost(best, internal)[2] <= bound * GOOD_ENOUGH and not best.overflow:
            break
        if attempt < len(orders):
            order = orders[attempt]
        else:
            order = _raised(best, ranges, order) if attempt % 3 == 0 else _shaken(order, dice)
        found = _placed(order, pools, bound)
        if _cost(found, internal) <= _cost(best, internal):
            best, kept = found, order
        order = kept
    return best


def _cost(placed: Plan, internal: set[str]) -> tuple[int, int, int]:
    """What is to be small: what does not fit, what is in slow memory, all."""
    outside = sum(used for name, used in placed.used if name not in internal)
    return placed.overflow, outside, sum(used for _, used in placed.used)


def _raised(placed: Plan, ranges: Sequence[LiveRange], order: Sequence[LiveRange]) -> list[LiveRange]:
    """The order with the buffers that reach highest in their pool, and those that live with them, in front."""
    marks = dict(placed.used)
    top = {p.tensor for p in placed.placements if p.offset + p.size == marks.get(p.pool)}
    spans = [(r.first, r.last) for r in ranges if r.tensor in top]

    def rank(buffer: LiveRange) -> int:
        if buffer.tensor in top:
            return 0
        return 1 if any(first <= buffer.last and buffer.first <= last for first, last in spans) else 2

    return sorted(order, key=rank)


def _shaken(order: Sequence[LiveRange], dice: random.Random) -> list[LiveRange]:
    """The order with a few buffers moved to the front half."""
    found = list(order)
    for _ in range(1 + dice.randrange(3)):
        buffer = found.pop(dice.randrange(len(found)))
        found.insert(dice.randrange(1 + len(found) // 2), buffer)
    return found


def _placed(order: Sequence[LiveRange], pools: Sequence[Pool], bound: int) -> Plan:
    """One greedy placement in a given order."""
    regions = _regions(pools)
    overflow = _Region([])
    last = pools[-1]
    placements: list[Placement] = []
    for buffer in order:
        pool, offset = _fit(buffer, pools, regions) or (last, last.size + overflow.append(buffer))
        placements.append(
            Placement(buffer.tensor, buffer.name, pool.name, offset, buffer.size, buffer.first, buffer.last)
        )
    used = {pool.name: region.high_water(pool) for pool in pools for region in regions if pool in region.pools}
    beyond = overflow.end()
    if beyond:
        used[last.name] = last.size + beyond
    return Plan(
        placements=tuple(sorted(placements, key=lambda p: (p.first, p.tensor))),
        used=tuple((pool.name, used[pool.name]) for pool in pools),
        overflow=beyond,
        lower_bound=bound,
    )


def _fit(buffer: LiveRange, pools: Sequence[Pool], regions: Sequence[_Region]) -> tuple[Pool, int] | None:
    """The first pool with room; before a slower kind of memory is touched, also a place across pools of one kind."""
    for kind in dict.fromkeys(pool.kind for pool in pools):
        here = [region for region in regions if region.pools[0].kind == kind]
        for pool in (p for p in pools if p.kind == kind):
            region = next(r for r in here if pool in r.pools)
            start = region.start(pool)
            at = region.place(buffer, start, start + pool.size)
            if at is not None:
                return pool, at - start
        for region in here:
            at = region.place(buffer, 0, region.size) if len(region.pools) > 1 else None
            if at is not None:
                pool = next(p for p in reversed(region.pools) if region.start(p) <= at)
                return pool, at - region.start(pool)
    return None


def _regions(pools: Sequence[Pool]) -> list[_Region]:
    """Pools grouped into stretches of one kind of memory without gaps."""
    regions: list[_Region] = []
    for pool in sorted(pools, key=lambda p: p.address):
        end = regions[-1].pools[-1] if regions else None
        if end and end.address and end.kind == pool.kind and end.address + end.size == pool.address:
            regions[-1].pools.append(pool)
        else:
            regions.append(_Region([pool]))
    return regions


class _Region:
    """A stretch of memory, counted from 0, and what has been placed there: (address, end, first, last)."""

    def __init__(self, pools: list[Pool]) -> None:
        self.pools = pools
        self.taken: list[tuple[int, int, int, int]] = []

    @property
    def size(self) -> int:
        return sum(pool.size for pool in self.pools)

    def start(self, pool: Pool) -> int:
        return pool.address - self.pools[0].address

    def place(self, buffer: LiveRange, low: int, high: int) -> int | None:
        """Take the lowest free aligned place within [low, high); None where there is none."""
        at = self.lowest(buffer, low)
        if at + buffer.size > high:
            return None
        self.taken.append((at, at + buffer.size, buffer.first, buffer.last))
        return at

    def append(self, buffer: LiveRange) -> int:
        """Take the lowest free aligned place, without an upper limit."""
        at = self.lowest(buffer, 0)
        self.taken.append((at, at + buffer.size, buffer.first, buffer.last))
        return at

    def lowest(self, buffer: LiveRange, low: int) -> int:
        """The lowest aligned address from `low` on where nothing lies while the buffer lives."""
        at = low
        busy = (t for t in self.taken if t[2] <= buffer.last and buffer.first <= t[3] and t[1] > low)
        for start, end, _, _ in sorted(busy):
            if at + buffer.size <= start:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        return at

    def end(self) -> int:
        return max((end for _, end, _, _ in self.taken), default=0)

    def high_water(self, pool: Pool) -> int:
        """The highest byte of a pool that is ever used, from the pool's start."""
        low, high = self.start(pool), self.start(pool) + pool.size
        return max((min(end, high) - low for start, end, _, _ in self.taken if start < high and end > low), default=0)
