"""The sections of the HTML report on memory, latency, the compiler and the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeai.artifacts import (
    BenchResult,
    CompiledModel,
    Footprint,
    OpLatency,
    OutputAgreement,
    TargetProfile,
    ValidationResult,
)
from edgeai.board import Board
from edgeai.errors import EdgeAIError
from edgeai.footprint.live import live_ranges
from edgeai.footprint.planner import Placement, plan
from edgeai.graph import load_graph
from edgeai.report.card_tables import validation_origin
from edgeai.report.charts import Bar, Block, Strip, bars, colour, legend, memory
from edgeai.report.html_parts import Html, details, facts, join, paragraph, table, tag
from edgeai.report.html_style import REST, SERIES
from edgeai.report.page import Page, tail

KIB, MILLION = 1024, 1e6
SLOWEST = 12
HEADROOM = 1.08  # of what is used: a pool of gigabytes would hide it
BOUNDS = {"compute": ("c1", "arithmetic"), "weights": ("c4", "streaming of weights"),
          "overhead": ("c0", "time per operator"), "software": ("c2", "software, not on the accelerator"),
          "gpu": ("c6", "on the GPU")}  # fmt: skip
ENGINES = {"HW": "c1", "NPU": "c1", "EC": "c5", "hybrid": "c4", "SW": "c2", "CPU": "c2", "GPU": "c6"}


# --- memory -------------------------------------------------------------------------------------


def memory_section(page: Page) -> Html | None:
    """For every board: what each pool holds, and where each buffer lies while the network runs."""
    parts = [part for need in page.main.footprints for part in _board(page, need)]
    return join(parts) if parts else None


def _board(page: Page, need: Footprint) -> list[Html]:
    fits = "fits" if need.fits else "fits, and is over the latency budget" if need.too_slow else "does not fit"
    total = f"{need.activations_bytes / KIB:,.1f} KiB of activations, {need.weights_bytes / KIB:,.1f} KiB of weights"
    rows = [
        (p.pool, p.kind, f"{p.used / KIB:,.1f}", f"{p.capacity / KIB:,.1f}", f"{_share(p.used, p.capacity)} %")
        for p in need.pools
    ]
    header = ("Pool", "Kind", "Used (KiB)", "Of (KiB)", "Used")
    pools = table(f"Memory pools of {need.board}", header, rows, right=(2, 3, 4))
    parts = [tag("h3", need.board), paragraph(f"The model {fits} (estimate): {total}.")]
    board = next((b for b in page.boards if b.name == need.board), None)
    if board is not None and page.main.path is not None:
        parts += _map(page, board, {pool.pool: pool.capacity for pool in need.pools})
    return [*parts, pools]


def _share(used: int, capacity: int) -> str:
    return f"{100 * used / capacity:.0f}" if capacity else "–"


def _map(page: Page, board: Board, capacity: Mapping[str, int]) -> list[Html]:
    """Placement of the activations over the sequence of operators; `capacity` in bytes by pool, less any reserve."""
    if page.main.path is None:
        return []
    try:
        graph = load_graph(page.main.path, computing=False)
        ranges = live_ranges(graph)
        pools = board.pools_for("activations", "ram") + board.pools_for("activations", "external-ram")
        placed = plan(ranges, pools)
    except EdgeAIError:
        return []
    used = dict(placed.used)
    strips, start = [], 0
    for pool in pools:
        if used[pool.name]:
            shown = max(used[pool.name], min(pool.size, round(used[pool.name] * HEADROOM)))
            strips.append(Strip(pool.name, start, shown, used[pool.name], capacity.get(pool.name, pool.size)))
            start += shown
    starts = {strip.name: strip.start for strip in strips}
    lasting = sorted(ranges, key=lambda r: (-r.size * (r.last - r.first + 1), r.tensor))[: len(SERIES)]
    tones = {entry.tensor: colour(i) for i, entry in enumerate(lasting)}
    blocks = [_block(entry, starts[entry.pool], tones.get(entry.tensor, REST)) for entry in placed.placements]
    title = f"Where the activations lie on {board.name} while the network runs"
    named = [(tones[r.tensor], f"{r.size / KIB:,.0f} KiB {tail(r.name)}") for r in lasting]
    return [memory(title, strips, blocks, len(graph.ops)), legend([*named, (REST, "all others")])]


def _block(entry: Placement, start: int, tone: str) -> Block:
    title = f"{entry.name}: {entry.size / KIB:,.1f} KiB, operators {entry.first} to {entry.last}"
    return Block(entry.first, entry.last, start + entry.offset, entry.size, tone, title)


# --- latency ------------------------------------------------------------------------------------


def latency(page: Page) -> Html | None:
    """Time per layer: as measured where a board told it, else as estimated."""
    timed = [bench for bench in page.benches() if bench.layers]
    measured = [bench for bench in timed if bench.protocol.unit == "ms"]
    parts = [part for bench in measured for part in _measured(bench)]
    boards = {bench.protocol.board for bench in measured}
    for result in page.validations():
        if result.profile is not None and result.profile.layers:
            boards.add(result.board)
            parts += _profiled(result.profile, result.board, validation_origin(result))
    for need in page.main.footprints:
        if need.latency is not None and need.board not in boards:
            ms = need.latency.ms
            mostly = BOUNDS.get(need.latency.bound, ("", need.latency.bound))[1]
            said = f"{ms.point:.1f} ms ({ms.low:.1f} to {ms.high:.1f}), estimate; mostly {mostly}."
            parts += [tag("h3", need.board), paragraph(said), *_estimated(need.latency.ops, need.board)]
            parts += [paragraph(note, class_="note") for note in need.latency.notes]
    parts += [part for bench in timed if bench not in measured for part in _measured(bench)]
    return join(parts) if parts else None


def _estimated(ops: Sequence[OpLatency], board: str) -> list[Html]:
    entries = [
        Bar(op.index, op.ms, BOUNDS.get(op.bound, (REST, ""))[0], f"#{op.index} {op.kind}: {op.ms:.3f} ms, {op.bound}")
        for op in ops
    ]
    seen = [BOUNDS.get(bound, (REST, bound)) for bound in dict.fromkeys(op.bound for op in ops)]
    slow = sorted(ops, key=lambda op: -op.ms)
    rows = [(f"#{op.index}", op.kind, op.unit.upper(), f"{op.macs / 1e6:.1f}", f"{op.ms:.3f}") for op in slow]
    header = ("Operator", "Kind", "Unit", "MMAC", "ms")
    return [
        bars(f"Estimated time per operator on {board}", entries, " ms", "operator"),
        legend(seen),
        details(f"The {min(SLOWEST, len(rows))} slowest operators",
                table("The slowest operators", header, rows[:SLOWEST], right=(3, 4))),
    ]  # fmt: skip


def _profiled(profile: TargetProfile, board: str, origin: str) -> list[Html]:
    """Layers as ST's validation timed them."""
    layers = profile.layers
    entries = [Bar(e.index, e.ms, "c1", f"#{e.index} {e.name}: {e.ms:.3f} ms") for e in layers]
    slow = sorted(layers, key=lambda layer: -layer.ms)[:SLOWEST]
    rows = [(f"#{e.index}", tail(e.name), e.kind, f"{e.ms:.3f}", f"{e.percent:.1f}") for e in slow]
    return [
        tag("h3", board),
        paragraph(f"{profile.ms:.2f} ms, {origin}, {profile.samples} samples."),
        bars(f"Time per layer on {board}", entries, " ms", "layer"),
        details(f"The {len(rows)} slowest layers",
                table("The slowest layers", ("Layer", "Name", "Kind", "ms", "%"), rows, right=(3, 4))),
    ]  # fmt: skip


def _measured(bench: BenchResult) -> list[Html]:
    unit, scale = ("ms", 1.0) if bench.protocol.unit == "ms" else ("million ticks", MILLION)
    entries = [
        Bar(e.index, e.time / scale, ENGINES.get(e.engine, REST), f"#{e.index} {e.name}: {e.time / scale:.4g} {unit}")
        for e in bench.layers
    ]
    slow = sorted(bench.layers, key=lambda layer: -layer.time)[:SLOWEST]
    rows = [(f"#{e.index}", tail(e.name), e.kind, e.engine, f"{e.time / scale:.4g}", f"{e.share:.1f}") for e in slow]
    header = ("Layer", "Name", "Kind", "Engine", unit, "%")
    seen = [(ENGINES.get(name, REST), name or "not told") for name in dict.fromkeys(e.engine for e in bench.layers)]
    where = "emulator" if bench.protocol.emulated else "board"
    return [
        tag("h3", bench.protocol.board),
        paragraph(f"Measured on the {where}: {bench.protocol.tool}, {bench.protocol.runs} runs."),
        bars(f"Time per layer on {bench.protocol.board}", entries, " ms" if scale == 1 else " M", "layer"),
        legend(seen),
        details(f"The {len(rows)} slowest layers", table("The slowest layers", header, rows, right=(4, 5))),
    ]


# --- compiler and board -------------------------------------------------------------------------


def compiler(page: Page) -> Html | None:
    """What ST Edge AI Core made of the main file."""
    found = page.compiled()
    return join([part for made in found for part in _compiled(made)]) if found else None


def _compiled(made: CompiledModel) -> list[Html]:
    pairs = [("Tool", f"{made.toolchain} {made.version}, {made.compiler}".rstrip(", ")), ("Target", made.target)]
    sizes = (("Weights", made.weights_bytes), ("Activations", made.activations_bytes), ("In and out", made.io_bytes))
    pairs += [(name, f"{count / KIB:,.1f} KiB") for name, count in sizes if count is not None]
    if made.epochs is not None:
        e = made.epochs
        pairs.append(("Epochs", f"{e.total}, {e.software} in software" + (f", {e.hybrid} hybrid" if e.hybrid else "")))
    if made.runtime is not None:
        flash, ram = made.runtime.flash / KIB, made.runtime.ram / KIB
        pairs.append(("Run-time library", f"{flash:,.1f} KiB flash, {ram:,.1f} KiB RAM"))
    rows = [
        (p.name, p.kind, f"{p.weights / KIB:,.1f}", f"{p.activations / KIB:,.1f}", f"{p.used / KIB:,.1f}",
         f"{p.capacity / KIB:,.1f}" if p.capacity else "–")
        for p in made.pools
    ]  # fmt: skip
    header = ("Pool", "Kind", "Weights (KiB)", "Activations (KiB)", "Used (KiB)", "Of (KiB)")
    notes = [paragraph(text, class_="note") for text in (*made.warnings, *made.gaps)]
    pools = [table("Memory pools as compiled", header, rows, right=(2, 3, 4, 5))] if rows else []
    return [tag("h3", made.board), facts(pairs), *pools, *notes]


def device(page: Page) -> Html | None:
    """What the board measured and whether it computes what the host computes."""
    parts = [part for bench in page.benches() for part in _bench(bench)]
    parts += [part for result in page.validations() for part in _validation(result)]
    return join(parts) if parts else None


def _validation(result: ValidationResult) -> list[Html]:
    """ST's own validation on a board."""
    p = result.profile
    pairs = [("Tool", f"{result.toolchain} {result.version}, mode {result.mode}")]
    if p is not None:
        spread = [f"{v:.3f}" for v in (p.ms_min, p.ms_max) if v is not None]
        pairs += [("Device", p.device), ("Mean", f"{p.ms:.3f} ms, {p.samples} samples")]
        pairs += [("Minimum and maximum", f"{' and '.join(spread)} ms")] if spread else []
    parts = [tag("h3", f"{result.board}, ST's validation"), facts(pairs)]
    if result.agreement:
        parts.append(_agreement(result.agreement, "Outputs against the host"))
    if result.departure is not None:
        d = result.departure
        parts.append(paragraph(f"The first operator that departs from the host is #{d.index} {d.operator}."))
    return parts


def _agreement(entries: Sequence[OutputAgreement], caption: str) -> Html:
    rows = [
        (a.tensor, f"{a.values:,}", f"{a.cosine:.6f}", "equal" if a.sqnr_db is None else f"{a.sqnr_db:.1f}",
         f"{100 * a.bit_equal:.2f}")
        for a in entries
    ]  # fmt: skip
    return table(caption, ("Output", "Values", "Cosine", "SQNR (dB)", "Bit-equal (%)"), rows, right=(1, 2, 3, 4))


def _time(value: float, unit: str) -> str:
    return f"{value:.4g} ms" if unit == "ms" else f"{value / MILLION:,.1f} million ticks"


def _bench(bench: BenchResult) -> list[Html]:
    p, t = bench.protocol, bench.time
    spread = [(n, v) for n, v in (("minimum", t.minimum), ("median", t.median), ("95 %", t.p95), ("maximum", t.maximum))
              if v is not None]  # fmt: skip
    pairs = [
        ("Device", f"{bench.device.name}, {bench.device.runtime}"),
        ("Protocol", f"{p.link}, {p.tool}, mode {p.mode}, {p.warmup} to warm up, {p.runs} runs"),
        ("Mean", _time(t.mean, p.unit) + (f", {t.per_second:.1f} a second" if t.per_second else "")),
        *((name.capitalize(), _time(value, p.unit)) for name, value in spread),
        *((f"On {share.engine}", f"{share.percent:.1f} %") for share in bench.engines),
    ]
    m = bench.memory
    names = ("Activations", "Weights", "Peak", "Stack", "Heap")
    sizes = zip(names, (m.activations, m.weights, m.peak, m.stack, m.heap), strict=True)
    pairs += [(name, f"{count / KIB:,.1f} KiB") for name, count in sizes if count is not None]
    parts = [tag("h3", f"{p.board}{' (emulated)' if p.emulated else ''}"), facts(pairs)]
    if p.emulated:
        said = "An emulator computes as the board does, and says nothing about its time."
        parts.append(paragraph(said, class_="note"))
    if bench.agreement:
        parts.append(_agreement(bench.agreement, f"Outputs against the host ({bench.kernels} kernels)"))
    if bench.comparisons:
        others = [
            (c.figure, f"{c.measured:.4g} {c.unit}", f"{c.reference:.4g} {c.unit}", f"{c.ratio:.2f}", c.source, c.note)
            for c in bench.comparisons
        ]
        named = ("Figure", "Measured", "Reference", "Ratio", "Source", "Note")
        parts.append(table("Beside other figures", named, others, right=(1, 2, 3)))
    return [*parts, *(paragraph(note, class_="note") for note in bench.notes)]
