"""Top-1 and top-5 accuracy of a classifier on a folder with one folder of images per class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeai.artifacts import ClassMetric, Count, EvalProtocol, EvalResult, Fact, Metric, Provenance
from edgeai.errors import InputError
from edgeai.evaluate import flaws
from edgeai.evaluate.backends.base import Runner, package_version
from edgeai.evaluate.classes import BY_NAME, BY_ORDER, match
from edgeai.files import images_in, sha256_bytes, sha256_file
from edgeai.imaging.images import canvas, read_image
from edgeai.imaging.pictures import look

DESCRIPTION = "shorter side to the input size, centre crop, bilinear"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """Images by class, in the order of class name and file name. `counts`: what was left out."""

    name: str
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    counts: tuple[Count, ...] = ()


def is_class_folders(folder: Path) -> bool:
    """At least two folders of images and no images beside them: sorted by class, not the images of a COCO file. One
    such folder is more likely the `images/` of a set whose own folder was named."""
    if not folder.is_dir():
        return False
    return len([entry for entry in _folders(folder) if images_in(entry)]) > 1 and not images_in(folder)


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def read_class_folders(folder: Path, limit: int | None = None, skip_bad: bool = False) -> ClassFolders:
    """The images below `folder/CLASS/`. `limit` takes every n-th, so that all classes stay in; `skip_bad` leaves
    unreadable ones out.

    Raises InputError where there is no folder of images, or some cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "pass a folder with one folder of images per class")
    classes = tuple(entry.name for entry in _folders(folder))
    images = tuple(LabelledImage(path, label) for label in classes for path in images_in(folder / label))
    if not images:
        raise InputError(f"{folder} has no folders of images", "pass a folder with one folder of images per class")
    if limit is not None and limit < len(images):
        images = tuple(images[i * len(images) // limit] for i in range(limit))
    found, whole = flaws.Flaws(), []
    for image, picture in zip(images, look([image.path for image in images]), strict=True):
        if picture is None:
            found.add(flaws.UNREADABLE, f"{image.label}/{image.path.name}")
        else:
            whole.append(image)
    counts = found.settle(folder.name, skip_bad)
    if not whole:
        raise InputError(f"{folder} has no image that can be read", "use JPEG or PNG files")
    return ClassFolders(folder.name, classes, tuple(whole), counts)


def evaluate_classes(
    runner: Runner, dataset: ClassFolders, progress: Callable[[], object] | None = None
) -> EvalResult:
    """Metrics `top1` and `top5` in percent points, and top-1 per class.

    Classes correspond by name; by order where no name matches and there are equally many, which is said. Raises
    InputError otherwise, and for a network that is no classifier.
    """
    contract = runner.contract
    if contract.spec.task != "classify":
        raise InputError(f"{runner.name} is no classifier", "pass --annotations for a detector")
    index, by = _class_index(contract.spec.names, dataset)
    hits: dict[str, list[int]] = {label: [] for label in dataset.classes}
    in_five = 0
    for image in dataset.images:
        scores = runner.infer(canvas(read_image(image.path), contract))[0].real().ravel()
        best = np.argsort(-scores, kind="stable")[:5]
        hits[image.label].append(int(best[0] == index[image.label]))
        in_five += int(index[image.label] in best)
        if progress is not None:
            progress()
    count = len(dataset.images)
    per_class = [ClassMetric(k, "top1", 100.0 * sum(v) / len(v)) for k, v in hits.items() if v]
    top1 = 100.0 * sum(map(sum, hits.values())) / count
    return EvalResult(
        model=runner.model,
        name=runner.name,
        backend=runner.backend,
        precision=runner.precision,
        granularity=runner.granularity,
        layout=contract.layout,
        protocol=_protocol(dataset, contract.imgsz),
        metrics=(Metric("top1", top1), Metric("top5", 100.0 * in_five / count)),
        per_class=tuple(per_class),
        detections=0,
        provenance=Provenance(
            stage="evaluate",
            inputs=(runner.model,),
            options=(Fact("mean", str(contract.mean)), Fact("std", str(contract.std)), *runner.options),
            versions=(package_version("numpy"), *runner.versions),
            licence=contract.spec.licence,
        ),
        data=dataset.counts,
        classes_by=by,
        class_pairs=() if by == BY_NAME else tuple(Fact(contract.spec.names[i], k) for k, i in index.items()),
    )


def _class_index(names: tuple[str, ...], dataset: ClassFolders) -> tuple[dict[str, int], str]:
    """The output channel of every class, and how they were paired."""
    found = match(dataset.classes, names)
    by_name = {label: place for label, place in zip(dataset.classes, found, strict=True) if place is not None}
    if len(by_name) == len(dataset.classes):
        return by_name, BY_NAME
    if not by_name and len(names) == len(dataset.classes):
        return {label: i for i, label in enumerate(dataset.classes)}, BY_ORDER
    unknown = next(label for label in dataset.classes if label not in by_name)
    raise InputError(
        f"the model has {len(names)} classes, {dataset.name} has {len(dataset.classes)} folders, "
        f"and {unknown!r} is no class of the model",
        "name the folders as the model names its classes",
    )


def _protocol(dataset: ClassFolders, imgsz: int) -> EvalProtocol:
    digests = [sha256_file(image.path) for image in dataset.images]
    return EvalProtocol(
        dataset=dataset.name,
        annotations_sha256=sha256_bytes("\n".join(image.label for image in dataset.images).encode()),
        images_sha256=sha256_bytes("".join(digests).encode()),
        num_images=len(dataset.images),
        imgsz=imgsz,
        letterbox=DESCRIPTION,
        confidence=0.0,
        nms_iou=0.0,
        max_detections=5,
        multi_label=False,
        metric_tool="edgeai top-k",
    )
