"""The one place that knows what a model file is: task, head, what every output means, classes, units, input.

Three witnesses: the file's own words (edgeai's contract, metadata), the graph (what computes each output), and the
numbers (scales of integer tensors). Where they agree, or only one reading remains, the file is known. Where they
contradict each other, or several readings remain, it is refused with both sides or all candidates named; the user's
word (`Asked`) decides then. Nothing is guessed from one dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

# head -> (what it is called in messages, whether edgeai decodes it)
HEADS: dict[str, tuple[str, bool]] = {
    "yolov8": ("boxes and scores as YOLOv8 to YOLO26 give them", True),
    "yolov8-raw": ("YOLOv8's convolutions, level by level", True),
    "split": ("boxes (cx, cy, w, h) and scores as outputs of their own", True),
    "yolov5": ("YOLOv5's decoded boxes with objectness", True),
    "yolov5-raw": ("YOLOv5's convolutions with its own COCO anchors", True),
    "end2end": ("detections that the network selected itself", True),
    "classifier": ("scores of a classifier", True),
    "pose": ("a pose network: key points beside boxes", False),
    "obb": ("rotated boxes (OBB): an angle beside boxes", False),
    "semantic": ("semantic segmentation: a class for every pixel", False),
    "depth": ("a depth map", False),
    "yolox": ("YOLOX: boxes with objectness, without anchors", False),
    "ssd": ("SSD: boxes relative to anchors", False),
    "centernet": ("CenterNet: heat maps of centres", False),
    "rtdetr": ("RT-DETR: boxes and scores of queries", False),
    "yolov2": ("YOLOv2: boxes relative to five anchors a cell", False),
    "heat maps": ("heat maps", False),
    "yolov8-joined": ("YOLOv8's convolutions, boxes and scores of a level in one tensor", False),
    "yolov7-raw": ("convolutions with anchors of YOLOv3, YOLOv4 or YOLOv7", False),
    "split-corners": ("boxes (x1, y1, x2, y2) and scores as outputs of their own", False),
    "corners": ("boxes by their corners (x1, y1, x2, y2) beside scores", False),
    "distances": ("distances or boxes of another head: FCOS, RTMDet, YOLOv6", False),
    "features": ("features or an embedding", False),
}  # fmt: skip

# what the input takes for RGB / 255 of 0..1: (name, mean, std), real = (RGB / 255 - mean) / std
RANGES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0:1": ((), ()),
    "-1:1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0:255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "-128:127": ((128 / 255, 128 / 255, 128 / 255), (1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says of a file: a head of HEADS, boxes in `pixels` or `unit`, a name of RANGES or mean and
    deviation of RGB / 255, the class names, the size of a file of any size. Empty where the user says nothing."""

    head: str = ""
    boxes: str = ""
    input_range: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    imgsz: int = 0


NOTHING = Asked()
