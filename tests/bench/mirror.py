"""A set of images seen in a mirror: as natural as the original, and as new to a network that ranks detections.

AP of a few hundred images moves by tenths of a point with any change of the network, for the better or the worse; the
mirror images of the same set are a second reading of it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as run_lengths

from edgeai.evaluate.dataset import Annotation, Dataset
from edgeai.imaging.images import read_image


def mirrored(dataset: Dataset, folder: Path) -> Dataset:
    """The mirror images of `dataset`, written as PNG into `folder`. The digests stay those of the original, which says
    all of it, so that one bootstrap can draw an image and its mirror image together."""
    folder.mkdir(parents=True, exist_ok=True)
    images = tuple(replace(image, path=folder / f"{image.id}.png") for image in dataset.images)
    for image, source in zip(images, dataset.images, strict=True):
        cv2.imwrite(str(image.path), cv2.cvtColor(read_image(source.path), cv2.COLOR_RGB2BGR)[:, ::-1])
    widths = {image.id: image.width for image in images}
    objects = tuple(_mirrored(entry, widths[entry.image_id]) for entry in dataset.objects)
    return replace(dataset, images=images, objects=objects)


def _mirrored(entry: Annotation, width: int) -> Annotation:
    x, y, across, down = entry.bbox
    segmentation = json.dumps(_segmentation(json.loads(entry.segmentation), width)) if entry.segmentation else ""
    return replace(entry, bbox=(width - x - across, y, across, down), segmentation=segmentation)


def _segmentation(value: Any, width: int) -> Any:
    if isinstance(value, list):
        return [[width - v if place % 2 == 0 else v for place, v in enumerate(polygon)] for polygon in value]
    height, across = value["size"]
    packed = run_lengths.frPyObjects(value, height, across) if isinstance(value["counts"], list) else value
    pixels = run_lengths.decode(packed)[:, ::-1].flatten(order="F")  # column by column, as run lengths go
    edges = np.flatnonzero(np.diff(pixels, prepend=0))
    return {"size": value["size"], "counts": np.diff(edges, prepend=0, append=pixels.size).tolist()}
