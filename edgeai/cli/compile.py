"""`edgeai compile`: ST Edge AI Core on a model, its answer read back."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeai.artifacts import CompiledModel, PlannedRun
from edgeai.cli.numbers import FiniteRange
from edgeai.cli.options import PathParam, json_option, project_file
from edgeai.cli.progress import Progress
from edgeai.cli.render import emit, facts, kib, table
from edgeai.errors import BudgetError, EdgeAIError
from edgeai.project import load_project

if TYPE_CHECKING:
    from edgeai.board import Board

WIDTH = 80
SLOW_ROWS = 10
TYPES = ["float32", "int8", "uint8"]


@click.command(short_help="Compile for a board with ST Edge AI Core, and read its answer.")
@click.argument("model", type=PathParam, required=False)
@click.option("--board", required=True, metavar="B", help="Board: a name, an alias, or a profile file.")
@click.option("--stedgeai", type=PathParam, metavar="PATH", help="Folder or executable of ST Edge AI Core.")
@click.option("--profile", default="", metavar="NAME@FILE", help="Your own profile of the N6's compiler.")
@click.option("-O", "--level", type=click.IntRange(0, 3), default=3, show_default=True, help="N6: optimisation.")
@click.option("--epoch-controller", is_flag=True, help="N6: let the accelerator run epochs by itself.")
@click.option("--for-application", is_flag=True, help="N6: memory, types and controller as ST's applications need.")
@click.option("--input-data-type", "input_type", type=click.Choice(TYPES), help="Of the compiled network's inputs.")
@click.option("--output-data-type", "output_type", type=click.Choice(TYPES), help="Of its outputs.")
@click.option("--optimization", type=click.Choice(["time", "ram", "balanced"]), help="MCU: what to favour.")
@click.option("--compression", type=click.Choice(["none", "lossless", "low", "medium", "high"]), help="Of weights.")
@click.option("--analyze", is_flag=True, help="Report only: no code is generated.")
@click.option("--allow-requantize", is_flag=True, help="MP2: let the compiler requantise a per-channel file.")
@click.option("--timeout", type=FiniteRange(min=1), default=1800, show_default=True, metavar="S", help="Seconds.")
@click.option("--from", "sources", multiple=True, type=PathParam, metavar="PATH",
              help="Read these outputs of the tool instead of running it.")  # fmt: skip
@click.option("--anyway", is_flag=True, help="With --from: take outputs of another model or chip, and say so.")
@click.option("--dry-run", is_flag=True, help="Print the exact command and its files, and stop.")
@click.option("-o", "--output", type=PathParam, metavar="DIR", help="Folder of the runs (default: runs).")
@json_option
def command(
    model: Path | None,
    board: str,
    stedgeai: Path | None,
    profile: str,
    level: int,
    epoch_controller: bool,
    for_application: bool,
    input_type: str | None,
    output_type: str | None,
    optimization: str | None,
    compression: str | None,
    analyze: bool,
    allow_requantize: bool,
    timeout: float,
    sources: tuple[Path, ...],
    anyway: bool,
    dry_run: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Compile MODEL (.tflite) for a board, each run in a folder of its own below `runs/compile`.

    \b
    edgeai compile model.tflite --board stm32n6
    edgeai compile per_tensor.tflite --board stm32mp25 --dry-run
    edgeai compile model.tflite --board stm32n6 --from st_ai_output/
    edgeai compile model.tflite --board stm32n6 --for-application --dry-run

    Exit code 3 where it does not fit, 5 where the compiler fails.
    """
    from edgeai.board import load_board
    from edgeai.files import existing_file, file_ref
    from edgeai.stedgeai.commands import CompileOptions, checked
    from edgeai.stedgeai.compile import compile_model
    from edgeai.stedgeai.locate import locate
    from edgeai.stedgeai.mpool import check_profile
    from edgeai.stedgeai.ownership import own
    from edgeai.stedgeai.read import read_compiled

    target = load_board(board)
    if model is not None:
        existing_file(model, "a .tflite file")
    if sources:
        made = read_compiled(list(sources), target.name, file_ref(model) if model is not None else None)
        made = own(made, model, target, anyway)
        return _show(made, target, as_json)
    model = model or project_file(load_project())
    if profile:
        check_profile(profile)
        name, _, file = profile.partition("@")
        profile = f"{name}@{Path(file).absolute()}"
    options = CompileOptions(
        action="analyze" if analyze else "generate", profile=profile, level=level, epoch_controller=epoch_controller,
        optimization=optimization or "", compression=compression or "", input_type=input_type or "",
        output_type=output_type or "", for_application=for_application,
    )  # fmt: skip
    options = checked(options, target)
    runs = output or load_project().runs
    if dry_run:
        return _dry_run(model, target.name, stedgeai, runs, options, allow_requantize, as_json)
    tool = locate(stedgeai)
    with streaming(f"{tool.label}: {options.action}") as on_line:
        folder, made = compile_model(model, target, tool, runs, options, timeout, allow_requantize, on_line)
    return _show(made, target, as_json, folder)


def _show(made: CompiledModel, board: Board, as_json: bool, folder: Path | None = None) -> int:
    """Print the result; exit code 3 where it does not fit the board."""
    from edgeai.stedgeai.ownership import over_board

    over = over_board(made, board)
    emit(made, describe(made, folder, over), as_json)
    return BudgetError.exit_code if over else 0


def _dry_run(
    model: Path, board: str, stedgeai: Path | None, runs: Path, options: object, allow: bool, as_json: bool
) -> int:
    """What would be run; an installation is not needed."""
    from edgeai.artifacts import Fact
    from edgeai.board import load_board
    from edgeai.stedgeai.commands import CompileOptions, compile_plan
    from edgeai.stedgeai.compile import check_model, folder_of
    from edgeai.stedgeai.locate import locate

    assert isinstance(options, CompileOptions)
    target = load_board(board)
    warnings = check_model(model, target, allow)
    try:
        tool = locate(stedgeai)
    except EdgeAIError as error:
        tool, warnings = None, (*warnings, f"{error.message}: {error.hint}")
    work = folder_of(model, target, runs, options, tool).absolute()
    plan = compile_plan(str(tool.executable) if tool else "stedgeai", model.absolute(), target, work, options)
    planned = PlannedRun((plan.command,), tuple(Fact(str(work / n), text) for n, text in plan.files), warnings)
    emit(planned, render_plan(planned), as_json)
    return 0


def render_plan(planned: PlannedRun) -> str:
    """Commands as a shell takes them, then the files they need."""
    parts = ["\n".join(shlex.join(line) for line in planned.commands)]
    parts += [f"# {file.name}\n{file.value.rstrip()}" for file in planned.files]
    parts += [f"# {warning}" for warning in planned.warnings]
    return "\n\n".join(parts)


@contextmanager
def streaming(label: str) -> Iterator[Callable[[str], None]]:
    """A progress line that shows what the tool is at."""
    with Progress(label) as progress:

        def on_line(line: str) -> None:
            if line.startswith((">>>>", "<<<<", "Running", "Flashing", "Building")) or " -- " in line[:80]:
                progress.label = f"{label}: {line.rsplit(' -- ', maxsplit=1)[-1].strip('<> ').lower()[:40]}"
            progress.advance(0)

        yield on_line
        progress.label = label


def describe(made: CompiledModel, folder: Path | None = None, over: tuple[str, ...] = ()) -> str:
    """The compiler's answer in 80 columns."""
    rows = [
        ("model", made.model.name if made.model is not None else "not given"),
        ("compiled by", f"{made.toolchain} {made.version}" + (f" ({made.compiler})" if made.compiler else "")),
        ("target", f"{made.target} ({made.board})" if made.board else made.target),
        ("weights", _size(made.weights_bytes)),
        ("activations", _size(made.activations_bytes)),
        ("inputs, outputs", _size(made.io_bytes, " beside the activations")),
        ("MACs", f"{made.macs:,}" if made.macs is not None else "not printed"),
    ]
    if made.runtime is not None:
        rows.append(("runtime", f"{kib(made.runtime.flash)} KiB of flash, {kib(made.runtime.ram)} KiB of RAM"))
    if made.epochs is not None:
        rows.append(("epochs", _epochs(made)))
    if folder is not None:
        rows.append(("folder", str(folder)))
    if made.board and made.activations_bytes is not None:
        rows.insert(1, ("verdict", f"{'DOES NOT FIT' if over else 'fits'} {made.board}"))
    parts = [facts(rows)]
    if used := [pool for pool in made.pools if pool.used]:
        parts.append(
            table(
                ["pool", "kind", "weights KiB", "activations KiB", "of KiB"],
                [[p.name, p.kind, kib(p.weights), kib(p.activations), kib(p.capacity) if p.capacity else "-"]
                 for p in used],
                right=(2, 3, 4),
            )
        )  # fmt: skip
    notes = [*over, *(f"taken with --anyway: {mismatch}" for mismatch in made.mismatches), *made.warnings, *made.gaps]
    if made.toolchain != "ST Edge AI Core":
        notes.insert(0, "made by a stand-in for tests: these figures are not ST's")
    if notes:
        parts.append("notes\n" + "\n".join(bullet(note) for note in notes))
    return "\n\n".join(parts)


def _size(count: int | None, note: str = "") -> str:
    return f"{kib(count)} KiB{note}" if count is not None else "not printed"


def _epochs(made: CompiledModel) -> str:
    assert made.epochs is not None
    found = made.epochs
    parts = [f"{found.total}"]
    parts += [f"{count} {name}" for count, name in ((found.software, "in software"), (found.hybrid, "hybrid")) if count]
    kinds: dict[str, int] = {}
    for row in found.rows:
        for name in (part.strip() for part in row.operators.split("+") if row.kind in ("SW", "Hybrid")):
            kinds[name or "?"] = kinds.get(name or "?", 0) + 1
    named = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items(), key=lambda k: -k[1])[:SLOW_ROWS])
    return ", ".join(parts) + (f" ({named})" if named else "")


def bullet(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
