"""Results whose matches are real: detections of noisy objects, matched by pycocotools."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeai.artifacts import (
    BenchCheck,
    BenchDevice,
    BenchMemory,
    BenchProtocol,
    BenchResult,
    BenchTime,
    EvalProtocol,
    EvalResult,
    FileRef,
    Footprint,
    LatencyEstimate,
    MemoryEstimate,
    Provenance,
    Quantity,
    TimeUnit,
)
from edgeai.evaluate.coco import ImageDetections, measure
from edgeai.evaluate.dataset import Annotation, Category, Dataset, Image
from edgeai.evaluate.postprocess import Detections

NAMES = ("cat", "dog", "owl")
IMAGES = 60


def dataset() -> Dataset:
    random = np.random.default_rng(7)
    images = tuple(Image(i + 1, Path(f"{i}.png"), 200, 200) for i in range(IMAGES))
    objects = []
    for image in images:
        for _ in range(random.integers(1, 5)):
            x, y, w, h = (*random.uniform(0, 120, 2), *random.uniform(20, 70, 2))
            category = int(random.integers(1, 4))
            objects.append(Annotation(image.id, category, (x, y, w, h), w * h, False, ""))
    categories = tuple(Category(i + 1, name) for i, name in enumerate(NAMES))
    return Dataset("set", images, categories, tuple(objects), FileRef("a", "a" * 64, 0), "b" * 64)


def detected(name: str, noise: float, worse: str = "", seed: int = 0) -> EvalResult:
    """A result whose boxes are off by `noise` pixels; by four times that in the class `worse`."""
    data, found = dataset(), []
    for image in data.images:
        random = np.random.default_rng((seed, image.id))
        mine = [entry for entry in data.objects if entry.image_id == image.id]
        boxes = []
        for entry in mine:
            x, y, w, h = entry.bbox
            factor = 4 if NAMES[entry.category_id - 1] == worse else 1
            moved = np.array([x, y, x + w, y + h]) + random.normal(0, noise * factor, 4)
            boxes.append(moved)
        classes = np.asarray([entry.category_id - 1 for entry in mine])
        scores = np.sort(random.random(len(mine)))[::-1].copy()
        found.append(ImageDetections(image.id, Detections(np.asarray(boxes, np.float32), scores, classes, ())))
    accuracy = measure(data, found, NAMES, masks=False)
    protocol = EvalProtocol(
        dataset="set", annotations_sha256="a" * 64, images_sha256="b" * 64, num_images=IMAGES, imgsz=256,
        letterbox="114", confidence=0.001, nms_iou=0.7, max_detections=300, multi_label=True,
        metric_tool="pycocotools 2.0.11",
    )  # fmt: skip
    return EvalResult(
        model=FileRef(f"{name}.tflite", "c" * 64, 1),
        name=name,
        backend="litert",
        precision="int8",
        granularity="per-channel",
        layout="raw",
        protocol=protocol,
        metrics=accuracy.metrics,
        per_class=accuracy.per_class,
        detections=1,
        provenance=Provenance(stage="evaluate"),
        matches=accuracy.matches,
    )


def footprint(ram: float, ms: float, fits: bool = True, name: str = "int8.tflite") -> Footprint:
    """A footprint with `ram` KiB and `ms` milliseconds."""
    memory = MemoryEstimate(
        version="4.0.0", table="t", ram=Quantity(0, ram * 1024, 2 * ram * 1024, "bytes"),
        weights=Quantity(0, 3e6, 4e6, "bytes"), external=0, code=0, lower_bound=0, planned=0,
    )  # fmt: skip
    latency = LatencyEstimate(
        board="STM32N6570-DK", version="4.0.0", table="t", ms=Quantity(0.8 * ms, ms, 1.3 * ms, "ms"), bound="compute",
        ops=(),
    )  # fmt: skip
    return Footprint(
        model=FileRef(name, "c" * 64, 1), board="STM32N6570-DK", target="stm32n6", source="estimate",
        weights_bytes=3_000_000, activations_bytes=int(ram * 1000), io_bytes=0, peak_operator="CONV_2D #1",
        peak_tensors=(), pools=(), fits=fits, reasons=() if fits else ("RAM is over by 3 KiB",),
        provenance=Provenance(stage="footprint"), memory=memory, latency=latency,
    )  # fmt: skip


def bench(
    ms: float, unit: TimeUnit = "ms", name: str = "int8.tflite", checks: tuple[BenchCheck, ...] = ()
) -> BenchResult:
    return BenchResult(
        model=FileRef(name, "c" * 64, 1),
        granularity="per-channel",
        protocol=BenchProtocol("STM32N6570-DK", unit == "ticks", unit, "stm32msg 3.1", "board", "perf", 1, 10),
        device=BenchDevice("N6", None, None, None, "edgeai"),
        time=BenchTime(ms, ms, ms, ms, ms, None),
        layers=(),
        engines=(),
        memory=BenchMemory(activations=700 * 1024, weights=3_000_000),
        inputs=(),
        outputs=(),
        images=(),
        kernels="",
        agreement=(),
        comparisons=(),
        checks=checks,
        faults=(),
        notes=(),
        provenance=Provenance(stage="bench"),
    )
