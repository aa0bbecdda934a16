"""`edgeai evaluate`: its table, its JSON, and its error lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeai.artifacts import EvalProtocol, EvalResult, FileRef, Metric, Provenance, from_json
from edgeai.cli.evaluate import command, render
from edgeai.cli.render import width
from edgeai.errors import InputError
from edgeai.models.bundled import bundled_model

NAME = "a_model_with_a_very_long_name_of_many_parts_per_channel_int8.tflite"
FIGURES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
RESULT = EvalResult(
    model=FileRef(NAME, "", 1), name="m", backend="litert/reference", precision="int8", granularity="per-channel",
    layout="concat",
    protocol=EvalProtocol("val/instances.json", "f" * 64, "e" * 64, 5000, 256, "centred, bilinear, padded with 114",
                          0.001, 0.7, 300, True, "pycocotools 2.0.11"),
    metrics=tuple(Metric(name, 100.0) for name in FIGURES), per_class=(), detections=3,
    provenance=Provenance("evaluate"),
)  # fmt: skip


def run(kit: Path, *arguments: str) -> Result:
    val = kit / "coco" / "val"
    options = ["--images", str(val / "images"), "--annotations", str(val / "instances.json"), "--limit", "4"]
    return CliRunner().invoke(command, [*arguments, *options], catch_exceptions=True)


def test_the_table_fits_80_columns() -> None:
    detector = replace(RESULT, metrics=RESULT.metrics[:2], backend="onnxruntime/cpu", granularity="float")
    text = render([RESULT, detector])
    assert all(width(line) <= 80 for line in text.splitlines())
    assert "int8/channel" in text and "reference" in text and "…" in text and " -" in text


def test_one_model_to_stdout(kit: Path) -> None:
    result = run(kit, str(kit / "weights" / "yolov5n-seg.onnx"), "--imgsz", "256", "--json", "-")
    assert result.exit_code == 0, result.output
    artifact = from_json(EvalResult, result.stdout)
    assert artifact.protocol.imgsz == 256 and artifact.protocol.num_images == 4


def test_several_models_to_a_folder(kit: Path, tmp_path: Path) -> None:
    onnx = kit / "weights" / "yolov5n-seg.onnx"
    twin = tmp_path / "yolov5_twin.onnx"
    twin.write_bytes(onnx.read_bytes())
    out = tmp_path / "results"
    result = run(kit, str(onnx), str(twin), "--imgsz", "256", "--json", str(out))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["yolov5_twin.json", "yolov5n-seg.json"]
    assert "yolov5n-seg.onnx" in result.stdout and "256 px" in result.stdout and "4 images" in result.stdout


def test_a_published_detector_with_its_class_named(kit: Path) -> None:
    model = str(kit / "tflite" / "yolov8n_256_quant_pc_uf_od_coco-person.tflite")
    result = run(kit, model, "--classes", "person", "--json", "-")
    assert result.exit_code == 0, result.output
    artifact = from_json(EvalResult, result.stdout)
    assert [entry.category for entry in artifact.per_class] == ["person"]
    unnamed, many = run(kit, model).exception, run(kit, model, "--classes", "person,dog").exception
    assert isinstance(unnamed, InputError) and "--classes" in unnamed.hint
    assert isinstance(many, InputError) and "--classes names 2 classes, its outputs hold 1" in many.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no model"),
        (("a.tflite", "--conf", "2"), "confidence 2.0"),
        (("none.tflite",), "does not exist"),
        (("a.tflite", "b.tflite", "--json", "-"), "2 results"),
        (("x/a.tflite", "y/a.onnx", "--json", "out"), "two models"),
    ],
)
def test_errors_come_before_the_work(kit: Path, arguments: tuple[str, ...], message: str) -> None:
    error = run(kit, *arguments).exception
    assert isinstance(error, InputError) and message in error.message


def test_images_must_be_named() -> None:
    error = CliRunner().invoke(command, ["a.tflite"]).exception
    assert isinstance(error, InputError) and "--images" in error.message


def test_folders_by_class_are_taken_as_such_though_the_project_has_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set/val/images").mkdir(parents=True)
    Path("flowers/rose").mkdir(parents=True)
    Path("flowers/daisy").mkdir()
    for path in ("set/val/images/1.png", "flowers/rose/2.png", "flowers/daisy/3.png"):
        cv2.imwrite(path, np.zeros((32, 32, 3), np.uint8))
    body = {"images": [{"id": 1, "file_name": "1.png", "width": 32, "height": 32}], "annotations": []}
    Path("set/val/instances.json").write_text(json.dumps({**body, "categories": [{"id": 1, "name": "rose"}]}))
    Path("edgeai.toml").write_text(
        '[evaluation]\nimages = "set/val/images"\nannotations = "set/val/instances.json"\n[model]\nimgsz = 64\n'
    )
    model = bundled_model("yolov8n-seg-synthetic")
    found = CliRunner().invoke(command, [str(model), "--images", "flowers"])
    assert isinstance(found.exception, InputError) and "is no classifier" in found.exception.message
    # images of no class, and the folder above a set's images: neither is a classifier's
    for folder in ("flowers/rose", "set/val"):
        found = CliRunner().invoke(command, [str(model), "--images", folder])
        assert isinstance(found.exception, InputError) and "1.png" in found.exception.message
