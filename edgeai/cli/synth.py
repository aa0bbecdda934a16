"""`edgeai synth`: write the procedural instance-segmentation set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from edgeai.cli.options import PathParam, json_option
from edgeai.cli.render import table


@click.command(short_help="Write a synthetic instance-segmentation set.")
@click.argument("out", type=PathParam)
@click.option("--train", type=click.IntRange(min=0), default=4000, show_default=True, help="Images to train on.")
@click.option("--val", type=click.IntRange(min=0), default=300, show_default=True, help="Images to evaluate on.")
@click.option(
    "--calibration", type=click.IntRange(min=0), default=128, show_default=True, help="Images to calibrate int8 on."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same set.")
@json_option
def command(out: Path, train: int, val: int, calibration: int, seed: int, as_json: bool) -> None:
    """Write train, val and calibration splits in COCO's format to OUT. A split of 0 images is left out.

    \b
    edgeai synth data --train 4000 --val 300 --calibration 128 --seed 0
    """
    from edgeai.cli.progress import Progress
    from edgeai.synthetic import generate

    splits = []
    for split, count in (("train", train), ("val", val), ("calibration", calibration)):
        if count:
            with Progress(split, count) as progress:
                splits.append(generate(out, split, count, seed, progress.advance))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(split) for split in splits], indent=2))
        return
    cells = [(s.split, str(s.images), str(s.objects), str(s.seed), s.images_sha256[:12]) for s in splits]
    click.echo(table(("split", "images", "objects", "seed", "sha256"), cells, right=(1, 2, 3)))
