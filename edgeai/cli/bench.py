"""`edgeai bench`: time, layers, memory and outputs of a model on a board, or on an emulated one."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgeai.artifacts import BenchResult
from edgeai.cli.numbers import FINITE, FiniteRange
from edgeai.cli.options import PathParam, json_option
from edgeai.cli.progress import Progress
from edgeai.cli.render import emit, facts, kib, shorten, table
from edgeai.errors import BudgetError, InputError
from edgeai.files import images_in
from edgeai.project import Project, load_project

if TYPE_CHECKING:
    from edgeai.board import Board
    from edgeai.device.options import BenchListener, BenchOptions, Engine
    from edgeai.kernels.table import Set

IMAGES = 3
SHOWN_LAYERS = 12
NAME_WIDTH = 32
COLUMNS = 80
LABEL = 9  # columns of a fact's name and the gap behind it
RUNS = 10
PASSWORD = "EDGEAI_BOARD_PASSWORD"
LINUX_SECONDS = 300.0  # one call of a benchmark program makes all its runs


@click.command(short_help="Measure a model on a board, or on an emulated one.")
@click.argument("model", required=False, type=PathParam)
@click.option("--board", metavar="B", help="STM32N6570-DK, STM32MP257F-EV1, emulated-n6, ...  [default: edgeai.toml]")
@click.option("--port", default="", metavar="PORT[:BAUD]", help="Serial port, or socket://HOST:PORT.  [default: found]")
@click.option("--baud", type=click.IntRange(min=300), default=None, help="Baud rate.  [default: that of the board]")
@click.option("--address", default="", metavar="IP", help="Reach a Linux board over ssh.")
@click.option("--user", default="root", show_default=True, metavar="NAME", help="Who logs in on a Linux board.")
@click.option("--password", is_flag=True, help=f"Ask for the password of the console.  [default: ${PASSWORD}]")
@click.option("--engine", type=click.Choice(["auto", "npu", "cpu"]), default="auto", show_default=True,
              help="What a Linux board runs the model on.")  # fmt: skip
@click.option("--source", type=PathParam, metavar="TFLITE", help="What a network binary (.nb) was compiled from.")
@click.option("--runs", type=click.IntRange(min=1), default=None, metavar="N", help="Timed runs.  [default: 10]")
@click.option("--warmup", type=click.IntRange(min=0), default=1, show_default=True, help="Runs before them.")
@click.option("--mode", type=click.Choice(["perf", "io"]), default="perf", show_default=True,
              help="Time runs on constant inputs, or those on real ones.")  # fmt: skip
@click.option("--layers/--no-layers", default=True, help="Time every layer, too.  [default: layers]")
@click.option("--all-layers", is_flag=True, help="Show every layer, not the slowest.")
@click.option("--images", type=PathParam, metavar="DIR|IMAGE", help="Inputs whose outputs are compared with the host.")
@click.option("--count", type=click.IntRange(min=1), default=IMAGES, show_default=True, help="Images of a folder.")
@click.option("--random", "noise", type=click.IntRange(min=0), default=None, help="Random inputs to compare.")
@click.option("--kernels", type=click.Choice(["reference", "builtin", "xnnpack"]),
              help="One kernel set of this computer for all.  [default: a right one for each operator]")  # fmt: skip
@click.option("--timeout", type=FiniteRange(min=0.1), default=60.0, show_default=True, metavar="S",
              help="Seconds one inference may take.")  # fmt: skip
@click.option("--compare", "published", type=PathParam, metavar="CSV", help="Table of published figures.")
@click.option("--row", default="", metavar="ID", help="Which row of it.  [default: that of model and board]")
@click.option("--baseline", type=PathParam, metavar="JSON", help="An earlier result.")
@click.option("--max-regression", type=FINITE, metavar="%", help="Fail when slower than the baseline by more.")
@click.option("--max-latency", type=FINITE, metavar="MS", help="Fail when the mean is above.")
@click.option("-o", "--output", type=PathParam, metavar="OUT.json", help="Write the result.")
@json_option
def command(
    model: Path | None,
    board: str | None,
    port: str,
    baud: int | None,
    address: str,
    user: str,
    password: bool,
    engine: Engine,
    source: Path | None,
    runs: int | None,
    warmup: int,
    mode: Literal["perf", "io"],
    layers: bool,
    all_layers: bool,
    images: Path | None,
    count: int,
    noise: int | None,
    kernels: Set | None,
    timeout: float,
    published: Path | None,
    row: str,
    baseline: Path | None,
    max_regression: float | None,
    max_latency: float | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Run MODEL (.tflite) on a board that holds it, or on an emulated board.

    \b
    edgeai bench model.tflite --board STM32N6570-DK --images val/images
    edgeai bench model.tflite --board emulated-n6
    edgeai bench model.tflite --board STM32MP257F-EV1 --address 192.168.7.1
    edgeai bench model.tflite --board stm32n6 \\
      --baseline main.json --max-regression 5

    Microcontrollers run ST's validation firmware with the model compiled in (edgeai validate loads it). Emulated boards
    count instruction ticks, not milliseconds. Exit codes: 0 ok, 3 over a limit, 6 the board failed.
    """
    from edgeai.board import load_board
    from edgeai.device.baseline import read_bench, with_estimate, with_limits, with_published
    from edgeai.device.options import BenchOptions

    project = load_project()
    profile = load_board(board or project.settings.boards.targets[0])
    chosen = _images(project, images, count)
    _refuse_linux_only(profile, user, password, engine, source, address)
    options = BenchOptions(
        port=port,
        baud=baud or 0,
        address=address,
        runs=runs or 0,
        warmup=warmup,
        mode=mode,
        layers=layers,
        images=chosen,
        random=noise if noise is not None else int(model is not None and not chosen),
        kernels=kernels,
        timeout=timeout,
        user=user,
        password=_password(password),
        engine=engine,
        source=source,
    )
    _refuse_early(profile, max_latency, baseline, max_regression, published)
    before = read_bench(baseline) if baseline is not None else None
    with _Listener() as listener:
        result = _bench(profile, model, options, listener)
    if model is not None:
        result = with_estimate(result, model, profile)
    if published is not None:
        result = with_published(result, published, row)
    result = with_limits(result, max_latency, before, max_regression)
    emit(result, render(result, all_layers), as_json, output)
    return 0 if all(check.passed for check in result.checks) else BudgetError.exit_code


def _bench(board: Board, model: Path | None, options: BenchOptions, listener: BenchListener) -> BenchResult:
    from edgeai.device.connect import runs_linux

    if runs_linux(board):
        if model is None:
            raise InputError(f"{board.name} is given its model", "pass a .tflite or .nb file")
        return _bench_linux(board, model, options, listener)
    from edgeai.device.bench import bench_serial

    return bench_serial(board, model, options, listener)


def _bench_linux(board: Board, model: Path, options: BenchOptions, listener: BenchListener) -> BenchResult:
    from edgeai.device.linux.bench import Mp2Options, bench_mp2

    shown = ""

    def heard(what: str, done: int, total: int) -> None:
        nonlocal shown
        if what != shown:
            listener.end()
            listener.start(what, 0)
            shown = what
        listener.progress(done, total)

    asked = Mp2Options(
        address=f"ssh:{options.address}" if options.address else options.port,
        user=options.user,
        password=options.password,
        engine=options.engine,
        runs=options.runs or RUNS,
        warmup=options.warmup,
        seconds=max(options.timeout, LINUX_SECONDS),
        images=options.images,
        source=options.source,
    )
    return bench_mp2(board, model, asked, heard)


def _password(ask: bool) -> str:
    """That of the environment, else what is typed: on a command line other users of the computer would see it."""
    known = os.environ.get(PASSWORD, "")
    if known or not ask:
        return known
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the password", f"set {PASSWORD}")
    typed: str = click.prompt("password of the board", hide_input=True, err=True)
    return typed


def _refuse_linux_only(
    board: Board, user: str, password: bool, engine: Engine, source: Path | None, address: str
) -> None:
    """Options that would do nothing on this board."""
    from edgeai.device.connect import runs_linux

    given = {"--user": user != "root", "--password": password, "--engine": engine != "auto", "--source": source}
    named = next((option for option, value in given.items() if value), None)
    if named and not runs_linux(board):
        raise InputError(f"{named} is for boards that run Linux, {board.name} runs none", "leave it away")
    if engine == "npu" and board.emulator is not None:
        raise InputError(f"{board.name} has no NPU", "leave --engine away, or use a real board")
    if password and address:
        raise InputError("--password is for the serial console, ssh takes keys", f"ssh-copy-id {user}@{address}")


def _refuse_early(
    board: Board,
    max_latency: float | None,
    baseline: Path | None,
    max_regression: float | None,
    published: Path | None,
) -> None:
    """Mistakes that need no board to be seen."""
    if (baseline is None) != (max_regression is None):
        raise InputError("--baseline and --max-regression go together", "as in --baseline main.json --max-regression 5")
    if board.emulator is not None and (max_latency is not None or published is not None):
        option = "--max-latency" if max_latency is not None else "--compare"
        raise InputError(f"{option} is in milliseconds, {board.name} counts ticks", "use --baseline, or a real board")


def _images(project: Project, given: Path | None, count: int) -> tuple[Path, ...]:
    """The images of the command line, else the first of the project's evaluation set."""
    source = given or project.path(project.settings.evaluation.images)
    if source is None:
        return ()
    if source.is_dir():
        found = images_in(source)[:count]
        if not found:
            raise InputError(f"{source} holds no images", "pass a folder of JPEG or PNG files")
        return tuple(found)
    if not source.is_file():
        raise InputError(f"{source} does not exist", "pass an image or a folder of images")
    return (source,)


class _Listener:
    """Shows a bench on the terminal. A context manager, so that a bar is closed when something fails."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def start(self, title: str, total: int) -> None:
        self._bar = Progress(title, total)

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.advance()

    def progress(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.advance(done - self._bar.done)

    def end(self, note: str = "") -> None:
        if self._bar is not None:
            self._bar.close(note)
            self._bar = None

    def say(self, text: str) -> None:
        over_bar = self._bar is not None and sys.stderr.isatty()
        click.echo(f"\r\x1b[K  {text}" if over_bar else f"  {text}", err=True)

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.end("stopped" if kind else "")


# --- text -------------------------------------------------------------------------------------------


def render(result: BenchResult, all_layers: bool = False) -> str:
    """The result for people, within 80 columns."""
    parts = [facts([line for name, text in _head(result) for line in _wrapped(name, text)])]
    if result.layers:
        parts.append(_layer_table(result, all_layers))
    if result.agreement:
        rows = [
            [
                shorten(entry.tensor, NAME_WIDTH),
                f"{entry.values:,}",
                f"{entry.cosine:.6f}",
                "equal" if entry.sqnr_db is None else f"{entry.sqnr_db:.1f}",
                f"{100 * entry.bit_equal:.2f}",
            ]
            for entry in result.agreement
        ]
        header = [f"output against {result.kernels}", "values", "cosine", "SQNR dB", "equal %"]
        parts.append(table(header, rows, right=(1, 2, 3, 4)))
    if result.comparisons:
        parts.append(_comparison_table(result))
    parts += [
        f"{check.name} {'ok' if check.passed else 'OVER ITS LIMIT'}: {check.measured:.4g} {check.unit}, "
        f"at most {check.limit:g}"
        for check in result.checks
    ]
    if result.notes:
        parts.append("\n".join(_note(note) for note in result.notes))
    return "\n\n".join(parts)


def _wrapped(name: str, text: str) -> list[tuple[str, str]]:
    """A fact over as many lines as it needs."""
    lines = textwrap.wrap(text, COLUMNS - LABEL, break_long_words=False) or [""]
    return [(name if i == 0 else "", line) for i, line in enumerate(lines)]


def _note(text: str) -> str:
    return textwrap.fill(text, COLUMNS, initial_indent="* ", subsequent_indent="  ", break_long_words=False)


def _head(result: BenchResult) -> list[tuple[str, str]]:
    time, unit, device, protocol = result.time, result.protocol.unit, result.device, result.protocol
    spread = [("min", time.minimum), ("median", time.median), ("p95", time.p95), ("max", time.maximum)]
    shown = ", ".join(f"{name} {_time(value, unit)}" for name, value in spread if value is not None)
    clocks = [("CPU", device.cpu_hz), ("bus", device.bus_hz), ("accelerator", device.accelerator_hz)]
    need = [
        ("activations", result.memory.activations), ("weights", result.memory.weights), ("peak", result.memory.peak),
        ("stack", result.memory.stack), ("heap", result.memory.heap),
    ]  # fmt: skip
    lines = [
        ("model", f"{result.model.name} ({result.granularity})"),
        ("board", f"{protocol.board}: {device.name}, {device.runtime}, {protocol.link}"),
        ("clocks", ", ".join(f"{name} {hz / 1e6:g} MHz" for name, hz in clocks if hz) or "not reported"),
        ("system", ", ".join(f"{fact.name} {fact.value}" for fact in device.facts)),
        ("time", f"{_time(time.mean, unit)} {unit}, mean of {protocol.runs} after {protocol.warmup} warm-up"),
        ("", shown),
        ("rate", f"{time.per_second:.1f} inferences per second" if time.per_second else ""),
        ("engines", ", ".join(f"{share.engine} {share.percent:.1f} %" for share in result.engines)),
        ("memory", ", ".join(f"{name} {kib(size)} KiB" for name, size in need if size is not None)),
        ("inputs", f"{len(result.images)} images" if result.images else ""),
        ("faults", ", ".join(f"{entry.count} {entry.name}" for entry in result.faults)),
    ]
    return [(name, text) for name, text in lines if text]


def _time(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit == "ticks" else f"{value:,.3f}"


def _layer_table(result: BenchResult, everything: bool) -> str:
    unit = result.protocol.unit
    layers = result.layers if everything else sorted(result.layers, key=lambda row: -row.time)[:SHOWN_LAYERS]
    rows = [
        [str(row.index), shorten(row.name, NAME_WIDTH), row.kind[:18], row.engine, _time(row.time, unit),
         f"{row.share:.1f}"]
        for row in layers
    ]  # fmt: skip
    text = table(["#", "layer", "kind", "on", unit, "%"], rows, right=(0, 4, 5))
    shares: dict[str, float] = {}
    for row in result.layers:
        shares[row.engine or "?"] = shares.get(row.engine or "?", 0.0) + row.share
    engines = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
    hidden = len(result.layers) - len(layers)
    rest = f"; {hidden} more with --all-layers" if hidden else ""
    return f"{text}\n{len(result.layers)} layers: {engines}{rest}"


def _comparison_table(result: BenchResult) -> str:
    rows = []
    for entry in result.comparisons:
        scale = 1024.0 if entry.unit == "bytes" else 1.0
        unit = "KiB" if entry.unit == "bytes" else entry.unit
        figures = [f"{entry.measured / scale:,.2f}", f"{entry.reference / scale:,.2f}", f"{entry.ratio:.3f}"]
        rows.append([f"{entry.figure} {unit}", *figures, shorten(entry.source, NAME_WIDTH)])
    text = table(["figure", "here", "there", "ratio", "source"], rows, right=(1, 2, 3))
    noted = [_note(f"{entry.source}: {entry.note}") for entry in result.comparisons if entry.note]
    return "\n".join([text, *dict.fromkeys(noted)])
