"""`edgeai init`: a project file for this folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.cli.options import PathParam
from edgeai.project import write_template

CHECKPOINTS = (".pt", ".pth", ".safetensors", ".onnx")


@click.command(short_help="Write an edgeai.toml for this folder.")
@click.option("--model", type=PathParam, metavar="M", help="The checkpoint; without it, the only one in this folder.")
@click.option("--calibration", type=PathParam, metavar="DIR", help="Calibration images.")
@click.option("--images", type=PathParam, metavar="DIR", help="Evaluation images.")
@click.option("--annotations", type=PathParam, metavar="JSON", help="Their annotations in COCO format.")
def command(model: Path | None, calibration: Path | None, images: Path | None, annotations: Path | None) -> None:
    """Write an edgeai.toml, so that bare commands know what to work on.

    \b
    edgeai init --model best.pt --calibration photos/ \\
      --images val/images --annotations val/instances.json
    """
    here = Path.cwd()
    if model is None:
        shown = [path for path in here.iterdir() if not path.name.startswith(".")]
        found = sorted(path.name for path in shown if path.suffix in CHECKPOINTS)
        model = Path(found[0]) if len(found) == 1 else None
    given = (model, calibration, images, annotations)
    file = write_template(here, *(path.as_posix() if path else "" for path in given))
    click.echo(f"wrote {file.name}")
    missing = [
        name
        for name, path in zip(
            ("[model] path", "[calibration] images", "[evaluation] images", "[evaluation] annotations"),
            given,
            strict=True,
        )
        if path is None
    ]
    if missing:
        click.echo(f"still empty: {', '.join(missing)}")
    click.echo("next: edgeai run")
