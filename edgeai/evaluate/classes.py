"""Which class of a model is which category of a data set: by name, as people write names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeai.artifacts import Fact
from edgeai.errors import InputError

if TYPE_CHECKING:
    from edgeai.evaluate.dataset import Dataset

SHOWN = 6  # names in a message
BY_NAME, BY_ID, BY_ORDER = "name", "category id", "folder order"


@dataclass(frozen=True, slots=True)
class Pairing:
    """The category of every class of a model. `by` says how they were paired; `pairs` names them where it was not by
    name, so that somebody can see whether they are right."""

    ids: tuple[int, ...]
    by: str
    pairs: tuple[Fact, ...] = ()


def plain(name: str) -> str:
    """A name without case, blanks, `-` and `_`."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def match(wanted: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """The place in `known` of every wanted name: the same name, else the one name that differs in case, blanks, `-`
    and `_` only. None where there is none, or several, or another wanted name has it."""
    taken: set[int] = set()
    found: list[int | None] = [None] * len(wanted)
    for form in (str.strip, plain):
        places: dict[str, list[int]] = {}
        for place, name in enumerate(known):
            if place not in taken:
                places.setdefault(form(name), []).append(place)
        for number, name in enumerate(wanted):
            near = places.get(form(name), []) if found[number] is None and form(name) else []
            if len(near) == 1 and near[0] not in taken:
                found[number] = near[0]
                taken.add(near[0])
    return found


def pair(names: Sequence[str], dataset: Dataset) -> Pairing:
    """The category of every class `names`: by name, else, where no name matches and there are equally many, by the
    order of the category ids. Raises InputError, naming the pairs that there are, where some names match only."""
    categories = sorted(dataset.categories, key=lambda category: category.id)
    found = match(names, [category.name for category in categories])
    if None not in found and names:
        return Pairing(tuple(categories[place].id for place in found if place is not None), BY_NAME)
    if found.count(None) == len(names) == len(categories):
        pairs = tuple(Fact(name, category.name) for name, category in zip(names, categories, strict=True))
        return Pairing(tuple(category.id for category in categories), BY_ID, pairs)
    unknown = names[found.index(None)] if names else ""
    both = [(name, categories[place]) for name, place in zip(names, found, strict=True) if place is not None]
    known = f" (others are: {some([f'{name} = {entry.name}' for name, entry in both])})" if both else ""
    raise InputError(
        f"the model has {len(names)} classes, {dataset.name} has {len(categories)} categories, "
        f"and {unknown!r} is none of them{known}",
        f"name the classes in order: --classes a,b; the categories are {some([entry.name for entry in categories])}",
    )


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def said(by: str, pairs: Sequence[Fact]) -> str:
    """How classes were paired, in words; "" where it was by name, as it should be."""
    if not pairs:
        return ""
    return f"paired by {by}, no name matches: {some([f'{fact.name} = {fact.value}' for fact in pairs])}"
