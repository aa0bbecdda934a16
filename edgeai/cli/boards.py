"""`edgeai boards`: the board profiles."""

from __future__ import annotations

import json

import click

from edgeai.artifacts import to_json
from edgeai.cli.render import facts, kib, table


@click.command(short_help="Show the board profiles.")
@click.argument("board", required=False)
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON schema of a profile.")
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
def command(board: str | None, as_schema: bool, as_json: bool) -> None:
    """List the boards, or show one BOARD with the source of every fact.

    \b
    edgeai boards
    edgeai boards stm32n6
    edgeai boards --schema > board.schema.json

    Own profiles: TOML files in the folder that EDGEAI_BOARDS names, or in a Python package with an entry point of the
    group `edgeai.boards`.
    """
    from edgeai.board import all_boards, load_board, schema

    if as_schema:
        click.echo(json.dumps(schema(), indent=2))
        return
    if board is not None:
        found = load_board(board)
        click.echo(to_json(found) if as_json else show(board), nl=not as_json)
        return
    boards = all_boards(emulated=True)
    if as_json:
        click.echo("[" + ",\n".join(to_json(entry).rstrip() for entry in boards) + "]")
        return
    rows = [
        [
            b.name,
            b.family,
            f"{b.cpu.core} {b.cpu.clock_mhz:g} MHz" if b.cpu.clock_mhz else b.cpu.core,
            b.accelerator.name if b.accelerator else "-",
            kib(sum(p.size for p in b.pools_for("activations", "ram"))),
            kib(sum(p.size for p in b.pools_for("weights", "flash"))),
            ", ".join(b.aliases),
        ]
        for b in boards
    ]
    click.echo(table(["board", "family", "core", "accelerator", "RAM KiB", "flash KiB", "aliases"], rows, right=(4, 5)))


def show(name: str) -> str:
    """All facts of a board, each with its source."""
    from edgeai.board import load_board

    board = load_board(name)
    clock = f" at {board.cpu.clock_mhz:g} MHz" if board.cpu.clock_mhz else ""
    pairs = [
        ("board", f"{board.name} ({board.family})"),
        ("aliases", ", ".join(board.aliases) or "-"),
        ("cpu", f"{board.cpu.cores} × {board.cpu.core}{clock}  [{board.cpu.source}]"),
    ]
    if board.accelerator is not None:
        unit = board.accelerator
        pairs.append(("accelerator", f"{unit.name}, {unit.clock_mhz:g} MHz, {unit.gops:g} GOPS  [{unit.source}]"))
    pairs += [
        ("toolchain", f"{' '.join((board.toolchain.target, *board.toolchain.options))}  [{board.toolchain.source}]"),
        ("connection", f"{board.connection.kind}, {board.connection.baud} baud  [{board.connection.source}]"),
        ("reserve", f"RAM {board.reserve.ram_kib} KiB, flash {board.reserve.flash_kib} KiB  [{board.reserve.source}]"),
    ]
    rows = [
        [
            p.name,
            p.kind,
            f"{p.address:#010x}" if p.address else "-",
            f"{p.size_kib:,}",
            f"{p.byte_width} B / {p.freq_ratio:g}" if p.byte_width else "-",
            ", ".join(p.users),
        ]
        for p in board.pools
    ]
    pools = table(["pool", "kind", "address", "KiB", "speed", "users"], rows, right=(3,))
    sources = "sources\n" + facts([(f"  {p.name}", p.source) for p in board.pools])
    notes = "notes\n" + "\n".join(f"  * {note}" for note in board.notes)
    return "\n\n".join([facts(pairs), pools, sources, *([notes] if board.notes else [])])
