"""A report as one SVG: signal-to-noise ratio over the layers, and how each uses its int8 range."""

from __future__ import annotations

from edgeai.artifacts.debug import DebugReport, LayerError
from edgeai.imaging.svg import INK, PALE, circle, document, line, polyline, rect, text

WIDTH, PLOT, LEFT, TOP = 960, 810, 70, 74
HEIGHT, GAP = 250, 70
CEILING_DB, FLOOR_DB = 60.0, -20.0
MOST_USE = 2.0
STEP, TOTAL, BAD, USE = "#228833", "#4477aa", "#ee6677", "#88aacc"


def picture(report: DebugReport) -> str:
    """SVG text. The same report gives the same bytes."""
    height = TOP + 2 * HEIGHT + GAP + 60
    return document(WIDTH, height, [*_title(report), *_sqnr(report), *_ranges(report, TOP + HEIGHT + GAP)])


def _title(report: DebugReport) -> list[str]:
    against = report.reference.name if report.against == "float model" and report.reference else "its own simulation"
    lines = [text(LEFT, 20, f"{report.model.name} against {against}, {len(report.images)} images", size=15)]
    if report.first_bad is None:
        lines.append(text(LEFT, 40, f"no bad layer: every one above {report.threshold_db:g} dB or fit for 8 bits"))
        return lines
    bad = report.first_bad
    words, row = bad.reason.split(), f"first bad layer: {bad.kind} #{bad.index}:"
    rows = []
    for word in words:
        if len(row) + len(word) > 138:
            rows.append(row)
            row = ""
        row = f"{row} {word}".strip()
    return [*lines, *(text(LEFT, 38 + 15 * i, shown, colour=BAD) for i, shown in enumerate([*rows, row][:2]))]


def _x(report: DebugReport, index: int) -> float:
    last = max((layer.index for layer in report.layers), default=0) + 1
    return LEFT + (index + 0.5) * PLOT / last


def _sqnr(report: DebugReport) -> list[str]:
    def y(decibels: float) -> float:
        shown = min(max(decibels, FLOOR_DB), CEILING_DB)
        return TOP + HEIGHT * (CEILING_DB - shown) / (CEILING_DB - FLOOR_DB)

    parts = []
    for tick in range(int(FLOOR_DB), int(CEILING_DB) + 1, 20):
        parts.append(line(LEFT, y(tick), LEFT + PLOT, y(tick), PALE))
        parts.append(text(LEFT - 6, y(tick) + 4, f"{tick} dB", "end", 11))
    limit = y(report.threshold_db)
    parts += [line(LEFT, limit, LEFT + PLOT, limit, BAD, "4 3")]
    parts += _marked(report, TOP, TOP + HEIGHT)
    parts.append(polyline([(_x(report, e.index), y(e.cumulative.sqnr_db)) for e in report.layers], TOTAL, 1.2))
    for entry in report.layers:
        colour = BAD if entry.stepwise.sqnr_db < report.threshold_db else STEP
        parts.append(circle(_x(report, entry.index), y(entry.stepwise.sqnr_db), 2.2, colour))
    parts += [
        text(LEFT + PLOT, TOP - 6, "SQNR: dots, each layer alone; line, in the running network", "end", 11),
        text(LEFT + PLOT / 2, TOP + HEIGHT + 18, f"operator, 0 to {_last(report)}", "middle", 11),
    ]
    return parts


def _ranges(report: DebugReport, top: float) -> list[str]:
    def y(use: float) -> float:
        return top + HEIGHT * (1 - min(use, MOST_USE) / MOST_USE)

    step = PLOT / (_last(report) + 1)
    parts = []
    for tick in (0.0, 0.5, 1.0, 1.5, 2.0):
        parts += [
            line(LEFT, y(tick), LEFT + PLOT, y(tick), INK if tick == 1 else PALE),
            text(LEFT - 6, y(tick) + 4, f"{100 * tick:.0f} %", "end", 11),
        ]
    parts += _marked(report, top, top + HEIGHT)
    for entry in report.layers:
        x = _x(report, entry.index) - step * 0.4
        parts.append(rect(x, y(entry.range_use), step * 0.8, top + HEIGHT - y(entry.range_use), USE))
        if entry.saturated > 0.0005:
            parts.append(rect(x, y(entry.saturated), step * 0.8, top + HEIGHT - y(entry.saturated), BAD))
    note = "int8 range that the float values span (over 100 %: they do not fit); red: share of values that saturate"
    parts += [
        text(LEFT + PLOT, top - 6, note, "end", 11),
        text(LEFT + PLOT / 2, top + HEIGHT + 18, f"operator, 0 to {_last(report)}", "middle", 11),
    ]
    return parts


def _last(report: DebugReport) -> int:
    return max((layer.index for layer in report.layers), default=0)


def _marked(report: DebugReport, top: float, bottom: float) -> list[str]:
    """A vertical line through the first bad layer."""
    if report.first_bad is None:
        return []
    x = _x(report, report.first_bad.index)
    anchor = "end" if x > LEFT + PLOT * 0.7 else "start"
    label = f"{report.first_bad.kind} #{report.first_bad.index}"
    beside = x + (4 if anchor == "start" else -4)
    return [line(x, top, x, bottom, BAD), text(beside, top + 12, label, anchor, 11, BAD)]


def worst(report: DebugReport, count: int) -> tuple[LayerError, ...]:
    """The layers with the least stepwise SQNR, worst first."""
    return tuple(sorted(report.layers, key=lambda layer: (layer.stepwise.sqnr_db, layer.index))[:count])
