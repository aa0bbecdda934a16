"""Data sets in YOLO's format: a folder `images/`, a folder `labels/` of text files, and a `data.yaml` with the names.

A label line is `class x y w h` (a box) or `class x1 y1 x2 y2 x3 y3 ...` (a polygon), all relative to the image.
Only what such a data.yaml needs of YAML is read: `key: value`, lists and numbered names.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import FileRef
from edgeai.errors import InputError
from edgeai.evaluate.dataset import Annotation, Category, Dataset, Image
from edgeai.files import sha256_bytes, sha256_file
from edgeai.images import read_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
SLACK = 1e-3  # how far a relative coordinate may lie outside 0..1 through rounding
FORMAT_HINT = "a line is: class x y w h, or: class x1 y1 x2 y2 x3 y3 ..., relative to the image"


@dataclass(frozen=True, slots=True)
class _Yaml:
    """What a data.yaml says; `file` is None where the folder has none."""

    file: Path | None
    root: Path
    parts: dict[str, str]
    names: tuple[str, ...]


def is_yolo(path: Path) -> bool:
    """Whether a folder or file is a data set in YOLO's format."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml")
    return any((path / name).is_file() for name in YAML_NAMES) or (
        (path / "images").is_dir() and (path / "labels").is_dir()
    )


def read_yolo(path: Path, part: str = "train") -> Dataset:
    """The `part` (train, val) of a data.yaml, or all of a folder without parts. Raises InputError."""
    layout = _layout(path)
    files = _image_files(layout, part)
    images: list[Image] = []
    objects: list[Annotation] = []
    digest, labels = [], 0
    for number, file in enumerate(files, start=1):
        height, width = read_image(file).shape[:2]
        images.append(Image(number, file, height, width))
        label = _label_file(file)
        if label.is_file():
            text = label.read_text(encoding="utf-8", errors="replace")
            labels += 1
            digest.append(f"{label.name}\0{text}")
            objects += _objects(text, label, number, height, width)
    if not labels:
        raise InputError(f"{path} has no label files", f"expected for example {_label_file(files[0])}")
    categories = _categories(layout, objects, path)
    images_digest = sha256_bytes("\n".join(f"{file.name}\0{sha256_file(file)}" for file in files).encode())
    data = "\n".join([*digest, *layout.names]).encode()
    return Dataset(
        name=f"{layout.root.name}/{part}",
        images=tuple(images),
        categories=categories,
        objects=tuple(objects),
        annotations=FileRef(f"{layout.root.name} labels", sha256_bytes(data), len(data)),
        images_sha256=images_digest,
    )


def has_part(path: Path, part: str) -> bool:
    """Whether a YOLO data set names the images of `part`."""
    return is_yolo(path) and bool(_layout(path).parts.get(part))


def _layout(path: Path) -> _Yaml:
    if path.is_dir():
        file = next((path / name for name in YAML_NAMES if (path / name).is_file()), None)
        if file is None:
            listed = path / "classes.txt"
            lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
            return _Yaml(None, path, {}, tuple(line.strip() for line in lines if line.strip()))
    else:
        file = path
    values, names = parse_yaml(file)
    root = Path(values.get("path", ""))
    root = root if root.is_absolute() else file.parent / root
    parts = {key: values[key] for key in ("train", "val", "test") if values.get(key)}
    # a data.yaml that was moved keeps the path of the machine it was made on
    return _Yaml(file, root if root.is_dir() else file.parent, parts, names)


def parse_yaml(file: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The plain values and the class names of a data.yaml. Raises InputError naming the line it cannot read."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text") from None
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    key = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if not line.strip() or line.strip() == "---":
            continue
        entry = re.match(r"^\s*(?:-\s+|(\d+)\s*:\s*)(.+)$", line)
        pair = re.match(r"^([A-Za-z_][\w-]*)\s*:\s*(.*)$", line)
        if pair:
            key = pair[1]
            values[key] = _unquoted(pair[2])
        elif entry and key:
            lists.setdefault(key, []).append(_unquoted(entry[2]))
        elif not line[0].isspace():
            raise InputError(f"{file.name}, line {number}: {line.strip()[:60]!r} is not understood", "see data.yaml")
    names = lists.get("names") or _inline(values.get("names", ""))
    return {**values, **{name: entries[0] for name, entries in lists.items() if not values.get(name)}}, tuple(names)


def _inline(text: str) -> list[str]:
    """[a, b] or {0: a, 1: b}"""
    body = text.strip()
    if len(body) < 2 or body[0] not in "[{" or body[-1] not in "]}":
        return []
    entries = [entry.strip() for entry in body[1:-1].split(",") if entry.strip()]
    return [_unquoted(entry.partition(":")[2] if body[0] == "{" else entry) for entry in entries]


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _image_files(layout: _Yaml, part: str) -> list[Path]:
    where = layout.parts.get(part)
    if where is None:
        if layout.parts:
            raise InputError(f"{layout.file} names no {part!r} images", "add the key, or pass another --data")
        folder = layout.root / "images"
        folder = folder / part if (folder / part).is_dir() else folder
    else:
        folder = layout.root / where.removeprefix("../") if not (layout.root / where).exists() else layout.root / where
    if folder.is_file():
        lines = [line.strip() for line in folder.read_text(encoding="utf-8").splitlines() if line.strip()]
        files = [Path(line) if Path(line).is_absolute() else folder.parent / line for line in lines]
    elif folder.is_dir():
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    else:
        raise InputError(f"{folder} does not exist", "data.yaml names it as a folder of images")
    if not files:
        raise InputError(f"{folder} holds no images", "JPEG and PNG are read")
    return files


def _label_file(image: Path) -> Path:
    """images/.../name.jpg -> labels/.../name.txt: the last folder called images counts."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _objects(text: str, file: Path, image: int, height: int, width: int) -> list[Annotation]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found.append(_object(line.split(), f"{file.name}, line {number}", image, height, width))
    return found


def _object(fields: list[str], where: str, image: int, height: int, width: int) -> Annotation:
    try:
        label, numbers = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        raise InputError(f"{where}: not numbers", FORMAT_HINT) from None
    if label < 0 or not (len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)):
        raise InputError(f"{where}: {len(fields)} fields", FORMAT_HINT)
    if not all(-SLACK <= number <= 1 + SLACK for number in numbers):
        raise InputError(f"{where}: a coordinate is outside 0..1", FORMAT_HINT)
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        box = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
        return Annotation(image, label, box, box[2] * box[3], False, "")
    xs = [min(max(x, 0.0), 1.0) * width for x in numbers[::2]]
    ys = [min(max(y, 0.0), 1.0) * height for y in numbers[1::2]]
    box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    area = abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2
    polygon = [value for pair in zip(xs, ys, strict=True) for value in pair]
    return Annotation(image, label, box, area, False, json.dumps([polygon]))


def _categories(layout: _Yaml, objects: list[Annotation], path: Path) -> tuple[Category, ...]:
    highest = max((entry.category_id for entry in objects), default=-1)
    names = layout.names or tuple(f"class{i}" for i in range(highest + 1))
    if highest >= len(names):
        raise InputError(f"{path} has labels of class {highest}, and names {len(names)} classes", "complete `names`")
    if not names:
        raise InputError(f"{path} has no objects and names no classes")
    return tuple(Category(number, name) for number, name in enumerate(names))
