"""Data sets in COCO's format: `instances.json` and a folder of images."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.artifacts import FileRef
from edgeai.errors import InputError
from edgeai.files import existing_file, sha256_bytes, sha256_file


@dataclass(frozen=True, slots=True)
class Image:
    id: int
    path: Path
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Category:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object. `bbox` is x, y, w, h in pixels. `segmentation` is the JSON text of COCO's value ("" where absent):
    polygons or run lengths, which only pycocotools looks into."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The used images by ascending id, with their annotations. `images_sha256` is a digest over name and content hash
    of every used image; `annotations` the file that was read."""

    name: str
    images: tuple[Image, ...]
    categories: tuple[Category, ...]
    objects: tuple[Annotation, ...]
    annotations: FileRef
    images_sha256: str

    @property
    def has_masks(self) -> bool:
        return bool(self.objects) and all(entry.segmentation for entry in self.objects)


def read_dataset(images: Path, annotations: Path, limit: int | None = None) -> Dataset:
    """The data set of an annotation file and its folder; with `limit` its first images by id.

    Raises InputError where a file is missing, the JSON is no COCO instances file, or a used image is not in the folder.
    """
    data = existing_file(annotations, "a COCO instances.json").read_bytes()
    if not images.is_dir():
        raise InputError(f"{images} is not a folder", "pass the folder of the images")
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} leaves no image", "pass at least 1")
    body = _parse(data, annotations.name)
    try:
        used = tuple(sorted((_image(entry, images) for entry in body["images"]), key=lambda image: image.id))[:limit]
        categories = tuple(Category(_int(entry["id"]), str(entry["name"])) for entry in body["categories"])
        ids = {image.id for image in used}
        objects = tuple(_annotation(entry) for entry in body["annotations"] if entry["image_id"] in ids)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"holds a wrong value: {error}"
        raise InputError(f"{annotations.name} {what}", "pass annotations in COCO's instances format") from None
    _check(used, categories, objects, images, annotations.name)
    return Dataset(
        name=f"{annotations.resolve().parent.name}/{annotations.name}",
        images=used,
        categories=categories,
        objects=objects,
        annotations=FileRef(name=annotations.name, sha256=sha256_bytes(data), bytes=len(data)),
        images_sha256=_digest(used),
    )


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}", "pass annotations in COCO's instances format") from None
    if not isinstance(body, dict):
        raise InputError(f"{name} is not a COCO file", "pass annotations in COCO's instances format")
    return body


def _image(entry: dict[str, Any], folder: Path) -> Image:
    return Image(_int(entry["id"]), folder / entry["file_name"], _int(entry["height"]), _int(entry["width"]))


def _annotation(entry: dict[str, Any]) -> Annotation:
    x, y, width, height = map(float, entry["bbox"])
    return Annotation(
        image_id=entry["image_id"],
        category_id=_int(entry["category_id"]),
        bbox=(x, y, width, height),
        area=float(entry.get("area", width * height)),
        crowd=bool(entry.get("iscrowd", 0)),
        segmentation=_segmentation(entry.get("segmentation")),
    )


def _segmentation(value: Any) -> str:
    """The JSON text of polygons or run lengths, checked as far as pycocotools' C code takes it for granted."""
    if not value:
        return ""
    if isinstance(value, dict):
        rows, columns = value["size"]
        counts = value["counts"]
        if isinstance(counts, list) and sum(map(_int, counts)) != _int(rows) * _int(columns):
            raise ValueError("run lengths that do not add up to the size of their mask")
        if not isinstance(counts, list | str):
            raise ValueError(f"run lengths of type {type(counts).__name__}")
    elif any(len(polygon) < 6 or len(polygon) % 2 for polygon in value) or any(math.isnan(sum(p)) for p in value):
        raise ValueError("a polygon of fewer than three points, or of half a point")
    return json.dumps(value)


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _check(
    used: tuple[Image, ...],
    categories: tuple[Category, ...],
    objects: tuple[Annotation, ...],
    folder: Path,
    name: str,
) -> None:
    if not used:
        raise InputError(f"{name} lists no images")
    if len({image.id for image in used}) != len(used):
        raise InputError(f"{name} lists an image id twice")
    known = {category.id for category in categories}
    if not known:
        raise InputError(f"{name} lists no categories")
    strange = [entry.category_id for entry in objects if entry.category_id not in known]
    if strange:
        raise InputError(f"{name} has annotations of category {strange[0]}, which it does not list")
    missing = [image.path.name for image in used if not image.path.is_file()]
    if missing:
        count = f"{len(missing)} of {len(used)} images"
        raise InputError(f"{count} of {name} are not in {folder}: {missing[0]} ...", "pass the folder that has them")


def _digest(images: tuple[Image, ...]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path.name}\0{sha256_file(image.path)}\n".encode())
    return digest.hexdigest()
