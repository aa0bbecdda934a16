"""One reading of the outputs of a network, and the arithmetic of grids that all readings share."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts import FileLayout, OutputRole, Task
from edgeai.graph.types import Graph

# Levels that YOLO networks have; the first is by far the usual one.
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32), (4, 8, 16), (8, 16), (8,), (16,))
ANCHORS_A_CELL = 3  # of YOLOv3 to YOLOv7
BOX_ROWS = 4


@dataclass(frozen=True, slots=True)
class Out:
    """An output: its place in the file, its tensor and its shape with a batch of one."""

    index: int
    tensor: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One meaning of all outputs. `nc` 0 is a number of classes that is not told. `proof` says what in the graph shows
    it, and is empty where only the shapes allow it. `logits`: the scores have no sigmoid or softmax yet."""

    head: str
    task: Task
    layout: FileLayout = "tensors"
    roles: tuple[OutputRole, ...] = ()
    nc: int = 0
    coefs: int = 0
    reg_max: int = 0
    strides: tuple[int, ...] = ()
    anchors: tuple[tuple[float, ...], ...] = ()
    logits: bool = False
    proof: str = ""
    boxes: int = -1  # the tensor and the axis that hold the box rows
    box_axis: int = -1
    extra: int = 0  # rows that are neither boxes nor scores


def grid(strides: tuple[int, ...], imgsz: int) -> int:
    """Cells of all levels of a square input."""
    return sum((imgsz // s) ** 2 for s in strides)


def strides_of(count: int, imgsz: int, a_cell: int = 1) -> tuple[int, ...]:
    """The levels that have `count` anchors together; none where no set of levels has."""
    for strides in STRIDE_SETS:
        if imgsz % strides[-1] == 0 and a_cell * grid(strides, imgsz) == count:
            return strides
    return ()


def side(shape: tuple[int, ...], imgsz: int) -> tuple[int, int]:
    """Stride and channels of a square map, 0 where it is none."""
    for side, other, channels in ((shape[2], shape[3], shape[1]), (shape[1], shape[2], shape[3])):
        if side == other and side > 0 and imgsz % side == 0:
            return imgsz // side, channels
    return 0, 0


def order_of(axis: int) -> str:
    """Where the rows of a table stand: on the first axis behind the batch, or on the last."""
    return "first" if axis == 1 else "last"


def map_order(graph: Graph, shape: tuple[int, ...]) -> str:
    """Where the channels of a map stand: by its shape, else as the format has them."""
    if shape[2] == shape[3] != shape[1]:
        return "first"
    if shape[1] == shape[2] != shape[3]:
        return "last"
    return "first" if graph.format == "onnx" else "last"


def proto_channels(shape: tuple[int, ...], imgsz: int) -> int:
    stride, channels = side(shape, imgsz)
    return channels if stride in (2, 4, 8) else 0


def listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))

