"""The images a network learns from: COCO-format sets, merged by class name, kept small in memory.

An image is kept as it is needed: scaled so that its longer side is the input size, with its masks at that size.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import FileRef
from edgeai.errors import InputError
from edgeai.evaluate.classes import match
from edgeai.evaluate.dataset import Annotation, Dataset, Image
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.yolo import is_yolo
from edgeai.imaging.images import read_image
from edgeai.training.scene import Instance, Patch, Scene, box_patch, crop_patch

ANNOTATION_NAMES = ("instances.json", "annotations.json", "_annotations.coco.json")


@dataclass(frozen=True, slots=True)
class Item:
    """An image with the class number of each of its objects."""

    image: Image
    objects: tuple[Annotation, ...]
    labels: tuple[int, ...]


class TrainingSet:
    """Images with objects of the classes `names`, decoded on demand and cached up to a budget. Safe between threads.

    Objects of other classes are background. Raises InputError where no object is left, and with `masks` where an
    object has none; `scene` raises it for an image that is not what its annotation says.
    """

    def __init__(
        self, sets: Sequence[Dataset], names: Sequence[str], imgsz: int, masks: bool, cache_mib: int = 2048
    ) -> None:
        self.names, self.imgsz = tuple(names), imgsz
        self.items = tuple(item for dataset in sets for item in _items(dataset, self.names, masks))
        self.files: tuple[FileRef, ...] = tuple(dataset.annotations for dataset in sets)
        if not any(item.objects for item in self.items):
            raise InputError(f"{sets[0].name} has no object of the {len(self.names)} classes", "check --classes")
        self._budget = cache_mib << 20
        self._used = 0
        self._cache: dict[int, Scene] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.items)

    def scene(self, index: int) -> Scene:
        """Image `index`, its longer side `imgsz` pixels."""
        found = self._cache.get(index)
        if found is not None:
            return found
        scene = load_scene(self.items[index], self.imgsz)
        size = scene.pixels.nbytes + sum(entry.mask.pixels.nbytes for entry in scene.instances)
        with self._lock:
            if index not in self._cache and self._used + size <= self._budget:
                self._cache[index] = scene
                self._used += size
        return scene


def class_names(sets: Sequence[Dataset], chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes to learn: those `chosen`, else all categories by id, those of later sets after the first's. Names
    that differ in case, blanks, `-` and `_` only are one class, under the name that the first set has."""
    known: list[str] = []
    for dataset in sets:
        names = [category.name for category in sorted(dataset.categories, key=lambda entry: entry.id)]
        known += [name for name, place in zip(names, match(names, known), strict=True) if place is None]
    places = match(chosen, known)
    for name, place in zip(chosen, places, strict=True):
        if place is None and name not in known:
            raise InputError(f"no data set has a class {name!r}", f"there are: {', '.join(known[:12])}")
    return tuple(dict.fromkeys(known[place] for place in places if place is not None)) or tuple(known)


def open_datasets(
    data: Path, images: Path | None, part: str = "train", skip_bad: bool = False
) -> tuple[Dataset, ...]:
    """The data sets at `data`: an instances.json, a folder that holds one, or a YOLO-format folder or data.yaml.

    `images` is the folder of the images, by default `images` beside the annotations; `skip_bad` leaves small flaws
    out. Raises InputError.
    """
    if not data.exists():
        raise InputError(f"{data} does not exist", "pass an instances.json, a data.yaml or the folder of one")
    if data.is_file() and data.suffix.lower() == ".json":
        return (read_dataset(images or _images_of(data.parent), data, skip_bad=skip_bad),)
    if data.is_dir():
        found = next((data / name for name in ANNOTATION_NAMES if (data / name).is_file()), None)
        if found is not None:
            return (read_dataset(images or _images_of(data), found, skip_bad=skip_bad),)
        if (data / part).is_dir() and not is_yolo(data):
            return open_datasets(data / part, images, part, skip_bad)
    if is_yolo(data):
        return (read_dataset(None, data, skip_bad=skip_bad, part=part),)
    raise InputError(
        f"{data} is no data set", "it needs an instances.json and images/, or images/ and labels/ (YOLO format)"
    )


def _images_of(folder: Path) -> Path:
    return folder / "images" if (folder / "images").is_dir() else folder


def _items(dataset: Dataset, names: tuple[str, ...], masks: bool) -> list[Item]:
    places = match([entry.name for entry in dataset.categories], names)
    label = {entry.id: place for entry, place in zip(dataset.categories, places, strict=True) if place is not None}
    if masks:
        kept = tuple(entry for entry in dataset.objects if entry.category_id in label)
        replace(dataset, objects=kept).need_masks("a segmentation network needs outlines; train a detector")
    objects: dict[int, list[Annotation]] = {image.id: [] for image in dataset.images}
    for entry in dataset.objects:
        if entry.category_id not in label:
            continue
        objects[entry.image_id].append(entry)
    return [
        Item(image, tuple(objects[image.id]), tuple(label[entry.category_id] for entry in objects[image.id]))
        for image in dataset.images
    ]


def load_scene(item: Item, imgsz: int) -> Scene:
    """Decode one image and its masks. Raises InputError where it is not of its annotated size or has broken masks."""
    import cv2

    pixels = read_image(item.image.path)
    height, width = pixels.shape[:2]
    if (height, width) != (item.image.height, item.image.width):
        annotated = f"{item.image.width}x{item.image.height}"
        raise InputError(f"{item.image.path.name} is {width}x{height}, annotated as {annotated}")
    ratio = imgsz / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    instances = []
    for entry, label in zip(item.objects, item.labels, strict=True):
        mask = _patch(entry, height, width, size, item.image.path.name)
        if mask is not None:
            instances.append(Instance(label, entry.crowd, mask))
    return Scene(pixels, tuple(instances))


def _patch(entry: Annotation, height: int, width: int, size: tuple[int, int], name: str) -> Patch | None:
    """The mask of an object, or its box where it has none, at `size` (width, height)."""
    import cv2

    if not entry.segmentation:
        x, y, w, h = entry.bbox
        across, down = size[0] / width, size[1] / height
        return box_patch((x * across, y * down, (x + w) * across, (y + h) * down), size[1], size[0])
    full = rasterise(entry.segmentation, height, width, name)
    if size != (width, height):
        shrink = size[0] <= width
        full = cv2.resize(full, size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return crop_patch(full)


def rasterise(segmentation: str, height: int, width: int, name: str) -> NDArray[np.uint8]:
    """COCO polygons or run lengths as [height, width], 0 or 255. Raises InputError where they are of another size."""
    from pycocotools import mask as coco_mask

    value: Any = json.loads(segmentation)
    if isinstance(value, list):
        coded = coco_mask.merge(coco_mask.frPyObjects(value, height, width))
    elif list(value["size"]) != [height, width]:
        raise InputError(f"{name}: a mask of {value['size'][1]}x{value['size'][0]} on an image of {width}x{height}")
    else:
        coded = coco_mask.frPyObjects(value, height, width) if isinstance(value["counts"], list) else value
    full: NDArray[np.uint8] = coco_mask.decode(coded)
    return np.ascontiguousarray(full) * np.uint8(255)
