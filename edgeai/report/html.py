"""The HTML report of a run: one file, nothing loaded from anywhere, readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Sequence

from edgeai import __version__
from edgeai.artifacts import (
    Fact,
    FileRef,
    LicenceFinding,
    Provenance,
)
from edgeai.report import sections, sections_target
from edgeai.report.commands import OPEN
from edgeai.report.html_parts import Html, Part, bullets, details, facts, join, paragraph, prose, table, tag
from edgeai.report.html_style import STYLE
from edgeai.report.page import Page, Section, summary, verdict

# even a name that slipped through unescaped could load nothing and run nothing
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MARKS = {"conflict": ("bad", "Conflict"), "check": ("warn", "Check"), "note": ("", "Note")}


def _licences(page: Page) -> Html:
    report = page.licences
    order = list(MARKS)
    found = sorted(report.findings, key=lambda finding: order.index(finding.severity))
    rows = [(item.subject, item.name, item.licence, item.known_from) for item in report.items]
    return join([
        *(_finding(entry) for entry in found),
        table("What went into this, and under which licence", ("What", "Name", "Licence", "Known from"), rows),
        paragraph(report.disclaimer, class_="note"),
    ])  # fmt: skip


def _finding(finding: LicenceFinding) -> Html:
    tone, word = MARKS[finding.severity]
    mark = tag("span", f"{word}: ", class_=f"mark {tone}") if tone else None
    ways = bullets(prose(way) for way in finding.ways) if finding.ways else None
    return join([tag("h3", mark, finding.title), paragraph(prose(finding.text)), ways])


def _provenance(page: Page) -> Html:
    """Commands, inputs by hash, options and versions."""
    record = page.dossier.record
    origins = [record.provenance, *(made.provenance for made in record.quantized)] if record else []
    origins += [result.provenance for subject in page.subjects for result in subject.results]
    commands = tag("pre", tag("code", "\n".join(page.commands)), tabindex="0", role="region", aria_label="Commands")
    files = dict.fromkeys(ref for origin in origins for ref in origin.inputs)
    refs = dict.fromkeys((*files, *(subject.file for subject in page.subjects)))
    rows = [(ref.name, f"{ref.bytes:,}", tag("code", ref.sha256)) for ref in refs]
    versions = dict.fromkeys((fact.name, fact.value) for origin in origins for fact in origin.versions)
    parts = [
        paragraph(_where(page)),
        commands,
        table("Files by content", ("File", "Bytes", "SHA-256"), rows, right=(1,)),
    ]
    sets = _sets(page)
    if sets:
        parts.append(table("Sets of images", ("Set", "Images", "SHA-256"), sets, right=(1,)))
    if versions:
        parts.append(details("Versions", facts(list(versions))))
    options = [
        (origin.stage, ", ".join(f"{fact.name} {fact.value}" for fact in origin.options if fact.name != "command"))
        for origin in origins
    ]
    shown = [(stage, values) for stage, values in dict.fromkeys(options) if values]
    if shown:
        parts.append(details("Options of every stage", facts(shown)))
    return join(parts)


def _where(page: Page) -> str:
    if any(name in command.split() for command in page.commands for name in OPEN):
        return "PHOTOS, IMAGES and ANNOTATIONS stand for the sets below."
    return "These commands run as they are in the folder where they ran first."


def _sets(page: Page) -> list[Sequence[Part]]:
    record = page.dossier.record
    if record is None:
        return []
    found = [
        (f"calibration: {made.calibration.name}", str(len(made.calibration.images)), made.calibration.sha256)
        for made in record.quantized
    ]
    protocols = [result.protocol for result in record.results]
    found += [(f"evaluation: {p.dataset}", str(p.num_images), p.images_sha256) for p in protocols]
    return [(name, count, tag("code", digest)) for name, count, digest in dict.fromkeys(found)]


SECTIONS = (
    Section("accuracy", "Accuracy", sections.accuracy, "no accuracy was measured: edgeai evaluate"),
    Section("examples", "Examples", sections.examples, ""),
    Section("memory", "Memory", sections_target.memory_section, "no board was given"),
    Section("latency", "Latency per layer", sections_target.latency, "no board with a latency model was given"),
    Section("layers", "Quantisation error per layer", sections.layers, "edgeai debug was not run"),
    Section("compiler", "Compiler", sections_target.compiler, "edgeai compile was not run"),
    Section("device", "Board", sections_target.device, "edgeai bench was not run"),
    Section("sweep", "Sweep", sections.sweep, "edgeai sweep was not run"),
    Section("licences", "Licences", _licences, ""),
    Section("provenance", "How to make this again", _provenance, ""),
)


def render(page: Page) -> tuple[Html, tuple[str, ...], tuple[Fact, ...]]:
    """The page, the titles of its sections, and why others are absent."""
    made = [(section, section.make(page)) for section in SECTIONS]
    there = [(section, body) for section, body in made if body is not None]
    absent = tuple(
        Fact(section.title, section.absent or page.no_examples or "not there") for section, body in made if body is None
    )
    title = _title(page)
    main = tag("main", summary(page), *(_section(section, body) for section, body in there), id="main")
    parts = (_header(page, title), _navigation([section for section, _ in there]), main, _footer(absent))
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    body = tag("body", skip, tag("div", *parts, class_="wrap"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"edgeai {__version__}"),
        tag("title", f"{title} – edgeai report"),
        tag("style", Html(STYLE)),
    )
    page_text = Html(f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n")
    return page_text, tuple(section.title for section, _ in there), absent


def provenance(page: Page, inputs: Sequence[FileRef]) -> Provenance:
    return Provenance(
        stage="report",
        inputs=tuple(inputs),
        versions=(Fact("edgeai", __version__),),
        licence=page.licences.provenance.licence,
    )


def headline(page: Page) -> str:
    return verdict(page)[1]


def _title(page: Page) -> str:
    record, contract = page.dossier.record, page.main.contract
    return contract.spec.name if record is not None and contract is not None else page.main.name


def _header(page: Page, title: str) -> Html:
    main = page.main
    boards = ", ".join(board.name for board in page.boards)
    rest = len(page.subjects) - 1
    others = f" and {rest} other {'file' if rest == 1 else 'files'}" if rest else ""
    lead = f"{main.name}{others}: {main.resolution}, weights {main.weights_text}"
    return tag("header", tag("h1", title), paragraph(lead + (f"; for {boards}" if boards else "") + ".", class_="lead"))


def _navigation(there: Sequence[Section]) -> Html:
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in there]
    return tag("nav", tag("ul", *links), aria_label="Sections")


def _section(section: Section, body: Html) -> Html:
    heading = f"h-{section.name}"
    return tag("section", tag("h2", section.title, id=heading), body, id=section.name, aria_labelledby=heading)


def _footer(absent: Sequence[Fact]) -> Html:
    missing = "; ".join(f"{fact.name.lower()} ({fact.value})" for fact in absent)
    return tag(
        "footer",
        paragraph(f"Not in this report: {missing}.") if missing else None,
        paragraph(f"Written by edgeai {__version__}. Estimates are marked as such and carry their interval."),
    )
