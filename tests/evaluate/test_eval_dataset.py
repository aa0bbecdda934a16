"""Reading COCO data sets, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeai.errors import InputError
from edgeai.evaluate.dataset import Dataset, read_dataset

Body = dict[str, Any]


def body() -> Body:
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 10, "width": 20} for i in (3, 1, 2)],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]},
            {"id": 2, "image_id": 3, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1, "area": 5},
        ],
    }


def write(folder: Path, content: Body) -> Path:
    for image in (1, 2, 3):
        (folder / f"{image}.jpg").write_bytes(bytes([image]))
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_images_come_by_id_with_their_objects(tmp_path: Path) -> None:
    data = read_dataset(tmp_path, write(tmp_path, body()))
    assert [image.id for image in data.images] == [1, 2, 3]
    assert [(entry.area, entry.crowd) for entry in data.objects] == [(12.0, False), (5.0, True)]
    assert not data.has_masks


def test_limit_leaves_only_what_belongs_to_the_images(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    limited = read_dataset(tmp_path, path, limit=2)
    assert [image.id for image in limited.images] == [1, 2] and len(limited.objects) == 1 and limited.has_masks
    assert limited.images_sha256 != read_dataset(tmp_path, path).images_sha256


def test_the_digest_is_of_the_used_images(tmp_path: Path) -> None:
    path = write(tmp_path, body())
    first = read_dataset(tmp_path, path, limit=2)
    (tmp_path / "3.jpg").write_bytes(b"changed, not used")
    assert read_dataset(tmp_path, path, limit=2) == first
    (tmp_path / "1.jpg").write_bytes(b"changed, used")
    assert read_dataset(tmp_path, path, limit=2).images_sha256 != first.images_sha256


def test_the_kit(kit: Path) -> None:
    data: Dataset = read_dataset(kit / "coco" / "val" / "images", kit / "coco" / "val" / "instances.json")
    assert (len(data.images), len(data.categories), len(data.objects)) == (171, 80, 1373)
    assert data.has_masks and data.name == "val/instances.json"


def without(key: str) -> Callable[[Body], object]:
    return lambda content: content.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("annotations"), "lacks 'annotations'"),
        (without("images"), "lacks 'images'"),
        (lambda c: c["images"][0].pop("height"), "lacks 'height'"),
        (lambda c: c["images"][0].update(id="3"), "not a whole number"),
        (lambda c: c["images"][0].update(id=1), "an image id twice"),
        (lambda c: c["images"].clear(), "lists no images"),
        (lambda c: c["categories"].clear(), "lists no categories"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2]), "holds a wrong value"),
        (lambda c: c["annotations"][0].update(bbox=None), "holds a wrong value"),
        (lambda c: c["annotations"][0].update(category_id=9), "category 9"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "three points"),
        (lambda c: c["annotations"][0].update(segmentation=[["a"] * 6]), "holds a wrong value"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [2, 2], "counts": [1]}), "do not add up"),
        (lambda c: c.update(annotations=[5]), "holds a wrong value"),
        (lambda c: [i.update(file_name=f"x{i['id']}.jpg") for i in c["images"][1:]], r"2 of 3 images .* x1\.jpg"),
    ],
)
def test_broken_annotations(tmp_path: Path, change: Callable[[Body], object], message: str) -> None:
    content = body()
    change(content)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path, write(tmp_path, content))


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
