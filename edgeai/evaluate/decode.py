"""From the output tensors of a network to candidate detections, for every head layout.

Scores are compared with the threshold before anything else is done, on quantised outputs in the integer domain:
only the few anchors that survive are de-quantised and decoded.
Formulas: YOLOv8's distribution focal loss head (a side of a box is the expectation over reg_max bins, in strides, from
the centre of the cell); YOLOv5's anchor head (cx = (2 s(x) - 0.5 + gx) stride, w = (2 s(w))^2 anchor).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, OutputRole
from edgeai.errors import InputError

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Output:
    """One output as the network gave it. real = scale * (array - zero_point); `scale` is 0.0 for a float array.

    `step` is that of the integers that a float array was de-quantised from inside the network, 0.0 where it was not.
    """

    array: NDArray[Any]
    scale: float = 0.0
    zero_point: int = 0
    step: float = 0.0

    def real(self) -> Floats:
        """The values as float32, same shape."""
        return _real(self.array, self.scale, self.zero_point)


@dataclass(frozen=True, slots=True)
class Candidates:
    """K detections before NMS on A anchors (multi-label: one for every class of an anchor above the threshold).

    Per anchor: `boxes` [A, 4] xyxy in letterboxed pixels, `coefs` [A, nm]. Per candidate, ordered by anchor and class:
    `rows` [K] into the anchors, `classes` [K], `scores` [K]. `proto` [h, w, nm], None for a detection network.
    """

    boxes: Floats
    coefs: Floats
    rows: Indices
    classes: Indices
    scores: Floats
    proto: Floats | None


@dataclass(frozen=True, slots=True)
class _Part:
    """The candidates of one level; fields as in Candidates."""

    boxes: Floats
    coefs: Floats
    rows: Indices
    classes: Indices
    scores: Floats


def decode(outputs: Sequence[Output], contract: Contract, conf: float) -> Candidates:
    """All candidates with score > `conf`. `outputs` in the order of the file, batch 1.

    Raises InputError where the outputs are not what the contract says, or hold NaN or infinite boxes.
    """
    reader = OutputReader(outputs, contract)
    kinds = {role.kind for role in contract.roles}
    if "anchors" in kinds:
        parts = [_anchors_level(reader, role, conf) for role in reader.roles("anchors")]
    elif "dfl" in kinds:
        parts = [_raw_level(reader, role, conf) for role in reader.roles("dfl")]
    elif "boxes" in kinds:
        parts = [_split(reader, conf)]
    elif "pred" in kinds:
        parts = [_concat(reader, conf)]
    elif "pred5" in kinds:
        parts = [_with_objectness(reader, conf)]
    elif "detections" in kinds:
        parts = [_selected(reader, conf)]
    else:
        raise InputError(f"{contract.spec.name} gives no boxes", "only detection and segmentation networks are decoded")
    return _merge(parts, reader.proto())


def _merge(parts: Sequence[_Part], proto: Floats | None) -> Candidates:
    offsets = np.cumsum([0, *(len(part.boxes) for part in parts)])
    boxes = np.concatenate([part.boxes for part in parts])
    if not np.isfinite(boxes).all():
        raise InputError("the network's boxes hold NaN or infinity", "the model file is broken or overflows")
    return Candidates(
        boxes=boxes,
        coefs=np.concatenate([part.coefs for part in parts]),
        rows=np.concatenate([part.rows + offset for part, offset in zip(parts, offsets, strict=False)]),
        classes=np.concatenate([part.classes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        proto=proto,
    )


# --- tensors as tables --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputTable:
    """A tensor as [anchors, channels], a view of it. `channels_first` tells the order in memory."""

    values: NDArray[Any]
    channels_first: bool
    scale: float
    zero_point: int

    def columns(self, start: int, stop: int) -> OutputTable:
        return OutputTable(self.values[:, start:stop], self.channels_first, self.scale, self.zero_point)

    def rows(self, anchors: Indices) -> Floats:
        return _real(self.values[anchors], self.scale, self.zero_point)


class OutputReader:
    """Finds the tensor of a role and the order of its axes."""

    def __init__(self, outputs: Sequence[Output], contract: Contract) -> None:
        self.outputs, self.contract, self.spec = outputs, contract, contract.spec
        self.coefs = self.spec.num_coefs if any(role.kind == "proto" for role in contract.roles) else 0
        self.coef_unit = np.float32(contract.coef_divisor / contract.proto_factor)
        self._file_channels_first = self._vote()

    def roles(self, kind: str) -> list[OutputRole]:
        return sorted((role for role in self.contract.roles if role.kind == kind), key=lambda role: role.stride)

    def role(self, kind: str, stride: int = 0) -> OutputRole:
        for role in self.contract.roles:
            if role.kind == kind and role.stride == stride:
                return role
        level = f" of stride {stride}" if stride else ""
        raise InputError(f"the contract of {self.spec.name} names no {kind!r} output{level}")

    def output(self, role: OutputRole) -> Output:
        if not 0 <= role.index < len(self.outputs):
            raise InputError(f"{role.kind!r} is output {role.index} in the contract; there are {len(self.outputs)}")
        return self.outputs[role.index]

    def table(self, role: OutputRole) -> OutputTable:
        output, channels = self.output(role), self._channels(role)
        first = self._channels_first(role)
        flat = output.array.reshape(channels, -1).T if first else output.array.reshape(-1, channels)
        return OutputTable(flat, first, output.scale, output.zero_point)

    def grid(self, role: OutputRole) -> tuple[int, int]:
        """Rows and columns of a 4-D output."""
        shape = self.output(role).array.shape
        if len(shape) != 4:
            raise InputError(f"the {role.kind!r} output has shape {list(shape)}, not four axes")
        return (shape[2], shape[3]) if self._channels_first(role) else (shape[1], shape[2])

    def proto(self) -> Floats | None:
        if not self.coefs:
            return None
        role = self.role("proto")
        rows, columns = self.grid(role)
        table = self.table(role)
        return _real(np.ascontiguousarray(table.values), table.scale, table.zero_point).reshape(rows, columns, -1)

    def _channels(self, role: OutputRole) -> int:
        nc, anchors = self.spec.nc, max(1, len(self.spec.anchors[0]) // 2) if self.spec.anchors else 1
        return {
            "dfl": 4 * self.spec.reg_max,
            "logits": nc,
            "scores": nc,
            "coefs": self.spec.num_coefs,
            "proto": self.spec.num_coefs,
            "boxes": 4,
            "pred": 4 + nc + self.coefs,
            "pred5": 5 + nc + self.coefs,
            "detections": 6 + self.coefs,
            "anchors": anchors * (5 + nc + self.coefs),
        }[role.kind]

    def _channels_first(self, role: OutputRole) -> bool:
        shape, channels = self.output(role).array.shape, self._channels(role)
        first, last = shape[1:2] == (channels,), shape[-1:] == (channels,)
        if not (first or last) or len(shape) < 3 or shape[0] != 1:
            raise InputError(f"the {role.kind!r} output has shape {list(shape)}; {channels} channels were expected")
        if first != last:
            return first
        return role.order == "first" if role.order else self._file_channels_first[len(shape)]

    def _vote(self) -> dict[int, bool]:
        """The order of the file's maps and tables, for tensors such as [1, 32, 32, 32] that fit both: another tells."""
        found = {3: any(role.kind == "pred" for role in self.contract.roles), 4: False}  # ST's tables are [1, rows, N]
        for role in self.contract.roles:
            if role.kind in ("probs", "tensor"):
                continue
            shape, channels = self.output(role).array.shape, self._channels(role)
            if len(shape) in found and (shape[1] == channels) != (shape[-1] == channels):
                found[len(shape)] = bool(shape[1] == channels)
        return found


def _real(values: NDArray[Any], scale: float, zero_point: int) -> Floats:
    real: Floats = values.astype(np.float32, copy=bool(scale))
    if scale:
        real -= np.float32(zero_point)
        real *= np.float32(scale)
    return real


def sigmoid(x: Floats) -> Floats:
    result: Floats = np.reciprocal(1 + np.exp(-np.clip(x, np.float32(-80), np.float32(80))))
    return result


# --- thresholds ---------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def score_levels(dtype: str, scale: float, zero_point: int, logits: bool) -> Floats:
    """The score of every value an integer type can hold, lowest first; those of logits after a sigmoid."""
    info = np.iinfo(dtype)
    real = _real(np.arange(info.min, info.max + 1), scale, zero_point)
    return sigmoid(real) if logits else real


def _above(table: OutputTable, conf: float, logits: bool) -> tuple[Indices, Indices, Floats]:
    """Anchor, channel and score of every element with score > `conf`, ordered by anchor, then channel.

    Quantised: the scores of all 256 levels are compared once, then the integers with the highest level that is not
    above: the same elements as in float. Float logits: `logit(conf)`, a little lower, picks those worth a sigmoid.
    """
    if table.scale:
        scores = score_levels(table.values.dtype.str, table.scale, table.zero_point, logits)
        lowest = int(np.iinfo(table.values.dtype).min)
        limit: float = lowest - 1 + int(np.searchsorted(scores, np.float32(conf), side="right"))
        anchors, channels = _where(table, limit)
        return anchors, channels, scores[table.values[anchors, channels].astype(np.int64) - lowest]
    limit = _logit(conf) - 1e-3 if logits else conf
    if table.values.size and np.isnan(table.values.max()):
        raise InputError("the network's scores hold NaN", "the model file is broken or overflows")
    anchors, channels = _where(table, limit)
    found = table.values[anchors, channels].astype(np.float32, copy=False)
    if not logits:
        return anchors, channels, found
    found = sigmoid(found)
    sure = found > np.float32(conf)
    return anchors[sure], channels[sure], found[sure]


def _where(table: OutputTable, limit: float) -> tuple[Indices, Indices]:
    """Anchor and channel of the elements above `limit`, by anchor; searched in the order of memory."""
    anchors, channels = table.values.shape
    if not table.channels_first:
        row, column = np.divmod(np.flatnonzero(table.values > limit), channels)
        return row, column
    column, row = np.divmod(np.flatnonzero(limit < table.values.T), anchors)
    order = np.argsort(row, kind="stable")
    return row[order], column[order]


def _logit(p: float) -> float:
    if not 0 < p < 1:
        return math.inf if p >= 1 else -math.inf
    return math.log(p / (1 - p))


def _survivors(anchors: Indices) -> tuple[Indices, Indices]:
    """The distinct values of sorted `anchors`, and for each element its place among them."""
    new = np.ones(len(anchors), np.bool_)
    np.not_equal(anchors[1:], anchors[:-1], out=new[1:])
    return anchors[new], np.cumsum(new) - 1


# --- heads --------------------------------------------------------------------------------------


def _raw_level(reader: OutputReader, dfl: OutputRole, conf: float) -> _Part:
    spec, stride = reader.spec, dfl.stride
    anchors, classes, scores = _above(reader.table(reader.role("logits", stride)), conf, logits=True)
    alive, rows = _survivors(anchors)
    sides = reader.table(dfl).rows(alive).reshape(-1, 4, spec.reg_max)
    if spec.reg_max == 1:  # YOLO26: the distance itself, in cells
        ltrb = sides[:, :, 0]
    else:
        weight = np.exp(sides - sides.max(axis=2, keepdims=True))
        ltrb = weight @ np.arange(spec.reg_max, dtype=np.float32) / weight.sum(axis=2)
    _, columns = reader.grid(dfl)
    y, x = np.divmod(alive, columns)
    centre = np.stack([x, y], axis=1).astype(np.float32) + np.float32(0.5)
    boxes = np.concatenate([centre - ltrb[:, :2], centre + ltrb[:, 2:]], axis=1) * np.float32(stride)
    coefs = reader.table(reader.role("coefs", stride)).rows(alive) if reader.coefs else _no_coefs(len(alive))
    return _Part(boxes, coefs * reader.coef_unit, rows, classes, scores)


def _split(reader: OutputReader, conf: float) -> _Part:
    anchors, classes, scores = _above(reader.table(reader.role("scores")), conf, reader.contract.logits)
    alive, rows = _survivors(anchors)
    boxes = _corners(reader.table(reader.role("boxes")).rows(alive) * np.float32(reader.contract.box_unit))
    coefs = reader.table(reader.role("coefs")).rows(alive) if reader.coefs else _no_coefs(len(alive))
    return _Part(boxes, coefs * reader.coef_unit, rows, classes, scores)


def _concat(reader: OutputReader, conf: float) -> _Part:
    nc = reader.spec.nc
    table = reader.table(reader.role("pred"))
    anchors, classes, scores = _above(table.columns(4, 4 + nc), conf, reader.contract.logits)
    alive, rows = _survivors(anchors)
    values = table.rows(alive)
    boxes = _corners(values[:, :4] * np.float32(reader.contract.box_unit))
    return _Part(boxes, values[:, 4 + nc :] * reader.coef_unit, rows, classes, scores)


def _with_objectness(reader: OutputReader, conf: float) -> _Part:
    """YOLOv5's decoded form: a score is objectness x class."""
    nc = reader.spec.nc
    table = reader.table(reader.role("pred5"))
    anchors, _, certainty = _above(table.columns(4, 5), conf, logits=False)
    values = table.rows(anchors)
    scores = values[:, 5 : 5 + nc] * certainty[:, None]
    rows, classes = np.nonzero(scores > np.float32(conf))
    boxes = _corners(values[:, :4] * np.float32(reader.contract.box_unit))
    return _Part(boxes, values[:, 5 + nc :] * reader.coef_unit, rows, classes, scores[rows, classes])


def _selected(reader: OutputReader, conf: float) -> _Part:
    """Detections that the network selected: corners, score, class."""
    table = reader.table(reader.role("detections"))
    anchors, _, scores = _above(table.columns(4, 5), conf, logits=False)
    values = table.rows(anchors)
    classes = np.rint(values[:, 5]).astype(np.int64)
    if len(classes) and not (classes.min() >= 0 and classes.max() < reader.spec.nc):
        raise InputError(
            f"{reader.spec.name} found class {int(classes.max())} of {reader.spec.nc}",
            "pass --classes, every name in order",
        )
    boxes = values[:, :4] * np.float32(reader.contract.box_unit)
    return _Part(boxes, values[:, 6:] * reader.coef_unit, np.arange(len(anchors)), classes, scores)


def _anchors_level(reader: OutputReader, role: OutputRole, conf: float) -> _Part:
    """One level of YOLOv5; its anchors are numbered by cell, then by shape."""
    spec, table = reader.spec, reader.table(role)
    shapes = np.array(spec.anchors[reader.roles("anchors").index(role)], np.float32).reshape(-1, 2)
    width = 5 + spec.nc + reader.coefs
    # a score is objectness x class: no anchor below the threshold in objectness alone can be above it
    objectness = OutputTable(table.values[:, 4::width], table.channels_first, table.scale, table.zero_point)
    cell, shape, certainty = _above(objectness, conf, logits=True)
    channels = shape[:, None] * width + np.arange(width)
    values = _real(table.values[cell[:, None], channels], table.scale, table.zero_point)
    scores = sigmoid(values[:, 5 : 5 + spec.nc]) * certainty[:, None]
    rows, classes = np.nonzero(scores > np.float32(conf))
    _, columns = reader.grid(role)
    y, x = np.divmod(cell, columns)
    geometry = 2 * sigmoid(values[:, :4])
    centre = (geometry[:, :2] - np.float32(0.5) + np.stack([x, y], axis=1).astype(np.float32)) * np.float32(role.stride)
    size = geometry[:, 2:] ** 2 * shapes[shape]
    coefs = values[:, 5 + spec.nc :] * reader.coef_unit
    return _Part(_corners(np.concatenate([centre, size], axis=1)), coefs, rows, classes, scores[rows, classes])


def _corners(boxes: Floats) -> Floats:
    """cx, cy, w, h to x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _no_coefs(count: int) -> Floats:
    return np.zeros((count, 0), np.float32)
