"""Data sets: COCO and YOLO give the same scenes; what is wrong with one is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeai.errors import InputError
from edgeai.evaluate.dataset import Category
from edgeai.training.assigner import Targets, assign
from edgeai.training.boxes import intersection_over_first
from edgeai.training.classify import read_class_folder
from edgeai.training.data import TrainingSet, class_names, open_datasets
from edgeai.training.loader import DetectionSource, Loader
from edgeai.training.run import _notes
from edgeai.training.scene import box_of
from edgeai.training.settings import NO_AUGMENTATION
from edgeai.training.yolo import parse_yaml, read_yolo


def as_yolo(coco: Path, folder: Path) -> Path:
    """The same set in YOLO's format; returns its data.yaml."""
    body = json.loads((coco / "instances.json").read_text())
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for image in body["images"]:
        (folder / "images" / image["file_name"]).write_bytes((coco / "images" / image["file_name"]).read_bytes())
        lines = []
        for entry in body["annotations"]:
            if entry["image_id"] == image["id"]:
                points = np.array(entry["segmentation"][0]).reshape(-1, 2) / [image["width"], image["height"]]
                lines.append(" ".join([str(entry["category_id"] - 1), *(f"{v:.7f}" for v in points.ravel())]))
        (folder / "labels" / image["file_name"]).with_suffix(".txt").write_text("\n".join(lines) + "\n")
    file = folder / "data.yaml"
    file.write_text("path: .  # here\ntrain: images\nval: images\n\nnc: 2\nnames:\n  0: square\n  1: 'disc'\n")
    return file


def scenes(path: Path) -> TrainingSet:
    sets = open_datasets(path, None)
    return TrainingSet(sets, class_names(sets), 96, masks=True)


def test_coco_and_yolo_give_the_same_scenes(shapes: Path, tmp_path: Path) -> None:
    file = as_yolo(shapes, tmp_path / "yolo")
    coco = scenes(shapes)
    for source in (file, file.parent):
        yolo = scenes(source)
        assert yolo.names == coco.names == ("square", "disc")
        assert len(yolo) == len(coco)
        for index in range(len(coco)):
            one, other = coco.scene(index), yolo.scene(index)
            assert np.array_equal(one.pixels, other.pixels)
            for a, b in zip(one.instances, other.instances, strict=True):
                assert a.label == b.label
                assert box_of(a.mask) == pytest.approx(box_of(b.mask), abs=1.01)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [a, 'b c']\ntrain: x\n", ("a", "b c")),
        ("train: x\nnames: {0: a, 1: b}\n", ("a", "b")),
        ("train: x\nnames:\n- a\n- b  # two\n", ("a", "b")),
    ],
)
def test_names_of_a_data_yaml(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(text)
    values, found = parse_yaml(file)
    assert (values["train"], found) == ("x", names)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("0 0.5 0.5 0.1", "fields"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "fields"),
        ("x 0.5 0.5 0.1 0.1", "'x' is not a number"),
        ("0 0.5 0.5 1.7 0.1", "outside"),
        ("9 0.5 0.5 0.1 0.1", "class 9"),
        ("0 nan 0.5 0.1 0.1", "'nan' is not a number"),
    ],
)
def test_a_wrong_label_line_is_named(shapes: Path, tmp_path: Path, line: str, what: str) -> None:
    file = as_yolo(shapes, tmp_path / "yolo")
    (file.parent / "labels" / "002.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=what) as error:
        read_yolo(file)
    assert "\n" not in error.value.message


def test_wrong_sets_are_refused_in_one_line(shapes: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    (empty / "labels").mkdir()
    cases = {
        tmp_path / "absent": "does not exist",
        tmp_path: "no data set",
        empty: "holds no images",
    }
    for path, what in cases.items():
        with pytest.raises(InputError, match=what) as error:
            open_datasets(path, None)
        assert "\n" not in error.value.message
    with pytest.raises(InputError, match="zebra"):
        class_names(open_datasets(shapes, None), ("zebra",))
    with pytest.raises(InputError, match="no class folders"):
        read_class_folder(empty / "images")


def test_an_image_that_is_not_its_annotation_is_named(tmp_path: Path, write_coco: Callable[..., Path]) -> None:
    file = write_coco(tmp_path / "set", count=2)
    body = json.loads(file.read_text())
    body["images"][0]["width"] += 1
    file.write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"001\.png is \d+x\d+, annotated as"):
        open_datasets(tmp_path / "set", None)
    body["images"][0]["width"] -= 1
    file.write_text(json.dumps(body))
    opened = scenes(tmp_path / "set")
    (tmp_path / "set" / "images" / "002.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="not an image"):
        opened.scene(1)
    with pytest.raises(InputError, match=r"1 unreadable picture \(002\.png\)"):
        open_datasets(tmp_path / "set", None)
    assert len(open_datasets(tmp_path / "set", None, skip_bad=True)[0].images) == 1


def test_the_cache_stays_within_its_budget(shapes: Path) -> None:
    sets = open_datasets(shapes, None)
    data = TrainingSet(sets, class_names(sets), 96, masks=True, cache_mib=0)
    assert np.array_equal(data.scene(0).pixels, data.scene(0).pixels)
    assert data.scene(0) is not data.scene(0)
    assert scenes(shapes).scene(0) is not None


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_follow_from_seed_and_epoch(shapes: Path, workers: int) -> None:
    source = DetectionSource(scenes(shapes), NO_AUGMENTATION, 2, 5, masks=True)
    loader = Loader(source, 3, 5, workers=workers)
    assert len(loader) == 3
    batches = list(loader.epoch(1))
    assert [len(batch.images) for batch in batches] == [3, 3, 2]
    again = list(Loader(source, 3, 5).epoch(1))
    assert all(bool((a.images == b.images).all()) for a, b in zip(batches, again, strict=True))
    assert sorted(i for rows in loader.order(0) for i in rows) == list(range(8))
    assert loader.order(0) != loader.order(1)
    halves = [Loader(source, 2, 5, rank=rank, world=2).order(0) for rank in (0, 1)]
    assert sorted(i for half in halves for rows in half for i in rows) == list(range(8))


def test_crowds_are_ignored_by_intersection_over_foreground(tmp_path: Path, write_coco: Callable[..., Path]) -> None:
    import torch

    write_coco(tmp_path / "set", count=2, crowd=True)
    source = DetectionSource(scenes(tmp_path / "set"), NO_AUGMENTATION, 1, 0, masks=True)
    sample = source.sample(0, 0)
    assert (len(sample.labels), len(sample.ignore)) == (2, 1)
    region = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [6.0, 0.0, 14.0, 10.0], [7.0, 0.0, 14.0, 10.0]])
    assert intersection_over_first(boxes, region)[:, 0].tolist() == pytest.approx([1.0, 0.5, 3 / 7])
    none = torch.zeros(0, dtype=torch.int64)
    targets = Targets(none, none, torch.zeros(0, 4), torch.zeros(0, 1, 1), torch.tensor([0]), region)
    found = assign(torch.full((1, 3, 2), 0.5), boxes[None], torch.full((3, 2), 5.0), targets)
    assert found.ignored.tolist() == [[True, True, False]]


def test_classes_of_several_sets_are_one_where_their_names_differ_in_form_only(shapes: Path) -> None:
    one = open_datasets(shapes, None)[0]
    other = replace(one, categories=(Category(1, "Square"), Category(2, "DISC"), Category(3, "d i-s_c 2")))
    assert class_names((one, other)) == ("square", "disc", "d i-s_c 2")
    assert class_names((one, other), ("Disc",)) == ("disc",)
    data = TrainingSet((one, other), ("square", "disc"), 96, masks=True)
    assert [item.labels for item in data.items[:8]] == [item.labels for item in data.items[8:]]


def test_a_box_is_said_to_be_one_where_outlines_are_needed(shapes: Path, tmp_path: Path) -> None:
    file = as_yolo(shapes, tmp_path / "yolo")
    label = file.parent / "labels" / "002.txt"
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    sets = open_datasets(file, None)
    words = r"1 of 17 objects without masks: 002\.txt, line 3 is a box, .*label files that mix outlines and boxes \(002"
    with pytest.raises(InputError, match=words):
        TrainingSet(sets, class_names(sets), 96, masks=True)
    assert len(TrainingSet(sets, class_names(sets), 96, masks=False)) == 8


def test_what_the_sets_have_to_say_is_said_before_the_training(tmp_path: Path, write_coco: Callable[..., Path]) -> None:
    write_coco(tmp_path / "set", count=2, crowd=True)
    one = open_datasets(tmp_path / "set", None)[0]
    crowd = "set/instances.json: 2 of 6 objects are crowd and not counted"
    assert _notes([one], None) == [crowd]
    assert _notes([one], replace(one, images=one.images[:1]))[-1].startswith("1 of 1 validation images are training")
