"""`edgeai blob`: a TFLite file as the bench firmware runs it."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import BlobFile
from edgeai.cli.options import PathParam, json_option
from edgeai.cli.render import emit, facts, kib


@click.command(short_help="Write a model as the bench firmware runs it.")
@click.argument("model", type=PathParam)
@click.option("-o", "--output", type=PathParam, metavar="OUT.blob", help="Where to write; MODEL.blob otherwise.")
@click.option("--name", default="", metavar="NAME", help="How the board lists the model; the file's name otherwise.")
@json_option
def command(model: Path, output: Path | None, name: str, as_json: bool) -> None:
    """Turn an int8 TFLite file into a blob for the bench firmware's own kernels.

    \b
    edgeai blob model.tflite -o model.blob

    Operators that the firmware does not compute are named, and nothing is written.
    """
    from edgeai.firmware.blob import write_blob

    target = output or Path(f"{model.stem}.blob")
    emit(written := write_blob(model, target, name), _render(written, target), as_json)


def _render(blob: BlobFile, target: Path) -> str:
    nodes = sum(count.count for count in blob.operators)
    return facts(
        [
            ("file", f"{target} ({kib(blob.file.bytes)} KiB)"),
            ("model", f"{blob.name}, {blob.signature}"),
            ("operators", f"{nodes} in {blob.steps} steps, {blob.macs / 1e6:.1f} MMAC"),
            ("constants", f"{kib(blob.constant_bytes)} KiB"),
            ("working memory", f"{kib(blob.arena_bytes)} KiB (live at once: {kib(blob.peak_bytes)} KiB)"),
        ]
    )
