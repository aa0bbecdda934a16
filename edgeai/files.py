"""Files: hashing, and writing so that nothing is ever half there."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeai.artifacts import FileRef
from edgeai.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name. Hidden files are none: a folder copied from a Mac holds `._1.jpg`, a
    few bytes about the file, beside `1.jpg`."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_in(folder: Path, below: bool = False) -> list[Path]:
    """The image files of a folder, with `below` those of its folders too, sorted; nothing that is hidden."""
    found = (path for path in (folder.rglob("*") if below else folder.iterdir()) if is_image(path) and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parse_toml(text: str) -> dict[str, Any]:
    """TOML that a user wrote. Raises TOMLDecodeError, also for NaN and infinity: nothing can be held to them."""
    return tomllib.loads(text, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise tomllib.TOMLDecodeError(f"{text} is no number to compare with")
    return value


def existing_file(path: Path, what: str) -> Path:
    """`path`, where it is a readable file; InputError naming it otherwise."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not {what}")
    if not path.exists():
        raise InputError(f"{path} does not exist", f"pass {what}")
    return path


def file_ref(path: Path) -> FileRef:
    return FileRef(name=path.name, sha256=sha256_file(path), bytes=path.stat().st_size)


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside, fsync, rename: readers see the old file or the new one, never half of one."""
    write_with(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Let `writer` fill a temporary file in the same folder, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        writer(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
