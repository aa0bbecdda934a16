"""`edgeai inspect`: what a TFLite or ONNX file really is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import click

from edgeai.artifacts import AuditReport, Count, TensorAudit
from edgeai.cli.heads import asked_of, head_options
from edgeai.cli.render import emit, facts, kib, table
from edgeai.recognise import HEADS

WIDTH = 80
NAME_WIDTH = 26


@click.command(short_help="Say what a TFLite or ONNX file really is.")
@click.argument("file", type=click.Path(path_type=Path))
@head_options
@click.option("--classes", metavar="A,B,...", default="", help="Class names, for files that carry none.")
@click.option("--imgsz", type=click.IntRange(min=1), metavar="N", help="Input size, for an ONNX file of any size.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    file: Path, head: str | None, boxes: str | None, input_range: str | None, mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None, imgsz: int | None, classes: str, as_json: bool
) -> None:
    """Read FILE and say how its weights are quantised, what its outputs mean and what one step of them is worth.

    Every field of what the file is comes with what says so: its metadata, its graph, its numbers, or you.

    Everything is read from the bytes of the file; its name is not believed.

    \b
    edgeai inspect model.tflite
    """
    from edgeai.recognise.audit import audit

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    report = audit(file, asked_of(head, boxes, input_range, mean, std, imgsz=imgsz, names=names))
    emit(report, render(report), as_json)


def render(report: AuditReport) -> str:
    """The audit in 80 columns: verdict, inputs and outputs, operators, findings."""
    parts = [
        f"{report.file.name}  ({report.format}, {report.file.bytes:,} bytes)",
        facts(verdict(report)),
        _evidence(report),
        _tensors(report),
        _wrapped("operators", _compact(report.operators)) + "\n" + _wrapped("types", _compact(report.dtypes)),
    ]
    if report.findings:
        parts.append("findings\n" + "\n".join(_bullet(finding) for finding in report.findings))
    return "\n\n".join(part for part in parts if part)


def _evidence(report: AuditReport) -> str:
    """What the file was recognised as: a line a field, with what says so."""
    lines = []
    for entry in report.evidence:
        text = f"{_printable(entry.value)}  [{_printable(entry.source)}]"
        lines.append(
            textwrap.fill(
                text, WIDTH, initial_indent=f"  {entry.field:<13}", subsequent_indent=" " * 15, break_on_hyphens=False
            )
        )
    return "what it is, and what says so\n" + "\n".join(lines) if lines else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def verdict(report: AuditReport) -> list[tuple[str, str]]:
    """The lines that matter most: how the weights are quantised, the layout, and the steps of the outputs."""
    total = report.weights_per_channel + report.weights_per_tensor + report.weights_float
    weights = f"{report.weights_per_channel} of {total} weight tensors per channel"
    if report.weights_float:
        weights += f", {report.weights_float} float"
    lines = [("weights", f"{report.granularity} ({weights})"), ("layout", _layout(report))]
    if report.shared_output_scale:
        shared = next((t.scale for t in report.outputs if t.kind == "pred" and t.scale), 0.0)
        lines.append(("output scale", f"one for boxes and scores{f': {shared:.4f}' if shared else ''}"))
    if report.layout:
        lines.append(("box step", _box_step(report)))
        lines.append(("score step", _score_step(report)))
    lines.append(("float tensors", str(report.float_tensors)))
    sizes = f"weights {kib(report.weights_bytes)} + bias {kib(report.bias_bytes)} KiB"
    lines.append(("size", f"{sizes}, all constants {kib(report.constants_bytes)} KiB"))
    lines.append(("work", f"{report.macs / 1e6:.1f} MMAC"))
    return lines


def _layout(report: AuditReport) -> str:
    return {
        "concat": "concat (boxes, scores and coefficients in one tensor)",
        "split": "split (a tensor each for boxes, scores and coefficients)",
        "raw": "raw (the convolutions; the decode runs outside)",
        "detect": "detect (boxes and scores in one tensor, no masks)",
        "end2end": "end2end (detections that the network selected)",
    }.get(report.layout) or HEADS.get(report.head, ("not one of edgeai's",))[0]


def _box_step(report: AuditReport) -> str:
    if report.box_step_px:
        return f"{report.box_step_px:.2g} px" if report.box_step_px < 1 else f"{report.box_step_px:.1f} px"
    return "does not apply (boxes are logits)" if report.layout == "raw" else "does not apply (float output)"


def _score_step(report: AuditReport) -> str:
    if not report.score_step_percent:
        return "does not apply (float output)"
    return f"{report.score_step_percent:.2g} %" + (" at most (logits)" if report.layout == "raw" else "")


def _tensors(report: AuditReport) -> str:
    rows = [("in", t) for t in report.inputs] + [("out", t) for t in report.outputs]
    return table(
        ["", "name", "shape", "type", "scale", "zero", "kind"],
        [[way, _short(t.name), _shape(t), t.dtype, *_quantisation(t), t.kind] for way, t in rows],
        right=(4, 5),
    )


def _quantisation(tensor: TensorAudit) -> tuple[str, str]:
    return (f"{tensor.scale:.4g}", str(tensor.zero_point)) if tensor.scale else ("-", "-")


def _shape(tensor: TensorAudit) -> str:
    return "x".join("?" if d < 0 else str(d) for d in tensor.shape) or "scalar"


def _short(name: str) -> str:
    """The end of a long name: that is where converters put what differs. Control characters do not reach the screen."""
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= NAME_WIDTH else "…" + clean[-(NAME_WIDTH - 1) :]


def _compact(counts: Sequence[Count]) -> str:
    return ", ".join(c.name if c.count == 1 else f"{c.count}×{c.name}" for c in counts)


def _wrapped(title: str, text: str) -> str:
    clean = "".join(c if c.isprintable() else "?" for c in text)
    indent = " " * 11
    return textwrap.fill(clean, WIDTH, initial_indent=f"{title:<11}", subsequent_indent=indent, break_on_hyphens=False)


def _bullet(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
