"""Charts as inline SVG. Colours are classes of the style sheet, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.report.html_parts import Html, Part, scrolling, tag
from edgeai.report.html_style import REST, SERIES

WIDTH, LEFT, RIGHT = 900, 64, 16
KIB = 1024


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval, and how it is drawn."""

    label: str
    low: float
    point: float
    high: float
    colour: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place on the axis, its height, its colour, and what it is."""

    at: int
    height: float
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class Block:
    """A buffer in memory: `offset` and `size` in bytes from the start of the pools, from `first` to `last`."""

    first: int
    last: int
    offset: int
    size: int
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A memory pool, in bytes: `start` from the start of the first one, `shown` of it drawn, `used` of `capacity`."""

    name: str
    start: int
    shown: int
    used: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    colour: str
    front: bool
    title: str


def _svg(title: str, height: float, *parts: Part, width: float = WIDTH, small: bool = False) -> Html:
    drawn = tag("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title)
    return tag("div", scrolling(drawn, title), class_="chart small" if small else "chart")


def _text(x: float, y: float, content: str, anchor: str = "start", class_: str | None = None) -> Html:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _rect(x: float, y: float, width: float, height: float, class_: str, title: str = "") -> Html:
    name = tag("title", title) if title else None
    size = {"width": f"{max(width, 0.5):.2f}", "height": f"{max(height, 0):.2f}"}
    return tag("rect", name, x=f"{x:.2f}", y=f"{y:.2f}", class_=f"{class_} area", **size)


def ticks(highest: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers from 0 to about `highest`."""
    if highest <= 0:
        return (0.0,)
    raw = highest / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    return tuple(k * step for k in range(int(highest / step * 1.0001) + 1))


def _grid(low: float, highest: float, top: float, bottom: float, unit: str, width: float = WIDTH) -> list[Html]:
    """Horizontal lines with their values."""
    parts = []
    step = (*ticks(highest - low), 1.0)[1]
    for place in range(math.ceil(low / step), math.floor(highest / step * 1.0001) + 1):
        y = bottom - (place * step - low) / (highest - low) * (bottom - top)
        parts.append(_line(LEFT, y, width - RIGHT, y, "grid"))
        parts.append(_text(LEFT - 8, y + 4, f"{place * step:g}{unit}", "end", "soft"))
    return parts


def intervals(title: str, rows: Sequence[Interval], unit: str) -> Html:
    """Values with their intervals, one line each."""
    width, left, row = 450, 180, 28
    low, high = min(r.low for r in rows), max(r.high for r in rows)
    margin = max((high - low) * 0.12, 0.5)
    low, high = max(0.0, low - margin), high + margin
    bottom = 14 + row * len(rows)
    scale = (width - left - 48) / (high - low)
    parts = []
    first = math.ceil(low)
    step = max(1, round((high - low) / 6))
    for value in range(first, math.floor(high) + 1, step):
        x = left + (value - low) * scale
        parts += [_line(x, 8, x, bottom, "grid"), _text(x, bottom + 16, f"{value}", "middle", "soft")]
    for i, entry in enumerate(rows):
        y = 8 + row * (i + 0.5)
        x1, x, x2 = (left + (value - low) * scale for value in (entry.low, entry.point, entry.high))
        parts.append(_text(left - 12, y + 4, _short(entry.label, 24), "end"))
        if entry.high > entry.low:
            parts.append(tag("line", x1=f"{x1:.1f}", y1=f"{y:.1f}", x2=f"{x2:.1f}", y2=f"{y:.1f}", class_=entry.colour,
                             stroke_width="3", style="stroke-opacity:.55"))  # fmt: skip
        parts.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="5", class_=entry.colour))
        parts.append(_text(max(x, x2) + 10, y + 4, f"{entry.point:.1f}"))
    parts.append(_text(width - RIGHT, bottom + 16, unit, "end", "soft"))
    return _svg(title, bottom + 24, *parts, width=width, small=True)


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room // 2 - 1]}…{name[-(room // 2) :]}"


def bars(title: str, entries: Sequence[Bar], unit: str, axis: str) -> Html:
    """Bars along the sequence of operators."""
    top, bottom = 14, 230
    last = max((bar.at for bar in entries), default=0) + 1
    highest = max((bar.height for bar in entries), default=0.0) or 1.0
    step = (WIDTH - LEFT - RIGHT) / last
    scale = (bottom - top) / highest
    parts = _grid(0, highest, top, bottom, unit)
    for bar in entries:
        x, height = LEFT + bar.at * step, bar.height * scale
        parts.append(_rect(x, bottom - height, max(step * 0.85, 1.0), height, bar.colour, bar.title))
    parts.append(_line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 22, axis, "middle", "soft"))
    return _svg(title, bottom + 30, *parts)


def lines(
    title: str,
    curves: Sequence[Sequence[tuple[float, float]]],
    limit: float | None,
    unit: str,
    axis: str,
    mark: int = -1,
    highest: float = math.inf,
) -> Html:
    """Curves over the sequence of operators, with a limit, and one place marked. What is higher than `highest` is cut
    off there."""
    top, bottom = 14, 240
    curves = [[(x, min(y, highest)) for x, y in curve] for curve in curves]
    points = [point for curve in curves for point in curve]
    low = min(0.0, *(y for _, y in points)) if points else 0.0
    high = max((y for _, y in points), default=1.0)
    last = max((x for x, _ in points), default=1.0) or 1.0
    across, up = (WIDTH - LEFT - RIGHT) / last, (bottom - top) / ((high - low) or 1.0)
    parts = _grid(low, high, top, bottom, unit)
    for curve, colour in zip(curves, SERIES, strict=False):
        path = " ".join(f"{LEFT + x * across:.1f},{bottom - (y - low) * up:.1f}" for x, y in curve)
        parts.append(tag("polyline", points=path, class_=colour, style="fill:none", stroke_width="1.8"))
    if limit is not None and low <= limit <= high:
        y = bottom - (limit - low) * up
        parts += [_line(LEFT, y, WIDTH - RIGHT, y, "limit"), _text(WIDTH - RIGHT, y - 5, f"{limit:g}{unit}", "end")]
    if mark >= 0:
        x = LEFT + mark * across
        parts += [_line(x, top, x, bottom, "mark"), _text(x + 5, top + 10, f"#{mark}")]
    parts.append(_line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 22, axis, "middle", "soft"))
    return _svg(title, bottom + 30, *parts)


def memory(title: str, strips: Sequence[Strip], blocks: Sequence[Block], operators: int) -> Html:
    """Buffers where they lie: operators to the right, addresses upwards, pool on pool."""
    top, height, right = 14, 300, 168
    shown = max(sum(strip.shown for strip in strips), 1)
    scale, bottom = height / shown, top + height
    step = (WIDTH - LEFT - right) / max(operators, 1)
    edge = WIDTH - right
    parts = []
    for value in ticks(shown / KIB):
        y = bottom - value * KIB * scale
        parts += [_line(LEFT, y, edge, y, "grid"), _text(LEFT - 8, y + 4, f"{value:g}", "end", "soft")]
    for block in blocks:
        y = bottom - (block.offset + block.size) * scale
        x = LEFT + block.first * step
        width = (block.last + 1 - block.first) * step
        parts.append(_rect(x, y, width, max(block.size * scale, 0.6), block.colour, block.title))
    for strip in strips:
        y1, y0 = bottom - (strip.start + strip.shown) * scale, bottom - strip.start * scale
        full = strip.shown >= strip.capacity
        parts.append(_line(LEFT, y1, edge + 10, y1, "axis" if full else "grid"))
        middle = (y0 + y1) / 2
        parts.append(_text(edge + 12, middle - 2, strip.name))
        share = f"{strip.used / KIB:,.1f} of {strip.capacity / KIB:,.0f} KiB"
        parts.append(_text(edge + 12, middle + 13, share, class_="soft"))
    parts.append(_line(LEFT, bottom, edge, bottom, "axis"))
    parts.append(_text((LEFT + edge) / 2, bottom + 22, f"operator, 0 to {operators - 1}", "middle", "soft"))
    parts.append(_text(LEFT - 8, bottom + 22, "KiB", "end", "soft"))
    return _svg(title, bottom + 30, *parts)


def scatter(title: str, dots: Sequence[Dot], x_axis: str, y_axis: str) -> Html:
    """Points, those of the front filled; joined are those that no other beats in both axes."""
    top, bottom, width = 24, 300, WIDTH
    xs, ys = [d.x for d in dots], [d.y for d in dots]
    left, right = 0.0, max(xs) * 1.08 or 1.0
    low, high = min(ys) - 1, max(ys) + 1
    across, up = (width - LEFT - RIGHT) / (right - left), (bottom - top) / (high - low)
    parts = _grid(low, high, top, bottom, "", width)
    for value in ticks(right):
        x = LEFT + value * across
        parts += [_line(x, bottom, x, bottom + 4, "axis"), _text(x, bottom + 18, f"{value:g}", "middle", "soft")]
    front = sorted((d for d in dots if not any(e.x <= d.x and e.y > d.y for e in dots)), key=lambda d: (d.x, d.y))
    path = " ".join(f"{LEFT + d.x * across:.1f},{bottom - (d.y - low) * up:.1f}" for d in front)
    parts.append(tag("polyline", points=path, class_="axis", style="fill:none"))
    for dot in sorted(dots, key=lambda d: d.front):  # the front on top
        place = {"cx": f"{LEFT + dot.x * across:.1f}", "cy": f"{bottom - (dot.y - low) * up:.1f}"}
        filled = None if dot.front else "fill:var(--page)"
        size = "6" if dot.front else "4.5"
        parts.append(tag("circle", tag("title", dot.title), r=size, class_=dot.colour, style=filled,
                         stroke_width="1.6", **place))  # fmt: skip
    parts.append(_line(LEFT, bottom, width - RIGHT, bottom, "axis"))
    parts.append(_text((LEFT + width - RIGHT) / 2, bottom + 38, x_axis, "middle", "soft"))
    parts.append(_text(LEFT, top - 8, y_axis, "start", "soft"))
    return _svg(title, bottom + 46, *parts, width=width)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """What colours mean: class and text."""
    return tag("ul", *(tag("li", tag("span", class_=f"swatch {c}"), name) for c, name in entries), class_="legend")


def colour(place: int) -> str:
    """The class of the series at a place; beyond the last, that of the rest."""
    return SERIES[place] if place < len(SERIES) else REST
