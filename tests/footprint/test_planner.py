"""The memory plan: never two live buffers on one byte, whatever the buffers and pools."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.board import Pool, load_board
from edgeai.footprint.live import LiveRange, live_ranges
from edgeai.footprint.planner import ALIGNMENT, Plan, plan
from edgeai.graph import load_graph


def pool(name: str, kib: int, address: int = 0, kind: str = "ram") -> Pool:
    return Pool(name, kind, kib, ("activations",), "test", address)  # type: ignore[arg-type]


def buffers(spans: list[tuple[int, int, int]]) -> list[LiveRange]:
    return [LiveRange(i, f"t{i}", size, first, first + length) for i, (size, first, length) in enumerate(spans)]


def check(ranges: Sequence[LiveRange], pools: Sequence[Pool], result: Plan) -> None:
    assert sorted(p.tensor for p in result.placements) == sorted(r.tensor for r in ranges)
    bases = {p.name: p.address or (i + 1) << 40 for i, p in enumerate(pools)}
    sizes = {p.name: p.size for p in pools}
    spans = []
    for place in result.placements:
        assert place.offset % ALIGNMENT == 0 and place.offset >= 0
        start = bases[place.pool] + place.offset
        if place.offset >= sizes[place.pool]:
            start += 1 << 60  # beyond the memory there is: a space of its own
            assert result.overflow
        spans.append((start, start + place.size, place.first, place.last))
    for (a, b, first, last), (c, d, begin, end) in itertools.combinations(spans, 2):
        assert b <= c or d <= a or last < begin or end < first
    real = [(a, b) for a, b, _, _ in spans if a < 1 << 60]
    covered = [(base, base + sizes[name]) for name, base in bases.items()]
    assert all(any(low <= a < high for low, high in covered) for a, _ in real)
    assert all(any(low < b <= high for low, high in covered) for _, b in real)
    for name, used in result.used[:-1]:
        assert used <= sizes[name]


spans = st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 20), st.integers(0, 8)), max_size=40)
kinds = st.sampled_from(["ram", "external-ram"])
chips = st.lists(st.tuples(st.integers(1, 4), st.booleans(), kinds), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(spans, chips)
def test_no_two_live_buffers_overlap(entries: list[tuple[int, int, int]], chip: list[tuple[int, bool, str]]) -> None:
    pools, address = [], 0x1000
    for i, (kib, gap, kind) in enumerate(sorted(chip, key=lambda c: c[2] == "external-ram")):
        address += 4096 * gap
        pools.append(pool(f"p{i}", kib, address, kind))
        address += kib * 1024
    ranges = buffers(entries)
    check(ranges, pools, plan(ranges, pools))


def test_pools_are_filled_in_order() -> None:
    ranges = buffers([(1024, 0, 1), (1024, 0, 1), (512, 0, 1)])
    result = plan(ranges, [pool("a", 1, 0x1000), pool("b", 1, 0x9000), pool("c", 4, 0x20000, "external-ram")])
    assert result.used == (("a", 1024), ("b", 1024), ("c", 512)) and not result.overflow


def test_a_large_buffer_lies_across_neighbours_before_it_spills() -> None:
    pools = [pool("b", 1, 0x1400), pool("a", 1, 0x1000), pool("c", 9, 0x20000, "external-ram")]
    result = plan(buffers([(1500, 0, 0)]), pools)
    assert result.placements[0].pool == "a" and result.used == (("b", 476), ("a", 1024), ("c", 0))


def test_overflow_is_measured() -> None:
    result = plan(buffers([(1000, 0, 0), (1000, 0, 0)]), [pool("a", 1)])
    assert result.overflow == 1000 and result.used == (("a", 2024),)


def test_time_is_shared() -> None:
    result = plan(buffers([(1000, 0, 0), (1000, 1, 0), (1000, 2, 0)]), [pool("a", 1)])
    assert result.used == (("a", 1000),)


@pytest.mark.parametrize("name", ["yolov8n_320_quant_pc_ii_seg_coco-st", "squeezenet_v1.1_224_int8"])
def test_real_networks(kit: Path, name: str) -> None:
    ranges = live_ranges(load_graph(kit / "tflite" / f"{name}.tflite"))
    pools = load_board("stm32n6").pools_for("activations", "ram", "external-ram")
    check(ranges, pools, plan(ranges, pools))
