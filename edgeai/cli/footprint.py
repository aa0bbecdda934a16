"""`edgeai footprint`: whether a model fits a board, what it needs and how long it takes."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.artifacts import Footprint, LatencyEstimate, MemoryEstimate, PoolUse, Quantity, WhatIf
from edgeai.cli.numbers import FiniteRange
from edgeai.cli.options import PathParam, project_file
from edgeai.cli.render import emit, facts, kib, table
from edgeai.errors import BudgetError, InputError
from edgeai.project import load_project

if TYPE_CHECKING:
    from edgeai.board import Board

WIDTH = 80
PEAK_TENSORS = 5
NAME_WIDTH = 50
BAR = 24
SLOWEST = 12
SMALLEST_BARE = 4096  # bytes: a smaller number without a unit was meant in KiB or MiB
SUFFIXES = {"": 1, "k": 1024, "ki": 1024, "m": 1 << 20, "mi": 1 << 20}


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    """A number of bytes: `800K`, `1.5M`, `2KiB`; 0 where none is given. A small number needs its unit."""
    if value is None:
        return 0
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([kKmM]i?)?[bB]?", value.strip())
    if found is None or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is not a size; write for example 800K or 1.5M", ctx, param)
    count = int(float(found[1]) * SUFFIXES[(found[2] or "").lower()])
    if not found[2] and not value.strip().lower().endswith("b") and count < SMALLEST_BARE:
        text = f"{value!r} is {count} bytes; write {value.strip()}K for KiB, {value.strip()}M for MiB, or {count}B"
        raise click.BadParameter(text, ctx, param)
    return count


@click.command(short_help="Say whether a model fits a board, and how fast it will be.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--board", required=True, metavar="B", help="Board: a name, an alias, or a profile file.")
@click.option("--core", default="", metavar="V", help="Version of ST Edge AI Core, such as 3.0.0.")
@click.option("--max-ram", callback=_bytes, metavar="SIZE", help="RAM budget, such as 800K.")
@click.option("--max-flash", callback=_bytes, metavar="SIZE", help="Flash budget, such as 3M.")
@click.option("--max-latency", type=FiniteRange(min=0, min_open=True), metavar="MS", help="Latency budget, ms.")
@click.option("--per-op", is_flag=True, help="Show where the time goes.")
@click.option("--what-if", multiple=True, metavar="K=V,V", help="imgsz=192,256, granularity, layout or file=B.tflite.")
@click.option("--source", type=PathParam, metavar="MODEL", help="Checkpoint of FILE, for --what-if layout.")
@click.option("--calibration", type=PathParam, metavar="DIR", help="Calibration images, for --what-if layout.")
@click.option("--compare", is_flag=True, help="Set the estimate beside the compiler's figures (edgeai compile).")
@click.option("--compiled", type=PathParam, metavar="PATH", help="For --compare: a compile run, or ST's report.")
@click.option("--anyway", is_flag=True, help="With --compiled: take figures of another model or chip, and say so.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="OUT.svg|png", help="Draw memory and latency.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.json", help="Write the result there.")
def command(
    file: Path | None,
    board: str,
    core: str,
    max_ram: int,
    max_flash: int,
    max_latency: float | None,
    per_op: bool,
    what_if: tuple[str, ...],
    source: Path | None,
    calibration: Path | None,
    compare: bool,
    compiled: Path | None,
    anyway: bool,
    plot: Path | None,
    as_json: bool,
    output: Path | None,
) -> int:
    """Place the activations of FILE in the memory pools of a board, say what is used and how long it takes.

    \b
    edgeai footprint model.tflite --board stm32n6
    edgeai footprint model.tflite --board stm32n6 --max-ram 1M --max-latency 30
    edgeai footprint model.tflite --board stm32n6 --what-if imgsz=192,256,320
    edgeai footprint model.tflite --board stm32n6 --what-if layout \\
      --source best.pt --calibration photos/
    edgeai footprint model.tflite --board stm32n6 --compare

    What-if granularity stands for per-tensor and per-channel, layout for raw, split and concat: those are made from
    the checkpoint (of --source, or of the project), or taken from the cache.
    Exit code 3 where it does not fit or is over a budget.
    """
    from edgeai.board import load_board
    from edgeai.cli.what_if import changes, other_files
    from edgeai.footprint.estimate import Limits
    from edgeai.latency.estimate import assess

    limits = Limits(max_ram, max_flash, max_latency or 0.0)
    model, profile = _model(file), load_board(board)
    if compare or compiled is not None:
        return _compare(model, profile, core, compiled, anyway, as_json, output)
    others = other_files(what_if, model, source, calibration)
    result = assess(model, profile, core, limits, changes(what_if), others)
    if plot is not None:
        _plot(plot, model, result)
    emit(result, render(result, per_op), as_json, output)
    return 0 if result.fits else BudgetError.exit_code


def _compare(
    model: Path, board: Board, core: str, compiled: Path | None, anyway: bool, as_json: bool, output: Path | None
) -> int:
    """Estimate and compiler side by side; the estimate for the compiler's version unless another is asked for."""
    from edgeai.cli.compared import render as render_comparison
    from edgeai.latency.estimate import assess
    from edgeai.stedgeai.compare import compare, find_compiled

    made = find_compiled(model, board, load_project().runs, compiled, anyway)
    try:
        estimate = assess(model, board, core or made.version)
    except InputError:
        if core:
            raise
        estimate = assess(model, board)  # no constants for that version; the comparison says so
    found = compare(estimate, made)
    emit(found, render_comparison(found), as_json, output)
    return 0


def _model(given: Path | None) -> Path:
    """The model of the command line, else the int8 file of the project."""
    return given if given is not None else project_file(load_project())


def _plot(target: Path, model: Path, result: Footprint) -> None:
    """Write the picture; PNG by way of cairosvg, where that is installed."""
    from edgeai.errors import ToolError
    from edgeai.files import write_bytes, write_text
    from edgeai.footprint.live import live_ranges
    from edgeai.footprint.picture import picture
    from edgeai.graph import load_graph

    if target.suffix.lower() not in (".svg", ".png"):
        raise click.UsageError(f"--plot {target}: the name must end in .svg or .png")
    graph = load_graph(model, computing=False)
    drawn = picture(result, graph, live_ranges(graph))
    if target.suffix.lower() == ".svg":
        write_text(target, drawn)
        return
    try:
        cairosvg = importlib.import_module("cairosvg")
    except ImportError:
        hint = "pip install cairosvg, or write an .svg"
        raise ToolError("PNG needs cairosvg, which is not installed", hint) from None
    write_bytes(target, cairosvg.svg2png(bytestring=drawn.encode(), scale=2))


def render(result: Footprint, per_op: bool = False) -> str:
    """The verdict, the pools, the peak, latency and the reasons, in 80 columns."""
    parts = [f"{result.model.name} on {result.board}", _summary(result)]
    pools = table(
        ["pool", "kind", "used KiB", "of KiB", "used", ""],
        [[p.pool, p.kind, kib(p.used), kib(p.capacity), _share(p), _bar(p)] for p in result.pools],
        right=(2, 3, 4),
    )
    live = "live at the peak\n" + facts(
        [(f"  {kib(t.count):>9} KiB", _short(t.name)) for t in result.peak_tensors[:PEAK_TENSORS]]
    )
    parts += [pools, live]
    if result.support is not None and (result.support.software or result.target == "stm32n6"):
        parts.append(_software(result))
    if per_op and result.latency is not None:
        parts.append(_per_op(result.latency))
    if result.what_if:
        parts.append(_what_if(result))
    if result.reasons:
        parts.append("notes\n" + "\n".join(_bullet(reason) for reason in _notes(result)))
    return "\n\n".join(parts)


def _summary(result: Footprint) -> str:
    verdict = "fits" if result.fits else "DOES NOT RUN ON" if _nowhere(result) else "DOES NOT FIT"
    verdict = "fits, and is OVER THE LATENCY BUDGET on" if result.too_slow else verdict
    peak_bytes = sum(tensor.count for tensor in result.peak_tensors)
    pairs = [
        ("verdict", f"{verdict} {result.board} ({result.source})"),
        ("weights", f"{kib(result.weights_bytes)} KiB"),
        ("activations", f"{kib(result.activations_bytes)} KiB (inputs and outputs: {kib(result.io_bytes)} KiB)"),
        ("peak", f"{kib(peak_bytes)} KiB in {result.peak_operator}"),
    ]
    if result.memory is not None:
        pairs += _predicted(result.memory, "X-LINUX-AI" if result.target.startswith("stm32mp") else "Core")
    if result.latency is not None:
        ms = result.latency.ms
        pairs.append(("latency", f"{ms.point:.1f} ms ({ms.low:.1f} to {ms.high:.1f}), mostly {result.latency.bound}"))
    return facts(pairs)


def _nowhere(result: Footprint) -> bool:
    """Whether the network has operators that nothing on the board runs."""
    return result.support is not None and any(entry.unit == "none" for entry in result.support.software)


def _predicted(memory: MemoryEstimate, tool: str) -> list[tuple[str, str]]:
    """What ST's tool will report, by the names of docs/glossary.md."""
    pairs = [
        ("Core RAM", f"{_interval(memory.ram)}, {tool} {memory.version}"),
        ("Core flash", f"{_interval(memory.weights)}, {tool} {memory.version}"),
    ]
    if memory.code:
        pairs.append(("code", f"about {kib(memory.code)} KiB of flash beside it"))
    if memory.external:
        pairs.append(("external RAM", f"{kib(memory.external)} KiB"))
    if memory.lower_bound:
        gap = 100 * (memory.planned / memory.lower_bound - 1)
        above = f"{gap:.1f} % above the peak of {kib(memory.lower_bound)} KiB"
        pairs.append(("placement", f"{kib(memory.planned)} KiB, {above}"))
    return pairs


def _interval(quantity: Quantity) -> str:
    return f"{kib(quantity.point)} KiB ({kib(quantity.low)} to {kib(quantity.high)})"


def _software(result: Footprint) -> str:
    assert result.support is not None
    found = result.support
    head = f"epochs: about {found.epochs}, {found.software_epochs} in software, {found.hybrid_epochs} hybrid"
    lines = [
        _bullet(f"{s.count} × {s.kind} {_where(s.unit)}: {s.reason}" + (f"; {s.advice}" if s.advice else ""))
        for s in found.software
    ]
    return "\n".join([head, *lines])


def _where(unit: str) -> str:
    return "nowhere" if unit == "none" else f"on the {unit.upper()}"


def _per_op(latency: LatencyEstimate) -> str:
    slowest = sorted(latency.ops, key=lambda op: -op.ms)[:SLOWEST]
    longest = max((op.ms for op in slowest), default=1.0)
    rows = [
        [
            f"{op.kind[:22]} #{op.index}", op.unit, f"{op.macs / 1e6:.1f}", f"{op.ms:.3f}", op.bound,
            "█" * max(1, round(14 * op.ms / longest)),
        ]
        for op in slowest
    ]  # fmt: skip
    shares: dict[str, float] = {}
    for op in latency.ops:
        shares[op.bound] = shares.get(op.bound, 0.0) + op.ms
    total = sum(shares.values()) or 1.0
    parts = ", ".join(f"{name} {100 * ms / total:.0f} %" for name, ms in sorted(shares.items(), key=lambda s: -s[1]))
    listed = table(["slowest operators", "on", "MMAC", "ms", "bound by", ""], rows, right=(2, 3))
    return f"{listed}\n{parts}"


def _what_if(result: Footprint) -> str:
    memory, latency, support = result.memory, result.latency, result.support
    here = WhatIf(
        change="as it is",
        ram=memory.ram.point if memory else result.activations_bytes,
        weights=memory.weights.point if memory else result.weights_bytes,
        external=memory.external if memory else 0,
        ms=latency.ms.point if latency else 0.0,
        fits=result.fits,
        software=support.software_epochs if support else 0,
    )
    rows = [
        [_short(w.change, 26), kib(w.ram), kib(w.weights), kib(w.external) if w.external else "-",
         f"{w.ms:.1f}" if w.ms else "-", str(w.software), "yes" if w.fits else "NO"]
        for w in (here, *result.what_if)
    ]  # fmt: skip
    header = ["what if", "Core RAM", "Core flash", "external", "ms", "software", "fits"]
    return f"{table(header, rows, (1, 2, 3, 4, 5))}\nmemory in KiB"


def _notes(result: Footprint) -> tuple[str, ...]:
    latency = result.latency.notes if result.latency is not None else ()
    memory = result.memory.notes if result.memory is not None else ()
    tables = (f"latency: {result.latency.table}, Core {result.latency.version}",) if result.latency is not None else ()
    return (*result.reasons, *memory, *latency, *tables)


def _share(pool: PoolUse) -> str:
    return f"{100 * pool.used / pool.capacity:.0f} %" if pool.capacity else "-"


def _bar(pool: PoolUse) -> str:
    if not pool.capacity or not pool.used:
        return ""
    filled = min(BAR, max(1, round(BAR * pool.used / pool.capacity)))
    return "█" * filled + "·" * (BAR - filled) + (" over" if pool.used > pool.capacity else "")


def _short(name: str, room: int = NAME_WIDTH) -> str:
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= room else "…" + clean[-(room - 1) :]


def _bullet(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
