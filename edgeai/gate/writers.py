"""A verdict for machines and for a pull request: JUnit XML and Markdown."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from edgeai.artifacts import GateVerdict
from edgeai.gate.wording import (
    DECISIONS,
    amount,
    budget_sentence,
    change_sentence,
    class_sentence,
    drop_text,
    failed_classes,
    headline,
    interval_text,
    percent,
    protocol_facts,
    sentence,
)

# Characters that XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SHOWN_CLASSES = 5


@dataclass(frozen=True, slots=True)
class _Case:
    """One test case of JUnit; `failure` is its type, empty where it passed."""

    group: str
    name: str
    message: str
    failure: str = ""


def junit(verdict: GateVerdict) -> str:
    """JUnit XML: one test case a check, with a failure where it failed. Equal verdicts give equal text.

    Categories get a case each where they failed, and one for all of them together where a limit was set.
    """
    cases = list(_cases(verdict))
    counts = {"tests": str(len(cases)), "failures": str(sum(bool(case.failure) for case in cases)), "errors": "0"}
    root = ET.Element("testsuites", {"name": "edgeai gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "edgeai.gate", **counts, "skipped": "0", "time": "0"})
    properties = ET.SubElement(suite, "properties")
    names = (("baseline", verdict.baseline), ("candidate", verdict.candidate), ("decided_by", verdict.decided_by))
    for name, value in (*names, *protocol_facts(verdict.protocol), *(("note", note) for note in verdict.notes)):
        ET.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for case in cases:
        classname = _xml(f"edgeai.gate.{case.group}")
        entry = ET.SubElement(suite, "testcase", {"classname": classname, "name": _xml(case.name), "time": "0"})
        if case.failure:
            failure = ET.SubElement(entry, "failure", {"type": case.failure, "message": _xml(case.message)})
            failure.text = _xml(f"{headline(verdict)}: {case.message}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(verdict: GateVerdict) -> Iterator[_Case]:
    for check in verdict.checks:
        yield _Case(verdict.candidate, check.name, sentence(check), "" if check.passed else "AccuracyDrop")
    failed = failed_classes(verdict)
    if verdict.class_limit is not None and verdict.classes and not failed:
        yield _Case(verdict.candidate, "categories", f"all within {verdict.class_limit:g} points")
    for drop in failed:
        message = class_sentence(drop, verdict.class_limit)
        yield _Case(verdict.candidate, f"{drop.metric}[{drop.category}]", message, "ClassDrop")
    for budget in verdict.budgets:
        kind = "" if budget.passed else "OverBudget"
        yield _Case(budget.subject, budget.name, budget_sentence(budget), kind)
    for change in verdict.changes:
        kind = "" if change.passed else change.status.capitalize()
        yield _Case(change.subject, change.name, change_sentence(change), kind)


def markdown(verdict: GateVerdict) -> str:
    """A Markdown section with tables: for GITHUB_STEP_SUMMARY or a comment on a pull request."""
    lines = [f"### Gate: {'passed' if verdict.passed else 'FAILED'}", ""]
    if verdict.checks:
        lines += [f"{_cell(headline(verdict))}, in percent points; {DECISIONS[verdict.decided_by]}.", ""]
        lines += [*_accuracy(verdict), ""]
    lines += _categories(verdict)
    if verdict.budgets:
        lines += ["| budget | subject | measured | limit | |", "|---|---|---:|---:|---|"]
        for budget in verdict.budgets:
            limit = amount(budget.limit, budget.unit) if budget.limit else "board"
            mark = "ok" if budget.passed else f"**{_cell(budget.note) or 'over'}**"
            figures = f"{amount(budget.measured, budget.unit)} | {limit}"
            lines.append(f"| {_cell(budget.name)} | {_cell(budget.subject)} | {figures} | {mark} |")
        lines.append("")
    if verdict.changes:
        lines += ["| stored baseline | figure | before | now | |", "|---|---|---:|---:|---|"]
        for change in verdict.changes:
            status = change.status if change.passed else f"**{change.status}**"
            figures = f"{amount(change.before, change.unit)} | {amount(change.after, change.unit)}"
            lines.append(f"| {_cell(change.subject)} | {_cell(change.name)} | {figures} | {status} |")
        lines.append("")
    lines += [f"{_cell(note)}." for note in verdict.notes]
    facts = ", ".join(f"{_cell(name)} {_cell(value)}" for name, value in protocol_facts(verdict.protocol))
    return "\n".join([*lines, f"Protocol: {facts}.", ""] if facts else [*lines, ""])


def _accuracy(verdict: GateVerdict) -> list[str]:
    """The table of the metrics; its interval column stands only where there is an interval."""
    interval = next((check.interval for check in verdict.checks if check.interval), None)
    extra, rule = (f" {percent(interval)} |", "---:|") if interval else ("", "")
    lines = [f"| metric | baseline | candidate | drop |{extra} limit | |", f"|---|---:|---:|---:|{rule}---:|---|"]
    for check in verdict.checks:
        mark = "ok" if check.passed else "**too far**"
        shown = f" {interval_text(check.interval) or '–'} |" if interval else ""
        figures = f"{check.baseline:.2f} | {check.candidate:.2f} | {drop_text(check)} |{shown} {check.limit:g}"
        lines.append(f"| {_cell(check.name)} | {figures} | {mark} |")
    return lines


def _categories(verdict: GateVerdict) -> list[str]:
    """The categories that failed, or the few that lost most."""
    failed = failed_classes(verdict)
    shown = failed or tuple(drop for drop in verdict.classes if drop.drop > 0)
    shown = tuple(sorted(shown, key=lambda drop: -drop.drop))[: max(SHOWN_CLASSES, len(failed))]
    if not shown:
        return []
    lines = ["Categories over their limit:" if failed else "Categories that lost most:", ""]
    lines += ["| category | metric | baseline | candidate | drop |", "|---|---|---:|---:|---:|"]
    for drop in shown:
        figures = f"{drop.baseline:.2f} | {drop.candidate:.2f} | {drop.drop:.2f}"
        lines.append(f"| {_cell(drop.category)} | {_cell(drop.metric)} | {figures} |")
    return [*lines, ""]


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def _cell(text: str) -> str:
    """A text inside a Markdown table: one line, nothing of it taken as markup."""
    flat = " ".join(_NOT_XML.sub("�", text).split())
    return re.sub(r"([\\`*\[\]<>|~#&])", r"\\\1", flat)
