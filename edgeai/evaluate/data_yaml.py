"""The `data.yaml` of a YOLO set: where its images are, and how its classes are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.errors import InputError

PARTS = ("train", "val", "test")
LARGEST = 1 << 20  # bytes; the names of ten thousand classes are a quarter of it
NOTHING = ("", "~", "null", "Null", "NULL")
HINT = "expected: train and val (folders or lists), and names: a list, or class numbers with their names"


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What a data.yaml says. `root` is the folder its paths are relative to; a part has one place or several."""

    file: Path
    root: Path
    parts: dict[str, tuple[str, ...]]
    names: tuple[str, ...]


def read_data_yaml(file: Path) -> DataYaml:
    """Raises InputError naming what is wrong: no YAML, a key twice, names with a gap, `nc` other than the names."""
    values, names = parse_yaml(file)
    for key in ("kpt_shape", "kpt_names"):
        if key in values:
            raise InputError(f"{file.name} describes key points ({key})", "boxes and outlines are read, poses are not")
    parts = {key: _places(values[key], key, file.name) for key in PARTS if key in values}
    root = file.parent
    if (path := values.get("path", "")) not in NOTHING:
        if not isinstance(path, str):
            raise InputError(f"{file.name}: path is no folder", HINT)
        root = file.parent / slashed(path, file.parent)
        # a data.yaml that was moved keeps the path of the machine it was made on
        root = root if root.is_dir() else file.parent
    return DataYaml(file, root, {key: places for key, places in parts.items() if places}, names)


def parse_yaml(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values of a data.yaml as they are written (text, lists, mappings), and its class names by number."""
    import yaml

    with file.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(f"{file.name} is larger than {LARGEST >> 20} MiB", "a data.yaml names folders and classes")
    try:
        values = yaml.load(data, Loader=_loader())
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place is not None else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{file.name}{line} is not YAML that can be read: {what}", HINT) from None
    if not isinstance(values, dict):
        raise InputError(f"{file.name} holds no keys", HINT)
    return values, _names(values, file.name)


def _loader() -> Any:
    """YAML with every scalar as it is written: a class called `no` is no truth value, one called 007 no number."""
    import yaml

    class Loader(yaml.BaseLoader):  # type: ignore[misc]  # it makes text, lists and mappings, and nothing else
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _merge(node, yaml)
            known: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in known:
                    what = f"{key.value[:40]!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
                known.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader


def _merge(node: Any, yaml: Any) -> None:
    """Put what `<<` names into a mapping, behind its own keys, which win; of several mappings the first."""
    merges = [entry for entry in node.value if entry[0].value == "<<" and entry[0].style is None]
    if not merges:
        return
    own = [entry for entry in node.value if entry not in merges]
    known = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
    for key, value in merges:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode) or source is node:
                raise yaml.constructor.ConstructorError(None, None, "<< names no mapping", key.start_mark)
            _merge(source, yaml)
            own += [entry for entry in source.value if entry[0].value not in known]
            known |= {entry[0].value for entry in source.value if isinstance(entry[0], yaml.ScalarNode)}
    node.value = own


def _names(values: dict[str, Any], file: str) -> tuple[str, ...]:
    """The class names in the order of their numbers, held against `nc`; `class0` ... where only `nc` is there."""
    found = values.get("names", "")
    count = _count(values["nc"], file) if values.get("nc", "") not in NOTHING else None
    if found in ("", []) or found in NOTHING:
        return tuple(f"class{number}" for number in range(count or 0))
    if isinstance(found, dict):
        names = _numbered(found, file)
    elif isinstance(found, list):
        names = found
    else:
        raise InputError(f"{file}: names is no list", HINT)
    wrong = next((place for place, name in enumerate(names) if not isinstance(name, str) or not name.strip()), None)
    if wrong is not None:
        raise InputError(f"{file}: class {wrong} has no name that is text", HINT)
    names = [name.strip() for name in names]
    if count is not None and count != len(names):
        raise InputError(f"{file}: nc is {count}, and names has {len(names)}", "correct the one that is wrong")
    return tuple(names)


def _count(value: Any, file: str) -> int:
    if not _is_number(value) or not int(value):
        raise InputError(f"{file}: nc is no number of classes", "nc is how many classes there are")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9]{1,6}", value) is not None


def _numbered(found: dict[Any, Any], file: str) -> list[Any]:
    """`{1: dog, 0: cat}` by number."""
    by_number: dict[int, Any] = {}
    for key, name in found.items():
        if not _is_number(key):
            raise InputError(f"{file}: names has a key that is no class number: {str(key)[:40]!r}", HINT)
        if int(key) in by_number:
            raise InputError(f"{file}: names has class {int(key)} twice", "give every class a number of its own")
        by_number[int(key)] = name
    gap = next((number for number in range(len(by_number)) if number not in by_number), None)
    if gap is not None:
        raise InputError(f"{file}: names has no class {gap}", "classes are numbered from 0, without a gap")
    return [by_number[number] for number in range(len(by_number))]


def _places(value: Any, key: str, file: str) -> tuple[str, ...]:
    """The folders or list files of a part."""
    places = value if isinstance(value, list) else [value]
    if not all(isinstance(place, str) for place in places):
        raise InputError(f"{file}: {key} is no folder, and no list of folders", HINT)
    return tuple(place.strip() for place in places if place not in NOTHING)


def slashed(path: str, folder: Path) -> str:
    """A path as this machine writes it: one written under Windows has its slashes turned, where it is not there as
    it stands."""
    return path.replace("\\", "/") if "\\" in path and not (folder / path).exists() else path
