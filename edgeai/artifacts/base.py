"""What every artifact is made of: files, facts, counts, and where a result came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that went into a result or came out of it: its base name, content hash and size."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One named value of a protocol: an option, a tool version, a threshold."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made from. It holds no time and no path, so that same inputs give same bytes."""

    stage: str
    inputs: tuple[FileRef, ...] = ()
    options: tuple[Fact, ...] = ()
    versions: tuple[Fact, ...] = ()
    licence: str = "unknown"


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    count: int
