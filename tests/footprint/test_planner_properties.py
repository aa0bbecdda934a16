"""Placement holds for any network: no overlap, alignment, bounds; and close to the live peak on real ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from footprint_builders import random_ranges

from edgeai.board import Pool, load_board
from edgeai.footprint.live import live_ranges
from edgeai.footprint.planner import ALIGNMENT, Plan, live_peak, plan
from edgeai.graph import load_graph

ARENA = (Pool("arena", "ram", 1 << 20, ("activations",), "test", address=0x20000000),)
TWO = (
    Pool("fast", "ram", 64, ("activations",), "test", address=0x20000000),
    Pool("next", "ram", 96, ("activations",), "test", address=0x20010000),
    Pool("slow", "external-ram", 1 << 14, ("activations",), "test", address=0x90000000),
)


def check(found: Plan, pools: tuple[Pool, ...]) -> None:
    starts = {pool.name: pool.address for pool in pools}
    placed = [(starts[p.pool] + p.offset, p) for p in found.placements]
    for (at, a), (start, b) in itertools.combinations(placed, 2):
        together = a.first <= b.last and b.first <= a.last
        assert not (together and at < start + b.size and start < at + a.size), (a, b)
    assert all(at % ALIGNMENT == 0 for at, _ in placed)
    assert sum(used for _, used in found.used) >= found.lower_bound


@pytest.mark.parametrize("pools", [ARENA, TWO], ids=["one pool", "three pools"])
def test_thousand_random_networks(pools: tuple[Pool, ...]) -> None:
    for seed in range(500):
        ranges = random_ranges(seed)
        found = plan(ranges, pools)
        assert len(found.placements) == len(ranges)
        assert found.lower_bound == live_peak(ranges)
        check(found, pools)


def test_same_network_same_plan() -> None:
    ranges = random_ranges(7)
    assert plan(ranges, TWO) == plan(ranges, TWO)


def test_within_three_per_cent_of_the_live_peak(kit: Path) -> None:
    files = sorted((kit / "tflite").glob("*.tflite"))
    gaps = [plan(live_ranges(load_graph(path)), ARENA).gap for path in files]
    assert sum(gap <= 0.03 for gap in gaps) >= 0.95 * len(gaps), gaps


def test_real_placement_on_the_board(kit: Path) -> None:
    pools = load_board("stm32n6").pools_for("activations", "ram")
    ranges = live_ranges(load_graph(kit / "tflite" / "yolov8n_320_quant_pc_ii_seg_coco-st.tflite"))
    check(plan(ranges, pools), pools)
