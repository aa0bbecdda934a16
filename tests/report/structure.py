"""A structural check of an HTML page: what a screen reader, a keyboard and a printer need."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")


@dataclass
class Page(HTMLParser):
    """Everything found in one pass."""

    problems: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, *names: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name in names]


def check(text: str) -> Page:
    """The page with its problems."""
    page = Page()
    page.feed(text)
    page.close()
    page.problems += [f"<{tag}> is left open" for tag in page._open]
    headings = [HEADINGS.index(name) + 1 for name, _ in page.tags if name in HEADINGS]
    page.problems += [f"h{b} after h{a}" for a, b in itertools.pairwise(headings) if b > a + 1]
    page.problems += [] if headings.count(1) == 1 and headings[:1] == [1] else ["not exactly one h1, first"]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    page.problems += [f"id {name} twice" for name in {i for i in ids if ids.count(i) > 1}]
    targets = [a["href"][1:] for a in page.of("a") if a.get("href", "").startswith("#")]
    page.problems += [f"#{name} leads nowhere" for name in targets if name not in ids]
    page.problems += ["picture without text" for a in page.of("img") if not a.get("alt")]
    page.problems += ["svg without name" for a in page.of("svg") if a.get("role") != "img" or not a.get("aria-label")]
    page.problems += ["th without scope" for a in page.of("th") if a.get("scope") not in ("row", "col")]
    regions = [attributes for _, attributes in page.tags if attributes.get("role") == "region"]
    page.problems += ["region without name" for a in regions if not a.get("aria-label")]
    if len(page.of("caption")) != len(page.of("table")):
        page.problems.append("table without caption")
    html = page.of("html")
    page.problems += [] if html and html[0].get("lang") else ["no language"]
    for name in ("script", "iframe", "object", "embed", "link", "form", "base"):
        page.problems += [f"<{name}>" for _ in page.of(name)]
    for name, attributes in page.tags:
        page.problems += [f"{name} {key}" for key in attributes if key.startswith("on")]
        for key in ADDRESSES:
            value = attributes.get(key, "#")
            if not value.startswith(("#", "data:image/")):
                page.problems.append(f"{name} {key}={value[:60]}")
    return page


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours #rrggbb by WCAG 2.2."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
