"""Run a compiled model on the board (or the host) under ST's validation, and hold its outputs against LiteRT's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeai.artifacts import CompiledModel as Compiled
from edgeai.artifacts import (
    Departure,
    Fact,
    OutputAgreement,
    Provenance,
    Toolchain,
    ValidationResult,
    from_json,
    to_json,
)
from edgeai.board import Board
from edgeai.errors import EdgeAIError, InputError, ToolError
from edgeai.files import existing_file, file_ref, sha256_bytes, write_text, write_with
from edgeai.graph import load_graph
from edgeai.kernels.plan import choose, doubts
from edgeai.provenance import versions
from edgeai.stedgeai.agree import compare_outputs, first_departure
from edgeai.stedgeai.commands import ValidateOptions, is_npu, validate_command
from edgeai.stedgeai.compile import RESULT, check_outcome
from edgeai.stedgeai.host import check_inputs, host_outputs, host_tensors
from edgeai.stedgeai.loader import load, load_plan
from edgeai.stedgeai.locate import Installation
from edgeai.stedgeai.ownership import own_validation
from edgeai.stedgeai.place import ascii_work, locked, readable, run_folder, staged
from edgeai.stedgeai.process import run
from edgeai.stedgeai.read import Validated, read_validated

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALIDATION = "validation.json"
INPUTS = "inputs.npy"
NPZ_LIMIT = 1 << 30
_WRITTEN = ("output", "workspace", INPUTS)

# Runs one sample on the device and gives every tensor it can show, by name.
DeviceTensors = Callable[["NDArray[Any]"], Mapping[str, "NDArray[Any]"]]


@dataclass(frozen=True, slots=True)
class Job:
    """What is validated: the model, how it was compiled (folder of `compile_model`), and on which inputs [N, …]."""

    model: Path
    board: Board
    compiled: Path
    inputs: NDArray[Any]


def read_compile_result(folder: Path, model: Path) -> Compiled:
    """The result in the folder of a compile run. Raises InputError where it is none, or one of another model."""
    file = existing_file(folder / RESULT, "the folder of an `edgeai compile` run")
    made = from_json(Compiled, file.read_text(), str(file))
    if made.model is None or made.model.sha256 != file_ref(model).sha256:
        raise InputError(f"{folder} is the compile result of another model", f"edgeai compile {model.name} makes one")
    return made


def validate_model(
    job: Job,
    tool: Installation,
    runs: Path,
    options: ValidateOptions,
    load_first: bool = True,
    timeout_s: float = 600.0,
    device: DeviceTensors | None = None,
    on_line: Callable[[str], None] | None = None,
) -> tuple[Path, ValidationResult]:
    """Load (N6), validate on the target, compare; with `device`, name the first operator that departs.

    Raises DeviceError where the board does not answer, ToolError where the tool fails; the hint names the log.
    """
    check_inputs(job.model, job.inputs, INPUTS)
    read_compile_result(job.compiled, job.model)
    digest = sha256_bytes(job.inputs.tobytes())
    key = sha256_bytes("\n".join([file_ref(job.model).sha256, job.board.name, digest, repr(options)]).encode())
    folder = run_folder(runs, "validate", job.model, job.board.name, key)
    warnings: tuple[str, ...] = ()
    with locked(folder), ascii_work(folder, _WRITTEN) as work:
        job = dataclasses.replace(job, compiled=readable(job.compiled, work))
        if load_first and options.mode == "target" and is_npu(job.board):
            plan = load_plan(tool, job.board, job.compiled, work)
            warnings = load(plan, work, folder / "n6_loader.log", on_line=on_line)
        found = _run(job, tool, folder, work, options, timeout_s, on_line)
        agreement, gaps = _agreement(job, work / "output")
        departure = _departure(job, device) if device is not None else None
        result = _result(job, tool, digest, options, found, agreement, departure, warnings, gaps)
    write_text(folder / VALIDATION, to_json(result))
    return folder, result


def _run(
    job: Job, tool: Installation, folder: Path, work: Path, options: ValidateOptions, timeout_s: float,
    on_line: Callable[[str], None] | None,
) -> Validated:  # fmt: skip
    """One `stedgeai validate`, read back."""
    import numpy as np

    def save(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, job.inputs)

    for name in ("output", "workspace"):
        (work / name).mkdir(parents=True, exist_ok=True)
    write_with(work / INPUTS, save)
    command = validate_command(
        str(tool.executable), staged(job.model, work), job.board, job.compiled, work, work / INPUTS,
        tool.version.number, options,
    )  # fmt: skip
    log = folder / "stedgeai-validate.log"
    outcome = run(command, log, work, timeout_s, on_line)
    what = f"stedgeai validate of {job.model.name}"
    check_outcome(outcome, log, what)
    try:
        found = read_validated([log])
    except EdgeAIError as error:
        raise ToolError(f"{what}: {error.message}", f"its output is in {log}") from None
    if found.failures:  # printed an error, yet ended with status 0
        raise found.failures[0].error(what, str(log))
    return found


def _agreement(job: Job, output: Path) -> tuple[tuple[OutputAgreement, ...], tuple[str, ...]]:
    """The target's outputs in `network_val_io.npz` against those of LiteRT."""
    files = sorted(output.rglob("*_val_io.npz"))
    if not files:
        return (), ("the tool wrote no network_val_io.npz: outputs are not compared",)
    target = target_outputs(files[0])
    try:
        expected = host_outputs(job.model, job.inputs)
    except (InputError, ToolError) as error:  # the target has run: what it gave counts without a comparison
        return (), (f"outputs are not compared: {error.message}",)
    return compare_outputs(expected, target), _doubted(job.model)


def _doubted(model: Path) -> tuple[str, ...]:
    graph = load_graph(model)
    found = doubts(graph, choose(graph))
    return (f"not computed right on this computer: {', '.join(map(str, found))}",) if found else ()


def target_outputs(path: Path) -> list[NDArray[Any]]:
    """The outputs `c_outputs_1`, `c_outputs_2`, … of a `network_val_io.npz`. Raises ToolError where there are none."""
    import zipfile

    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > NPZ_LIMIT:
                raise ToolError(f"{path.name} is larger than {NPZ_LIMIT >> 20} MiB", "validate fewer samples")
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name.startswith("c_outputs")]
            found = [arrays[name] for name in sorted(names, key=_number)]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ToolError(f"{path.name} cannot be read: {error}", "validate again") from None
    if not found:
        raise ToolError(f"{path.name} holds no c_outputs", "this version of the tool writes other names")
    return found


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0


def _departure(job: Job, device: DeviceTensors) -> Departure | None:
    """The first operator that departs, on the first sample; none behind one that this computer does not get right."""
    graph = load_graph(job.model)
    doubted = [doubt.op.index for doubt in doubts(graph, choose(graph))]
    try:
        expected = host_tensors(job.model, job.inputs[:1])
    except (InputError, ToolError):  # said where the outputs are compared
        return None
    known = [tensor for tensor in expected if tensor.index < min(doubted, default=len(graph.ops))]
    return first_departure(known, device(job.inputs[:1]))


def _result(
    job: Job, tool: Installation, digest: str, options: ValidateOptions, found: Validated,
    agreement: tuple[OutputAgreement, ...], departure: Departure | None, warnings: tuple[str, ...],
    gaps: tuple[str, ...],
) -> ValidationResult:  # fmt: skip
    reference = file_ref(job.model)
    return ValidationResult(
        model=reference, board=job.board.name, target=job.board.toolchain.target, mode=found.mode or options.mode,
        toolchain=tool.toolchain, version=str(tool.version), inputs_sha256=digest, profile=found.profile,
        metrics=found.metrics, agreement=agreement, departure=departure, warnings=(*warnings, *found.warnings),
        gaps=(*found.gaps, *gaps),
        provenance=Provenance(
            "validate", (reference, job.board.file),
            (Fact("mode", options.mode), Fact("baud", str(options.baud)), Fact("samples", str(len(job.inputs)))),
            (*versions(("ai-edge-litert", "numpy")), Fact(tool.toolchain, f"{tool.version}-{tool.version.build}")),
        ),
    )  # fmt: skip


def imported(paths: list[Path], board: Board, model: Path | None, anyway: bool = False) -> ValidationResult:
    """The result of a validation that ran elsewhere, from its report, log or output folder.

    Raises InputError where it is of another model or chip, unless `anyway`.
    """
    found = read_validated(paths)
    if found.profile is None and found.failures:
        raise found.failures[0].error(str(paths[0]))
    return own_validation(result_of(found, board.name, model), model, board, anyway)


def result_of(found: Validated, board: str, model: Path | None) -> ValidationResult:
    """What a report of a validation says, in the form of our own results."""
    reference = file_ref(model) if model is not None else None
    toolchain: Toolchain = "stand-in" if found.stand_in else "ST Edge AI Core"
    return ValidationResult(
        model=reference, board=board, target=found.target, mode=found.mode, toolchain=toolchain,
        version=found.version, inputs_sha256="", profile=found.profile, metrics=found.metrics,
        agreement=(), departure=None, warnings=found.warnings, gaps=(*found.gaps, "inputs are not known"),
        provenance=Provenance("validate", (reference,) if reference else (), (), (Fact(toolchain, found.version),)),
        source_model=found.source_model, source_hash=found.source_hash, source_board=found.board,
    )  # fmt: skip
