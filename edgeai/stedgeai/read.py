"""The tool's outputs, whichever of them there are, as one CompiledModel: c_info first, the text for the rest."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import (
    CompiledModel,
    CompiledNode,
    CompiledPool,
    Fact,
    FileRef,
    LayerTiming,
    OutputMetric,
    Provenance,
    TargetProfile,
    Toolchain,
)
from edgeai.errors import InputError
from edgeai.stedgeai.c_info import CInfo, read_c_info
from edgeai.stedgeai.commands import BUILDS
from edgeai.stedgeai.failures import Failure, find_failures, find_warnings
from edgeai.stedgeai.memory import overlapping, reconcile
from edgeai.stedgeai.profile import ValidateText, read_validate
from edgeai.stedgeai.report import Report, model_name, read_report, read_summary, source_model
from edgeai.stedgeai.text import STAND_IN, Segment, Size, read_text, segments

_PROJECT_BOARD = re.compile(r"Generating project for board ([\w-]{3,40})")
_BUILD_CONF = re.compile(r"Building project \(conf= ?([\w-]+)\)")
KNOWN = ((2, 0), (2, 1), (2, 2), (3, 0), (4, 0))
TEXT_NAMES = ("network_generate_report.txt", "network_analyze_report.txt")


@dataclass(frozen=True, slots=True)
class Texts:
    """What the runs of the tool in one log or report say."""

    reports: tuple[Report, ...]
    validations: tuple[ValidateText, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    stand_in: bool
    board: str = ""


def read_texts(text: str) -> Texts:
    """Every run of the tool in a text."""
    reports, validations = [], []
    found = segments(text)
    version = next((segment.version for segment in found if segment.version is not None), None)
    for segment in found:
        if segment.version is None:  # a log that begins in the middle; one log is of one installation
            segment = dataclasses.replace(segment, version=version)  # noqa: PLW2901
        if segment.command == "validate":
            summary = read_summary(segment.lines)
            validations += [read_validate(part, summary) for part in _modes(segment)]
        else:
            report = read_report(segment)
            if _says_something(report):
                reports.append(report)
    return Texts(
        tuple(reports), tuple(validations), find_failures(text), find_warnings(text), STAND_IN in text[:1 << 20],
        _board(text),
    )  # fmt: skip


def _board(text: str) -> str:
    """The board that Studio or the loader's build names; nothing where neither does."""
    if found := _PROJECT_BOARD.search(text):
        return found[1]
    build = _BUILD_CONF.search(text)
    return next((board for board, conf in BUILDS.items() if build and build[1].startswith(conf)), "")


def _says_something(report: Report) -> bool:
    return any((report.summary, report.layers, report.pools, report.epochs, report.sections))


def _modes(segment: Segment) -> list[Segment]:
    """A segment cut where the model runs again, on another device."""
    starts = [i for i, line in enumerate(segment.lines) if "(AI RUNNER)" in line]
    cuts = [0, *starts[1:], len(segment.lines)]
    return [
        Segment(segment.command, segment.version, segment.parameters, segment.elapsed_s, segment.lines[a:b])
        for a, b in itertools.pairwise(cuts)
    ]


def read_compiled(paths: Sequence[Path], board: str = "", model: FileRef | None = None) -> CompiledModel:
    """What the tool said about one compiled network, from its output folder, report, log or c_info.

    Raises InputError where none of `paths` holds such a result, or where they hold the report of a failure.
    """
    files = [file for path in paths for file in _expand(path)]
    c_infos = [read_c_info(file) for file in files if file.suffix.lower() == ".json"]
    texts = [read_texts(read_text(file)) for file in files if file.suffix.lower() != ".json"]
    reports = [text.reports[-1] for text in texts if text.reports]
    c_info = next((info for info in c_infos if info.describes_memory), None)
    _check_one_network(c_info, reports, paths)
    if not reports and c_info is None:
        failure = next((failure for text in texts for failure in text.failures), None)
        if failure is not None:
            raise failure.error(f"{paths[0]}")
        raise InputError(f"{paths[0]} holds no result of analyze or generate", "pass the tool's output folder")
    stand_in = any(info.stand_in for info in c_infos) or any(text.stand_in for text in texts)
    warnings = tuple(dict.fromkeys(w for text in texts for w in text.warnings))
    toolchain: Toolchain = "stand-in" if stand_in else "ST Edge AI Core"
    made = merge(_combined(reports, paths), c_info, board, model, toolchain, warnings)
    return dataclasses.replace(made, source_board=next((text.board for text in texts if text.board), ""))


def _check_one_network(c_info: CInfo | None, reports: Sequence[Report], paths: Sequence[Path]) -> None:
    """Raises InputError where a c_info is of another network than the report beside it."""
    for report in reports if c_info is not None else ():
        assert c_info is not None
        summary = report.summary
        exact = report.sections or summary
        told = (
            (c_info.model_hash, summary.model_hash if summary is not None else ""),
            (model_name(c_info.model_file), source_model(summary, report.parameters)),
            (c_info.weights, exact.weights if exact is not None else None),
        )
        known = next(((one, other) for one, other in told if one and other), None)
        if known is not None and known[0] != known[1]:
            raise InputError(f"{paths[0]}: the report and the c_info are of different networks",
                             "pass the files of one run")  # fmt: skip


def _combined(reports: Sequence[Report], paths: Sequence[Path]) -> Report | None:
    """One report of what the report file and the log say of one run. Raises InputError where they are of two."""
    whole: Report | None = None
    for report in reports:
        if whole is None:
            whole = report
            continue
        a, b = _totals(whole), _totals(report)
        if any(x != y for x, y in zip(a, b, strict=True) if None not in (x, y)):
            raise InputError(f"{paths[0]} and {paths[-1]} are of different networks", "pass the files of one run")
        parts = {
            field.name: getattr(whole, field.name) or getattr(report, field.name)
            for field in dataclasses.fields(Report)
        }
        whole = Report(**parts)
    return whole


def _totals(report: Report) -> tuple[int | None, int | None, int | None]:
    """What two reports of one run must agree on."""
    source = report.sections or report.summary
    epochs = report.epochs.total if report.epochs is not None else None
    return (source.activations, source.io, epochs) if source is not None else (None, None, epochs)


def _expand(path: Path) -> list[Path]:
    """A folder stands for the c_info and the report in it."""
    if not path.is_dir():
        return [path]
    names = (p for name in TEXT_NAMES for p in path.rglob(name))
    # the compiler's own c_info, in the workspace, says less than the one that is made from it
    infos = sorted(path.rglob("*_c_info.json")) or sorted(path.rglob("c_info.json"))
    found = [*infos, *sorted(names)]
    if not found:
        raise InputError(f"{path} holds no network_c_info.json and no report", "pass the tool's output folder")
    return found


def merge(
    report: Report | None,
    c_info: CInfo | None,
    board: str,
    model: FileRef | None,
    toolchain: Toolchain,
    warnings: tuple[str, ...] = (),
) -> CompiledModel:
    """One model from what the text and the c_info say; each figure from the exact source, c_info first."""
    summary = report.summary if report is not None else None
    table = report.pools if report is not None else None
    exact = report.sections if report is not None else None
    stated = [source for source in (c_info, summary, exact) if source is not None]
    rounded = (table.weights, table.activations, table.io) if table is not None else (None, None, None)
    weights, weights_gap = _figure("weights", [s.weights for s in stated], rounded[0])
    activations, activations_gap = _figure("activations", [s.activations for s in stated], rounded[1])
    io, io_gap = _figure("inputs and outputs", [s.io for s in stated[::-1]], rounded[2])
    pools, pool_gaps = _pools(report, c_info, weights, activations)
    version = str(report.version) if report and report.version else (c_info.version.split("-")[0] if c_info else "")
    nodes = _nodes(report, c_info)
    made = CompiledModel(
        model=model,
        board=board,
        target=(report.target if report else "") or (c_info.target if c_info else ""),
        toolchain=toolchain,
        version=version,
        compiler=(report.compiler if report else "") or (c_info.compiler if c_info else ""),
        weights_bytes=weights,
        activations_bytes=activations,
        io_bytes=io,
        macs=_first([s.macs for s in (summary, c_info) if s is not None] + [report.compiled_macs if report else None]),
        pools=pools,
        runtime=(exact.runtime if exact else None) or (c_info.runtime if c_info else None),
        epochs=(report.epochs if report else None) or (c_info.epochs if c_info else None),
        nodes=nodes,
        inputs=(c_info.inputs if c_info else ()) or (summary.inputs if summary else ()),
        outputs=(c_info.outputs if c_info else ()) or (summary.outputs if summary else ()),
        format_seen=summary.format_seen if summary else "",
        files=(),
        warnings=warnings,
        gaps=(*(c_info.gaps if c_info else ()), *weights_gap, *activations_gap, *io_gap, *pool_gaps),
        provenance=Provenance("compile", (model,) if model else (), (), (Fact(toolchain, version or "unknown"),)),
        source_model=_source(report, c_info),
        source_hash=(summary.model_hash if summary else "") or (c_info.model_hash if c_info else ""),
    )
    return _with_gaps(made, report)


def _source(report: Report | None, c_info: CInfo | None) -> str:
    """The name of the file that the tool was given, as far as it says."""
    told = source_model(report.summary, report.parameters) if report is not None else ""
    return told or (model_name(c_info.model_file) if c_info is not None else "")


def _first(values: Sequence[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)


def _figure(name: str, exact: Sequence[int | None], rounded: Size | None) -> tuple[int | None, list[str]]:
    """An exact figure, or a rounded one that is off by a byte at most; what is rounded further is only named."""
    found = _first(exact)
    if found is not None or rounded is None or not rounded.resolution:
        return (rounded.count if found is None and rounded is not None else found), []
    gap = f"{name}: printed rounded only, {rounded.count:,} ± {rounded.resolution} bytes"
    return (rounded.count if rounded.resolution == 1 else None), [gap]


def _pools(
    report: Report | None, c_info: CInfo | None, weights: int | None, activations: int | None
) -> tuple[tuple[CompiledPool, ...], list[str]]:
    """The pools of the c_info, else those of the text made exact; and what does not add up."""
    gaps = []
    if c_info is not None and c_info.pools:
        pools = c_info.pools
    elif report is not None and report.pools is not None:
        pools = reconcile(report.pools, weights, activations)
        for name, total in (("weights", weights), ("activations", activations)):
            added = sum(getattr(pool, name) for pool in pools)
            if total is not None and abs(added - total) > sum(pool.resolution for pool in pools if getattr(pool, name)):
                gaps.append(f"the pools add up to {added:,} bytes of {name}, the report says {total:,}")
    else:
        return (), gaps
    if shared := overlapping(pools):
        gaps.append(f"the pools {shared} overlap: their sizes must not be added")
    return pools, gaps


def _nodes(report: Report | None, c_info: CInfo | None) -> tuple[CompiledNode, ...]:
    """The nodes that run where the c_info lists them with their work; else the layers of the report."""
    if c_info is not None and c_info.nodes and (c_info.macs or report is None or not report.layers):
        return c_info.nodes
    return report.layers if report is not None else ()


def _with_gaps(made: CompiledModel, report: Report | None) -> CompiledModel:
    gaps = list(made.gaps)
    number = tuple(int(part) for part in made.version.split(".")[:2] if part.isdigit())
    if not made.version:
        gaps.append("no version line")
    elif number not in KNOWN:
        gaps.append(f"version {made.version} is not known; read as far as it goes")
    npu = made.target.endswith("npu")
    missing = (
        ("weights", made.weights_bytes is None),
        ("activations", made.activations_bytes is None),
        ("memory of inputs and outputs", made.io_bytes is None),
        ("macc", made.macs is None),
        ("memory per pool", not made.pools),
        ("size of the runtime", made.runtime is None),
        ("epochs", npu and made.epochs is None),
        ("time or work per node", not made.nodes),
    )
    gaps += [f"not in the output: {name}" for name, absent in missing if absent]
    epochs = made.epochs
    if report is not None and report.sections is not None and report.sections.states:
        gaps.append(f"{report.sections.states:,} bytes of states are not counted among the activations")
    unknown = sum(row.kind == "?" for row in epochs.rows) if epochs is not None else 0
    if unknown:
        gaps.append(f"{unknown} epochs are of a kind that the report prints as ??")
    if report is not None and report.layers_macs is not None:
        added = sum(node.macs for node in report.layers)
        if added != report.layers_macs:
            gaps.append(f"the layers add up to {added:,} MACs, the report says {report.layers_macs:,}")
    if epochs is not None:
        listed = sum(row.last - row.first + 1 for row in epochs.rows)
        if listed != epochs.total and not any(row.kind == "EC" and row.last > row.first for row in epochs.rows):
            gaps.append(f"the report lists {listed} of {epochs.total} epochs")
        kinds = (epochs.hardware, epochs.software, epochs.hybrid)
        parts = [count for count in kinds if count is not None]
        if len(parts) == len(kinds) and sum(parts) != epochs.total:
            gaps.append(f"the kinds of epochs add up to {sum(parts)}, the report says {epochs.total}")
    return dataclasses.replace(made, gaps=tuple(gaps))


@dataclass(frozen=True, slots=True)
class Validated:
    """What one validation says, from its text and its c_info."""

    version: str
    mode: str
    profile: TargetProfile | None
    metrics: tuple[OutputMetric, ...]
    stand_in: bool
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    gaps: tuple[str, ...]
    source_model: str = ""
    source_hash: str = ""
    target: str = ""
    board: str = ""


def read_validated(paths: Sequence[Path]) -> Validated:
    """The last validation in the given reports, logs or output folder. Raises InputError where there is none."""
    files = [file for path in paths for file in (_validations(path) if path.is_dir() else [path])]
    texts = [read_texts(read_text(file)) for file in files if file.suffix.lower() != ".json"]
    infos = [read_c_info(file) for file in files if file.suffix.lower() == ".json"]
    runs = [run for text in texts for run in text.validations]
    if runs:
        run = runs[-1]
        return Validated(
            version=str(run.version or ""),
            mode=run.mode,
            profile=run.profile,
            metrics=run.metrics or next((info.metrics for info in infos), ()),
            stand_in=any(text.stand_in for text in texts),
            failures=tuple(f for text in texts for f in text.failures),
            warnings=tuple(dict.fromkeys(w for text in texts for w in text.warnings)),
            gaps=run.gaps,
            source_model=model_name(run.model),
            source_hash=run.model_hash,
            target=run.target,
            board=next((text.board for text in texts if text.board), ""),
        )
    info = next((info for info in infos if info.metrics or info.times), None)
    if info is None:
        failure = next((f for text in texts for f in text.failures), None)
        raise failure.error(str(paths[0])) if failure else InputError(f"{paths[0]} holds no result of validate")
    return _validated_from(info)


def _validations(folder: Path) -> list[Path]:
    """The report of a validation in a folder, else the c_info that holds its times."""
    return sorted(folder.rglob("*validate_report.txt")) or sorted(folder.rglob("*_c_info*.json"))


def _validated_from(info: CInfo) -> Validated:
    layers = tuple(
        LayerTiming(i, f"node {i}", "", time.ms, time.percent, time.cycles) for i, time in enumerate(info.times)
    )
    totals = tuple(map(sum, zip(*(time.cycles for time in info.times), strict=False))) if info.times else ()
    profile = TargetProfile(
        samples=None, ms=sum(time.ms for time in info.times), ms_min=None, ms_max=None, ms_std=None, cycles=totals,
        initialize_ms=None, shares=(), device=info.device, attributes="", runtime="", protocol="", layers=layers,
    )  # fmt: skip
    return Validated(
        version=info.version.split("-")[0], mode="target", profile=profile if info.times else None,
        metrics=info.metrics, stand_in=info.stand_in, failures=(), warnings=(),
        gaps=("no spread of the duration", "no number of samples", *info.gaps),
        source_model=model_name(info.model_file), source_hash=info.model_hash, target=info.target,
    )  # fmt: skip
