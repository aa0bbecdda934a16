"""What a checkpoint says of itself besides its weights: class names, image size, licence.

Files are written by many hands: numbers come as text, as floats and as numpy's, class numbers have gaps. What can only
mean one thing is read; what had to be settled is said in a note.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.errors import InputError
from edgeai.models.inert import RETRAIN_HINT, plain
from edgeai.models.unpickle import Placeholder, printable

MAX_CLASSES = 100_000
SMALLEST, LARGEST = 32, 8192  # pixels
LICENCE_OF_CODE = "AGPL-3.0"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of weights, `unknown` where nothing says; `source` is what it follows from where it is not stated."""

    name: str = UNKNOWN
    source: str = ""


def licence_of(stated: object, model: Placeholder) -> Licence:
    """The licence that a file states, else that of the code whose classes it names."""
    text = plain(stated)
    if isinstance(text, str) and text.strip():
        return Licence(printable(text.strip()))
    if model.origin.startswith("ultralytics."):
        return Licence(LICENCE_OF_CODE, "the file states none; its classes are Ultralytics', whose code is AGPL-3.0")
    if model.origin.startswith(("models.", "yolov5.")):
        source = "the file states none; its classes are those of Ultralytics' YOLOv5, whose code is AGPL-3.0 today"
        return Licence(LICENCE_OF_CODE, source)
    return Licence()


def class_names(names: object, nc: int, file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The `nc` class names of a list or of a dictionary by number, and notes on what was settled.

    Class0, class1, ... where there are none, and for numbers that a dictionary leaves out. Raises InputError where the
    names are not of this network.
    """
    if not names:
        return tuple(f"class{i}" for i in range(nc)), ()
    found = _numbered(names, file)
    most = max(found) + 1
    if most != nc:
        what = f"{most} classes" if len(found) == most else f"a class {most - 1}"
        raise InputError(f"{file} names {what}, but its head has {nc} scores", RETRAIN_HINT)
    missing = [i for i in range(nc) if i not in found]
    notes = (f"no name for {_listed(missing)} in the file: class{missing[0]} and so on",) if len(missing) > 1 else ()
    notes = (f"no name for class {missing[0]} in the file: class{missing[0]}",) if len(missing) == 1 else notes
    return tuple(found.get(i, f"class{i}") for i in range(nc)), notes


def _numbered(names: object, file: str) -> dict[int, str]:
    """Names by class number."""
    items = list(enumerate(names)) if isinstance(names, list | tuple) else None
    items = list(names.items()) if isinstance(names, dict) else items
    if items is None or len(items) > MAX_CLASSES:
        raise InputError(f"{file} has class names that are not a list of names", RETRAIN_HINT)
    found: dict[int, str] = {}
    for key, value in items:
        number, name = _whole(key), plain(value)
        if number is None or not 0 <= number < MAX_CLASSES:
            raise InputError(f"{file} has a class name under {printable(plain(key))}, not a number", RETRAIN_HINT)
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise InputError(f"{file}: class {number} has no name but {printable(name)}", RETRAIN_HINT)
        if number in found:
            raise InputError(f"{file} names class {number} twice", RETRAIN_HINT)
        found[number] = shown(str(name))
    return found


def shown(name: str) -> str:
    """A class name with its control characters spelt out, all others as they are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def image_size(value: object, stride: int) -> tuple[int | None, tuple[str, ...]]:
    """The larger side in pixels of a training size (number, text, or height and width), None where there is none; and
    a note where it cannot be used as it is."""
    sides = value if isinstance(value, list | tuple) and value else [value]
    sizes = [_whole(side) for side in sides]
    if value is None:
        return None, ()
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes) or not SMALLEST <= max(known) <= LARGEST:
        text = printable(plain(value))
        return None, (f"the image size in the file, {text}, is none in pixels: pass --imgsz where a size is needed",)
    size = max(known)
    if size % stride:
        near = -(-size // stride) * stride
        return size, (f"the image size in the file, {size}, is no multiple of {stride}: pass --imgsz, {near} for one",)
    return size, ()


def _whole(value: object) -> int | None:
    """A whole number that is given as a number, as text or by numpy."""
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 32 else None
        except ValueError:
            return None
    return int(value) if isinstance(value, int | float) and value == value // 1 else None


def _listed(numbers: list[int]) -> str:
    text = ", ".join(str(number) for number in numbers[:10])
    return f"the classes {text}{', ...' if len(numbers) > 10 else ''}"
