"""Classification: a folder per class, random crops for training and centre crops for validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeai.artifacts import FileRef, Metric
from edgeai.errors import InputError
from edgeai.files import images_in, sha256_bytes, sha256_file
from edgeai.imaging.images import read_image
from edgeai.training.augment import shift_colours
from edgeai.training.loader import Batch, stack_images
from edgeai.training.settings import Augmentation

SMALLEST_CROP = 0.5  # of the image's area
ASPECT = 4 / 3


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """Images of a folder that has one folder per class, and the class of each by its place in `names`."""

    names: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    digest: FileRef


def read_class_folder(folder: Path, names: Sequence[str] = ()) -> ClassFolder:
    """The images of every class folder; with `names`, in that order. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "a classifier learns from a folder with one folder per class")
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    known = tuple(names) or tuple(found)
    strange = [name for name in found if name not in known]
    if not found or strange:
        what = f"has a class {strange[0]!r} that is not among the classes" if strange else "has no class folders"
        raise InputError(f"{folder} {what}", "expected FOLDER/<class>/<image>.jpg")
    rows = [
        (file, known.index(name))
        for name in found
        for file in images_in(folder / name, below=True)
    ]
    if not rows:
        raise InputError(f"{folder} holds no images", "expected FOLDER/<class>/<image>.jpg")
    data = "\n".join(f"{known[label]}/{file.name}\0{sha256_file(file)}" for file, label in rows).encode()
    digest = FileRef(folder.name, sha256_bytes(data), sum(file.stat().st_size for file, _ in rows))
    return ClassFolder(known, tuple(file for file, _ in rows), tuple(label for _, label in rows), digest)


class ClassSource:
    """Randomly cropped samples of a class folder."""

    def __init__(self, data: ClassFolder, imgsz: int, plan: Augmentation, seed: int) -> None:
        self.data, self.imgsz, self.plan, self.seed = data, imgsz, plan, seed

    def __len__(self) -> int:
        return len(self.data.files)

    def sample(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], int]:
        rng = np.random.default_rng((self.seed, epoch, index))
        pixels = random_crop(read_image(self.data.files[index]), self.imgsz, rng)
        if rng.random() < self.plan.flip:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return shift_colours(pixels, self.plan, rng), self.data.labels[index]

    def collate(self, samples: Sequence[tuple[NDArray[np.uint8], int]]) -> Batch:
        labels = torch.tensor([label for _, label in samples])
        return Batch(stack_images([pixels for pixels, _ in samples]), None, labels)


def random_crop(pixels: NDArray[np.uint8], imgsz: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random part of half to all of the area, of nearly square shape, resized to the input."""
    height, width = pixels.shape[:2]
    area = height * width * rng.uniform(SMALLEST_CROP, 1)
    aspect = math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
    w, h = min(width, max(1, round(math.sqrt(area * aspect)))), min(height, max(1, round(math.sqrt(area / aspect))))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return _resized(pixels[y : y + h, x : x + w], imgsz)


def centre_crop(pixels: NDArray[np.uint8], imgsz: int) -> NDArray[np.uint8]:
    """The largest central square, resized to the input."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return _resized(pixels[y : y + side, x : x + side], imgsz)


def _resized(pixels: NDArray[np.uint8], imgsz: int) -> NDArray[np.uint8]:
    import cv2

    result: NDArray[np.uint8] = cv2.resize(pixels, (imgsz, imgsz), interpolation=cv2.INTER_LINEAR)
    return result


@torch.inference_mode()
def accuracy(network: nn.Module, data: ClassFolder, imgsz: int, device: torch.device) -> tuple[Metric, ...]:
    """`top1` and `top5` in percent points on centre crops."""
    network.eval()
    hits = {1: 0, 5: 0}
    for file, label in zip(data.files, data.labels, strict=True):
        pixels = stack_images([centre_crop(read_image(file), imgsz)]).to(device)
        order = network(pixels.float() / 255)[0][0].argsort(descending=True).tolist()
        for k in hits:
            hits[k] += label in order[:k]
    return tuple(Metric(f"top{k}", 100 * count / len(data.files)) for k, count in hits.items())
