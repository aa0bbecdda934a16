"""Looking at pictures before they are used: what cannot be read is known before the work, not in the middle of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgeai.errors import InputError
from edgeai.files import sha256_bytes

REMEMBERED = 1 << 17  # files whose look is kept: a sweep looks at the same ones again and again


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file that can be read: the hash and size of the file, height and width in pixels."""

    sha256: str
    bytes: int
    height: int
    width: int


def look(paths: Sequence[Path]) -> list[Picture | None]:
    """Every file decoded once, in the given order; None for what is no picture, or is not there."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # OpenCV decodes outside Python's lock
        return list(pool.map(_look_at, paths))


def _look_at(path: Path) -> Picture | None:
    try:
        state = path.stat()
        return _decoded(str(path.absolute()), state.st_mtime_ns, state.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(REMEMBERED)
def _decoded(path: str, changed_ns: int, size: int) -> Picture | None:
    """A file changed since has another time or size, and is looked at again."""
    from edgeai.imaging.images import decode_image

    data = Path(path).read_bytes()
    try:
        height, width = decode_image(data, path).shape[:2]
    except InputError:
        return None
    return Picture(sha256_bytes(data), len(data), height, width)
