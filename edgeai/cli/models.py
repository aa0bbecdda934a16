"""`edgeai models`: the networks that can be built, with parameters and FLOPs."""

from __future__ import annotations

import dataclasses
import json

import click

from edgeai.cli.render import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of rows as JSON.")
def command(as_json: bool) -> None:
    """List the networks edgeai can build.

    Parameters are counted with batch norms folded; FLOPs = 2·MAC at the given image size, by the convention of the
    published tables.

    \b
    edgeai models
    """
    from edgeai.models.profile import profiles

    rows = profiles()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    cells = [(r.name, f"{r.params / 1e6:.1f} M", f"{r.flops / 1e9:.1f} B", str(r.imgsz)) for r in rows]
    click.echo(table(("name", "params", "FLOPs", "imgsz"), cells, right=(1, 2, 3)))
