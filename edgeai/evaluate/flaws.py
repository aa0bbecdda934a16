"""Small flaws of ground truth: listed and refused, or left out and counted; and what a data set has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeai.artifacts import Count
from edgeai.errors import InputError

NO_AREA = ("box without area", "boxes without area")
NO_PIXEL = ("mask of no pixel", "masks of no pixel")
OUTSIDE = ("object more than 2 px outside its image", "objects more than 2 px outside their image")
UNLISTED = ("annotation of an unlisted image", "annotations of unlisted images")
MISSING = ("missing picture", "missing pictures")
UNREADABLE = ("unreadable picture", "unreadable pictures")
KINDS = (NO_AREA, NO_PIXEL, OUTSIDE, UNLISTED, MISSING, UNREADABLE)
LISTED = 5  # places named of each kind

OBJECTS, CROWD, CLIPPED = "objects", "crowd", "clipped"
MIXED, UNLABELLED = "label files that mix outlines and boxes", "images without a label file"


@dataclass(slots=True)
class Flaws:
    """Collects flaws while a set is read, by kind."""

    places: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: tuple[str, str], place: str) -> None:
        self.places.setdefault(kind, []).append(place)

    def settle(self, name: str, skip: bool) -> tuple[Count, ...]:
        """How many were left out, by kind. Raises InputError that lists them, where they are not to be skipped."""
        kinds = [kind for kind in KINDS if kind in self.places]
        if kinds and not skip:
            parts = [f"{_counted(kind, len(self.places[kind]))} ({_some(self.places[kind])})" for kind in kinds]
            mend = "pass the folder that has the pictures" if MISSING in kinds else "mend the set"
            raise InputError(
                f"{name} has {'; '.join(parts)}", f"{mend}, or pass --skip-bad to leave them out and count them"
            )
        return tuple(Count(kind[1], len(self.places[kind])) for kind in kinds)


def _counted(kind: tuple[str, str], count: int) -> str:
    return f"{count:,} {kind[count != 1]}"


def _some(places: Sequence[str]) -> str:
    rest = len(places) - LISTED
    return ", ".join(places[:LISTED]) + (f" and {rest:,} more" if rest > 0 else "")


def skipped(counts: Sequence[Count]) -> bool:
    """Whether something was left out of a data set."""
    return any(entry.name == kind[1] for entry in counts for kind in KINDS)


def remarks(counts: Sequence[Count]) -> list[str]:
    """What the counts of a data set mean, one sentence each; none where all its objects count as they are."""
    by_name = {entry.name: entry.count for entry in counts}
    objects, found = by_name.get(OBJECTS, 0), []
    if crowd := by_name.get(CROWD, 0):
        found.append(f"{crowd:,} of {objects:,} objects are crowd and not counted")
    if clipped := by_name.get(CLIPPED, 0):
        found.append(f"{clipped:,} of {objects:,} objects reached up to 2 px out of their image and were clipped")
    left_out = [_counted(kind, by_name[kind[1]]) for kind in KINDS if kind[1] in by_name]
    if left_out:
        found.append(f"left out: {', '.join(left_out)}")
    found += [f"{entry.name}: {entry.count:,}" for entry in counts if entry.name.startswith((MIXED, UNLABELLED))]
    return found
