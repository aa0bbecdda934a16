"""A run folder with real files: a run from a checkpoint would take a minute, so ST's files stand in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import IMAGES, SEED_256, SEED_320, Run

from edgeai.artifacts import (
    CalibrationSet,
    EvalResult,
    FileRef,
    Provenance,
    QuantizedModel,
    RunRecord,
    to_json,
)
from edgeai.board import load_board
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.coco import evaluate
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.files import file_ref
from edgeai.gate.policy import judge
from edgeai.latency.estimate import assess
from edgeai.recognise.audit import audit
from edgeai.report.licences import contract_of


def measured(path: Path, kit: Path) -> EvalResult:
    dataset = read_dataset(kit / "coco" / "val" / "images", kit / "coco" / "val" / "instances.json", IMAGES)
    with open_runner(path) as runner:
        return evaluate(runner, dataset)


@pytest.fixture(scope="session")
def run_folder(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """ST's two files as if the larger were the float reference of the smaller: real files, real detections."""
    folder = tmp_path_factory.mktemp("runs") / "seed"
    folder.mkdir()
    paths = []
    for name in (SEED_320, SEED_256):
        path = folder / name
        path.write_bytes((kit / "tflite" / name).read_bytes())
        paths.append(path)
    reference, candidate = (measured(path, kit) for path in paths)
    reference = replace(reference, protocol=candidate.protocol)
    contract = contract_of(paths[1])
    assert contract is not None
    photos = CalibrationSet("photos", (FileRef("a.jpg", "0" * 64, 1),), 0, "1" * 64)
    made = QuantizedModel(
        file_ref(paths[1]), contract, audit(paths[1]), photos, (), Provenance("quantize", (file_ref(paths[1]),))
    )
    record = RunRecord(
        model=FileRef("yolov8n-seg.pt", "2" * 64, 7),
        quantized=(made,),
        results=(reference, candidate),
        footprints=(assess(paths[1], load_board("stm32n6")),),
        verdicts=(judge(reference, candidate, 30.0),),
        provenance=Provenance("run", (FileRef("yolov8n-seg.pt", "2" * 64, 7),), licence="AGPL-3.0"),
    )
    (folder / "run.json").write_text(to_json(record))
    return Run(folder, kit / "coco" / "val" / "images", record)
