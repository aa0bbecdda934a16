"""The networks edgeai can build, by their published names. Light: no torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts import ModelSpec, Task
from edgeai.errors import InputError

SCALES = ("n", "s", "m", "l", "x")
P5_STRIDES = (8, 16, 32)
P6_STRIDES = (8, 16, 32, 64)

# Anchor widths and heights in pixels, three pairs per level: the defaults of YOLOv5 v7.0.
P5_ANCHORS = (
    (10.0, 13.0, 16.0, 30.0, 33.0, 23.0),
    (30.0, 61.0, 62.0, 45.0, 59.0, 119.0),
    (116.0, 90.0, 156.0, 198.0, 373.0, 326.0),
)
P6_ANCHORS = (
    (19.0, 27.0, 44.0, 40.0, 38.0, 94.0),
    (96.0, 68.0, 86.0, 152.0, 180.0, 137.0),
    (140.0, 301.0, 303.0, 264.0, 238.0, 542.0),
    (436.0, 615.0, 739.0, 380.0, 925.0, 792.0),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the registry.

    `family` is `yolov8`, `yolov5` (anchors) or `yolov5u`. `imgsz` is the size it was published for and
    `flops_imgsz` the size its published FLOPs are counted at; they differ for the P6 networks only.
    `nc` is the number of classes of the published weights.
    """

    name: str
    family: str
    task: Task
    scale: str
    imgsz: int
    flops_imgsz: int
    nc: int
    p6: bool = False


def _entries() -> tuple[Entry, ...]:
    rows: list[Entry] = []
    for family in ("yolov8", "yolov5"):
        rows += [Entry(f"{family}{s}", family, "detect", s, 640, 640, 80) for s in SCALES]
        if family == "yolov5":
            rows += [Entry(f"yolov5{s}6", family, "detect", s, 1280, 640, 80, p6=True) for s in SCALES]
        rows += [Entry(f"{family}{s}-seg", family, "segment", s, 640, 640, 80) for s in SCALES]
        rows += [Entry(f"{family}{s}-cls", family, "classify", s, 224, 224, 1000) for s in SCALES]
    rows += [Entry(f"yolov5{s}u", "yolov5u", "detect", s, 640, 640, 80) for s in SCALES]
    rows += [Entry(f"yolov5{s}6u", "yolov5u", "detect", s, 1280, 640, 80, p6=True) for s in SCALES]
    return tuple(rows)


REGISTRY: tuple[Entry, ...] = _entries()


def find(name: str) -> Entry:
    """The entry of a name; InputError with the nearest names where there is none."""
    for entry in REGISTRY:
        if entry.name == name:
            return entry
    import difflib

    near = difflib.get_close_matches(name, [entry.name for entry in REGISTRY], n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "edgeai models lists what can be built"
    raise InputError(f"no network is called {name!r}", hint)


def spec_of(entry: Entry, names: tuple[str, ...]) -> ModelSpec:
    """The spec of a network of the registry with the given class names."""
    anchored = entry.family == "yolov5" and entry.task != "classify"
    anchors = (P6_ANCHORS if entry.p6 else P5_ANCHORS) if anchored else ()
    strides = (P6_STRIDES if entry.p6 else P5_STRIDES) if entry.task != "classify" else ()
    return ModelSpec(
        name=entry.name,
        family=entry.family,
        task=entry.task,
        scale=entry.scale,
        names=names,
        imgsz=entry.imgsz,
        strides=strides,
        reg_max=16 if entry.task != "classify" and not anchored else 0,
        num_coefs=32 if entry.task == "segment" else 0,
        anchors=anchors,
    )
