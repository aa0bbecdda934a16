"""The one reader of ground truth, for evaluation and training: COCO or YOLO, told by the file."""

from __future__ import annotations

from pathlib import Path

from edgeai.errors import InputError
from edgeai.evaluate.coco_file import read_coco
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.yolo import is_yolo, read_yolo


def read_dataset(
    images: Path | None, annotations: Path, limit: int | None = None, skip_bad: bool = False, part: str = "val"
) -> Dataset:
    """The data set of a COCO file and the folder of its images, or of a YOLO data.yaml or folder (`images` is None:
    it names its own; `part` is train or val). With `limit` its first images by id.

    `skip_bad` leaves small flaws out instead of refusing them. Raises InputError where a file is missing or is no
    data set, and for what cannot be right, naming the annotation.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} leaves no image", "pass at least 1")
    if not is_yolo(annotations):
        return read_coco(images, annotations, limit, skip_bad)
    if images is not None:
        raise InputError(f"{annotations} names its own images", "leave out the folder of the images")
    return read_yolo(annotations, part, limit, skip_bad)
