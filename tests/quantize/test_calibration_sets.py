"""Calibration sets: folders, lists, manifests; nothing silent, nothing random."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeai.artifacts import Contract, ModelSpec, to_json
from edgeai.errors import InputError
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.quantize.ranges.calibration import batches, check_overlap, open_calibration

CONTRACT = Contract(ModelSpec("m", "yolov8", "segment", "n", ("a",)), "raw", 64, (), 1.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(12):
        path = folder / ("more" if i % 3 == 0 else ".") / f"{i:02}.png"
        corners = rng.integers(0, 255, (2, 2, 3)).astype(np.uint8)
        assert cv2.imwrite(str(path), cv2.resize(corners, (60, 40 + i)))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_is_read_in_a_fixed_order(photos: Path) -> None:
    everything = open_calibration(photos)
    assert len(everything.paths) == 12
    assert everything.paths == tuple(sorted(everything.paths, key=lambda p: p.as_posix()))


def test_the_choice_follows_the_seed(photos: Path) -> None:
    one, same, other = (open_calibration(photos, limit=5, seed=seed).set for seed in (3, 3, 4))
    assert one == same
    assert len(one.images) == 5
    assert one.sha256 != other.sha256


def test_list_and_manifest(photos: Path) -> None:
    listing = photos / "list.txt"
    listing.write_text("# chosen by hand\nmore/00.png\n\n01.png\n")
    chosen = open_calibration(listing)
    assert [path.name for path in chosen.paths] == ["01.png", "00.png"]  # sorted by path
    flat = photos / "flat.txt"
    flat.write_text("01.png\n02.png\n")
    manifest = photos / "manifest.json"
    manifest.write_text(to_json(open_calibration(flat).set))
    assert open_calibration(manifest).set.images == open_calibration(flat).set.images
    body = json.loads(manifest.read_text())
    body["images"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"01\.png is not the image"):
        open_calibration(manifest)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: None, "no calibration images given"),
        (lambda d: d / "missing", "does not exist"),
        (lambda d: (d / "empty").mkdir() or d / "empty", "no images"),
        (lambda d: (d / "list.txt").write_text("gone.png") and d / "list.txt", "gone.png"),
        (lambda d: (d / "blank.txt").write_text("\n") and d / "blank.txt", "names no image"),
        (lambda d: (d / "x.bin").write_bytes(b"\xff\xfe\x00") and d / "x.bin", "neither a folder nor a list"),
    ],
)
def test_nothing_to_calibrate_with(tmp_path: Path, make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=words) as caught:
        open_calibration(make(tmp_path))
    assert caught.value.hint


def test_batches_are_letterboxed_rgb_one_at_a_time(photos: Path) -> None:
    source = open_calibration(photos, limit=3)
    images = list(batches(source.paths, CONTRACT))
    assert [image.shape for image in images] == [(1, 64, 64, 3)] * 3
    first = cv2.imread(str(source.paths[0]))[:, :, ::-1]
    height = round(first.shape[0] * 64 / 60)
    top = (64 - height) // 2
    inside = cv2.resize(first, (64, height)) / 255
    assert np.abs(images[0][0, top + 5] - inside[5]).max() < 0.05
    assert np.allclose(images[0][0, 0], 114 / 255)
    assert images[0].max() <= 1.0 and images[0].min() >= 0.0


def test_broken_photos_are_listed_before_the_work(photos: Path) -> None:
    paths = open_calibration(photos).paths
    whole = (photos / "01.png").read_bytes()
    (photos / "00.png").write_bytes(b"not a picture")
    (photos / "01.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"2 of 13 calibration images cannot be read: 00\.png, 01\.png"):
        open_calibration(photos)
    (photos / "01.png").write_bytes(whole)
    listing = photos / "list.txt"
    listing.write_text("01.png\n00.png\n")
    with pytest.raises(InputError, match=r"1 of 2 calibration images cannot be read: 00\.png"):
        open_calibration(listing)
    (paths[0]).write_bytes(b"changed since")
    with pytest.raises(InputError, match=paths[0].name):
        list(batches(paths, CONTRACT))


def test_hidden_files_are_no_photos(photos: Path) -> None:
    for name in ("._01.png", ".thumbs/02.png", "__MACOSX/._03.png", "more/._00.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"\0\5\x16\7\0\2")
    assert len(open_calibration(photos).paths) == 12


def test_lists_written_elsewhere(photos: Path) -> None:
    listing = photos / "list.txt"
    listing.write_bytes("\ufeff01.png\r\nmore\\00.png\r\n".encode())
    assert [path.name for path in open_calibration(listing).paths] == ["01.png", "00.png"]


def test_photos_that_are_evaluation_images_are_refused(photos: Path, tmp_path: Path) -> None:
    val = tmp_path / "val"
    val.mkdir()
    (val / "a.png").write_bytes((photos / "01.png").read_bytes())
    height, width = cv2.imread(str(val / "a.png")).shape[:2]
    body = {"images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps({**body, "categories": [{"id": 1, "name": "a"}]}))
    dataset = read_dataset(val, tmp_path / "a.json")
    mine = open_calibration(photos).set
    with pytest.raises(InputError, match=r"1 of 12 calibration images are evaluation images: 01\.png") as error:
        check_overlap(mine, dataset)
    assert "--allow-overlap" in error.value.hint
    assert check_overlap(mine, dataset, allowed=True).startswith("1 of 12 calibration images are evaluation images")
    (photos / "01.png").unlink()
    assert check_overlap(open_calibration(photos).set, dataset) == ""
