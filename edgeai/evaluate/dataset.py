"""Data sets: pictures with the objects in them, in COCO's or YOLO's format, checked before they are believed.

Evaluation and training read through here. What cannot be right is refused, naming the annotation; small flaws are
clipped and counted, or listed and refused, or left out and counted where the user asks for it (`flaws`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeai.artifacts import Count, FileRef
from edgeai.errors import InputError
from edgeai.evaluate import flaws
from edgeai.evaluate.classes import plain
from edgeai.evaluate.flaws import Flaws
from edgeai.evaluate.outline import RELATIVE, read_outline
from edgeai.imaging.pictures import Picture, look

OVERHANG = 2.0  # pixels that an object may reach out of its image: it is clipped, and counted
NOISE = 0.01  # pixels outside that rounding explains: they are left as they are


@dataclass(frozen=True, slots=True)
class Image:
    id: int
    path: Path
    height: int
    width: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Category:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object. `bbox` is x, y, w, h in pixels, inside the image. `segmentation` is the JSON text of COCO's value
    ("" where absent): polygons or run lengths, sound for the image. `where` names it in messages."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The used images by ascending id, with their annotations. `images_sha256` is a digest over name and content hash
    of every used image; `annotations` the file that was read. `counts`: objects, and what was found with them."""

    name: str
    images: tuple[Image, ...]
    categories: tuple[Category, ...]
    objects: tuple[Annotation, ...]
    annotations: FileRef
    images_sha256: str
    counts: tuple[Count, ...] = ()

    @property
    def has_masks(self) -> bool:
        return bool(self.objects) and all(entry.segmentation for entry in self.objects)

    @property
    def truth_sha256(self) -> str:
        """A digest of what was believed: the same file read otherwise (objects left out) is another truth."""
        return hashlib.sha256(repr((self.categories, self.objects, self.counts)).encode()).hexdigest()

    def need_masks(self, hint: str) -> None:
        """Raises InputError that names an object without a mask, and the files that mix both, where there is one."""
        bare = [entry.where for entry in self.objects if not entry.segmentation]
        if bare:
            count = f"{len(bare):,} of {len(self.objects):,} objects"
            mixed = next((f"; {entry.name}" for entry in self.counts if entry.name.startswith(flaws.MIXED)), "")
            what = f"{bare[0]} is a box, without an outline" if bare[0] else "they are boxes"
            raise InputError(f"{self.name} has {count} without masks: {what}{mixed}", hint)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a file says, before it is believed: an object of `image_id`. `segmentation` is COCO's JSON value; `area`
    None is that of the box; `scaled` where the file's coordinates are relative and were multiplied by the size."""

    where: str
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    crowd: bool = False
    segmentation: Any = None
    scaled: bool = False


def assemble(
    name: str,
    images: Sequence[Image],
    categories: Sequence[Category],
    objects: Iterable[Listed],
    annotations: FileRef,
    *,
    limit: int | None = None,
    skip_bad: bool = False,
    found: Flaws | None = None,
    counts: Sequence[Count] = (),
) -> Dataset:
    """The data set of what a file lists. `found` are flaws met while reading, `counts` what else was counted.

    Raises InputError as `read_dataset` does.
    """
    file = annotations.name
    found = found or Flaws()
    _check_categories(categories, file)
    used = sorted(images, key=lambda image: image.id)
    _check_images(used, file)
    there = _seen(used[:limit], found, file)
    listed, known = {image.id for image in used}, {category.id for category in categories}
    kept, clipped = [], 0
    for entry in objects:
        if entry.image_id not in listed:
            found.add(flaws.UNLISTED, entry.where)
        elif entry.category_id not in known:
            what = f"{entry.where} is of category {entry.category_id}"
            raise InputError(f"{file}: {what}, which is not listed", "list every category, with its name")
        elif entry.image_id in there:
            annotation, moved = _believed(entry, there[entry.image_id], found, file)
            kept += [annotation] if annotation else []
            clipped += moved
    skipped = found.settle(file, skip_bad)
    if not there:
        raise InputError(f"{file} has no image that can be read", "pass the folder that has them")
    said = [Count(flaws.OBJECTS, len(kept)), Count(flaws.CROWD, sum(entry.crowd for entry in kept))]
    said += [Count(flaws.CLIPPED, clipped), *counts]
    return Dataset(
        name=name,
        images=tuple(there.values()),
        categories=tuple(categories),
        objects=tuple(kept),
        annotations=annotations,
        images_sha256=_digest(there.values()),
        counts=(*(entry for entry in said if entry.count), *skipped),
    )


def _check_categories(categories: Sequence[Category], file: str) -> None:
    if not categories:
        raise InputError(f"{file} lists no categories", "name the classes of its objects")
    ids = Counter(category.id for category in categories)
    twice = next((number for number, count in ids.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{file} lists category {twice} twice", "give every category an id of its own")
    names: dict[str, Category] = {}
    for category in categories:
        if not category.name.strip():
            raise InputError(f"{file}: category {category.id} has no name", "name every category")
        other = names.setdefault(plain(category.name) or category.name.strip(), category)
        if other is not category:
            same = other.name.strip() == category.name.strip()
            called = "" if same else f"{other.name!r} and "
            both = f"categories {other.id} and {category.id} are {'both ' * same}called {called}{category.name!r}"
            both += "" if same else ", which is one name without case, blanks, - and _"
            raise InputError(f"{file}: {both}", "make them one category, or take out the one without objects")


def _check_images(images: Sequence[Image], file: str) -> None:
    if not images:
        raise InputError(f"{file} lists no images", "pass a set that has some")
    ids: set[int] = set()
    paths: dict[Path, int] = {}
    for image in images:
        if image.id in ids:
            raise InputError(f"{file} lists an image id twice: {image.id}", "give every image an id of its own")
        ids.add(image.id)
        other = paths.setdefault(image.path, image.id)
        if other != image.id:
            both = f"images {other} and {image.id} are both {image.path.name}"
            raise InputError(f"{file}: {both}", "list a picture once, with all of its objects")


def _seen(images: Sequence[Image], found: Flaws, file: str) -> dict[int, Image]:
    """The images whose picture can be read, by id, each held against its size as listed (0: as the picture has it)."""
    there = {}
    for image, picture in zip(images, look([image.path for image in images]), strict=True):
        if picture is None:
            missing = not image.path.is_file()
            found.add(flaws.MISSING if missing else flaws.UNREADABLE, str(image.path) if missing else image.path.name)
            continue
        there[image.id] = _measured(image, picture, file)
    return there


def _measured(image: Image, picture: Picture, file: str) -> Image:
    size = (picture.height, picture.width)
    if (image.height or picture.height, image.width or picture.width) != size:
        listed = f"{image.width}x{image.height}"
        raise InputError(
            f"{image.path.name} is {picture.width}x{picture.height}, annotated as {listed} in {file}",
            "pass the images that were annotated, or the annotations of these",
        )
    return replace(image, height=picture.height, width=picture.width, sha256=picture.sha256)


def _believed(entry: Listed, image: Image, found: Flaws, file: str) -> tuple[Annotation | None, bool]:
    """An object that is right for its image, or None where it has a flaw; and whether it was clipped."""
    try:
        outline = read_outline(entry.segmentation, image.height, image.width, entry.scaled)
        if not entry.scaled:
            _check_scale(entry.bbox, image)
    except ValueError as error:
        what = f"{file}: {entry.where} ({image.path.name}) has {error}"
        raise InputError(what, "correct the annotation: coordinates and sizes are in pixels of the image") from None
    x, y, width, height = entry.bbox
    out = max(-x, -y, x + width - image.width, y + height - image.height, outline.overhang if outline else 0.0)
    if width <= 0 or height <= 0:
        found.add(flaws.NO_AREA, entry.where)
        return None, False
    if out > OVERHANG:
        found.add(flaws.OUTSIDE, entry.where)
        return None, False
    if outline is not None and outline.empty:
        found.add(flaws.NO_PIXEL, entry.where)
        return None, False
    bbox = _clipped(entry.bbox, image) if out > NOISE else entry.bbox
    if bbox[2] <= 0 or bbox[3] <= 0:
        found.add(flaws.NO_AREA, entry.where)
        return None, False
    area = bbox[2] * bbox[3] if entry.area is None else entry.area
    text = outline.text if outline else ""
    return Annotation(image.id, entry.category_id, bbox, area, entry.crowd, text, entry.where), out > NOISE


def _check_scale(bbox: tuple[float, float, float, float], image: Image) -> None:
    """Raises ValueError where a box is relative to its image."""
    x, y, width, height = bbox
    if 0 < max(x + width, y + height) <= RELATIVE and min(x, y) >= 0 and min(image.height, image.width) > 1:
        raise ValueError(f"a box within 0..1 ({x:g}, {y:g}, {width:g}, {height:g}): it is relative, not in pixels")


def _clipped(bbox: tuple[float, float, float, float], image: Image) -> tuple[float, float, float, float]:
    x, y, width, height = bbox
    x1, y1 = max(x, 0.0), max(y, 0.0)
    return x1, y1, min(x + width, image.width) - x1, min(y + height, image.height) - y1


def _digest(images: Iterable[Image]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path.name}\0{image.sha256}\n".encode())
    return digest.hexdigest()
