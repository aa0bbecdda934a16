"""Pictures as SVG: memory over the operator sequence, and latency per operator. No library is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeai.artifacts import Footprint, OpLatency
from edgeai.footprint.live import LiveRange, peak
from edgeai.graph.types import Graph
from edgeai.imaging.svg import COLOURS, INK, PALE, document, line, rect, text

WIDTH, PLOT, LEFT, TOP = 960, 800, 90, 46
HEIGHT = 300
BOUNDS = {"compute": "#4477aa", "weights": "#ccbb44", "overhead": "#bbbbbb", "software": "#ee6677", "gpu": "#aa3377"}
LARGEST = len(COLOURS) - 1  # buffers with a colour and a name of their own; all others share the last
MIN_LABEL_GAP = 12


def picture(result: Footprint, graph: Graph, ranges: Sequence[LiveRange]) -> str:
    """One SVG: live buffers stacked over the operators with the pools as bands and the peak marked; below it the
    operators by latency, coloured by what bounds them, where there is an estimate.
    """
    parts = [*_memory(result, graph, ranges)]
    height = TOP + HEIGHT + 156
    if result.latency is not None:
        parts += _latency(result.latency.ops, result.latency.ms.point, height)
        height += HEIGHT + 90
    return document(WIDTH, height, parts)


# --- memory -------------------------------------------------------------------------------------


def _memory(result: Footprint, graph: Graph, ranges: Sequence[LiveRange]) -> list[str]:
    count = len(graph.ops)
    top = peak(graph, tuple(ranges))
    bottom = TOP + HEIGHT
    scale = HEIGHT / (1.12 * max(top.bytes, 1))
    step = PLOT / count
    name = result.model.name
    parts = [text(LEFT, 22, f"Live activations of {name} on {result.board}", size=15)]
    parts += _axis(top.bytes, scale, bottom)
    parts += _bands(result, scale, bottom, top.bytes)
    lasting = sorted(ranges, key=lambda r: (-r.size * (r.last - r.first + 1), r.tensor))
    largest = list(dict.fromkeys((*top.live[: LARGEST // 2], *lasting)))[:LARGEST]
    colours = {r.tensor: COLOURS[i] for i, r in enumerate(largest)}
    stacked = [0.0] * count
    for entry in (*largest, *_summed([r for r in ranges if r.tensor not in colours], count)):
        parts += _stack(entry, stacked, colours.get(entry.tensor, COLOURS[-1]), step, scale, bottom)
    x = LEFT + (top.op.index + 0.5) * step
    y = bottom - top.bytes * scale
    anchor = "start" if x < LEFT + PLOT * 0.6 else "end"
    label = f"peak {top.bytes / 1024:,.1f} KiB in {top.op.kind} #{top.op.index}"
    parts.append(line(x, y - 8, x, bottom, INK, "3 2"))
    parts.append(text(x + (6 if anchor == "start" else -6), y - 12, label, anchor))
    parts += _operators(count, step, bottom)
    named = [(colours[r.tensor], f"{r.size / 1024:,.1f} KiB  {r.name}") for r in largest]
    if len(ranges) > len(largest):
        named.append((COLOURS[-1], f"{len(ranges) - len(largest)} other buffers"))
    return [*parts, *_legend(named, bottom + 54)]


def _operators(count: int, step: float, bottom: float) -> list[str]:
    """The lower axis: numbers of operators."""
    parts = [text(LEFT + PLOT / 2, bottom + 34, "operator", "middle")]
    for at in range(0, count, int(_tick(count - 1, 12)) or 1):
        x = LEFT + (at + 0.5) * step
        parts += [line(x, bottom, x, bottom + 4, INK), text(x, bottom + 17, str(at), "middle", 11)]
    return parts


def _tick(highest: float, most: int) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (and below 1) that divides an axis into at most `most` parts."""
    size = 10.0 ** math.floor(math.log10(max(highest, 1e-9) / most))
    return next(size * factor for factor in (1, 2, 5, 10) if highest <= most * size * factor)


def _summed(ranges: Sequence[LiveRange], count: int) -> list[LiveRange]:
    """All small buffers as one pile: a range for each stretch of operators with the same sum."""
    change = [0] * (count + 1)
    for entry in ranges:
        change[entry.first] += entry.size
        change[entry.last + 1] -= entry.size
    found, total, start = [], 0, 0
    for i in range(count + 1):
        if i == count or change[i]:
            if total and i > start:
                found.append(LiveRange(-1, "others", total, start, i - 1))
            total, start = total + change[i], i
    return found


def _stack(entry: LiveRange, stacked: list[float], colour: str, step: float, scale: float, bottom: float) -> list[str]:
    """Rectangles of one buffer on top of what is stacked already, one for each stretch of equal height."""
    parts, start = [], entry.first
    for i in range(entry.first, entry.last + 1):
        if i == entry.last or stacked[i + 1] != stacked[start]:
            y = bottom - (stacked[start] + entry.size) * scale
            parts.append(rect(LEFT + start * step, y, (i + 1 - start) * step, entry.size * scale, colour))
            start = i + 1
    for i in range(entry.first, entry.last + 1):
        stacked[i] += entry.size
    return parts


def _axis(highest: float, scale: float, bottom: float) -> list[str]:
    parts = [line(LEFT, bottom, LEFT + PLOT, bottom, INK)]
    step = _tick(highest / 1024, 8)
    for k in range(int(highest / 1024 / step) + 1):
        y = bottom - k * step * 1024 * scale
        parts += [line(LEFT, y, LEFT + PLOT, y, PALE), text(LEFT - 6, y + 4, f"{k * step:,.4g} KiB", "end", 11)]
    return parts


def _bands(result: Footprint, scale: float, bottom: float, highest: float) -> list[str]:
    """The ends of the pools, one on top of the other, as far as the picture reaches."""
    parts, total, last = [], 0, 1e9
    for i, pool in enumerate(p for p in result.pools if p.kind == "ram" and p.capacity):
        low, total = total, total + pool.capacity
        if low * scale > HEIGHT:
            break
        y = bottom - min(total * scale, HEIGHT)
        if i % 2 == 0:
            parts.append(rect(LEFT, y, PLOT, bottom - low * scale - y, "#f2f6fa", 0.7))
        if total <= 1.1 * highest:
            parts.append(line(LEFT, y, LEFT + PLOT, y, "#88a0b8", "6 3"))
        if last - y > MIN_LABEL_GAP:
            parts.append(text(LEFT + PLOT + 4, y + 10, pool.pool, size=10, colour="#557"))
            last = y
    return parts


def _legend(entries: Sequence[tuple[str, str]], y: float) -> list[str]:
    parts = []
    for i, (colour, label) in enumerate(entries):
        x, at = LEFT + (i % 2) * (PLOT / 2), y + (i // 2) * 17
        short = label if len(label) <= 56 else label[:20] + "…" + label[-35:]
        parts += [rect(x, at, 11, 11, colour), text(x + 16, at + 10, short, size=11)]
    return parts


# --- latency ------------------------------------------------------------------------------------


def _latency(ops: Sequence[OpLatency], total: float, top: float) -> list[str]:
    longest = max((op.ms for op in ops), default=0.0) or 1.0
    scale, bottom = (HEIGHT - 40) / longest, top + HEIGHT - 20
    last = max((op.index for op in ops), default=0) + 1
    step = PLOT / last
    parts = [text(LEFT, top, f"Estimated latency per operator, {total:.2f} ms in all", size=15)]
    parts.append(line(LEFT, bottom, LEFT + PLOT, bottom, INK))
    tick = _tick(longest, 5)
    for k in range(1, int(longest / tick) + 1):
        y = bottom - k * tick * scale
        parts += [line(LEFT, y, LEFT + PLOT, y, PALE), text(LEFT - 6, y + 4, f"{k * tick:,.4g} ms", "end", 11)]
    for op in ops:
        colour = BOUNDS.get(op.bound, COLOURS[-1])
        x, height = LEFT + op.index * step, op.ms * scale
        parts.append(rect(x, bottom - height, max(step * 0.9, 0.6), height, colour))
    parts += _operators(last, step, bottom)
    seen = dict.fromkeys(op.bound for op in ops)
    names = {"weights": "streaming of weights", "overhead": "time per operator", "software": "not on the accelerator"}
    return [*parts, *_legend([(BOUNDS.get(b, COLOURS[-1]), names.get(b, b)) for b in seen], bottom + 54)]
