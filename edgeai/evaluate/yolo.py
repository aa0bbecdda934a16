"""Data sets in YOLO's format: a folder `images/`, a folder `labels/` of text files, and a `data.yaml` with the names.

A label line is `class x y w h` (a box) or `class x1 y1 x2 y2 x3 y3 ...` (an outline), all relative to the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeai.artifacts import Count, FileRef
from edgeai.errors import InputError
from edgeai.evaluate import flaws
from edgeai.evaluate.data_yaml import PARTS, DataYaml, parse_yaml, read_data_yaml, slashed
from edgeai.evaluate.dataset import Category, Dataset, Image, Listed, assemble
from edgeai.evaluate.flaws import Flaws
from edgeai.evaluate.outline import area_of
from edgeai.files import IMAGE_SUFFIXES, images_in, sha256_bytes
from edgeai.imaging.pictures import look

__all__ = ["has_part", "is_yolo", "parse_yaml", "read_yolo"]

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
OTHER_TEXTS = frozenset({"classes.txt", "labels.txt", "notes.txt", "readme.txt", *(f"{part}.txt" for part in PARTS)})
CLASS = re.compile(r"(\d{1,6})(?:\.0*)?", re.ASCII)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
FAR = 2.0  # times its image: a coordinate beyond is not relative
FORMAT_HINT = "a line is: class x y w h, or: class x1 y1 x2 y2 x3 y3 ..., relative to the image"


def is_yolo(path: Path) -> bool:
    """Whether a folder or file is a data set in YOLO's format."""
    if not path.is_dir():
        return path.suffix.lower() in (".yaml", ".yml")
    return any((path / name).is_file() for name in YAML_NAMES) or (
        (path / "images").is_dir() and (path / "labels").is_dir()
    )


def has_part(path: Path, part: str) -> bool:
    """Whether a YOLO data set names the images of `part`."""
    return is_yolo(path) and bool(_layout(path).parts.get(part))


def read_yolo(path: Path, part: str = "train", limit: int | None = None, skip_bad: bool = False) -> Dataset:
    """The `part` (train, val) of a data.yaml, or all of a folder without parts.

    Raises InputError as `read_dataset` does; `limit` takes the first images by path.
    """
    layout = _layout(path)
    files = _image_files(layout, part)
    _check_labels(files, path)
    found, mixed, bare = Flaws(), [], 0
    for label in _orphans(files):
        found.add(flaws.UNLISTED, f"{label.parent.name}/{label.name}")
    images, objects, texts = [], [], []
    used = files[:limit]
    for number, (file, picture) in enumerate(zip(used, look(used), strict=True), start=1):
        height, width = (picture.height, picture.width) if picture else (0, 0)
        images.append(Image(number, file, height, width))
        label = _label_file(file)
        if not label.is_file():
            bare += 1
            continue
        text = _text(label)
        texts.append(f"{label.name}\0{text}")
        rows = list(_rows(text, label, number, height, width)) if picture else []
        objects += rows
        mixed += [label.name] if len({row.segmentation is None for row in rows}) > 1 else []
    data = "\n".join([*texts, *layout.names]).encode()
    return assemble(
        f"{layout.root.name}/{part}",
        images,
        _categories(layout, objects, path),
        objects,
        FileRef(f"{layout.root.name} labels", sha256_bytes(data), len(data)),
        skip_bad=skip_bad,
        found=found,
        counts=(Count(f"{flaws.MIXED} ({', '.join(mixed[:3])})", len(mixed)), Count(flaws.UNLABELLED, bare)),
    )


# --- the files of a set -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a set is; `yaml` is None for a folder without one."""

    yaml: DataYaml | None
    root: Path
    names: tuple[str, ...]

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return self.yaml.parts if self.yaml else {}


def _layout(path: Path) -> _Layout:
    if not path.exists():
        raise InputError(f"{path} does not exist", "pass a data.yaml, or a folder with images/ and labels/")
    file = path if path.is_file() else next((path / name for name in YAML_NAMES if (path / name).is_file()), None)
    if file is not None:
        yaml = read_data_yaml(file)
        return _Layout(yaml, yaml.root, yaml.names)
    listed = path / "classes.txt"
    lines = _text(listed).splitlines() if listed.is_file() else []
    return _Layout(None, path, tuple(line.strip() for line in lines if line.strip()))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text", "label files and lists are UTF-8") from None


def _image_files(layout: _Layout, part: str) -> list[Path]:
    """The images of a part, each once, in the order of the places that hold them."""
    if layout.yaml is None:
        folder = layout.root / "images"
        return _images_of(folder / part if (folder / part).is_dir() else folder)
    places = layout.parts.get(part)
    if places is None:
        raise InputError(f"{layout.yaml.file} names no {part!r} images", "add the key, or pass another --data")
    found = [file for place in places for file in _images_of(_place(layout.root, place))]
    unique: dict[Path, Path] = {}
    for file in found:
        unique.setdefault(file.resolve(), file)
    return list(unique.values())


def _place(root: Path, text: str) -> Path:
    text = slashed(text, root)
    place = root / text
    # the data.yaml of an export says ../train/images and lies beside train/
    return place if place.exists() or not text.startswith("../") else root / text.removeprefix("../")


def _images_of(place: Path) -> list[Path]:
    """The images below a folder, or those that a text file lists, relative to its own folder."""
    if place.is_dir():
        files = images_in(place, below=True)
    elif place.is_file() and place.suffix.lower() in IMAGE_SUFFIXES:
        files = [place]
    elif place.is_file():
        lines = [line.strip() for line in _text(place).splitlines()]
        files = [place.parent / slashed(line, place.parent) for line in lines if line]
    else:
        raise InputError(f"{place} does not exist", "data.yaml names it as a folder of images")
    if not files:
        raise InputError(f"{place} holds no images", "JPEG and PNG are read")
    return files


def _label_file(image: Path) -> Path:
    """images/.../name.jpg -> labels/.../name.txt: the last folder called images counts."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _check_labels(files: list[Path], path: Path) -> None:
    """Raises InputError where there are no label files, or two images have one between them."""
    owners: dict[Path, Path] = {}
    for file in files:
        other = owners.setdefault(_label_file(file), file)
        if other != file:
            raise InputError(f"{other.name} and {file.name} have one label file", "give every image a name of its own")
    if not any(label.is_file() for label in owners):
        raise InputError(f"{path} has no label files", f"expected for example {_label_file(files[0])}")


def _orphans(files: list[Path]) -> list[Path]:
    """The label files without an image, of folders whose images are all in the set: a list may take some of them."""
    used, orphans = set(files), []
    for folder in sorted({file.parent for file in files}):
        labels = _label_file(folder / "any").parent
        if labels == folder or not used.issuperset(images_in(folder)):
            continue
        texts = [file for file in labels.glob("*.txt") if not file.name.startswith(".")]
        expected = {_label_file(file) for file in images_in(folder)}
        orphans += sorted(file for file in texts if file not in expected and file.name.lower() not in OTHER_TEXTS)
    return orphans


# --- label lines --------------------------------------------------------------------------------


def _rows(text: str, file: Path, image: int, height: int, width: int) -> Iterator[Listed]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield _row(line.split(), f"{file.name}, line {number}", image, height, width)


def _row(fields: list[str], where: str, image: int, height: int, width: int) -> Listed:
    odd = next((field for field in fields if not NUMBER.fullmatch(field)), None)
    if odd is not None:
        raise InputError(f"{where}: {odd[:20]!r} is not a number", FORMAT_HINT)
    label, numbers = CLASS.fullmatch(fields[0]), [float(field) for field in fields[1:]]
    if label is None:
        raise InputError(f"{where}: {fields[0][:20]!r} is no class number", FORMAT_HINT)
    if not (len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)):
        raise InputError(f"{where}: {len(fields)} fields", FORMAT_HINT)
    if not all(-FAR <= number <= FAR for number in numbers):
        raise InputError(f"{where}: a coordinate is outside 0..1", FORMAT_HINT)
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        box = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
        return Listed(where, image, int(label[1]), box, scaled=True)
    points = np.array(numbers).reshape(-1, 2) * (width, height)
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    box = (x1, y1, x2 - x1, y2 - y1)
    return Listed(where, image, int(label[1]), box, area_of(points), False, [points.ravel().tolist()], scaled=True)


def _categories(layout: _Layout, objects: list[Listed], path: Path) -> tuple[Category, ...]:
    highest = max((entry.category_id for entry in objects), default=-1)
    names = layout.names or tuple(f"class{i}" for i in range(highest + 1))
    if highest >= len(names):
        where = next(entry.where for entry in objects if entry.category_id == highest)
        raise InputError(
            f"{path}: {where} is of class {highest}, and {len(names)} classes are named", "complete `names`"
        )
    if not names:
        raise InputError(f"{path} has no objects and names no classes", "name its classes in a data.yaml")
    return tuple(Category(number, name) for number, name in enumerate(names))
