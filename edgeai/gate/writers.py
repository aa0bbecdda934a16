"""A verdict for machines and for a pull request: JUnit XML and Markdown."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from edgeai.artifacts import EvalProtocol, GateCheck, GateVerdict

# Characters that XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdict: GateVerdict) -> str:
    """JUnit XML: one test case a check, with a failure where it dropped too far. Equal verdicts give equal text."""
    failures = str(sum(not check.passed for check in verdict.checks))
    counts = {"tests": str(len(verdict.checks)), "failures": failures, "errors": "0"}
    root = ET.Element("testsuites", {"name": "edgeai gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "edgeai.gate", **counts, "skipped": "0", "time": "0"})
    properties = ET.SubElement(suite, "properties")
    for name, value in (("baseline", verdict.baseline), ("candidate", verdict.candidate), *_protocol(verdict.protocol)):
        ET.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for check in verdict.checks:
        names = {"classname": _xml(f"edgeai.gate.{verdict.candidate}"), "name": _xml(check.name), "time": "0"}
        case = ET.SubElement(suite, "testcase", names)
        if not check.passed:
            failure = ET.SubElement(case, "failure", {"type": "AccuracyDrop", "message": _xml(sentence(check))})
            failure.text = _xml(f"{verdict.candidate} against {verdict.baseline}: {sentence(check)}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def markdown(verdict: GateVerdict) -> str:
    """A Markdown section with a table: for GITHUB_STEP_SUMMARY or a comment on a pull request."""
    lines = [
        f"### Accuracy gate: {'passed' if verdict.passed else 'FAILED'}",
        "",
        f"{_cell(verdict.candidate)} against {_cell(verdict.baseline)}, in percent points.",
        "",
        "| metric | baseline | candidate | drop | limit | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for c in verdict.checks:
        mark = "ok" if c.passed else "**too far**"
        figures = f"{c.baseline:.2f} | {c.candidate:.2f} | {drop_text(c)} | {c.limit:g}"
        lines.append(f"| {_cell(c.name)} | {figures} | {mark} |")
    facts = ", ".join(f"{_cell(name)} {_cell(value)}" for name, value in _protocol(verdict.protocol))
    return "\n".join([*lines, "", f"Protocol: {facts}.", ""])


def sentence(check: GateCheck) -> str:
    """One check in words."""
    change = f"dropped by {drop_text(check)}" if check.drop >= 0 else f"rose by {-check.drop:.2f}"
    return (
        f"{check.name} {change} points, from {check.baseline:.2f} to {check.candidate:.2f}; "
        f"at most {check.limit:g} allowed"
    )


def drop_text(check: GateCheck) -> str:
    """The drop with two decimals, or with as many as show that it is over the limit."""
    for digits in range(2, 10):
        text = f"{check.drop:.{digits}f}"
        if check.passed or float(text) > check.limit:
            return text
    return f"{check.drop:.9f}"


def _protocol(protocol: EvalProtocol) -> tuple[tuple[str, str], ...]:
    return (
        ("dataset", protocol.dataset),
        ("images", str(protocol.num_images)),
        ("annotations", protocol.annotations_sha256[:12]),
        ("imgsz", str(protocol.imgsz)),
        ("letterbox", protocol.letterbox),
        ("confidence", f"{protocol.confidence:g}"),
        ("nms_iou", f"{protocol.nms_iou:g}"),
        ("max_detections", str(protocol.max_detections)),
        ("multi_label", str(protocol.multi_label).lower()),
        ("metric_tool", protocol.metric_tool),
    )


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def _cell(text: str) -> str:
    """A text inside a Markdown table: one line, nothing of it taken as markup."""
    flat = " ".join(_NOT_XML.sub("�", text).split())
    return re.sub(r"([\\`*\[\]<>|~#&])", r"\\\1", flat)
