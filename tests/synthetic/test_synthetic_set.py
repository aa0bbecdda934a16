"""The synthetic set: same bytes from same seeds, true annotations, splits apart, no class rare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from edgeai.errors import InputError
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.quantize.ranges.calibration import open_calibration
from edgeai.synthetic import CLASSES, SPLITS, SyntheticSplit, generate
from edgeai.synthetic.scene import MIN_VISIBLE_AREA, MIN_VISIBLE_FRACTION, compose, window
from edgeai.synthetic.shapes import sprite

COUNT = 40


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, SyntheticSplit]]:
    out = tmp_path_factory.mktemp("synthetic")
    return out, {split: generate(out, split, COUNT, seed=7) for split in SPLITS}


@pytest.fixture(scope="module")
def body(made: tuple[Path, dict[str, SyntheticSplit]]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((made[0] / "train" / "instances.json").read_text())
    return loaded


def test_same_seed_same_bytes(made: tuple[Path, dict[str, SyntheticSplit]], tmp_path: Path) -> None:
    out, splits = made
    again = generate(tmp_path, "val", COUNT, seed=7)
    assert hashes(tmp_path / "val") == hashes(out / "val")
    assert again == splits["val"]


def test_another_seed_another_set(made: tuple[Path, dict[str, SyntheticSplit]], tmp_path: Path) -> None:
    generate(tmp_path, "val", 5, seed=8)
    assert not set(hashes(tmp_path / "val").values()) & set(hashes(made[0] / "val").values())


def test_a_longer_split_begins_with_the_shorter_one(
    made: tuple[Path, dict[str, SyntheticSplit]], tmp_path: Path
) -> None:
    generate(tmp_path, "train", 6, seed=7)
    longer = hashes(made[0] / "train" / "images")
    assert all(longer[name] == value for name, value in hashes(tmp_path / "train" / "images").items())


def test_splits_share_no_image(made: tuple[Path, dict[str, SyntheticSplit]]) -> None:
    images = [set(hashes(made[0] / split / "images").values()) for split in SPLITS]
    assert [len(part) for part in images] == [COUNT] * 3
    assert len(set.union(*images)) == 3 * COUNT


def test_boxes_and_areas_are_those_of_the_masks(body: dict[str, Any]) -> None:
    sizes = {image["id"]: (image["height"], image["width"]) for image in body["images"]}
    for entry in body["annotations"]:
        mask = rle.decode(entry["segmentation"])
        assert mask.shape == sizes[entry["image_id"]]
        rows, columns = np.nonzero(mask)
        x, y, width, height = entry["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (width, height) == (columns.max() + 1 - x, rows.max() + 1 - y)
        assert entry["area"] == mask.sum() >= MIN_VISIBLE_AREA


def test_visible_masks_do_not_overlap(body: dict[str, Any]) -> None:
    for image in body["images"]:
        masks = [rle.decode(e["segmentation"]) for e in body["annotations"] if e["image_id"] == image["id"]]
        assert np.sum(masks, axis=0).max() <= 1


def test_images_are_as_annotated(made: tuple[Path, dict[str, SyntheticSplit]], body: dict[str, Any]) -> None:
    for image in body["images"]:
        pixels = cv2.imread(str(made[0] / "train" / "images" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        assert pixels.std() > 3


def test_every_object_shows_enough_of_itself() -> None:
    for seed in range(30):
        scene = compose(np.random.default_rng(seed))
        above = np.zeros((scene.height, scene.width), bool)
        for placed in scene.objects:
            part = window(placed.sprite, scene.height, scene.width)
            own = np.zeros_like(above)
            own[part.image] = placed.sprite.mask[part.sprite]
            assert np.array_equal(own & ~above, placed.visible)  # what is in front hides what is behind
            assert placed.visible.sum() >= MIN_VISIBLE_FRACTION * placed.sprite.mask.sum()
            above |= own


def test_objects_stand_out_from_what_is_around_them(
    made: tuple[Path, dict[str, SyntheticSplit]], body: dict[str, Any]
) -> None:
    names = {image["id"]: image["file_name"] for image in body["images"]}
    contrasts = []
    for entry in body["annotations"]:
        pixels = cv2.imread(str(made[0] / "train" / "images" / names[entry["image_id"]])).astype(float)
        mask = rle.decode(entry["segmentation"])
        ring = cv2.dilate(mask, np.ones((15, 15), np.uint8)).astype(bool) & ~mask.astype(bool)
        contrasts.append(np.abs(pixels[mask > 0].mean(axis=0) - pixels[ring].mean(axis=0)).sum())
    assert np.median(contrasts) > 80


@pytest.mark.parametrize("name", CLASSES)
def test_a_sprite_is_one_piece_at_its_place(name: str) -> None:
    for seed in range(10):
        drawn = sprite(name, np.random.default_rng(seed), (100.0, 60.0), 30.0)
        pieces, labels = cv2.connectedComponents(drawn.mask.astype(np.uint8))
        assert pieces == 2
        rows, columns = np.nonzero(labels)
        assert 14 < np.ptp(rows) < 70
        assert 14 < np.ptp(columns) < 70
        assert abs(drawn.left + columns.mean() - 100) < 12
        assert abs(drawn.top + rows.mean() - 60) < 12


@pytest.mark.parametrize("name", ["frame", "nut", "gear"])
def test_holes_are_not_part_of_the_mask(name: str) -> None:
    drawn = sprite(name, np.random.default_rng(0), (50.0, 50.0), 40.0)
    assert not drawn.mask[50 - drawn.top, 50 - drawn.left]


def test_a_disc_has_the_area_of_a_disc() -> None:
    areas = [
        sprite("disc", np.random.default_rng(seed), (30.3, 30.7), 20.0).coverage.sum() / (np.pi * (0.88 * 20) ** 2)
        for seed in range(50)
    ]
    assert min(areas) > 0.84**2 * 0.98
    assert max(areas) < 1.01


def test_no_class_is_rare() -> None:
    scenes = [compose(np.random.default_rng(seed)) for seed in range(400)]
    counts = np.bincount([o.category for scene in scenes for o in scene.objects], minlength=len(CLASSES))
    assert counts.min() > 0.75 * counts.mean()
    assert counts.max() < 1.25 * counts.mean()
    assert 4 < counts.sum() / len(scenes) < 7


def test_the_evaluation_and_the_calibration_read_it(made: tuple[Path, dict[str, SyntheticSplit]]) -> None:
    out, splits = made
    dataset = read_dataset(out / "val" / "images", out / "val" / "instances.json")
    assert len(dataset.images) == COUNT
    assert dataset.has_masks
    assert tuple(category.name for category in dataset.categories) == CLASSES
    source = open_calibration(out / "calibration" / "manifest.json")
    assert source.set.sha256 == splits["calibration"].images_sha256
    assert len(source.paths) == COUNT


def test_the_summary_counts_what_is_there(made: tuple[Path, dict[str, SyntheticSplit]], body: dict[str, Any]) -> None:
    summary = made[1]["train"]
    assert (summary.images, summary.objects) == (COUNT, len(body["annotations"]))
    assert sum(entry.count for entry in summary.per_class) == summary.objects


def test_an_earlier_split_is_replaced_whole(tmp_path: Path) -> None:
    generate(tmp_path, "val", 4, seed=0)
    generate(tmp_path, "val", 2, seed=0)
    assert len(list((tmp_path / "val" / "images").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["val"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    generate(tmp_path, "val", 2, seed=0)
    before = hashes(tmp_path)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, "val", 3, seed=1, progress=interrupt)
    assert hashes(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["val"]


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="no generated split"):
        generate(tmp_path, "val", 1, seed=0)


@pytest.mark.parametrize(("split", "count", "seed"), [("test", 1, 0), ("val", 0, 0), ("val", 1, -1)])
def test_wrong_arguments(tmp_path: Path, split: str, count: int, seed: int) -> None:
    with pytest.raises(InputError):
        generate(tmp_path, split, count, seed)
