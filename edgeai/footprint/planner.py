"""Places live buffers at addresses: greedy by size, first fit, pool after pool.

Pools that follow each other without a gap form a region: a buffer that fits no single pool may lie across their
border, as ST's compiler does with its virtual pool. What fits nowhere is placed behind the last pool, so that the
plan says by how much the memory is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.board import Pool
from edgeai.footprint.live import LiveRange

ALIGNMENT = 16  # bytes


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

    Where `overflow` is not 0 the last pool's mark exceeds its size by it.
    """

    placements: tuple[Placement, ...]
    used: tuple[tuple[str, int], ...]
    overflow: int


def plan(ranges: Sequence[LiveRange], pools: Sequence[Pool]) -> Plan:
    """Place every buffer; buffers that live at the same time never share a byte.

    `pools` in the order in which they are to be filled, internal before external; at least one.
    """
    regions = _regions(pools)
    overflow = _Region([])
    last = pools[-1]
    placements: list[Placement] = []
    for buffer in sorted(ranges, key=lambda r: (-r.size, r.first, r.tensor)):
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
