"""`edgeai import`: a checkpoint into our own weight file."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts import FloatModel
from edgeai.cli.render import emit, facts


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
@click.option("--half", is_flag=True, help="Store the weights in fp16.")
@click.option("--json", "as_json", is_flag=True, help="Print the artifact as JSON.")
def command(model: Path, out: Path, half: bool, as_json: bool) -> None:
    """Read a .pt checkpoint, without running anything in it, into a .safetensors file.

    \b
    edgeai import best.pt -o best.safetensors
    """
    from edgeai.models.load import import_model

    imported = import_model(model, out, half)
    emit(imported, describe(imported), as_json)


def describe(model: FloatModel) -> str:
    """The spec of an imported network as lines of a name and a value."""
    from edgeai.models.activations import describe as activation

    spec = model.spec
    shown = ", ".join(spec.names[:5]) + (", ..." if spec.nc > 5 else "")
    return facts(
        (
            ("model", spec.name),
            ("family", spec.family),
            ("task", spec.task),
            ("scale", spec.scale),
            ("activation", activation(spec.variants)),
            ("classes", f"{spec.nc} ({shown})"),
            ("imgsz", f"{spec.imgsz} px"),
            ("parameters", f"{model.parameters:,}"),
            ("licence", f"{spec.licence} ({spec.licence_source})" if spec.licence_source else spec.licence),
            ("weights", f"{model.weights.name}, {model.weights.bytes:,} bytes, sha256 {model.weights.sha256[:16]}"),
            *(("note", note) for note in spec.notes),
        )
    )
