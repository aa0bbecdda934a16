"""The memory planner beside the allocators of ethos-u-vela, on the same buffers.

    python tests/bench/bench_planner.py [--kit DIR] [--vela PATH]

Every int8 file of the kit: live ranges of its activations; and made-up problems, which are harder: networks let buffers
live shortly. One pool without a limit, 16-byte alignment. Prints by how much an allocation exceeds the live peak, which
none can beat, and the seconds it took. Vela (`pip install ethos-u-vela`, in an environment of its own) runs as a
process: the interpreter beside its command, found on PATH or by --vela.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edgeai.board import Pool
from edgeai.footprint.live import LiveRange, live_ranges
from edgeai.footprint.planner import ALIGNMENT, live_peak, plan
from edgeai.graph import load_graph

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
NO_LIMIT = (Pool("all", "ram", 1 << 30, ("activations",), "bench"),)

# Runs in Vela's interpreter: live ranges in, the height of each allocator and its seconds out.
PEER = """
import json, sys, time
from ethosu.vela import hillclimb_allocation
from ethosu.vela.live_range import LiveRange
problem = json.load(sys.stdin)
answers = []
for buffers in problem["buffers"]:
    ranges = []
    for size, first, last in buffers:
        found = LiveRange(None, problem["alignment"])
        found.size = -(-size // problem["alignment"]) * problem["alignment"]
        found.start_time, found.end_time = first, last
        ranges.append(found)
    started = time.perf_counter()
    addresses = hillclimb_allocation.allocate_live_ranges(ranges, None, 1 << 62)
    climbed = time.perf_counter() - started
    height = max(a + r.size for a, r in zip(addresses, ranges))
    answers.append((height, climbed))
json.dump(answers, sys.stdout)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--vela", type=Path, help="the vela command")
    options = parser.parse_args()
    files = sorted((options.kit / "tflite").glob("*.tflite"))
    networks = {(file.stem, mode): live_ranges(load_graph(file), fused=mode == "fused")
                for file in files for mode in ("fused", "unfused")}  # fmt: skip
    for count in (30, 100, 300):
        networks |= {(f"{count} random buffers", f"no. {seed}"): random_problem(count, seed) for seed in range(4)}
    peers = ask_vela(list(networks.values()), options.vela)
    print(f"{'network':44} {'buffers':>7} {'peak KiB':>9} {'ours':>8} {'s':>6} {'vela':>8} {'s':>6}")
    ours, theirs = list[float](), list[float]()
    for i, ((name, mode), ranges) in enumerate(networks.items()):
        bound = live_peak(ranges)
        started = time.perf_counter()
        gap = plan(ranges, NO_LIMIT).gap
        seconds = time.perf_counter() - started
        ours.append(gap)
        line = f"{name[:35]:35} {mode:8} {len(ranges):7} {bound / 1024:9.1f} {gap:8.2%} {seconds:6.2f}"
        if peers:
            height, took = peers[i]
            theirs.append(height / bound - 1)
            line += f" {theirs[-1]:8.2%} {took:6.2f}"
        print(line)
    for name, gaps in (("ours", ours), ("vela", theirs)):
        if gaps:
            within = sum(gap <= 0.03 for gap in gaps)
            mean, worst = statistics.mean(gaps), max(gaps)
            print(f"{name}: mean {mean:.2%}, worst {worst:.2%}, within 3 % {within} of {len(gaps)}")


def random_problem(count: int, seed: int) -> tuple[LiveRange, ...]:
    """Buffers of very unequal size, most of them short-lived, some for long."""
    dice = random.Random(seed)
    found = []
    for i in range(count):
        first = dice.randrange(count)
        last = min(count - 1, first + (dice.randrange(count // 3) if dice.random() < 0.2 else dice.randrange(4)))
        found.append(LiveRange(i, str(i), ALIGNMENT * int(dice.lognormvariate(4, 1.5) + 1), first, last))
    return tuple(found)


def ask_vela(networks: list[tuple[LiveRange, ...]], command: Path | None) -> list[tuple[int, float]]:
    """Height in bytes and seconds of Vela's hill climbing for each network; empty, with the reason said, without it."""
    found = command or (Path(path) if (path := shutil.which("vela")) else None)
    if found is None or not found.exists():
        print(f"vela is left out: {found or 'no vela on PATH'}; `pip install ethos-u-vela`, then --vela PATH")
        return []
    interpreter = found.parent / "python"
    if not interpreter.exists():
        print(f"vela is left out: no python beside {found}")
        return []
    problem = {"alignment": ALIGNMENT, "buffers": [[(r.size, r.first, r.last) for r in ranges] for ranges in networks]}
    command_line = [interpreter, "-c", PEER]
    ran = subprocess.run(command_line, input=json.dumps(problem), capture_output=True, text=True, check=False)
    if ran.returncode:
        print(f"vela is left out: {ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else ran.returncode}")
        return []
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"ethos-u-vela {version}, Python {sys.version.split()[0]}")
    answers: list[tuple[int, float]] = json.loads(ran.stdout)
    return answers


if __name__ == "__main__":
    main()
