"""Reading COCO data sets: what is believed, what is clipped and counted, and what is said of those that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from edgeai.artifacts import Count
from edgeai.errors import InputError
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.flaws import remarks
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.outline import decode_counts

Body = dict[str, Any]
HEIGHT, WIDTH = 10, 20
TRIANGLE = [[1, 2, 4, 2, 4, 6]]


def body() -> Body:
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (3, 1, 2)],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": TRIANGLE},
            {"id": 2, "image_id": 3, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1, "area": 5},
        ],
    }


def write(folder: Path, content: Body) -> Path:
    for image in (1, 2, 3):
        cv2.imwrite(str(folder / f"{image}.png"), np.full((HEIGHT, WIDTH, 3), image, np.uint8))
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def read(folder: Path, change: Callable[[Body], object], skip_bad: bool = False) -> Dataset:
    content = body()
    change(content)
    return read_dataset(folder, write(folder, content), skip_bad=skip_bad)


def first(**values: Any) -> Callable[[Body], object]:
    """A change of the first annotation."""
    return lambda content: content["annotations"][0].update(values)


def test_images_come_by_id_with_their_objects(tmp_path: Path) -> None:
    data = read_dataset(tmp_path, write(tmp_path, body()))
    assert [image.id for image in data.images] == [1, 2, 3]
    assert [(entry.area, entry.crowd) for entry in data.objects] == [(12.0, False), (5.0, True)]
    assert not data.has_masks
    assert data.counts == (Count("objects", 2), Count("crowd", 1))
    assert remarks(data.counts) == ["1 of 2 objects are crowd and not counted"]


def test_limit_leaves_only_what_belongs_to_the_images(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    limited = read_dataset(tmp_path, path, limit=2)
    assert [image.id for image in limited.images] == [1, 2] and len(limited.objects) == 1 and limited.has_masks
    assert limited.images_sha256 != read_dataset(tmp_path, path).images_sha256


def test_the_digest_is_of_the_used_images(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    before = read_dataset(tmp_path, path, limit=2)
    (tmp_path / "3.png").write_bytes(b"changed, not used")
    assert read_dataset(tmp_path, path, limit=2) == before
    cv2.imwrite(str(tmp_path / "1.png"), np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    assert read_dataset(tmp_path, path, limit=2).images_sha256 != before.images_sha256


def test_the_kit(kit: Path) -> None:
    data: Dataset = read_dataset(kit / "coco" / "val" / "images", kit / "coco" / "val" / "instances.json")
    assert (len(data.images), len(data.categories), len(data.objects)) == (171, 80, 1373)
    assert data.has_masks and data.name == "val/instances.json"
    assert remarks(data.counts) == ["14 of 1,373 objects are crowd and not counted"]
    body = json.loads((kit / "coco" / "val" / "instances.json").read_text())
    given = {entry["id"]: entry for entry in body["annotations"]}
    for entry in data.objects:  # sound data is passed on as it is, to the last digit
        source = given[int(entry.where.removeprefix("annotation "))]
        assert list(entry.bbox) == source["bbox"] and json.loads(entry.segmentation) == source["segmentation"]


def without(key: str) -> Callable[[Body], object]:
    return lambda content: content.pop(key)


def twice(key: str, **values: Any) -> Callable[[Body], object]:
    """The first entry of a list again, with other values."""
    return lambda content: content[key].append({**content[key][0], **values})


BROKEN: list[tuple[Callable[[Body], object], str]] = [
    (without("annotations"), "lacks 'annotations'"),
    (without("images"), "lacks 'images'"),
    (without("categories"), "lacks 'categories'"),
    (lambda c: c.update(images={}), "'images' holds a wrong value"),
    (lambda c: c["images"][0].pop("height"), "image 3 lacks 'height'"),
    (lambda c: c["images"][0].update(height="10"), 'image 3 .*"10" is not a whole number'),
    (lambda c: c["images"][0].update(width=0), "image 3 .*size of 0x10"),
    (lambda c: c["images"][0].update(id="3"), "not a whole number"),
    (lambda c: c["images"][0].update(id=True), "not a whole number"),
    (lambda c: c["images"][0].update(id=1), "an image id twice: 1"),
    (lambda c: c["images"][0].update(file_name=7), "file_name that is no text"),
    (lambda c: c["images"][0].update(file_name="1.png"), r"images 1 and 3 are both 1\.png"),
    (lambda c: c["images"][0].update(height=WIDTH, width=HEIGHT), r"3\.png is 20x10, annotated as 10x20"),
    (lambda c: c["images"].clear(), "lists no images"),
    (lambda c: c["categories"].clear(), "lists no categories"),
    (twice("categories"), "category 7 twice"),
    (twice("categories", id=8), "categories 7 and 8 are both called 'cat'"),
    (twice("categories", id=8, name="cat "), "categories 7 and 8 are both called"),
    (twice("categories", id=8, name="Cat"), "categories 7 and 8 are called 'cat' and 'Cat', which is one name"),
    (twice("categories", id=8, name="c-a_t"), "which is one name without case, blanks, - and _"),
    (twice("categories", id="8", name="dog"), 'category 8 .*"8" is not a whole number'),
    (twice("categories", id=8, name=None), "category 8 .*no text"),
    (twice("categories", id=8, name=" "), "category 8 has no name"),
    (twice("annotations"), "annotation 1 .*another annotation has"),
    (twice("annotations", id="x"), "annotation x .*text where others are numbers"),
    (twice("annotations", id=1.5), "annotation number 3 .*an id"),
    (first(image_id="1"), 'annotation 1 .*"1" is not a whole number'),
    (first(image_id=1.0), "not a whole number"),
    (first(image_id=True), "true is not a whole number"),
    (first(category_id="7"), "not a whole number"),
    (first(category_id=9), "annotation 1 is of category 9"),
    (first(bbox=[1, 2]), "annotation 1 holds a wrong value"),
    (first(bbox=None), "annotation 1 holds a wrong value"),
    (first(bbox={"x": 1}), "annotation 1 holds a wrong value"),
    (first(bbox=["1", "2", "3", "4"]), '"1" is not a number'),
    (first(bbox=[1, 2, 3, True]), "true is not a number"),
    (first(bbox=[1, 2, 3, None]), "null is not a number"),
    (first(bbox=[1, 2, 3, float("nan")]), "annotation 1 .*nan is not a finite number"),
    (first(bbox=[1, 2, float("inf"), 4]), "inf is not a finite number"),
    (first(bbox=[1, 2, 3, 10**400]), "too large"),
    (first(bbox=[0.1, 0.2, 0.3, 0.4]), "a box within 0..1"),
    (first(bbox=[0.3, 0.3, 0.7005, 0.7]), "it is relative, not in pixels"),
    (first(area=float("nan")), "nan is not a finite number"),
    (first(area="12"), '"12" is not a number'),
    (first(area=-1), "an area of -1"),
    (first(area=1e11), "an area of"),
    (first(iscrowd="0"), "neither 0 nor 1"),
    (first(iscrowd=2), "neither 0 nor 1"),
    (first(segmentation=[[1, 2, 3, 4]]), "polygon of 4 numbers: fewer than three points"),
    (first(segmentation=[[]]), "polygon of 0 numbers"),
    (first(segmentation=[[1, 2, 4, 2, 4, 6, 5]]), "half a point"),
    (first(segmentation=[[1, 2], [4, 2], [4, 6]]), "polygon of 2 numbers"),
    (first(segmentation=[1, 2, 4, 2, 4, 6]), "no list of polygons"),
    (first(segmentation=[*TRIANGLE, {"size": [1, 1]}]), "no list of polygons"),
    (first(segmentation=[["a"] * 6]), '"a" is not a number'),
    (first(segmentation=[["1", "2", "4", "2", "4", "6"]]), '"1" is not a number'),
    (first(segmentation=[[1, 2, 4, 2, 4, True]]), "true is not a number"),
    (first(segmentation=[[1, 2, 4, 2, 4, float("nan")]]), r"annotation 1 \(1.png\) has nan"),
    (first(segmentation=[[1, 2, 4, float("-inf"), 4, 6]]), "inf is not a finite number"),
    (first(segmentation=[[1, 2, 4, 10**400, 4, 6]]), "too large"),
    (first(segmentation=[[0.05, 0.2, 0.2, 0.2, 0.2, 0.6]]), "polygon within 0..1"),
    (first(segmentation="1 2 4 2 4 6"), "segmentation of type str"),
    (first(segmentation={}), "run lengths without a size"),
    (first(segmentation={"size": [2, 2], "counts": [1]}), "mask of 2x2 pixels, and its image has 20x10"),
    (first(segmentation={"size": [WIDTH, HEIGHT], "counts": [100, 100]}), "mask of 10x20 pixels, and its image has 20"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": [1]}), "do not add up"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": [300, -100]}), "run length below zero"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": [100, 100.0]}), "not a whole number"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": None}), "run lengths of type NoneType"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": ""}), "of no run"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": "PPP"}), "damaged"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": "PPPPPPPPPP1"}), "damaged"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": "1 1"}), "damaged"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": "é"}), "a character of no code"),
    (first(segmentation={"size": [HEIGHT, WIDTH], "counts": "111"}), "do not add up"),
    (lambda c: c.update(annotations=[5]), "annotation number 1 holds a wrong value"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_what_cannot_be_right_is_refused_by_name(
    tmp_path: Path, change: Callable[[Body], object], message: str, skip_bad: bool
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, change, skip_bad)
    assert "\n" not in error.value.message and error.value.hint


FLAWED: list[tuple[Callable[[Body], object], str, str]] = [
    (first(bbox=[1, 2, 0, 4]), r"1 box without area \(annotation 1\)", "1 box without area"),
    (first(bbox=[1, 2, 3, -4]), "1 box without area", "1 box without area"),
    (first(bbox=[20, 2, 1, 4], segmentation=None), "1 box without area", "1 box without area"),
    (first(bbox=[18, 2, 5, 4], segmentation=None), "1 object more than 2 px outside", "1 object more than 2 px"),
    (first(segmentation=[[1, 2, 24, 2, 24, 6]]), "1 object more than 2 px outside", "1 object more than 2 px"),
    (first(segmentation=[[1e9, 2, 1, 2, 4, 6]]), "1 object more than 2 px outside", "1 object more than 2 px"),
    (first(segmentation=[[2.2, 3.2] * 3]), "1 mask of no pixel", "1 mask of no pixel"),
    (first(segmentation={"size": [10, 20], "counts": [200]}), "1 mask of no pixel", "1 mask of no pixel"),
    (first(image_id=99), r"1 annotation of an unlisted image \(annotation 1\)", "1 annotation of an unlisted image"),
]


@pytest.mark.parametrize(("change", "message", "said"), FLAWED)
def test_small_flaws_are_listed_or_left_out_and_counted(
    tmp_path: Path, change: Callable[[Body], object], message: str, said: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, change)
    assert "--skip-bad" in error.value.hint
    data = read(tmp_path, change, skip_bad=True)
    assert [entry.where for entry in data.objects] == ["annotation 2"]
    assert remarks(data.counts)[-1].startswith(f"left out: {said}")


def test_unreadable_and_missing_pictures(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    whole = read_dataset(tmp_path, path)
    data = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"1 unreadable picture \(3\.png\)"):
        read_dataset(tmp_path, path)
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError, match=r"1 missing picture \(.*2\.png\); 1 unreadable") as error:
        read_dataset(tmp_path, path)
    assert "pass the folder" in error.value.hint
    left = read_dataset(tmp_path, path, skip_bad=True)
    assert [image.id for image in left.images] == [1] and len(left.objects) == 1
    assert remarks(left.counts) == ["left out: 1 missing picture, 1 unreadable picture"]
    assert left.images_sha256 != whole.images_sha256
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image that can be read"):
        read_dataset(tmp_path, path, skip_bad=True)


def test_up_to_two_pixels_outside_are_clipped_and_counted(tmp_path: Path) -> None:
    outside = [[-1.5, 2, 4, 2, 4, 11.5]]
    data = read(tmp_path, first(bbox=[-1.5, 2, 5.5, 9.5], segmentation=outside))
    entry = data.objects[0]
    assert entry.bbox == (0.0, 2.0, 4.0, 8.0)
    assert json.loads(entry.segmentation) == [[0.0, 2.0, 4.0, 2.0, 4.0, 10.0]]
    assert remarks(data.counts)[1] == "1 of 2 objects reached up to 2 px out of their image and were clipped"
    rounded = read(tmp_path, first(bbox=[17, 2, 3.000001, 4], segmentation=None))
    assert rounded.objects[0].bbox == (17.0, 2.0, 3.000001, 4.0) and Count("clipped", 1) not in rounded.counts


def test_what_may_be_absent(tmp_path: Path) -> None:
    data = read(tmp_path, first(iscrowd=None, area=None, segmentation=[]))
    assert not data.objects[0].crowd and data.objects[0].area == 12 and data.objects[0].segmentation == ""
    data = read(tmp_path, lambda c: [c["annotations"][0].pop("id"), c["annotations"][1].update(id="b")])
    assert [entry.where for entry in data.objects] == ["annotation number 1", "annotation b"]
    with_mark = tmp_path / "marked.json"
    with_mark.write_text(json.dumps(body()), encoding="utf-8-sig")
    assert len(read_dataset(tmp_path, with_mark).objects) == 2
    assert read(tmp_path, first(iscrowd=True)).objects[0].crowd
    assert read(tmp_path, twice("categories", id=8, name=3)).categories[1].name == "3"


def test_file_names_written_under_windows(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    (tmp_path / "sub").mkdir()
    (tmp_path / "3.png").rename(tmp_path / "sub" / "3.png")
    content = body()
    content["images"][0]["file_name"] = "sub\\3.png"
    path.write_text(json.dumps(content))
    assert read_dataset(tmp_path, path).images[2].path == tmp_path / "sub" / "3.png"


def test_run_lengths_decode_as_pycocotools_does() -> None:
    rng = np.random.default_rng(1)
    for number in range(100):
        height, width = rng.integers(1, 60, 2)
        pixels = (rng.random((height, width)) < rng.random()).astype(np.uint8)
        pixels = np.kron(pixels, np.ones((17, 13), np.uint8)) if number % 3 == 0 else pixels
        flat = pixels.ravel("F")
        edges = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
        runs = np.diff(edges).tolist()
        coded = coco_mask.encode(np.asfortranarray(pixels))["counts"].decode()
        assert decode_counts(coded) == ([0, *runs] if flat[0] else runs)


def test_sound_run_lengths_are_taken(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[2:6, 1:4] = 1
    coded = coco_mask.encode(np.asfortranarray(pixels))["counts"].decode()
    for counts in (coded, [12, 4, 6, 4, 6, 4, 164]):
        data = read(tmp_path, first(segmentation={"size": [HEIGHT, WIDTH], "counts": counts}))
        assert json.loads(data.objects[0].segmentation)["counts"] == counts


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff"])
def test_no_coco_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"instances\.json is not"):
        read_dataset(tmp_path, path)


def test_missing_places(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    with pytest.raises(InputError, match="does not exist"):
        read_dataset(tmp_path, tmp_path / "no.json")
    with pytest.raises(InputError, match="not a folder"):
        read_dataset(tmp_path / "no", path)
    with pytest.raises(InputError, match="no image"):
        read_dataset(tmp_path, path, limit=0)
