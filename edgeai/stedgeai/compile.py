"""Compile a model for a board with ST Edge AI Core, and believe the files it wrote rather than its exit status."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from edgeai.artifacts import (
    AuditReport,
    CompiledModel,
    CompiledPool,
    Fact,
    FileRef,
    Footprint,
    PoolUse,
    Provenance,
    to_json,
)
from edgeai.board import Board
from edgeai.errors import EdgeAIError, InputError, ToolError
from edgeai.files import file_ref, sha256_bytes, write_text
from edgeai.provenance import versions
from edgeai.stedgeai.commands import NETWORK, CompileOptions, Plan, compile_plan, is_mpu, is_npu
from edgeai.stedgeai.failures import find_failures, find_silent, find_warnings
from edgeai.stedgeai.locate import Installation
from edgeai.stedgeai.mpool import PROFILE_FILE, check_profile, pool_name
from edgeai.stedgeai.ownership import over_board
from edgeai.stedgeai.place import ascii_work, locked, run_folder, staged
from edgeai.stedgeai.process import Outcome, ended, run
from edgeai.stedgeai.read import read_compiled

RESULT = "compiled.json"
NBG_MAGIC = b"VPMN"  # first bytes of the network binary graphs that ST publishes for the MP2
NBG_HEADER = 12
TIMEOUT_S = 1800.0
_WRITTEN = ("output", "workspace", "board.mpool", PROFILE_FILE, "pools.json")


def compile_model(
    model: Path,
    board: Board,
    tool: Installation,
    runs: Path,
    options: CompileOptions,
    timeout_s: float = TIMEOUT_S,
    allow_requantize: bool = False,
    on_line: Callable[[str], None] | None = None,
) -> tuple[Path, CompiledModel]:
    """Compile, check and read back; the run's folder (log, outputs, `compiled.json`) and the result.

    Raises BudgetError where the model does not fit, InputError where it is not accepted, ToolError for the rest;
    the hint names the log.
    """
    warnings = check_model(model, board, allow_requantize)
    if is_mpu(board) and options.action == "analyze":
        raise InputError(f"ST Edge AI Core cannot analyze for {board.name}", "compile without --analyze")
    folder = folder_of(model, board, runs, options, tool)
    log = folder / f"stedgeai-{options.action}.log"
    with locked(folder):
        (folder / RESULT).unlink(missing_ok=True)
        with ascii_work(folder, _WRITTEN) as work:
            plan = compile_plan(str(tool.executable), staged(model, work), board, work, options)
            _prepare(plan)
            outcome = run(plan.command, log, work, timeout_s, on_line, _environment(tool))
            check_outcome(outcome, log, f"stedgeai {options.action} of {model.name}")
            _check_files(plan, board, options, log, outcome.text)
        made = _result(folder, log, model, board, tool, options)
        made = dataclasses.replace(made, warnings=(*warnings, *made.warnings))
        write_text(folder / RESULT, to_json(made))
    return folder, made


def folder_of(
    model: Path, board: Board, runs: Path, options: CompileOptions, tool: Installation | None
) -> Path:
    """The folder of this run: named by all that its result depends on."""
    profile = check_profile(options.profile)[1].read_text() if options.profile and is_npu(board) else ""
    label = tool.label if tool is not None else ""
    key = sha256_bytes("\n".join([file_ref(model).sha256, board.file.sha256, repr(options), profile, label]).encode())
    return run_folder(runs, "compile", model, board.name, key)


def check_model(model: Path, board: Board, allow_requantize: bool) -> tuple[str, ...]:
    """What to know before compiling; refuses a per-channel file for a board whose compiler would requantise it."""
    from edgeai.graph import load_graph
    from edgeai.recognise.audit import audit

    load_graph(model)  # refuses scales and zero points that are none
    report = audit(model)
    if not is_mpu(board):
        return ()
    _check_shapes(report, board)
    if report.granularity != "per-channel":
        return ()
    what = (
        f"{model.name} has per-channel weights ({report.weights_per_channel} tensors): the compiler for "
        f"{board.name} makes them per-tensor, with a loss of accuracy, or runs them on the GPU, some 6 times slower"
    )
    if not allow_requantize:
        raise InputError(what, "edgeai quantize --per-tensor makes a file for this NPU; or pass --allow-requantize")
    return (what,)


def _check_shapes(report: AuditReport, board: Board) -> None:
    """Network binary graphs hold at most 6 dimensions below 65536, all of them fixed."""
    for tensor in (*report.inputs, *report.outputs):
        if len(tensor.shape) > 6 or any(not 0 < size < 65536 for size in tensor.shape):
            shape = "×".join(map(str, tensor.shape))
            raise InputError(
                f"the tensor {tensor.name} of {report.file.name} is {shape}",
                f"{board.name} takes at most 6 fixed dimensions below 65536",
            )


def _prepare(plan: Plan) -> None:
    for folder in (plan.output, plan.workspace):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name, text in plan.files:
        write_text(plan.work / name, text)


def _environment(tool: Installation) -> dict[str, str]:
    return {"STEDGEAI_CORE_DIR": str(tool.root)} if tool.root is not None else {}


def check_outcome(outcome: Outcome, log: Path, what: str) -> None:
    """Raises what the run's output explains, also behind exit status 0."""
    if outcome.timed_out:
        raise ToolError(f"{what} {ended(outcome)}", f"pass a longer --timeout; its output is in {log}")
    if outcome.status != 0:
        known = next(iter(find_failures(outcome.text)), None)
        if known is not None:
            raise known.error(what, str(log))
        raise ToolError(f"{what} {ended(outcome)}", f"its output is in {log}")
    silent = find_silent(outcome.text)
    if silent is not None:
        raise silent.error(what, str(log))


def _check_files(plan: Plan, board: Board, options: CompileOptions, log: Path, text: str) -> None:
    """The files that a run of this kind leaves: the folders were empty before it."""
    what = f"stedgeai {options.action}"
    if is_mpu(board):
        graphs = sorted(plan.output.rglob("*.nb"))
        if not graphs:
            raise _unwritten(text, what, "a .nb file", log)
        for graph in graphs:
            check_nbg(graph)
        return
    wanted = [f"{NETWORK}_analyze_report.txt"]
    if options.action == "generate":
        wanted = [f"{NETWORK}{end}" for end in ("_c_info.json", ".c", ".h", "_generate_report.txt")]
        wanted += [f"{NETWORK}_ecblobs.h"] if options.for_application else []  # the application compiles it
    lacking = [name for name in wanted if not any(path.stat().st_size for path in _written(plan, name))]
    if lacking:
        raise _unwritten(text, what, lacking[0], log)


def _unwritten(text: str, what: str, name: str, log: Path) -> EdgeAIError:
    """A file is missing behind exit status 0: the failure that the output tells of, else the fact."""
    known = next(iter(find_failures(text)), None)
    if known is not None:
        return known.error(what, str(log))
    return ToolError(f"{what} ended without an error, but did not write {name}", f"its output is in {log}")


def _written(plan: Plan, name: str) -> list[Path]:
    """Where a file may be: `analyze` leaves the c_info in the workspace in some versions."""
    return [*plan.output.rglob(name), *plan.workspace.rglob(name)]


def check_nbg(path: Path) -> None:
    """Raises ToolError where a file is no network binary graph."""
    with path.open("rb") as stream:
        head = stream.read(NBG_HEADER)
    if len(head) < NBG_HEADER or not head.startswith(NBG_MAGIC):
        raise ToolError(f"{path.name} is no network binary graph: it starts with {head[:4].hex() or 'nothing'}",
                        "compile again; the MPU component must match the version")  # fmt: skip
    if path.stat().st_size <= NBG_HEADER:
        raise ToolError(f"{path.name} holds nothing but its header", "compile again")


def _result(
    folder: Path, log: Path, model: Path, board: Board, tool: Installation, options: CompileOptions
) -> CompiledModel:
    reference = file_ref(model)
    files = tuple(file_ref(path) for path in sorted((folder / "output").rglob("*")) if path.is_file())
    source = Provenance(
        stage="compile",
        inputs=(reference, board.file),
        options=_facts(options),
        versions=(*versions(()), Fact(tool.toolchain, f"{tool.version}-{tool.version.build} {tool.version.commit}")),
    )
    if is_mpu(board):
        return _graph_result(log, reference, board, tool, files, source)
    try:
        made = read_compiled([*_outputs(folder), log], board.name, reference)
    except EdgeAIError as error:
        raise ToolError(f"stedgeai {options.action} of {model.name}: {error.message}",
                        f"its output is in {log}") from None  # fmt: skip
    return dataclasses.replace(
        made, toolchain=tool.toolchain, version=str(tool.version), files=files, provenance=source,
        pools=_kinds(made, board),
    )  # fmt: skip


def _facts(options: CompileOptions) -> tuple[Fact, ...]:
    """The options without the folder of a profile: same inputs, same bytes."""
    name, mark, file = options.profile.partition("@")
    plain = dataclasses.replace(options, profile=f"{name}{mark}{Path(file).name}")
    return tuple(Fact(field.name, str(getattr(plain, field.name))) for field in dataclasses.fields(plain))


def _kinds(made: CompiledModel, board: Board) -> tuple[CompiledPool, ...]:
    """The pools with the kind that the board profile gives them: without an address the c_info cannot tell."""
    known = {pool_name(pool): pool.kind for pool in board.pools}
    return tuple(dataclasses.replace(pool, kind=known.get(pool.name, pool.kind)) for pool in made.pools)


def _outputs(folder: Path) -> list[Path]:
    """What the run left to read: the c_info, and the report where there is one."""
    found = [path for part in ("output", "workspace") for path in sorted((folder / part).rglob("*_c_info.json"))]
    return [*found[:1], *sorted((folder / "output").rglob(f"{NETWORK}_*_report.txt"))]


def _graph_result(
    log: Path, model: FileRef, board: Board, tool: Installation, files: tuple[FileRef, ...], source: Provenance
) -> CompiledModel:
    """A network binary graph: the tool reports no memory for it, the file is all there is."""
    graph = next(file for file in files if file.name.endswith(".nb"))
    return CompiledModel(
        model=model, board=board.name, target=board.toolchain.target, toolchain=tool.toolchain,
        version=str(tool.version), compiler="", weights_bytes=graph.bytes, activations_bytes=None, io_bytes=None,
        macs=None, pools=(), runtime=None, epochs=None, nodes=(), inputs=(), outputs=(), format_seen="", files=files,
        warnings=find_warnings(log.read_text(errors="replace")),
        gaps=("the compiler reports no activations, nodes or MACs for this target; weights are the .nb file",),
        provenance=source,
    )  # fmt: skip


def footprint(made: CompiledModel, board: Board) -> Footprint:
    """The compiler's figures in the form of the estimate. Raises InputError where the result lacks the totals."""
    if made.model is None or made.weights_bytes is None or made.activations_bytes is None:
        raise InputError("the compile result holds no totals of weights and activations", "compile with generate")
    pools = tuple(
        PoolUse(pool.name, pool.kind, _capacity(pool.capacity, pool.kind, board), pool.used) for pool in made.pools
    )
    over = over_board(made, board)
    taken = tuple(f"taken with --anyway: {mismatch}" for mismatch in made.mismatches)
    return Footprint(
        model=made.model, board=board.name, target=made.target, source=f"{made.toolchain} {made.version}",
        weights_bytes=made.weights_bytes, activations_bytes=made.activations_bytes, io_bytes=made.io_bytes or 0,
        peak_operator="", peak_tensors=(), pools=pools, fits=not over,
        reasons=(*over, *taken, *made.gaps),
        provenance=made.provenance,
    )  # fmt: skip


def _capacity(capacity: int | None, kind: str, board: Board) -> int:
    """The size of a pool; of one without a limit, what the board has of its kind."""
    if capacity is not None:
        return capacity
    user = "weights" if kind == "flash" else "activations"
    return sum(pool.size for pool in board.pools if pool.kind == kind and user in pool.users)
