"""Calibration sets: a folder, a list of files or a manifest of an earlier run. Never random data, never a default."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import CalibrationSet, Contract, FileRef, from_json
from edgeai.errors import InputError
from edgeai.files import images_in, sha256_bytes
from edgeai.imaging.pictures import look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeai.evaluate.dataset import Dataset

DEFAULT_LIMIT = 128
LISTED = 5  # unreadable images that are named
HINT = "pass --calibration DIR with 100 or so photos of what the camera will see"


@dataclass(frozen=True, slots=True)
class CalibrationSource:
    """A calibration set and where its images are on this machine, in the same order."""

    set: CalibrationSet
    paths: tuple[Path, ...]


def open_calibration(source: Path | None, limit: int = DEFAULT_LIMIT, seed: int = 0) -> CalibrationSource:
    """The calibration images of a folder, a text file with one path a line, or a manifest (JSON of CalibrationSet).

    A folder or list longer than `limit` is thinned by a seeded choice; a manifest is used as it stands and every
    image is held against its hash. Every chosen image is decoded once: what is none must not end the work half-way.
    Raises InputError where there is nothing to calibrate with, or an image cannot be read.
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
    found = images_in(folder, below=True)
    if not found:
        raise InputError(f"no images in {folder}", HINT)
    return found


def _listed(source: Path) -> list[Path]:
    """The files a list names, relative to the list's own folder or to `images/` beside it."""
    try:
        lines = [line.strip() for line in source.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{source} is neither a folder nor a list of images", HINT) from None
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputError(f"the list {source} names no image", HINT)
    return [_find(name, source) for name in names]


def _find(name: str, source: Path) -> Path:
    if "\\" in name and not (source.parent / name).is_file():  # written under Windows
        name = name.replace("\\", "/")
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
    images = _looked_at(ordered)
    return CalibrationSource(_describe(name, images, seed), tuple(ordered))


def _from_manifest(source: Path) -> CalibrationSource:
    manifest = from_json(CalibrationSet, source.read_text(), str(source))
    paths = tuple(_find(image.name, source) for image in manifest.images)
    for image, seen, path in zip(manifest.images, _looked_at(paths), paths, strict=True):
        if seen.sha256 != image.sha256:
            raise InputError(f"{path} is not the image that {source} describes", "its hash differs")
    if not paths:
        raise InputError(f"the manifest {source} names no image", HINT)
    return CalibrationSource(_describe(manifest.name, manifest.images, manifest.seed), paths)


def _looked_at(paths: Sequence[Path]) -> tuple[FileRef, ...]:
    """The files of images that can be read. Raises InputError that lists those that cannot."""
    pictures = look(paths)
    broken = [path.name for path, picture in zip(paths, pictures, strict=True) if picture is None]
    if broken:
        rest = f" and {len(broken) - LISTED:,} more" if len(broken) > LISTED else ""
        raise InputError(
            f"{len(broken):,} of {len(paths):,} calibration images cannot be read: {', '.join(broken[:LISTED])}{rest}",
            "take them out of the set, or put whole JPEG or PNG files in their place",
        )
    return tuple(
        FileRef(path.name, picture.sha256, picture.bytes)
        for path, picture in zip(paths, pictures, strict=True)
        if picture is not None
    )


def check_overlap(calibration: CalibrationSet, dataset: Dataset, allowed: bool = False) -> str:
    """What to say where calibration images are evaluation images; "" where none is.

    Raises InputError unless that is `allowed`: ranges made on the images they are judged by flatter the file.
    """
    evaluated = {image.sha256 for image in dataset.images}
    both = [image.name for image in calibration.images if image.sha256 in evaluated]
    if not both:
        return ""
    rest = f" and {len(both) - LISTED:,} more" if len(both) > LISTED else ""
    text = f"{len(both):,} of {len(calibration.images):,} calibration images are evaluation images"
    if not allowed:
        raise InputError(
            f"{text}: {', '.join(both[:LISTED])}{rest}", "calibrate with other photos, or pass --allow-overlap"
        )
    return f"{text}: the accuracy flatters the int8 files"


def _describe(name: str, images: tuple[FileRef, ...], seed: int) -> CalibrationSet:
    digest = sha256_bytes("".join(image.sha256 for image in images).encode())
    return CalibrationSet(name=name, images=images, seed=seed, sha256=digest)


def batches(paths: tuple[Path, ...], contract: Contract) -> Iterator[NDArray[np.float32]]:
    """The images as the network of this contract sees them, [1,S,S,3], one at a time: memory does not grow."""
    from edgeai.imaging.images import canvas, normalised, read_image

    for path in paths:
        yield normalised(canvas(read_image(path), contract), contract.mean, contract.std)[None]
