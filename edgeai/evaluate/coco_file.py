"""COCO's instances format: a JSON file, and a folder of images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from edgeai.artifacts import FileRef
from edgeai.errors import InputError
from edgeai.evaluate.dataset import Category, Dataset, Image, Listed, assemble
from edgeai.evaluate.outline import numeral, whole
from edgeai.files import existing_file, sha256_bytes

LARGEST_AREA = 1e10  # pycocotools leaves larger objects out of every figure
HINT = "pass annotations in COCO's instances format"
Entry = dict[str, Any]
T = TypeVar("T")


def read_coco(images: Path | None, annotations: Path, limit: int | None = None, skip_bad: bool = False) -> Dataset:
    """The data set of an annotation file and the folder of its images. Raises InputError as `read_dataset` does."""
    data = existing_file(annotations, "a COCO instances.json").read_bytes()
    if images is None or not images.is_dir():
        what = "the folder of the images is missing" if images is None else f"{images} is not a folder"
        raise InputError(what, "pass the folder of the images")
    body, file = _parse(data, annotations.name), annotations.name
    return assemble(
        f"{annotations.resolve().parent.name}/{file}",
        _each(body, "images", "image", file, lambda entry, _: _image(entry, images)),
        _each(body, "categories", "category", file, _category),
        list(_objects(body, file)),
        FileRef(name=file, sha256=sha256_bytes(data), bytes=len(data)),
        limit=limit,
        skip_bad=skip_bad,
    )


def _parse(data: bytes, name: str) -> Entry:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}", HINT) from None
    if not isinstance(body, dict):
        raise InputError(f"{name} is not a COCO file", HINT)
    return body


def _each(body: Entry, key: str, kind: str, file: str, read: Callable[[Entry, str], T]) -> list[T]:
    """Every entry of a list, read; what is wrong with one is said with its id, or its place where it has none."""
    if key not in body:
        raise InputError(f"{file} lacks {key!r}", HINT)
    entries = body[key]
    if not isinstance(entries, list):
        raise InputError(f"{file}: {key!r} holds a wrong value: it is no list", HINT)
    found = []
    for number, entry in enumerate(entries, start=1):
        where = f"{kind} {entry['id']}" if isinstance(entry, dict) and type(entry.get("id")) in (int, str) else ""
        where = where or f"{kind} number {number}"
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"type {type(entry).__name__}")
            found.append(read(entry, where))
        except KeyError as error:
            raise InputError(f"{file}: {where} lacks {error}", HINT) from None
        except ValueError as error:
            raise InputError(f"{file}: {where} holds a wrong value: {error}", HINT) from None
    return found


def _image(entry: Entry, folder: Path) -> Image:
    name, height, width = entry["file_name"], whole(entry["height"]), whole(entry["width"])
    if not isinstance(name, str) or not name.strip():
        raise ValueError("a file_name that is no text")
    if height < 1 or width < 1:
        raise ValueError(f"a size of {width}x{height} pixels")
    path = folder / name
    if "\\" in name and not path.is_file():  # written under Windows
        path = folder / name.replace("\\", "/")
    return Image(whole(entry["id"]), path, height, width)


def _category(entry: Entry, _: str) -> Category:
    name = entry["name"]
    if type(name) not in (str, int):  # the classes of a set of digits
        raise ValueError("a name that is no text")
    return Category(whole(entry["id"]), str(name))


def _objects(body: Entry, file: str) -> Iterator[Listed]:
    kinds: set[type] = set()
    known: set[int | str] = set()

    def named(entry: Entry, where: str) -> Listed:
        """Annotations are only numbered to be named, so a number is not needed; but none may stand for two."""
        number = entry.get("id")
        if number is not None:
            if type(number) not in (int, str):
                raise ValueError("an id that is no whole number")
            kinds.add(type(number))
            if len(kinds) > 1:
                raise ValueError("an id that is text where others are numbers, or a number where others are text")
            if number in known:
                raise ValueError("an id that another annotation has")
            known.add(number)
        return _object(entry, where)

    yield from _each(body, "annotations", "annotation", file, named)


def _object(entry: Entry, where: str) -> Listed:
    bbox = entry["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError("a bbox that is no list of four numbers")
    x, y, width, height = map(numeral, bbox)
    area = entry.get("area")
    if area is not None and not 0 <= numeral(area) <= LARGEST_AREA:
        raise ValueError(f"an area of {area}")
    return Listed(
        where=where,
        image_id=whole(entry["image_id"]),
        category_id=whole(entry["category_id"]),
        bbox=(x, y, width, height),
        area=None if area is None else float(area),
        crowd=_crowd(entry.get("iscrowd")),
        segmentation=entry.get("segmentation"),
    )


def _crowd(value: Any) -> bool:
    """`iscrowd`; where it is absent, the object is none."""
    if value is None:
        return False
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError("an iscrowd that is neither 0 nor 1")
