"""Writing a split: JPEG images, COCO annotations and a calibration manifest, all or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import CalibrationSet, Count, FileRef, to_json
from edgeai.errors import InputError
from edgeai.files import file_ref, sha256_bytes
from edgeai.synthetic.render import render
from edgeai.synthetic.scene import Scene, compose
from edgeai.synthetic.shapes import CLASSES

VERSION = 1  # of the images: raise it with every change that moves a pixel
SPLITS = ("train", "val", "calibration")
ANNOTATIONS, MANIFEST, IMAGES = "instances.json", "manifest.json", "images"
JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class SyntheticSplit:
    """A generated split: its folder's name, what made it, what is in it. `images_sha256` hashes the images' hashes in
    order, as a CalibrationSet does."""

    split: str
    seed: int
    version: int
    images: int
    objects: int
    per_class: tuple[Count, ...]
    annotations: FileRef
    images_sha256: str


def picture(split: str, index: int, seed: int) -> tuple[NDArray[np.uint8], Scene]:
    """Image `index` of a split and its scene. Every image has a random stream of its own, apart from those of other
    splits; so a longer split begins with the images of a shorter one."""
    stream = np.random.SeedSequence(seed, spawn_key=(VERSION, SPLITS.index(split), index))
    rng = np.random.Generator(np.random.PCG64(stream))
    scene = compose(rng)
    return render(scene, rng), scene


def generate(
    out: Path, split: str, count: int, seed: int, progress: Callable[[], object] | None = None
) -> SyntheticSplit:
    """Write `count` images of a split to `out/split`: images/, instances.json (COCO, masks of the visible parts as run
    lengths) and manifest.json (the images as a CalibrationSet).

    Same arguments give the same bytes with the same OpenCV and NumPy. An earlier split there is replaced when the new
    one is complete. `progress` is called after every image. Raises InputError for an unknown split, a count below 1, a
    negative seed, or a folder in the way that this function did not write.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r}", f"one of {', '.join(SPLITS)}")
    if count < 1 or seed < 0:
        raise InputError(f"{count} images from seed {seed} cannot be made", "count >= 1, seed >= 0")
    target = out / split
    if target.exists() and not (target / MANIFEST).is_file():
        raise InputError(f"{target} exists and is no generated split", "pass another folder")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{split}.", suffix=".part", dir=out))
    try:
        result = _fill(work, split, count, seed, progress)
        work.chmod(out.stat().st_mode & 0o777)
        _swap(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def _swap(work: Path, target: Path) -> None:
    """Put the finished folder in place. A folder cannot be renamed over a full one: the old one steps aside first."""
    if target.exists():
        old = work.with_name(f"{work.name}.old")
        target.rename(old)
        work.rename(target)
        shutil.rmtree(old)
    else:
        work.rename(target)


def _fill(folder: Path, split: str, count: int, seed: int, progress: Callable[[], object] | None) -> SyntheticSplit:
    import cv2

    (folder / IMAGES).mkdir()
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    files: list[FileRef] = []
    for index in range(count):
        pixels, scene = picture(split, index, seed)
        file = folder / IMAGES / f"{split}_{index:06d}.jpg"
        if not cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"cannot write {file}")
        files.append(file_ref(file))
        images.append({"id": index + 1, "file_name": file.name, "height": scene.height, "width": scene.width})
        for entry in _annotations(scene):
            objects.append({"id": len(objects) + 1, "image_id": index + 1, **entry})
        if progress is not None:
            progress()
    body = {
        "info": {"description": "edgeai synthetic set", "version": str(VERSION), "split": split, "seed": seed},
        "licenses": [{"id": 1, "name": "Apache-2.0"}],
        "images": images,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        "annotations": objects,
    }
    (folder / ANNOTATIONS).write_text(json.dumps(body, separators=(",", ":")) + "\n")
    digest = sha256_bytes("".join(file.sha256 for file in files).encode())
    manifest = CalibrationSet(name=f"synthetic-{split}", images=tuple(files), seed=seed, sha256=digest)
    (folder / MANIFEST).write_text(to_json(manifest))
    found = [entry["category_id"] for entry in objects]
    return SyntheticSplit(
        split=split,
        seed=seed,
        version=VERSION,
        images=count,
        objects=len(objects),
        per_class=tuple(Count(name, found.count(number)) for number, name in enumerate(CLASSES, start=1)),
        annotations=file_ref(folder / ANNOTATIONS),
        images_sha256=digest,
    )


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    """The visible part of every object as COCO has it: run lengths, since a polygon cannot have a hole."""
    from pycocotools import mask as rle

    entries = []
    for placed in scene.objects:
        code = rle.encode(np.asfortranarray(placed.visible.astype(np.uint8)))
        x, y, width, height = (int(value) for value in rle.toBbox(code))
        entries.append(
            {
                "category_id": placed.category + 1,
                "segmentation": {"size": [scene.height, scene.width], "counts": code["counts"].decode("ascii")},
                "bbox": [x, y, width, height],
                "area": int(placed.visible.sum()),
                "iscrowd": 0,
            }
        )
    return entries
