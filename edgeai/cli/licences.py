"""`edgeai licences`: under which licences weights, data and tools are, and what that means together."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from edgeai.artifacts import LicenceFinding, LicenceReport
from edgeai.cli.options import PathParam, dossier_of
from edgeai.cli.render import emit, shorten, table

WIDTH = 80
CHECKPOINTS = frozenset({".pt", ".pth", ".safetensors"})
MARKS = {"conflict": "CONFLICT", "check": "CHECK", "note": "note"}


@click.command(short_help="Say which licences apply, and where they clash.")
@click.argument("target", type=PathParam, required=False, metavar="[RUN|MODEL]")
@click.option("--licence", default="", metavar="SPDX", help="Licence of the weights, where you know it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.json", help="Write the result there.")
def command(target: Path | None, licence: str, as_json: bool, output: Path | None) -> None:
    """List the licences of weights, images and tools of a run or a model file, and say where they clash.

    \b
    edgeai licences                 the latest run of the project
    edgeai licences model.tflite    or .onnx, .pt, .safetensors
    """
    from edgeai.report.dossier import of_models
    from edgeai.report.licences import review

    weights = target is not None and target.suffix.lower() in CHECKPOINTS
    report = review(of_models([target]) if target is not None and weights else dossier_of(target), licence)
    emit(report, render(report), as_json, output)


def render(report: LicenceReport) -> str:
    """The findings, gravest first, then the list; 80 columns."""
    order = list(MARKS)
    findings = sorted(report.findings, key=lambda finding: order.index(finding.severity))
    rows = [(i.subject, shorten(i.name, 36), shorten(i.licence, 22)) for i in report.items]
    parts = [*(_finding(finding) for finding in findings), table(("what", "name", "licence"), rows)]
    return "\n\n".join([*parts, textwrap.fill(report.disclaimer, WIDTH)])


def _finding(finding: LicenceFinding) -> str:
    lines = [f"{MARKS[finding.severity]}: {finding.title}"]
    lines.append(_wrapped(finding.text, "  ", "  "))
    lines += [_wrapped(way, "  * ", "    ") for way in finding.ways]
    return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str) -> str:
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return textwrap.fill(clean, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
