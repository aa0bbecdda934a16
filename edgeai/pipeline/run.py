"""The whole job: float reference, int8 files, accuracy, footprint and verdict in one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeai.artifacts import BoardResult, Granularity, RunRecord
from edgeai.board import Board
from edgeai.errors import AccuracyError
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.remarks import blind
from edgeai.files import file_ref
from edgeai.gate.policy import DROP_ALONE, Rule, judge
from edgeai.latency.estimate import assess
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.provenance import EVALUATE_TOOLS, provenance
from edgeai.quantize.ranges.calibration import CalibrationSource, check_overlap
from edgeai.quantize.requantize import converts


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gate holds a quantised file to, in points of AP against the float model."""

    max_drop: float = 1.0
    metrics: tuple[str, ...] = ()
    rule: Rule = DROP_ALONE


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's record, and where the bytes are of every quantised file of it and of the float reference."""

    record: RunRecord
    files: tuple[Path, ...]
    reference: Path


@dataclass(frozen=True, slots=True)
class Job:
    """An int8 file to make, and the boards it is for."""

    recipe: Recipe
    boards: tuple[Board, ...]


def jobs_of(one: Recipe, boards: Sequence[Board], fixed: bool) -> list[Job]:
    """The right file for each board: weights per tensor where the board's tools would make them so, else as `one`
    says. With `fixed` granularity, `one` for all of them."""
    by_grain: dict[Granularity, list[Board]] = {}
    for board in boards:
        own: Granularity = "per-tensor" if not fixed and converts(board, one.granularity) else one.granularity
        by_grain.setdefault(own, []).append(board)
    return [Job(replace(one, granularity=grain), tuple(mine)) for grain, mine in by_grain.items()] or [Job(one, ())]


def run(
    stages: Stages,
    model: Path,
    jobs: Sequence[Job],
    calibration: CalibrationSource,
    dataset: Dataset,
    limits: Limits,
    compare: Sequence[Path] = (),
    allow_overlap: bool = False,
    command: str = "",
) -> Finished:
    """Quantise `model` by every job (all of one size) and measure each file, and the files to `compare` with.

    `command` is the line of shell that makes the same run again, for its record. The float reference is the ONNX file
    with raw outputs: its parity with torch was checked when it was made. Raises InputError where calibration images are
    evaluation images and that is not allowed, AccuracyError where the float network finds nothing: no drop from it
    would mean anything.
    """
    overlap = check_overlap(calibration.set, dataset, allow_overlap)
    reference, _ = stages.float_onnx(model, replace(jobs[0].recipe, layout="raw"), calibration)
    baseline = stages.evaluated(reference, dataset)
    if text := blind(baseline):
        raise AccuracyError(
            f"the float network says nothing of {dataset.name}: {text}",
            "check the class names, the annotations and what the input of the network is (--mean, --std)",
        )
    made = [stages.quantized(model, job.recipe, calibration) for job in jobs]
    files = tuple(path for path, _, _ in made)
    results = [stages.evaluated(path, dataset) for path in files]
    others = [stages.evaluated(path, dataset) for path in compare]
    boards = tuple(dict.fromkeys(board for job in jobs for board in job.boards))
    pairs = [(path, board) for path, job in zip(files, jobs, strict=True) for board in job.boards]
    pairs += [(path, board) for path in compare for board in boards]
    on_boards = _on_boards(stages, pairs, dataset)
    ours = {result.model.sha256 for result in results}
    judged = [*results, *(entry.result for entry in on_boards if entry.result.model.sha256 in ours)]
    inputs = [file_ref(model), dataset.annotations, *map(file_ref, compare)]
    options = [("calibration", calibration.set.sha256), ("boards", ",".join(b.name for b in boards))]
    options += [("overlap", overlap)] if overlap else []
    options += [("command", command)] if command else []
    record = RunRecord(
        model=file_ref(model),
        quantized=tuple(artifact for _, artifact, _ in made),
        results=(baseline, *results, *others),
        footprints=tuple(assess(path, board) for path, board in pairs),
        verdicts=tuple(judge(baseline, result, limits.max_drop, limits.metrics, limits.rule) for result in judged),
        provenance=provenance("run", inputs, options, EVALUATE_TOOLS, made[0][1].contract.spec.licence),
        on_boards=on_boards,
    )
    return Finished(record, files, reference)


def _on_boards(
    stages: Stages, pairs: Sequence[tuple[Path, Board]], dataset: Dataset
) -> tuple[BoardResult, ...]:
    """The accuracy of files on boards that change them."""
    found = [(board, stages.evaluated_on(path, board, dataset)) for path, board in pairs]
    return tuple(
        BoardResult(board.name, result)
        for board, result in found
        if result is not None and any(fact.name == "as_on" for fact in result.provenance.options)
    )
