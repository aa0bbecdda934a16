"""The bundled network is what its record says it is, and as accurate."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgeai
from edgeai.artifacts import EvalResult, from_json
from edgeai.files import file_ref
from edgeai.synthetic import CLASSES, generate

DATA = Path(edgeai.__file__).parent / "data"
WEIGHTS = DATA / "yolov8n-seg-synthetic.safetensors"
HELD_BACK_SEED = 1  # trained on seeds 0, 2 and 3


@pytest.fixture(scope="module")
def measured() -> EvalResult:
    file = DATA / "yolov8n-seg-synthetic.eval-256.json"
    return from_json(EvalResult, file.read_text(encoding="utf-8"), file.name)


def test_it_is_small_and_free(measured: EvalResult) -> None:
    pytest.importorskip("torch")
    from edgeai.models import load_model

    _, spec = load_model(WEIGHTS)
    assert WEIGHTS.stat().st_size <= 8_000_000
    assert (spec.name, spec.names, spec.licence) == ("yolov8n-seg", CLASSES, "Apache-2.0")
    assert measured.protocol.imgsz == spec.imgsz
    assert "Apache License" in (DATA / "MODEL_LICENCE").read_text(encoding="utf-8")


def test_the_measurement_is_of_this_file_and_reaches_the_bars(measured: EvalResult) -> None:
    assert measured.model == file_ref(WEIGHTS)
    assert measured.protocol.num_images >= 200
    assert measured.metric("mask_ap") >= 60
    assert measured.metric("mask_ap50") >= 80


def test_the_readme_says_what_was_measured(measured: EvalResult) -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for name in ("mask_ap", "mask_ap50", "box_ap", "box_ap50"):
        assert f"{measured.metric(name):.1f}" in text


def test_it_finds_the_objects_of_new_images(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgeai.evaluate.backends import open_runner
    from edgeai.evaluate.coco import evaluate
    from edgeai.evaluate.ground_truth import read_dataset

    generate(tmp_path, "val", 24, HELD_BACK_SEED)
    dataset = read_dataset(tmp_path / "val" / "images", tmp_path / "val" / "instances.json")
    with open_runner(WEIGHTS) as runner:
        result = evaluate(runner, dataset)
    assert result.metric("mask_ap50") > 75
