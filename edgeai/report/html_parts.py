"""HTML out of nested calls. Text is escaped where it enters; only `Html` goes through as it is."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

VOID = frozenset({"meta", "img", "br"})


class Html(str):
    """Markup that is safe to put into a page."""

    __slots__ = ()


Part = str | Html | None


def text(value: str) -> Html:
    """Text from anywhere, with what cannot be seen replaced: control characters and those that reverse text."""
    clean = "".join(c if c.isprintable() or c in "\n " else "\N{REPLACEMENT CHARACTER}" for c in value)
    return Html(html.escape(clean, quote=True))


def join(parts: Iterable[Part], between: str = "") -> Html:
    """Parts one after the other; plain strings are escaped."""
    return Html(between.join(part if isinstance(part, Html) else text(part) for part in parts if part is not None))


def tag(name: str, /, *children: Part, **attributes: str | float | None) -> Html:
    """An element. `class_` is class and `aria_label` aria-label; an attribute of None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[Part]], right: Iterable[int] = (), marked: int = -1
) -> Html:
    """A table that scrolls sideways on its own, reachable by keyboard. The first column names the row.

    `right` are the columns of numbers; `marked` is a row to set off.
    """
    numbers = set(right)
    head = tag("tr", *(tag("th", cell, scope="col", class_=_kind(i, numbers)) for i, cell in enumerate(header)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=_kind(i, numbers)) for i, cell in enumerate(row[1:], start=1)),
            class_="marked" if place == marked else None,
        )
        for place, row in enumerate(rows)
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return scrolling(whole, caption)


def _kind(column: int, numbers: set[int]) -> str | None:
    return "num" if column in numbers else None


def scrolling(content: Html, label: str) -> Html:
    """A box that scrolls sideways where the page is narrow."""
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def details(summary: str, *content: Part) -> Html:
    """Something to unfold."""
    return tag("details", tag("summary", summary), *content)


def facts(pairs: Iterable[tuple[str, Part]], class_: str = "facts") -> Html:
    """Names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_=class_)


def bullets(items: Iterable[Part]) -> Html:
    return tag("ul", *(tag("li", item) for item in items))


def prose(value: str) -> Html:
    """Text in which `words` between backticks are code."""
    parts = value.split("`")
    return join(tag("code", part) if i % 2 else part for i, part in enumerate(parts))


def paragraph(*content: Part, class_: str | None = None) -> Html:
    return tag("p", *content, class_=class_)
