"""Every head that the outputs of a network may be, by their shapes and by what computes them.

A reading is one consistent meaning of all outputs. Shapes alone often allow several; `edgeai.recognise` lets the file's
own words decide between them, and refuses where nothing does. Formulas of the heads: edgeai/evaluate/decode.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgeai.artifacts import Layout, OutputRole, Task
from edgeai.graph.types import Graph
from edgeai.models.registry import P5_ANCHORS, P5_STRIDES
from edgeai.recognise.trace import Piece, pieces

# Levels that YOLO networks have; the first is by far the usual one.
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
ANCHORS_A_CELL = 3  # of YOLOv3 to YOLOv7
BOX_ROWS = 4
MOST_COLUMNS = 512  # of a detection: 6, and 32 coefficients or some dozen key points
FEWEST_KEYPOINTS = 4  # of a skeleton that unexplained rows may be: box corners at least
SELECTIONS = frozenset({"TopK", "NonMaxSuppression", "TOPK_V2", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"})
ANGLES = frozenset({"Sin", "Cos", "SIN", "COS"})
LENGTHS = frozenset({"L2_NORMALIZATION", "ReduceL2", "LpNormalization"})
SSD_OPERATOR = "CUSTOM:TFLite_Detection_PostProcess"

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
    layout: Layout = "tensors"
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


def readings(graph: Graph, outputs: tuple[Out, ...], imgsz: int) -> list[Reading]:
    """Every reading of the outputs of a network of one square image of `imgsz` pixels."""
    if any(op.kind == SSD_OPERATOR for op in graph.ops):
        return [Reading("ssd", "features", proof="its last operator is TFLite_Detection_PostProcess")]
    tables = [out for out in outputs if len(out.shape) == 3]
    maps = [out for out in outputs if len(out.shape) == 4]
    found: list[Reading] = []
    if len(tables) == 1 and len(outputs) <= 2 and len(maps) == len(outputs) - 1:
        found += _predictions(graph, tables[0], maps[0] if maps else None, imgsz)
    if len(tables) >= 2:
        found += _separate(tables, maps, imgsz)
    if len(maps) == len(outputs) and len(maps) > 1:
        found += _levels(graph, maps, imgsz)
    if len(outputs) == 1:
        found += _single(graph, outputs[0], imgsz)
    return found


# --- one table of predictions ---------------------------------------------------------------------


def _predictions(graph: Graph, table: Out, proto: Out | None, imgsz: int) -> Iterator[Reading]:
    """[1, rows, anchors] or [1, anchors, rows], and prototypes or none."""
    coefs = 0
    proto_roles: tuple[OutputRole, ...] = ()
    if proto is not None:
        coefs = _proto_channels(proto.shape, imgsz)
        if not coefs:
            return
        proto_roles = (OutputRole(proto.index, "proto"),)
    for axis in (1, 2):
        anchors, rows = table.shape[3 - axis], table.shape[axis]
        parts = pieces(graph, table.tensor, axis)
        base = Reading("", "detect", boxes=table.tensor, box_axis=axis, coefs=coefs)
        strides = strides_of(anchors, imgsz)
        if strides:
            yield from _anchor_free(graph, base, parts, rows, strides, table, proto_roles)
        strides = strides_of(anchors, imgsz, ANCHORS_A_CELL)
        if strides:
            yield from _with_objectness(base, parts, rows, strides, table, proto_roles)
        if axis == 2:
            grids = [bool(strides_of(n, imgsz) or strides_of(n, imgsz, ANCHORS_A_CELL)) for n in (anchors, rows)]
            yield from _selected(graph, base, parts, rows, table, proto_roles, grids[0], grids[1])


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the pieces show of the rows of a prediction: sigmoids behind the four of the box, and what is left."""

    scores: tuple[int, ...]  # sizes of the pieces behind a sigmoid
    extra: int


def _shown(parts: tuple[Piece, ...]) -> _Rows | None:
    """None where the pieces do not show boxes and then sigmoids."""
    at, scores, extra = 0, [], 0
    for piece in parts:
        if piece.form == "sigmoid":
            if at < BOX_ROWS or extra:
                return None
            scores.append(piece.rows)
        elif scores:
            extra += piece.rows
        elif at + piece.rows > BOX_ROWS:
            return None
        at += piece.rows
    return _Rows(tuple(scores), extra) if scores else None


def _anchor_free(
    graph: Graph, base: Reading, parts: tuple[Piece, ...], rows: int, strides: tuple[int, ...], table: Out,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """One anchor a cell: YOLOv8 and its heirs, their key points and angles, YOLOX."""
    shown = _shown(parts)
    roles = (OutputRole(table.index, "pred"), *proto)
    if shown is None and (computed := _bare_scores(graph, parts)):
        shown, base = computed, replace(base, logits=True)
    proof = ""
    if shown is not None:
        proof = f"{sum(shown.scores)} rows {'of one convolution' if base.logits else 'leave a sigmoid'}"
        proof += f", {shown.extra} rows follow them" if shown.extra else ", nothing follows them"
        if len(shown.scores) == 2 and shown.scores[0] == 1 and not shown.extra and not proto:
            proof = f"sigmoids of 1 and of {shown.scores[1]} rows are joined"
            yield replace(base, head="yolox", task="features", nc=shown.scores[1], strides=strides, proof=proof)
            return
        yield from _explained(base, sum(shown.scores), shown.extra, strides, roles, proof)
        return
    nc = rows - BOX_ROWS - base.coefs
    if nc >= 1:
        task: Task = "segment" if base.coefs else "detect"
        yield replace(base, head="yolov8", task=task, layout="concat", roles=roles, nc=nc, strides=strides)
    if proto:
        return
    if rows - BOX_ROWS - 1 >= 2 * FEWEST_KEYPOINTS:
        yield replace(base, head="pose", task="features", strides=strides, extra=rows - BOX_ROWS)
    if rows > BOX_ROWS + 1 and any(op.kind in ANGLES for op in graph.ops):
        yield replace(base, head="obb", task="features", strides=strides, extra=1, nc=rows - BOX_ROWS - 1)
    if base.box_axis == 2 and rows > BOX_ROWS + 1:
        yield replace(base, head="yolox", task="features", strides=strides, nc=rows - BOX_ROWS - 1)


def _bare_scores(graph: Graph, parts: tuple[Piece, ...]) -> _Rows | None:
    """Four rows of boxes, and then rows that come straight from a convolution: scores without their sigmoid."""
    at, scores = 0, 0
    for piece in parts:
        op = graph.producer(piece.tensor)
        if at >= BOX_ROWS:
            if op is None or op.kind not in ("CONV_2D", "Conv") or scores:
                return None
            scores = piece.rows
        at += piece.rows
        if at > BOX_ROWS and not scores:
            return None
    return _Rows((scores,), 0) if scores else None


def _explained(
    base: Reading, nc: int, extra: int, strides: tuple[int, ...], roles: tuple[OutputRole, ...], proof: str
) -> Iterator[Reading]:
    """Boxes, `nc` scores and `extra` rows, as the graph shows them."""
    if extra == base.coefs:
        task: Task = "segment" if base.coefs else "detect"
        yield replace(
            base, head="yolov8", task=task, layout="concat", roles=roles, nc=nc, strides=strides, proof=proof
        )
    elif len(roles) > 1:
        return
    elif extra == 1:
        yield replace(base, head="obb", task="features", nc=nc, strides=strides, extra=1, proof=proof)
    elif extra % 3 == 0 or extra % 2 == 0:
        yield replace(base, head="pose", task="features", nc=nc, strides=strides, extra=extra, proof=proof)


def _with_objectness(
    base: Reading, parts: tuple[Piece, ...], rows: int, strides: tuple[int, ...], table: Out,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """Three anchors a cell: YOLOv5's decoded form cx, cy, w, h, objectness, classes [, coefficients]."""
    shown = _shown(parts)
    proof = f"three anchors for every cell of strides {_listed(strides)}"
    nc = rows - BOX_ROWS - 1 - base.coefs
    if shown is not None:
        if shown.extra != base.coefs:
            return
        nc = sum(shown.scores) - 1
        proof += f", {nc + 1} rows leave a sigmoid"
    if nc < 1:
        return
    task: Task = "segment" if base.coefs else "detect"
    roles = (OutputRole(table.index, "pred5"), *proto)
    yield replace(
        base, head="yolov5", task=task, layout="concat", roles=roles, nc=nc, strides=strides, proof=proof
    )


def _selected(
    graph: Graph, base: Reading, parts: tuple[Piece, ...], rows: int, table: Out,
    proto: tuple[OutputRole, ...], is_grid: bool, columns_are_anchors: bool,
) -> Iterator[Reading]:  # fmt: skip
    """[1, K, 6 + more]: x1, y1, x2, y2, score, class of detections; [1, K, 4 + nc] of queries."""
    if rows < BOX_ROWS + 2 or rows > MOST_COLUMNS or columns_are_anchors:
        return
    queries = _shown(parts)
    if queries is not None:
        if not proto and not is_grid:
            proof = f"{sum(queries.scores)} rows leave a sigmoid"
            yield replace(base, head="rtdetr", task="features", nc=sum(queries.scores), proof=proof)
        return
    joined = [piece.rows for piece in parts[-2:]] == [1, 1] and sum(piece.rows for piece in parts) == BOX_ROWS + 2
    selects = any(op.kind in SELECTIONS for op in graph.ops)
    proof = "box, score and class are joined" if joined else ""
    proof = f"the graph selects detections itself ({_kinds(graph)})" if selects else proof
    extra = rows - BOX_ROWS - 2
    if extra == base.coefs:
        task: Task = "segment" if base.coefs else "detect"
        roles = (OutputRole(table.index, "detections"), *proto)
        yield replace(base, head="end2end", task=task, layout="end2end", roles=roles, proof=proof)
    elif not proto:
        yield replace(base, head="obb" if extra == 1 else "pose", task="features", extra=extra, proof=proof)
    if not proto and not is_grid and not proof:
        yield replace(base, head="rtdetr", task="features", nc=rows - BOX_ROWS)


def _kinds(graph: Graph) -> str:
    return ", ".join(sorted({op.kind for op in graph.ops if op.kind in SELECTIONS}))


# --- several tables, several maps -----------------------------------------------------------------


def _separate(tables: list[Out], maps: list[Out], imgsz: int) -> Iterator[Reading]:
    """Boxes and scores as tables of their own; with anchors outside of the file where their number is no grid's."""
    boxes = [out for out in tables if BOX_ROWS in out.shape[1:]]
    if not boxes:
        return
    counts = {s for out in tables for s in out.shape[1:]} - {BOX_ROWS}
    strides = next((found for n in sorted(counts) if (found := strides_of(n, imgsz))), ())
    if not strides:
        yield Reading("ssd", "features", proof="boxes and scores of anchors that are no grid's")
        return
    count = grid(strides, imgsz)
    if len(maps) > 1 or any(count not in out.shape[1:] for out in tables):
        return
    others = [out for out in tables if out is not boxes[0]]
    rows = [next(s for s in (*out.shape[1:], count) if s != count or out.shape[1] == out.shape[2]) for out in others]
    kinds = _split_kinds(maps, rows, imgsz)
    if kinds is None:
        return
    names, nc, coefs = kinds
    roles = [OutputRole(boxes[0].index, "boxes"), *(OutputRole(o.index, k) for o, k in zip(others, names, strict=True))]
    roles += [OutputRole(out.index, "proto") for out in maps]
    ordered = tuple(sorted(roles, key=lambda role: role.index))
    task: Task = "segment" if coefs else "detect"
    axis = 1 if boxes[0].shape[1] == BOX_ROWS else 2
    yield Reading("split", task, "split", ordered, nc, coefs, strides=strides, boxes=boxes[0].tensor, box_axis=axis)
    yield Reading("split-corners", "features", nc=nc, coefs=coefs, strides=strides)


def _split_kinds(maps: list[Out], rows: list[int], imgsz: int) -> tuple[list[str], int, int] | None:
    """Roles of the tables beside the boxes, number of classes and of coefficients."""
    if not maps:
        return (["scores"], rows[0], 0) if len(rows) == 1 else None
    coefs = _proto_channels(maps[0].shape, imgsz)
    if len(rows) != 2 or rows.count(coefs) != 1:
        return None
    return ["coefs" if n == coefs else "scores" for n in rows], rows[1 - rows.index(coefs)], coefs


def _levels(graph: Graph, maps: list[Out], imgsz: int) -> Iterator[Reading]:
    """Maps of several levels: raw heads; or of one level: CenterNet."""
    sides = {out.index: _side(out.shape, imgsz) for out in maps}
    if any(stride == 0 for stride, _ in sides.values()):
        return
    levels: dict[int, list[Out]] = {}
    for out in maps:
        levels.setdefault(sides[out.index][0], []).append(out)
    proto = levels.pop(4, []) if len(levels) > 1 and min(levels) == 4 and len(levels[4]) == 1 else []
    strides = tuple(sorted(levels))
    channels = {out.index: sides[out.index][1] for out in maps}
    if len(levels) == 1:
        sizes = sorted(channels[out.index] for out in maps)
        if sizes[0] == 2 and len(maps) in (2, 3):
            yield Reading("centernet", "features", proof=f"maps of {_listed(tuple(sizes))} channels at one level")
        return
    if strides not in STRIDE_SETS or len({len(outs) for outs in levels.values()}) != 1:
        return
    coefs = channels[proto[0].index] if proto else 0
    proto_roles = tuple(OutputRole(out.index, "proto") for out in proto)
    if len(levels[strides[0]]) == 1:
        yield from _joined_levels(graph, [levels[s][0] for s in strides], channels, strides, coefs, proto_roles)
    else:
        yield from _raw_levels(graph, levels, channels, strides, coefs, proto_roles)


def _raw_levels(
    graph: Graph, levels: dict[int, list[Out]], channels: dict[int, int], strides: tuple[int, ...], coefs: int,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """dfl, logits [, coefficients] of every level, from convolutions."""
    wanted = 3 if coefs else 2
    sizes = [sorted(channels[out.index] for out in outs) for outs in levels.values()]
    if any(len(size) != wanted or size != sizes[0] for size in sizes):
        return
    if any(_behind_sigmoid(graph, out.tensor) for outs in levels.values() for out in outs):
        return
    rest = list(sizes[0])
    if coefs:
        if coefs not in rest:
            return
        rest.remove(coefs)
    for dfl in dict.fromkeys(rest):
        if dfl % 4 or dfl // 4 not in (1, 16):
            continue
        others = list(rest)
        others.remove(dfl)
        nc = others[0]
        if len({dfl, nc, *([coefs] if coefs else [])}) != wanted:
            return  # two tensors of a level have one shape: nothing tells them apart
        kind = {dfl: "dfl", nc: "logits", **({coefs: "coefs"} if coefs else {})}
        roles = [OutputRole(o.index, kind[channels[o.index]], s) for s in strides for o in levels[s]]
        task: Task = "segment" if coefs else "detect"
        ordered = tuple(sorted((*roles, *proto), key=lambda role: role.index))
        proof = f"{dfl} channels of box distances at strides {_listed(strides)}, from convolutions"
        yield Reading("yolov8-raw", task, "raw", ordered, nc, coefs, dfl // 4, strides, proof=proof)


def _joined_levels(
    graph: Graph, outs: list[Out], channels: dict[int, int], strides: tuple[int, ...], coefs: int,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """One tensor a level: anchors' heads, YOLOv8's joined convolutions, YOLOX."""
    width = {channels[out.index] for out in outs}
    if len(width) != 1:
        return
    count = width.pop()
    parts = _channel_pieces(graph, outs[0], count)
    sigmoids = [piece.rows for piece in parts if piece.form == "sigmoid"]
    if sigmoids:
        if len(sigmoids) == 2 and sigmoids[0] == 1:
            yield Reading("yolox", "features", nc=sigmoids[1], strides=strides, proof="boxes, objectness and scores")
        return
    if len(parts) > 1:
        if parts[0].rows in (4, 64):
            yield Reading("yolov8-joined", "features", nc=count - parts[0].rows, strides=strides, proof="two branches")
        return
    nc = count // ANCHORS_A_CELL - 5 - coefs
    if count % ANCHORS_A_CELL == 0 and nc >= 1 and strides == P5_STRIDES:
        roles = (*(OutputRole(o.index, "anchors", s) for o, s in zip(outs, strides, strict=True)), *proto)
        task: Task = "segment" if coefs else "detect"
        ordered = tuple(sorted(roles, key=lambda role: role.index))
        yield Reading("yolov5-raw", task, "raw", ordered, nc, coefs, 0, strides, P5_ANCHORS)
        yield Reading("yolov7-raw", "features", nc=nc, coefs=coefs, strides=strides)


# --- one output -----------------------------------------------------------------------------------


def _single(graph: Graph, out: Out, imgsz: int) -> Iterator[Reading]:
    flat = [s for s in out.shape[1:] if s != 1]
    if len(out.shape) in (2, 4) and len(flat) == 1 and flat[0] >= 2 and math.prod(out.shape) == flat[0]:
        yield _row(graph, out, flat[0])
    elif len(out.shape) == 4:
        stride, channels = _side(out.shape, imgsz)
        shown = f"one map of {channels} channels at stride {stride}"
        if stride == 1:
            yield Reading("semantic" if channels > 1 else "depth", "features", proof=shown)
        elif stride >= 16 and channels % 5 == 0 and channels // 5 > 5:
            yield Reading("yolov2", "features", proof=f"{shown}, five anchors of {channels // 5}")
        elif stride:
            yield Reading("heat maps", "features", proof=shown)


def _row(graph: Graph, out: Out, count: int) -> Reading:
    """One row of numbers: scores of a classifier, unless the graph brings them to length one."""
    norms = sorted({op.kind for op in graph.ops if op.kind in LENGTHS})
    if norms:
        return Reading("features", "features", proof=f"{', '.join(norms)}: a vector of length one")
    parts = pieces(graph, out.tensor, out.shape.index(count))
    forms = {piece.form for piece in parts}
    ended = forms <= {"softmax", "sigmoid"} and len(forms) == 1
    proof = f"one row of {count} numbers, " + (f"behind a {forms.pop()}" if ended else "logits")
    roles = (OutputRole(out.index, "probs"),)
    return Reading("classifier", "classify", "raw", roles, count, logits=not ended, proof=proof)


def _side(shape: tuple[int, ...], imgsz: int) -> tuple[int, int]:
    """Stride and channels of a square map, 0 where it is none."""
    for side, other, channels in ((shape[2], shape[3], shape[1]), (shape[1], shape[2], shape[3])):
        if side == other and side > 0 and imgsz % side == 0:
            return imgsz // side, channels
    return 0, 0


def _proto_channels(shape: tuple[int, ...], imgsz: int) -> int:
    stride, channels = _side(shape, imgsz)
    return channels if stride in (2, 4, 8) else 0


def _channel_pieces(graph: Graph, out: Out, channels: int) -> tuple[Piece, ...]:
    return pieces(graph, out.tensor, 1 if out.shape[1] == channels else 3)


def _behind_sigmoid(graph: Graph, tensor: int) -> bool:
    rank = len(graph.tensors[tensor].shape)
    return any(piece.form == "sigmoid" for axis in range(1, rank) for piece in pieces(graph, tensor, axis)[:1])


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))

