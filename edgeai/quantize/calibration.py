"""Calibration sets: a folder, a list of files or a manifest of an earlier run. Never random data, never a default."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import CalibrationSet, Contract, FileRef, from_json
from edgeai.errors import InputError
from edgeai.files import IMAGE_SUFFIXES, file_ref, sha256_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_LIMIT = 128
HINT = "pass --calibration DIR with 100 or so photos of what the camera will see"


@dataclass(frozen=True, slots=True)
class CalibrationSource:
    """A calibration set and where its images are on this machine, in the same order."""

    set: CalibrationSet
    paths: tuple[Path, ...]


def open_calibration(source: Path | None, limit: int = DEFAULT_LIMIT, seed: int = 0) -> CalibrationSource:
    """The calibration images of a folder, a text file with one path a line, or a manifest (JSON of CalibrationSet).

    A folder or list longer than `limit` is thinned by a seeded choice; a manifest is used as it stands and every
    image is held against its hash. Raises InputError where there is nothing to calibrate with.
    """
    if source is None:
        raise InputError("no calibration images given; int8 ranges cannot be made up", HINT)
    if not source.exists():
        raise InputError(f"calibration set {source} does not exist", HINT)
    if source.is_dir():
        return _chosen(source.name or "calibration", _images_below(source), limit, seed)
    if source.suffix == ".json":
        return _from_manifest(source)
    return _chosen(source.stem, _listed(source), limit, seed)


def _images_below(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"no images in {folder}", HINT)
    return found


def _listed(source: Path) -> list[Path]:
    """The files a list names, relative to the list's own folder or to `images/` beside it."""
    try:
        lines = [line.strip() for line in source.read_text().splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{source} is neither a folder nor a list of images", HINT) from None
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputError(f"the list {source} names no image", HINT)
    return [_find(name, source) for name in names]


def _find(name: str, source: Path) -> Path:
    for candidate in (source.parent / name, source.parent / "images" / name):
        if candidate.is_file():
            return candidate
    raise InputError(f"{source} names {name}, which does not exist", "paths are relative to the list's folder")


def _chosen(name: str, paths: list[Path], limit: int, seed: int) -> CalibrationSource:
    """At most `limit` of the paths. The choice depends on the files' names and the seed alone, not on their order."""
    if limit < 1:
        raise InputError(f"--limit {limit}: at least one calibration image is needed")
    ordered = sorted(paths, key=lambda path: path.as_posix())
    if len(ordered) > limit:
        ordered = sorted(random.Random(seed).sample(ordered, limit), key=lambda path: path.as_posix())
    images = tuple(file_ref(path) for path in ordered)
    return CalibrationSource(_describe(name, images, seed), tuple(ordered))


def _from_manifest(source: Path) -> CalibrationSource:
    manifest = from_json(CalibrationSet, source.read_text(), str(source))
    paths = tuple(_find(image.name, source) for image in manifest.images)
    for image, path in zip(manifest.images, paths, strict=True):
        if file_ref(path).sha256 != image.sha256:
            raise InputError(f"{path} is not the image that {source} describes", "its hash differs")
    if not paths:
        raise InputError(f"the manifest {source} names no image", HINT)
    return CalibrationSource(_describe(manifest.name, manifest.images, manifest.seed), paths)


def _describe(name: str, images: tuple[FileRef, ...], seed: int) -> CalibrationSet:
    digest = sha256_bytes("".join(image.sha256 for image in images).encode())
    return CalibrationSet(name=name, images=images, seed=seed, sha256=digest)


def batches(paths: tuple[Path, ...], contract: Contract) -> Iterator[NDArray[np.float32]]:
    """The images as the network of this contract sees them, [1,S,S,3], one at a time: memory does not grow."""
    from edgeai.images import canvas, normalised, read_image

    for path in paths:
        yield normalised(canvas(read_image(path), contract), contract.mean, contract.std)[None]
