"""Classes and categories, one size for a table, and what a table says beside its figures; on the bundled network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import edgeai, refused

from edgeai.artifacts import (
    Contract,
    Count,
    EvalProtocol,
    EvalResult,
    Fact,
    FileRef,
    Metric,
    ModelSpec,
    Provenance,
    from_json,
)
from edgeai.cli.evaluate import render
from edgeai.errors import InputError
from edgeai.evaluate.classes import match, pair, plain
from edgeai.evaluate.classify import evaluate_classes, read_class_folders
from edgeai.evaluate.dataset import Category, Dataset
from edgeai.evaluate.decode import Output
from edgeai.evaluate.remarks import blind, remarks
from edgeai.models.bundled import bundled_model

Body = dict[str, Any]
MODEL = bundled_model("yolov8n-seg-synthetic")


def dataset(*categories: tuple[int, str]) -> Dataset:
    return Dataset("d/instances.json", (), tuple(Category(*entry) for entry in categories), (), FileRef("", "", 0), "")


@pytest.mark.parametrize(
    ("wanted", "known", "places"),
    [
        (("ship", "plane"), ("Plane", "Ship"), [1, 0]),
        (("traffic light",), ("Traffic_Light",), [0]),
        (("traffic-light", "hotdog"), ("Hot Dog", "trafficlight"), [1, 0]),
        (("a", "A"), ("A", "a"), [1, 0]),  # letters: the exact name first
        (("a",), ("A", "a "), [1]),
        (("T V",), ("tv", "TV"), [None]),  # two that it could be
        (("tv", "TV"), ("Tv",), [0, None]),
        (("tv", "TV"), ("TV", "dog"), [None, 0]),
        (("cat", "bird"), ("cat", "dog"), [0, None]),
        (("Straße",), ("STRASSE",), [0]),
        (("-",), ("_",), [None]),
    ],
)
def test_names_match_whatever_their_form(wanted: tuple[str, ...], known: tuple[str, ...], places: list[Any]) -> None:
    assert match(wanted, known) == places


def test_pairs_by_name_then_by_id_and_never_half() -> None:
    assert plain(" Hot-Dog_1") == "hotdog1"
    by_name = pair(("ship", "plane"), dataset((1, "Plane"), (2, "Ship"), (3, "car")))
    assert (by_name.ids, by_name.by, by_name.pairs) == ((2, 1), "name", ())
    by_id = pair(("class0", "class1"), dataset((2, "plane"), (1, "ship")))
    assert (by_id.ids, by_id.by) == ((1, 2), "category id")
    assert by_id.pairs == (Fact("class0", "ship"), Fact("class1", "plane"))
    with pytest.raises(InputError, match=r"'bird' is none of them \(others are: cat = Cat\)") as error:
        pair(("cat", "bird"), dataset((1, "Cat"), (2, "dog")))
    assert "Cat, dog" in error.value.hint
    with pytest.raises(InputError, match=r"2 classes, d/instances\.json has 3 categories"):
        pair(("class0", "class1"), dataset((1, "a"), (2, "b"), (3, "c")))
    with pytest.raises(InputError, match="2 classes"):
        pair(("cat", "cat"), dataset((1, "cat"), (2, "dog")))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeai.cli import main

    folder = tmp_path_factory.mktemp("set")
    with pytest.raises(SystemExit):
        main(["synth", str(folder), "--train", "0", "--val", "6", "--calibration", "0", "--seed", "3"])
    return folder / "val"


def changed(synthetic: Path, change: Callable[[Body], object]) -> Path:
    body = json.loads((synthetic / "instances.json").read_text())
    change(body)
    file = synthetic / "changed.json"
    file.write_text(json.dumps(body))
    return file


def evaluated(capsys: pytest.CaptureFixture[str], synthetic: Path, file: Path, *more: object) -> EvalResult:
    data = ("--images", synthetic / "images", "--annotations", file)
    done = edgeai(capsys, "evaluate", MODEL, "--imgsz", 128, *data, *more, "--json", "-")
    assert done.code == 0, done.err
    return from_json(EvalResult, done.out)


def other_names(body: Body) -> None:
    """Categories of names that the model does not have, listed from the last id to the first."""
    body["categories"] = [{"id": entry["id"], "name": f"k{entry['id']}"} for entry in body["categories"][::-1]]


def test_figures_follow_the_classes_not_their_spelling(synthetic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = evaluated(capsys, synthetic, synthetic / "instances.json")
    assert whole.classes_by == "name" and whole.metric("mask_ap") > 5 and whole.data[0].name == "objects"

    def shouted(body: Body) -> None:
        for entry in body["categories"]:
            entry["name"] = f" {entry['name'].upper()} "
        body["categories"] = body["categories"][::-1]

    assert evaluated(capsys, synthetic, changed(synthetic, shouted)).metrics == whole.metrics
    by_id = evaluated(capsys, synthetic, changed(synthetic, other_names))
    assert (by_id.metrics, by_id.classes_by) == (whole.metrics, "category id")
    assert len(by_id.class_pairs) == len({entry.value for entry in by_id.class_pairs})
    assert remarks(by_id)[0][1].startswith("paired by category id, no name matches: ")

    def one_left(body: Body) -> None:
        body["categories"][0]["name"] = "something else"

    data = ("--images", synthetic / "images", "--annotations", changed(synthetic, one_left))
    refused(edgeai(capsys, "evaluate", MODEL, "--imgsz", 128, *data), 2, "is none of them (others are:")


def test_what_is_left_out_is_asked_for_and_said(synthetic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def flawed(body: Body) -> None:
        body["annotations"][0]["bbox"][2] = 0
        body["annotations"][1]["iscrowd"] = 1
        body["annotations"][2]["image_id"] = 10**6

    file = changed(synthetic, flawed)
    data = ("--images", synthetic / "images", "--annotations", file, "--imgsz", 64)
    refused(edgeai(capsys, "evaluate", MODEL, *data), 2, "1 box without area", "unlisted image", "--skip-bad")
    shown = edgeai(capsys, "evaluate", MODEL, *data, "--skip-bad")
    assert shown.code == 0 and "are crowd and not counted" in shown.out
    assert "left out: 1 box without area, 1 annotation of an unlisted image" in shown.out
    counts = evaluated(capsys, synthetic, file, "--skip-bad").data
    assert Count("crowd", 1) in counts and Count("boxes without area", 1) in counts


def test_a_yolo_set_gives_the_figures_of_the_coco_set(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.loads((synthetic / "instances.json").read_text())
    boxes: dict[int, list[str]] = {image["id"]: [] for image in body["images"]}
    sizes = {image["id"]: (image["width"], image["height"]) for image in body["images"]}
    places = {entry["id"]: place for place, entry in enumerate(body["categories"])}
    for entry in body["annotations"]:
        (x, y, w, h), (width, height) = entry["bbox"], sizes[entry["image_id"]]
        numbers = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
        boxes[entry["image_id"]].append(" ".join([str(places[entry["category_id"]]), *map(repr, numbers)]))
        entry["segmentation"] = []
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").symlink_to(synthetic / "images")
    for image in body["images"]:
        name = Path(image["file_name"]).with_suffix(".txt").name
        (tmp_path / "labels" / name).write_text("\n".join(boxes[image["id"]]))
    names = json.dumps([entry["name"] for entry in body["categories"]])
    (tmp_path / "data.yaml").write_text(f"val: images\nnames: {names}\n")
    refused(edgeai(capsys, "evaluate", MODEL, "--imgsz", 128, "--annotations", tmp_path / "data.yaml"), 2, "is a box")
    from edgeai.evaluate.backends import open_runner
    from edgeai.evaluate.coco import detect, measure
    from edgeai.evaluate.ground_truth import read_dataset
    from edgeai.evaluate.postprocess import Thresholds

    coco, yolo = read_dataset(synthetic / "images", synthetic / "instances.json"), read_dataset(None, tmp_path)
    with open_runner(MODEL, imgsz=128) as runner:
        spec = runner.contract.spec
        figures = [
            measure(data, detect(runner, data, Thresholds()), spec.names, masks=False).metrics for data in (coco, yolo)
        ]
    assert [metric.value for metric in figures[0]] == pytest.approx([metric.value for metric in figures[1]])


# --- one size -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundled network as ONNX files of 64 and of 96 pixels."""
    from edgeai.cli import main

    folder = tmp_path_factory.mktemp("static")
    files = tuple(folder / f"n{size}.onnx" for size in (64, 96))
    for file in files:
        with pytest.raises(SystemExit) as stop:
            main(["export", str(MODEL), "-o", str(file), "--imgsz", file.stem[1:]])
        assert not stop.value.code
    return files[0], files[1]


def sizes_of(folder: Path) -> list[int]:
    return [from_json(EvalResult, path.read_text()).protocol.imgsz for path in sorted(folder.iterdir())]


@pytest.mark.slow
def test_models_of_one_table_are_measured_at_one_size(
    synthetic: Path, static: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--images", synthetic / "images", "--annotations", synthetic / "instances.json", "--limit", 2)
    shown = edgeai(capsys, "evaluate", MODEL, static[0], *data, "--json", tmp_path / "one")
    assert shown.code == 0 and "px  " not in shown.out.splitlines()[0] and "WARNING" not in shown.out
    assert sizes_of(tmp_path / "one") == [64, 64]
    shown = edgeai(capsys, "evaluate", *static, *data, "--json", tmp_path / "two")
    assert sizes_of(tmp_path / "two") == [64, 96]
    assert " px " in shown.out.splitlines()[0] and "rows of 64, 96 px do not compare" in shown.out


RESULT = EvalResult(
    model=FileRef("m.tflite", "", 1), name="m", backend="litert/xnnpack", precision="int8", granularity="per-channel",
    layout="raw", protocol=EvalProtocol("d", "f" * 64, "e" * 64, 5, 256, "", 0.001, 0.7, 300, True, "pycocotools"),
    metrics=(Metric("box_ap", 30.0),), per_class=(), detections=3, provenance=Provenance("evaluate"),
)  # fmt: skip


def test_sizes_and_silence_are_loud() -> None:
    other = replace(RESULT, protocol=replace(RESULT.protocol, imgsz=640))
    assert "WARNING" not in render([RESULT, RESULT]) and " px " not in render([RESULT]).splitlines()[0]
    text = render([RESULT, other])
    assert " px " in text.splitlines()[0] and "rows of 256, 640 px do not compare" in text
    silent = replace(RESULT, detections=0, metrics=(Metric("box_ap", 0.0),))
    assert blind(RESULT) == "" and blind(silent) == "m finds nothing in 5 images"
    assert blind(replace(silent, detections=9)) == "m is right about nothing in 5 images"
    assert "WARNING  m finds nothing in 5 images" in render([silent])


# --- classifiers --------------------------------------------------------------------------------


class Fixed:
    """A classifier that always answers with its first class."""

    name, backend, precision, granularity, options, versions = "c", "fake", "fp32", "float", (), ()
    model = FileRef("c", "", 0)

    def __init__(self, *names: str) -> None:
        self.contract = Contract(ModelSpec("c", "net", "classify", "n", names), "raw", 32, (), 1.0)

    def infer(self, image: np.ndarray) -> tuple[Output, ...]:
        return (Output(np.array([[1.0, *[0.0] * (self.contract.spec.nc - 1)]], np.float32)),)


def test_folders_of_a_classifier_match_in_the_same_way(tmp_path: Path) -> None:
    for name in ("Red Rose", "daisy", ".hidden"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "daisy" / "._1.png").write_bytes(b"\0")
    folders = read_class_folders(tmp_path)
    assert folders.classes == ("Red Rose", "daisy") and len(folders.images) == 2

    def top1(*names: str) -> EvalResult:
        return evaluate_classes(Fixed(*names), folders)  # type: ignore[arg-type]

    named = top1("tulip", "red_rose", "Daisy")
    assert (named.classes_by, named.class_pairs, named.metric("top1")) == ("name", (), 0.0)
    assert top1("red_rose", "tulip", "Daisy").metric("top1") == 50.0
    ordered = top1("class0", "class1")
    assert ordered.classes_by == "folder order" and ordered.class_pairs[0] == Fact("class0", "Red Rose")
    with pytest.raises(InputError, match="'Red Rose' is no class of the model"):
        top1("daisy", "tulip")
    (tmp_path / "daisy" / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 unreadable picture \(daisy/2\.png\)"):
        read_class_folders(tmp_path)
    left = read_class_folders(tmp_path, skip_bad=True)
    assert len(left.images) == 2 and left.counts == (Count("unreadable pictures", 1),)
