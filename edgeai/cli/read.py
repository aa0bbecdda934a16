"""`edgeai read`: what a file of ST Edge AI Core says, whichever it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.cli.options import json_option
from edgeai.cli.render import emit, facts, kib, table

if TYPE_CHECKING:
    from edgeai.board import Board
    from edgeai.stedgeai.extras import ToolFile

SHOWN_TENSORS = 12
NAME_WIDTH = 40


@click.command(short_help="Say what a file of ST Edge AI Core holds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--board", metavar="B", help="Hold a memory-pool file against this board.")
@json_option
def command(file: Path, board: str | None, as_json: bool) -> None:
    """Read FILE: a report or log, c_info.json, memory pools (.mpool), profiles (user_neuralart.json), the compiler's
    quantisation (_Q.json) or its estimate of cycles, a log of the build, of the loader or of the runner.

    \b
    edgeai read network_validate_report.txt
    edgeai read st_ai_output/board.mpool --board stm32n6

    Nothing is compared with a model: `edgeai compile --from` and `edgeai validate --from` do that.
    """
    from edgeai.board import load_board
    from edgeai.stedgeai.extras import read_tool_file

    found = read_tool_file(file)
    emit(found, render(found, load_board(board) if board else None), as_json)


def render(found: ToolFile, board: Board | None = None) -> str:
    """The parts that there are, in 80 columns."""
    from edgeai.cli.compile import bullet, describe
    from edgeai.cli.validate import describe as describe_validation

    parts = [found.file.name]
    if found.compiled is not None:
        made = found.compiled
        parts += [facts([("of", _source(made.source_model, made.source_hash))]), describe(made)]
    if found.validation is not None:
        run = found.validation
        parts += [facts([("of", _source(run.source_model, run.source_hash))]), describe_validation(run)]
    parts += [*_pools(found, board), *_compiler(found)]
    if found.regions or found.sections:
        rows = [(region.pool, f"{kib(region.used)} of {kib(region.capacity)} KiB") for region in found.regions]
        parts.append(facts(rows + [(entry.name, f"{kib(entry.count)} KiB") for entry in found.sections]))
    if found.started is not None:
        parts.append(facts([("loader", "the program runs" if found.started else "the program was not started")]))
    if found.ports:
        parts.append(facts([("ports", ", ".join(found.ports))]))
    parts += [bullet(failure) for failure in found.failures]
    return "\n\n".join(part for part in parts if part)


def _source(name: str, digest: str) -> str:
    return f"{name or 'a model that is not named'}" + (f" (MD5 {digest})" if digest else "")


def _pools(found: ToolFile, board: Board | None) -> list[str]:
    from edgeai.cli.compile import bullet
    from edgeai.stedgeai.mpool import differences

    parts = []
    if found.pools:
        rows = [[p.name, f"{p.address:#010x}", kib(p.size) if p.size else "-", p.rights, p.throughput, p.latency]
                for p in found.pools]  # fmt: skip
        parts.append(table(["pool", "address", "KiB", "rights", "throughput", "latency"], rows, right=(2,)))
        gone = differences(found.pools, board) if board is not None else ()
        parts += ["\n".join(bullet(text) for text in gone)] if gone else []
    if found.profiles:
        rows = [[profile.name, profile.memory_pool, profile.options] for profile in found.profiles]
        parts.append("\n".join(facts([("profile", n), ("memory pool", p), ("options", o)]) for n, p, o in rows))
    return parts


def _compiler(found: ToolFile) -> list[str]:
    parts = []
    if found.quantization is not None:
        q = found.quantization
        parts.append(facts([("tool", q.tool), ("tensors", f"{len(q.tensors)}, {q.per_channel} of them per channel")]))
        rows = [[t.name[-NAME_WIDTH:], t.dtype, f"{t.scale:.6g}", str(t.zero_point)] for t in q.tensors[:SHOWN_TENSORS]]
        parts.append(table(["tensor", "type", "scale", "zero"], rows, right=(2, 3)))
        if len(q.tensors) > SHOWN_TENSORS:
            parts.append(f"and {len(q.tensors) - SHOWN_TENSORS} more: --json lists all")
    if found.cycles is not None:
        c = found.cycles
        parts.append(facts([
            ("cycles", f"{c.cycles:,} as the compiler estimates ({c.ideal_cycles:,} ideal)"),
            ("time", f"{c.ms:.3f} ms at {c.mhz:g} MHz"), ("operations", f"{c.operations:,}"), ("epochs", str(c.epochs)),
        ]))  # fmt: skip
    return parts
