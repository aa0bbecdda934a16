"""Pieces of SVG pictures. The text of a picture is escaped here, and the same picture gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")  # Paul Tol's "bright"
INK, PALE = "#222222", "#e6e6e6"
FONT = "Helvetica, Arial, sans-serif"
THINNEST = 0.4  # pixels: what is narrower would not be seen


def document(width: float, height: float, parts: Iterable[str]) -> str:
    """A whole file of `width` x `height` pixels, with a white ground."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    style = f'font-family="{FONT}" font-size="12" fill="{INK}"'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', ground, *parts, "</svg>\n"])


def text(x: float, y: float, content: str, anchor: str = "start", size: int = 12, colour: str = INK) -> str:
    """One line of text; `anchor` is start, middle or end."""
    fill = "" if colour == INK else f' fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{fill}>{clean(content)}</text>'


def rect(x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> str:
    size = f'width="{max(width, THINNEST):.2f}" height="{max(height, 0):.2f}"'
    pale = "" if opacity == 1 else f' fill-opacity="{opacity}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"{pale}/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def polyline(points: Sequence[tuple[float, float]], colour: str, width: float = 1.0, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    thick = "" if width == 1 else f' stroke-width="{width}"'
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}"{thick}{dashes}/>'


def circle(
    x: float, y: float, radius: float, colour: str, opacity: float = 1.0, ring: bool = False, title: str = ""
) -> str:
    """A disc, with a dark ring and a title that shows under the pointer where they are asked for."""
    pale = "" if opacity == 1 else f' fill-opacity="{opacity}"'
    edge = f' stroke="{INK}" stroke-width="1.5"' if ring else ""
    head = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"{pale}{edge}'
    return f"{head}><title>{clean(title)}</title></circle>" if title else f"{head}/>"


def clean(content: str) -> str:
    """Text that cannot end its element, nor break XML by a control character."""
    return escape("".join(c if c.isprintable() else "?" for c in content))
