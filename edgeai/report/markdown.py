"""A model card as Markdown. Everything that came out of a file is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeai.artifacts import CardRow, CardTable, LicenceReport, ModelCard
from edgeai.report.card_tables import CHECKED, UNCHECKED
from edgeai.report.licences import licence_id

SPECIAL = re.compile(r"([\\`*<>\[\]|~])")
ALIGNED = 48  # columns of the source: longer cells stick out
ORDER = ("conflict", "check", "note")


def card_markdown(card: ModelCard) -> str:
    """The whole card: front matter, then the sections in the order of ST's model zoo."""
    parts = [
        _front_matter(card),
        f"# {escape(card.title)}",
        f"## **Use case** : `{card.use_case}`",
        f"# Model description\n\n{_prose(card.description)}",
        "## Network information\n\n" + _facts(card),
        _table(card.files, 3),
        _table(card.platforms, 2),
        _origins(),
        *(_table(table, 3) for table in card.tables),
        *(f"### {fact.name}\n\n{fact.value}." for fact in card.absent),
        _retraining(card),
        _licences(card.licences),
        _references(card.references),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Text from a file as Markdown that shows it and does nothing else, on one line."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return SPECIAL.sub(r"\\\1", clean)


def _prose(text: str) -> str:
    """A sentence of ours with names from files in it: code spans stay."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\*<>\[\]|~])", r"\\\1", clean)


def _front_matter(card: ModelCard) -> str:
    tags = "\n".join(f"  - {_yaml(tag)}" for tag in card.tags)
    lines = ["---", f"license: {licence_id(card.licence)}"]
    if licence_id(card.licence) == "other":
        lines.append(f"license_name: {_yaml(card.licence)}")
    return "\n".join([*lines, f"pipeline_tag: {card.pipeline_tag}", "tags:", tags, "---"])


def _yaml(text: str) -> str:
    """A YAML double-quoted scalar where plain text would not do."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9 ._-]*", text):
        return text
    return '"' + "".join(c if c.isprintable() else " " for c in text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _facts(card: ModelCard) -> str:
    rows = [CardRow((fact.name,), fact.value) for fact in card.network]
    return _grid(("Network information", "Value"), [(*row.cells, row.origin) for row in rows])


def _table(table: CardTable, level: int) -> str:
    rows = [(_linked(row), *map(_cell, row.cells[1:]), f"*{_cell(row.origin)}*") for row in table.rows]
    head = f"{'#' * level} {table.title}"
    body = [_grid((*table.header, "Origin"), rows, escaped=True)] if rows else []
    return "\n\n".join([head, *body, *(_prose(note) for note in table.notes)])


def _linked(row: CardRow) -> str:
    return f"[{_cell(row.cells[0])}]({row.link})" if row.link else _cell(row.cells[0])


def _cell(text: str) -> str:
    return text if text in (CHECKED, UNCHECKED) else escape(text)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], escaped: bool = False) -> str:
    """A table with its columns aligned in the source, too."""
    lines = [list(header), *([*row] if escaped else [escape(cell) for cell in row] for row in rows)]
    widths = [max(3, *(min(len(line[i]), ALIGNED) for line in lines)) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )


def _origins() -> str:
    return (
        "# Performances\n\n## Metrics\n\n"
        "The last column of every table says where its figures come from: *measured on board*, the version of *ST Edge "
        "AI Core* that reported them, *published* by somebody else, or *estimate*, with the interval in which the "
        "true value is expected. Inferences per second are computed from the time."
    )


def _retraining(card: ModelCard) -> str:
    # a name of several lines could end the block of code
    commands = "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in card.commands)
    return (
        "## Retraining and integration in a simple example\n\n"
        "`edgeai train` fine-tunes the network on a COCO- or YOLO-format set, `edgeai run` makes, measures and judges "
        "the int8 files, `edgeai compile` calls ST Edge AI Core, `edgeai postprocess` writes the C code that reads the "
        "outputs, and `edgeai bench` measures on a board. The figures of this card come from:\n\n"
        f"```\n{commands}\n```"
    )


def _licences(report: LicenceReport) -> str:
    findings = sorted(report.findings, key=lambda finding: ORDER.index(finding.severity))
    texts = []
    for finding in findings:
        ways = "".join(f"\n- {_prose(way)}" for way in finding.ways)
        texts.append(f"**{_prose(finding.title)}.** {_prose(finding.text)}" + (f"\n{ways}" if ways else ""))
    items = _grid(("What", "Name", "Licence", "Known from"),
                  [(i.subject, i.name, i.licence, i.known_from) for i in report.items])  # fmt: skip
    return "\n\n".join(["## Licences", *texts, items, report.disclaimer])


def _references(references: Sequence[str]) -> str:
    lines = [f'<a id="{n}">[{n}]</a> {escape(text)}' for n, text in enumerate(references, start=1)]
    return "\n\n".join(["## References", *lines]) if lines else ""
