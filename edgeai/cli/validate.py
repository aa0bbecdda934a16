"""`edgeai validate`: a compiled model on the board, its outputs held against the host's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeai.artifacts import ValidationResult
from edgeai.cli.compile import bullet, render_plan, streaming
from edgeai.cli.numbers import FiniteRange
from edgeai.cli.options import PathParam, json_option, project_file
from edgeai.cli.render import emit, facts, table
from edgeai.errors import InputError
from edgeai.project import Project, load_project

if TYPE_CHECKING:
    from edgeai.board import Board
    from edgeai.stedgeai.validate import DeviceTensors, Job

SLOWEST = 12


@click.command(short_help="Run a compiled model on the board under ST's validation.")
@click.argument("model", type=PathParam, required=False)
@click.option("--board", required=True, metavar="B", help="Board: a name, an alias, or a profile file.")
@click.option("--port", default="", metavar="PORT", help="Serial port of the board (default: its ST-LINK).")
@click.option("--baud", type=click.IntRange(min=1), metavar="N", help="Baud rate (default: that of the board).")
@click.option("--inputs", type=PathParam, metavar="DIR|LIST|FILE.npy", help="Images, or a batch for the model.")
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, metavar="N", help="Inputs to run.")
@click.option("--compiled", type=PathParam, metavar="DIR", help="Folder of the compile run (default: the newest).")
@click.option("--host", is_flag=True, help="On this machine instead of the board (MCU targets).")
@click.option("--no-load", is_flag=True, help="N6: the firmware with this model is running already.")
@click.option("--io-only", is_flag=True, help="No time per node.")
@click.option("--bisect", is_flag=True, help="Name the first operator whose output departs (asks the firmware).")
@click.option("--stedgeai", type=PathParam, metavar="PATH", help="Folder or executable of ST Edge AI Core.")
@click.option("--timeout", type=FiniteRange(min=1), default=600, show_default=True, metavar="S", help="Seconds.")
@click.option("--from", "sources", multiple=True, type=PathParam, metavar="PATH",
              help="Read these reports instead of running the tool.")  # fmt: skip
@click.option("--anyway", is_flag=True, help="With --from: take reports of another model or chip, and say so.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands, and stop.")
@click.option("-o", "--output", type=PathParam, metavar="DIR", help="Folder of the runs (default: runs).")
@json_option
def command(
    model: Path | None,
    board: str,
    port: str,
    baud: int | None,
    inputs: Path | None,
    samples: int,
    compiled: Path | None,
    host: bool,
    no_load: bool,
    io_only: bool,
    bisect: bool,
    stedgeai: Path | None,
    timeout: float,
    sources: tuple[Path, ...],
    anyway: bool,
    dry_run: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run MODEL, as compiled by `edgeai compile`, on the board with real inputs, and compare with the host.

    \b
    edgeai validate model.tflite --board stm32n6 --inputs photos/
    edgeai validate model.tflite --board stm32n6 --port /dev/ttyACM0 \\
      --inputs batch.npy --bisect
    edgeai validate --board stm32n6 --from network_validate_report.txt

    Exit code 6 where the board does not answer, 5 where the tool fails.
    """
    from edgeai.board import load_board
    from edgeai.stedgeai.commands import ValidateOptions, is_mpu
    from edgeai.stedgeai.locate import locate
    from edgeai.stedgeai.validate import imported, validate_model

    target, project = load_board(board), load_project()
    if sources:
        found = imported(list(sources), target, model, anyway)
        emit(found, describe(found), as_json)
        return
    if is_mpu(target):
        raise InputError(f"{target.name} is not validated by ST Edge AI Core", "edgeai bench runs the .nb file on it")
    model = model or project_file(project)
    runs = output or project.runs
    job = _job(project, model, target, compiled, inputs, samples, runs)
    if not host and not port and not dry_run:  # else the tool writes to one port after the other
        from edgeai.device.ports import choose_port

        port = choose_port(target.connection.usb).device
    options = ValidateOptions(
        mode="host" if host else "target", port=port, baud=baud or target.connection.baud, samples=len(job.inputs),
        io_only=io_only,
    )  # fmt: skip
    tool = locate(stedgeai)
    if dry_run:
        _dry_run(job, tool, options, no_load, as_json)
        return
    device = device_tensors(port, options.baud) if bisect else None
    with streaming(f"{tool.label}: validate") as on_line:
        folder, result = validate_model(job, tool, runs, options, not no_load, timeout, device, on_line)
    emit(result, describe(result, folder), as_json)


def _job(
    project: Project, model: Path, board: Board, compiled: Path | None, inputs: Path | None, samples: int, runs: Path
) -> Job:
    """The model, its compile run and its inputs; each is looked for where it is not given."""
    import numpy as np

    from edgeai.quantize.ranges.calibration import open_calibration
    from edgeai.stedgeai.compare import compiled_folder
    from edgeai.stedgeai.host import quantized_inputs
    from edgeai.stedgeai.validate import Job, read_compile_result

    folder = compiled or compiled_folder(model, board.name, runs)
    read_compile_result(folder, model)
    if inputs is not None and inputs.suffix.lower() == ".npy":
        try:
            values: Any = np.load(inputs, allow_pickle=False)[:samples]
        except (OSError, ValueError) as error:
            raise InputError(f"{inputs} is no array: {error}", "pass a batch written by numpy.save") from None
    else:
        chosen = inputs or project.path(project.settings.calibration.images)
        if chosen is None:
            raise InputError("no inputs given; random ones say nothing", "pass --inputs with photos, or a .npy batch")
        values = quantized_inputs(model, open_calibration(chosen, samples).paths[:samples])
    return Job(model, board, folder, values)


def _dry_run(job: Job, tool: Any, options: Any, no_load: bool, as_json: bool) -> None:
    from edgeai.artifacts import Fact, PlannedRun
    from edgeai.stedgeai.commands import is_npu, validate_command
    from edgeai.stedgeai.loader import CONFIG, load_plan
    from edgeai.stedgeai.validate import INPUTS

    work = job.compiled.absolute().parent.parent / "validate"
    commands, files = [], []
    if is_npu(job.board) and options.mode == "target" and not no_load:
        plan = load_plan(tool, job.board, job.compiled.absolute(), work)
        commands.append(plan.command)
        files.append(Fact(str(work / CONFIG), plan.config))
    commands.append(
        validate_command(
            str(tool.executable), job.model.absolute(), job.board, job.compiled.absolute(), work, work / INPUTS,
            tool.version.number, options,
        )
    )  # fmt: skip
    planned = PlannedRun(tuple(commands), tuple(files), ())
    emit(planned, render_plan(planned), as_json)


def device_tensors(port: str, baud: int) -> DeviceTensors:
    """One run on the board with the output of every operator, by the protocol of the validation firmware."""
    if not port:
        raise InputError("--bisect needs --port", "for example --port /dev/ttyACM0")

    def run(inputs: Any) -> dict[str, Any]:
        from edgeai.stedgeai.device import layer_tensors

        return layer_tensors(port, baud, inputs)

    return run


def describe(result: ValidationResult, folder: Path | None = None) -> str:
    """Time, nodes and agreement in 80 columns."""
    rows = [
        ("model", result.model.name if result.model is not None else "not given"),
        ("validated by", f"{result.toolchain} {result.version}, {result.mode}"),
    ]
    profile = result.profile
    if profile is not None:
        spread = f" ({profile.ms_min:.3f} to {profile.ms_max:.3f})" if profile.ms_min is not None else ""
        count = f", {profile.samples} samples" if profile.samples is not None else ""
        rows += [("duration", f"{profile.ms:.3f} ms{spread}{count}"), ("device", profile.device or "not printed")]
        if profile.shares:
            hw, sw, control = profile.shares
            rows.append(("share", f"accelerator {hw} %, software {sw} %, control {control} %"))
    if folder is not None:
        rows.append(("folder", str(folder)))
    parts = [facts(rows)]
    if profile is not None and profile.layers:
        slowest = sorted(profile.layers, key=lambda layer: -layer.ms)[:SLOWEST]
        parts.append(
            table(
                ["slowest nodes", "kind", "ms", "%"],
                [[la.name[:40], la.kind, f"{la.ms:.3f}", f"{la.percent:.1f}"] for la in slowest], right=(2, 3),
            )
        )  # fmt: skip
    parts += _agreement(result)
    if result.departure is not None:
        gone = result.departure
        parts.append(f"first departure: operator {gone.index} ({gone.operator}), {gone.agreement.tensor}, "
                     f"SQNR {gone.agreement.sqnr_db or 0:.1f} dB")  # fmt: skip
    notes = [*(f"taken with --anyway: {mismatch}" for mismatch in result.mismatches), *result.warnings, *result.gaps]
    if result.toolchain != "ST Edge AI Core":
        notes.insert(0, "made by a stand-in for tests: these figures are not ST's")
    if notes:
        parts.append("notes\n" + "\n".join(bullet(note) for note in notes))
    return "\n\n".join(parts)


def _agreement(result: ValidationResult) -> list[str]:
    ours = [
        [a.tensor[-34:], f"{a.cosine:.6f}", f"{a.sqnr_db:.1f}" if a.sqnr_db is not None else "equal",
         f"{100 * a.bit_equal:.2f} %"]
        for a in result.agreement
    ]  # fmt: skip
    theirs = [
        [m.name, f"{m.cos:.6f}", f"{m.snr_db:.1f}" if m.snr_db is not None else "equal" if not m.rmse else "-",
         f"{m.rmse:.6g}"]
        for m in result.metrics
    ]  # fmt: skip
    parts = []
    if ours:
        parts.append(table(["target against LiteRT", "cosine", "SQNR dB", "bits equal"], ours, right=(1, 2, 3)))
    if theirs:
        parts.append(table(["as the tool compares", "cosine", "SNR dB", "rmse"], theirs, right=(1, 2, 3)))
    return parts
