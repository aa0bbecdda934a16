"""The trade-off as a picture: accuracy over latency, one panel per board, a ring around the points of the front."""

from __future__ import annotations

from collections.abc import Sequence

from edgeai.artifacts import SweepFigures, SweepResult, SweepRow
from edgeai.imaging.svg import COLOURS, INK, PALE, circle, document, line, polyline, text
from edgeai.sweep.table import label

WIDTH, PANEL, LEFT, RIGHT, TOP, PLOT = 860, 380, 70, 30, 40, 270
RADIUS_KIB = 300.0  # RAM of a point of radius 5; areas grow with RAM
TICKS = 5


def picture(result: SweepResult) -> str:
    """An SVG of the rows that fit; the area of a point grows with its RAM."""
    boards = list(dict.fromkeys(row.point.board for row in result.rows))
    names = list(dict.fromkeys(_series(row) for row in result.rows))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    parts: list[str] = []
    for place, board in enumerate(boards):
        parts += _panel(board, [row for row in result.rows if row.point.board == board], colours, place * PANEL)
    height = len(boards) * PANEL + 24 * len(names) + 16
    for place, name in enumerate(names):
        y = len(boards) * PANEL + 16 + 24 * place
        parts += [circle(LEFT, y, 5, colours[name]), text(LEFT + 14, y + 4, name)]
    return document(WIDTH, height, parts)


def _series(row: SweepRow) -> str:
    return f"{row.point.model}, {row.point.layout} {row.point.granularity}"


def _panel(board: str, rows: Sequence[SweepRow], colours: dict[str, str], top: int) -> list[str]:
    found = [(row, row.figures) for row in rows if row.figures is not None and row.figures.latency is not None]
    parts = [text(LEFT, top + 24, f"{board}: accuracy over estimated latency", size=15)]
    if not found:
        return [*parts, text(LEFT, top + 60, "no point has both figures")]
    across = _Axis.over([_ms(entry) for _, entry in found], LEFT, WIDTH - RIGHT)
    upward = _Axis.over([entry.accuracy for _, entry in found], top + TOP + PLOT, top + TOP)
    parts += _grid(across, upward, found[0][1].metric)
    corners = _best_for_time([entry for _, entry in found if entry.fits])
    parts.append(polyline([(across.at(ms), upward.at(accuracy)) for ms, accuracy in corners], INK, dash="4 3"))
    for row, entry in found:
        x, y = across.at(_ms(entry)), upward.at(entry.accuracy)
        radius = 5 * max(entry.ram.point / 1024 / RADIUS_KIB, 0.5) ** 0.5
        title = f"{label(row.point)}: {entry.accuracy:.1f}, {_ms(entry):.1f} ms"
        opacity = 0.9 if entry.fits else 0.25
        parts.append(circle(x, y, radius, colours[_series(row)], opacity, entry.front, title))
    return parts


def _best_for_time(entries: Sequence[SweepFigures]) -> list[tuple[float, float]]:
    """Latency and accuracy of those that nothing faster matches, as the corners of a staircase.

    The front of the table also counts RAM: its points have a ring, and need not lie on this line.
    """
    corners: list[tuple[float, float]] = []
    for entry in sorted(entries, key=lambda e: (_ms(e), -e.accuracy)):
        if not corners or entry.accuracy > corners[-1][1]:
            corners += [(_ms(entry), corners[-1][1])] if corners else []
            corners.append((_ms(entry), entry.accuracy))
    return corners


class _Axis:
    """A linear axis with some air at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        air = 0.08 * (max(values) - min(values)) or 1.0
        return cls(min(values) - air, max(values) + air, start, end)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * i / (TICKS - 1) for i in range(TICKS)]


def _grid(across: _Axis, upward: _Axis, metric: str) -> list[str]:
    parts = []
    for value in upward.ticks:
        y = upward.at(value)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, PALE))
        parts.append(text(LEFT - 8, y + 4, f"{value:.1f}", "end"))
    for value in across.ticks:
        parts.append(text(across.at(value), upward.start + 18, f"{value:.1f}", "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, upward.start + 38, "ms per inference (estimate)", "middle"))
    parts.append(text(LEFT, upward.end - 2, f"{metric.replace('_', ' ').replace('ap', 'AP')}, points"))
    return parts


def _ms(entry: SweepFigures) -> float:
    return entry.latency.point if entry.latency else 0.0
