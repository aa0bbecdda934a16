"""Which network a set of weights belongs to, told from their names and shapes."""

from __future__ import annotations

from edgeai.errors import InputError
from edgeai.models.registry import REGISTRY, Entry

Shapes = dict[str, tuple[int, ...]]

# channels of the first convolution -> scale; the same in all families built here
STEM_SCALES = {16: "n", 32: "s", 48: "m", 64: "l", 80: "x"}
ONNX_HINT = "export it to ONNX with its own tools and pass the .onnx file"


def recognise(shapes: Shapes, name: str, described: str) -> tuple[Entry, int]:
    """The registry entry and the number of classes of the weights `shapes` (dotted name -> shape).

    `name` is the file and `described` what it calls itself, for errors. Raises InputError where the network is of a
    family that edgeai does not build.
    """
    stem = shapes.get("model.0.conv.weight")
    if stem is None:
        if "model.0.conv.conv.weight" in shapes:
            raise InputError(f"{name} is a YOLOv5 from before v6.0 (it begins with Focus)", ONNX_HINT)
        raise _unknown(name, described)
    last = max(int(key.split(".")[1]) for key in shapes if key.startswith("model.") and key.split(".")[1].isdigit())
    head = f"model.{last}."
    found = _family(shapes, head, last)
    scale = STEM_SCALES.get(stem[0] if stem else 0)
    if found is None or scale is None:
        raise _unknown(name, described)
    family, task, p6 = found
    for entry in REGISTRY:
        if (entry.family, entry.task, entry.scale, entry.p6) == (family, task, scale, p6):
            return entry, _classes(shapes, head, family, task, name)
    raise _unknown(name, described)


def _family(shapes: Shapes, head: str, last: int) -> tuple[str, str, bool] | None:
    """Family, task and whether it is a P6 network, or None."""
    yolov5 = "model.2.cv3.conv.weight" in shapes  # C3 has a third convolution, C2f has not
    if not yolov5 and "model.2.cv2.conv.weight" not in shapes:
        return None
    task = "segment" if f"{head}proto.cv1.conv.weight" in shapes else "detect"
    anchor_free = f"{head}cv2.0.0.conv.weight" in shapes
    family: str | None = None
    if f"{head}linear.weight" in shapes and last == 9:
        family, task = ("yolov5" if yolov5 else "yolov8"), "classify"
    elif yolov5 and last in (24, 33):
        family = "yolov5u" if anchor_free else "yolov5"
    elif not yolov5 and last == 22 and anchor_free:
        # a fourth branch without prototypes predicts keypoints or angles
        other_task = task == "detect" and f"{head}cv4.0.0.conv.weight" in shapes
        family = None if other_task else "yolov8"
    return (family, task, last == 33) if family else None


def _classes(shapes: Shapes, head: str, family: str, task: str, name: str) -> int:
    """The number of classes that the head's last convolution or the linear layer has room for."""
    if task == "classify":
        key, per_class, others = f"{head}linear.weight", 1, 0
    elif family == "yolov5":
        key, per_class, others = f"{head}m.0.weight", 3, 3 * (5 + (32 if task == "segment" else 0))
    else:
        key, per_class, others = f"{head}cv3.0.2.weight", 1, 0
    rows = (shapes.get(key) or (0,))[0] - others
    if rows < per_class or rows % per_class:
        raise InputError(f"{name}: {key} is missing or has no room for a class", "the file may be damaged")
    return rows // per_class


def _unknown(name: str, described: str) -> InputError:
    return InputError(f"{name} is a {described}, which is not a network edgeai builds", ONNX_HINT)
