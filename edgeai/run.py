"""The whole job: float reference, int8 files, accuracy, footprint and verdict in one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeai.artifacts import Footprint, GateVerdict, RunRecord
from edgeai.board import Board
from edgeai.errors import AccuracyError
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.remarks import blind
from edgeai.files import file_ref
from edgeai.gate.policy import DROP_ALONE, Rule, judge
from edgeai.latency.estimate import assess
from edgeai.provenance import EVALUATE_TOOLS, provenance
from edgeai.quantize.calibration import CalibrationSource, check_overlap
from edgeai.stages import Recipe, Stages


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


def run(
    stages: Stages,
    model: Path,
    recipes: Sequence[Recipe],
    calibration: CalibrationSource,
    dataset: Dataset,
    boards: Sequence[Board],
    limits: Limits,
    compare: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> Finished:
    """Quantise `model` by every recipe (all of one size) and measure each file, and the files to `compare` with.

    The float reference is the ONNX file with raw outputs: its parity with torch was checked when it was made. Raises
    InputError where calibration images are evaluation images and that is not allowed, AccuracyError where the float
    network finds nothing: no drop from it would mean anything.
    """
    overlap = check_overlap(calibration.set, dataset, allow_overlap)
    reference, _ = stages.float_onnx(model, replace(recipes[0], layout="raw"), calibration)
    baseline = stages.evaluated(reference, dataset)
    if text := blind(baseline):
        raise AccuracyError(
            f"the float network says nothing of {dataset.name}: {text}",
            "check the class names, the annotations and what the input of the network is (--mean, --std)",
        )
    made = [stages.quantized(model, recipe, calibration) for recipe in recipes]
    files = tuple(path for path, _, _ in made)
    results = [stages.evaluated(path, dataset) for path in files]
    others = [stages.evaluated(path, dataset) for path in compare]
    footprints: list[Footprint] = [assess(path, board) for path in (*files, *compare) for board in boards]
    verdicts: list[GateVerdict] = [
        judge(baseline, result, limits.max_drop, limits.metrics, limits.rule) for result in results
    ]
    inputs = [file_ref(model), dataset.annotations, *map(file_ref, compare)]
    options = [("calibration", calibration.set.sha256), ("boards", ",".join(b.name for b in boards))]
    options += [("overlap", overlap)] if overlap else []
    record = RunRecord(
        model=file_ref(model),
        quantized=tuple(artifact for _, artifact, _ in made),
        results=(baseline, *results, *others),
        footprints=tuple(footprints),
        verdicts=tuple(verdicts),
        provenance=provenance("run", inputs, options, EVALUATE_TOOLS, made[0][1].contract.spec.licence),
    )
    return Finished(record, files, reference)
