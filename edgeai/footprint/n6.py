"""RAM of the STM32N6 as ST Edge AI Core's allocator uses it, by simulated placement into the memory pools.

What is known of the allocator: the published figure is the sum of the high-water marks of the on-chip pools, inputs
and outputs included; the report and buffer list of a public compile (Core 3.0, MobileNetV2) show buffers placed
largest first at the lowest free address of one npuRAM pool, live from the epoch that writes them to the last that
reads them. Where a network does not fit one pool, two placements bracket what it does:

* tight: largest first, lowest pool with room. Two buffers that together would fill a pool to its last byte are
  separated (the published figures of networks with exactly 448 KiB at the peak are larger);
* spread: largest first, but into the pool with the fewest buffers that live at the same time, which is what a compiler
  does for bandwidth.

Both read published figures of the fit split; the blend between them is a constant of the table.

A convolution with a kernel of more than 6 rows or columns runs in several parts, of up to 3 rows each, whose sums are
kept as int16: a public compile of one of 7×7 over 64×64×32 (Core 2.2) has five buffers of 256 KiB, one in each pool,
three partial sums and two sums of them. One of 5×5 runs as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.board import Pool
from edgeai.footprint.live import LiveRange
from edgeai.footprint.mcu import kernel
from edgeai.footprint.weights import is_depthwise
from edgeai.graph.types import Graph, Op

MARGIN = 1024  # bytes of a pool that are not filled; 1 B to 7 KiB give the same results on the fit split


WHOLE_KERNEL = 6
PART_ROWS = 3
SUM_BYTES = 2


def with_partial_sums(graph: Graph, ranges: tuple[LiveRange, ...]) -> tuple[LiveRange, ...]:
    """The live ranges with the buffers that large kernels need; time then counts steps within operators."""
    parts = {op.index: count for op in graph.ops if (count := _parts(graph, op)) > 1}
    if not parts:
        return ranges
    steps = 2 * max(parts.values())
    found = []
    for entry in ranges:
        first, last = entry.first * steps, entry.last * steps + steps - 1
        if entry.first in parts and entry.tensor in graph.ops[entry.first].outputs:
            first = last if entry.first == entry.last else first + steps - 1
        elif entry.last in parts:
            last = entry.last * steps + 2 * (parts[entry.last] - 1)
        found.append(LiveRange(entry.tensor, entry.name, entry.size, first, last))
    for at, count in parts.items():
        size, start = SUM_BYTES * graph.tensors[graph.ops[at].outputs[0]].elements, at * steps
        for i in range(count):  # part i is computed in step 2i - 1, and added to the sum so far in step 2i
            made, added = start + max(0, 2 * i - 1), start + 2 * max(i, 1)
            found.append(LiveRange(-1, f"part {i} of #{at}", size, made, added))
            if i:
                read = added + (1 if i == count - 1 else 2)
                found.append(LiveRange(-1, f"sum {i} of #{at}", size, added, read))
    return tuple(found)


def _parts(graph: Graph, op: Op) -> int:
    """Runs of the accelerator that one convolution takes for the size of its kernel."""
    weights = graph.weights(op)
    if weights is None or len(weights.shape) != 4 or not op.outputs or is_depthwise(graph, op):
        return 1
    side = max(kernel(graph, op, weights))
    return -(-side // PART_ROWS) if side > WHOLE_KERNEL else 1


@dataclass(frozen=True, slots=True)
class Placed:
    """High-water marks in bytes: of all on-chip pools, and what had to go to external RAM."""

    internal: int
    external: int


def tight(ranges: Sequence[LiveRange], pools: Sequence[Pool]) -> Placed:
    """The lower estimate: few pools, each filled from its start."""
    return _place(ranges, pools, spread=False)


def spread(ranges: Sequence[LiveRange], pools: Sequence[Pool]) -> Placed:
    """The upper estimate: buffers that live together in different pools. One pool where all fit into one."""
    single = _Pool(pools[0].size - MARGIN)
    if all(single.put(buffer) for buffer in _largest_first(ranges)):
        return Placed(single.mark(), 0)
    return _place(ranges, pools, spread=True)


def _largest_first(ranges: Sequence[LiveRange]) -> list[LiveRange]:
    return sorted(ranges, key=lambda r: (-r.size, r.first, r.tensor))


def _place(ranges: Sequence[LiveRange], pools: Sequence[Pool], spread: bool) -> Placed:
    room = [_Pool(pool.size - MARGIN) for pool in pools]
    span, external = _Pool(sum(pool.size for pool in pools)), _Pool(1 << 62)
    for buffer in _largest_first(ranges):
        offers = [(pool, at) for pool in room if (at := pool.lowest(buffer)) is not None]
        if offers and spread:
            # min() keeps the first of equals: pools stand in the order in which they are filled
            chosen, at = min(offers, key=lambda o: (o[0].together(buffer), max(0, o[1] + buffer.size - o[0].mark())))
            chosen.take(buffer, at)
        elif offers:
            offers[0][0].take(buffer, offers[0][1])
        elif not span.put(buffer, busy=sum(pool.mark() for pool in room)):
            external.put(buffer)
    internal = sum(pool.mark() for pool in room) + span.mark()
    return Placed(min(internal, sum(pool.size for pool in pools)), external.mark())


class _Pool:
    """Free and taken places of one pool: (address, size, first, last)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken: list[tuple[int, int, int, int]] = []

    def lowest(self, buffer: LiveRange, busy: int = 0) -> int | None:
        """The lowest free address; None where there is none. `busy` bytes of the pool belong to others."""
        at = 0
        for start, size, first, last in sorted(self.taken):
            if first <= buffer.last and buffer.first <= last:
                if at + buffer.size <= start:
                    break
                at = max(at, start + size)
        return at if at + buffer.size + busy <= self.size else None

    def take(self, buffer: LiveRange, at: int) -> None:
        self.taken.append((at, buffer.size, buffer.first, buffer.last))

    def put(self, buffer: LiveRange, busy: int = 0) -> bool:
        """Take the lowest free address, if there is one."""
        at = self.lowest(buffer, busy)
        if at is not None:
            self.take(buffer, at)
        return at is not None

    def together(self, buffer: LiveRange) -> int:
        """How many buffers of the pool live at the same time as this one."""
        return sum(1 for _, _, first, last in self.taken if first <= buffer.last and buffer.first <= last)

    def mark(self) -> int:
        return max((at + size for at, size, _, _ in self.taken), default=0)
