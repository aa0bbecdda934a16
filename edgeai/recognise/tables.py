"""Readings of one table of predictions, [1, rows, anchors] or [1, anchors, rows], with prototypes or without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgeai.artifacts import OutputRole, Task
from edgeai.graph.types import WEIGHT_OPERANDS, Graph
from edgeai.recognise.corners import by_corners
from edgeai.recognise.reading import (
    ANCHORS_A_CELL,
    BOX_ROWS,
    Out,
    Reading,
    listed,
    map_order,
    order_of,
    proto_channels,
    strides_of,
)  # fmt: skip
from edgeai.recognise.trace import Piece, pieces

MOST_COLUMNS = 512  # of a detection: 6, and 32 coefficients or some dozen key points
FEWEST_KEYPOINTS = 4  # of a skeleton that unexplained rows may be: box corners at least
SELECTIONS = frozenset({"TopK", "NonMaxSuppression", "TOPK_V2", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"})
WEIGHTED = frozenset(WEIGHT_OPERANDS)
ANGLES = frozenset({"Sin", "Cos", "SIN", "COS"})


def predictions(graph: Graph, table: Out, proto: Out | None, imgsz: int) -> Iterator[Reading]:
    """[1, rows, anchors] or [1, anchors, rows], and prototypes or none."""
    coefs = 0
    proto_roles: tuple[OutputRole, ...] = ()
    if proto is not None:
        coefs = proto_channels(proto.shape, imgsz)
        if not coefs:
            return
        proto_roles = (OutputRole(proto.index, "proto", order=map_order(graph, proto.shape)),)
    for axis in (1, 2):
        anchors, rows = table.shape[3 - axis], table.shape[axis]
        parts = pieces(graph, table.tensor, axis)
        base = Reading("", "detect", boxes=table.tensor, box_axis=axis, coefs=coefs)
        strides = strides_of(anchors, imgsz)
        if strides:
            yield from _anchor_free(graph, base, parts, rows, strides, table, proto_roles)
        strides = strides_of(anchors, imgsz, ANCHORS_A_CELL)
        if strides:
            yield from _with_objectness(graph, base, parts, rows, strides, table, proto_roles)
        if axis == 2:
            grids = [bool(strides_of(n, imgsz) or strides_of(n, imgsz, ANCHORS_A_CELL)) for n in (anchors, rows)]
            yield from _selected(graph, base, parts, rows, table, proto_roles, grids[0], grids[1])


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the pieces show of the rows of a prediction: sigmoids behind the four of the box, and what is left.

    `fits` is False where they show something else: scores ahead of the boxes, sigmoids among the rows of key points.
    """

    scores: tuple[int, ...]  # sizes of the pieces behind a sigmoid
    extra: int
    fits: bool = True


def _shown(graph: Graph, parts: tuple[Piece, ...]) -> _Rows | None:
    """None where no piece shows what it is: constants and what is added to them or multiplied by them."""
    at, scores, extra, fits = 0, [], 0, True
    for piece in parts:
        if piece.form == "sigmoid":
            fits = fits and at >= BOX_ROWS and not extra
            scores.append(piece.rows)
        elif scores:
            extra += piece.rows
        elif at + piece.rows > BOX_ROWS and at < BOX_ROWS:
            fits = False
        at += piece.rows
    if scores:
        return _Rows(tuple(scores), extra, fits)
    return None if all(_is_plain(graph, piece.tensor) for piece in parts) else _Rows((), 0, False)


def _is_plain(graph: Graph, tensor: int) -> bool:
    """Whether a tensor is given, or computed from one tensor and constants: it shows nothing of a decode."""
    op = graph.producer(tensor)
    if op is None:
        return True
    held = [t for t in op.inputs if t >= 0 and not graph.behind_quantizers(graph.tensors[t]).is_constant]
    return op.kind in ("ADD", "Add", "SUB", "Sub", "MUL", "Mul", "DIV", "Div") and len(held) == 1


def _anchor_free(
    graph: Graph, base: Reading, parts: tuple[Piece, ...], rows: int, strides: tuple[int, ...], table: Out,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """One anchor a cell: YOLOv8 and its heirs, their key points and angles, YOLOX."""
    shown = _shown(graph, parts)
    roles = (OutputRole(table.index, "pred", order=order_of(base.box_axis)), *proto)
    if (shown is None or not shown.scores) and (computed := _bare_scores(graph, parts)):
        shown, base = computed, replace(base, logits=True)
    proof = ""
    if shown is not None and not shown.fits:
        return
    if shown is not None:
        proof = f"{sum(shown.scores)} rows {'of one convolution' if base.logits else 'leave a sigmoid'}"
        proof += f", {shown.extra} rows follow them" if shown.extra else ", nothing follows them"
        if len(shown.scores) == 2 and shown.scores[0] == 1 and not shown.extra and not proto:
            proof = f"sigmoids of 1 and of {shown.scores[1]} rows are joined"
            yield replace(base, head="yolox", task="features", nc=shown.scores[1], strides=strides, proof=proof)
            return
        if by_corners(graph, table.tensor, base.box_axis):
            yield replace(base, head="corners", task="features", nc=sum(shown.scores), strides=strides, proof=proof)
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
    graph: Graph, base: Reading, parts: tuple[Piece, ...], rows: int, strides: tuple[int, ...], table: Out,
    proto: tuple[OutputRole, ...],
) -> Iterator[Reading]:  # fmt: skip
    """Three anchors a cell: YOLOv5's decoded form cx, cy, w, h, objectness, classes [, coefficients]."""
    shown = _shown(graph, parts)
    nc, proof = rows - BOX_ROWS - 1 - base.coefs, ""
    if shown is not None:
        if not shown.fits or shown.extra != base.coefs:
            return
        nc = sum(shown.scores) - 1
        proof = f"three anchors for every cell of strides {listed(strides)}, {nc + 1} rows leave a sigmoid"
    if nc < 1:
        return
    task: Task = "segment" if base.coefs else "detect"
    roles = (OutputRole(table.index, "pred5", order=order_of(base.box_axis)), *proto)
    yield replace(base, head="yolov5", task=task, layout="concat", roles=roles, nc=nc, strides=strides, proof=proof)
    if shown is None and not proto and nc - 1 >= 2 * FEWEST_KEYPOINTS:
        yield replace(base, head="pose", task="features", strides=strides, extra=nc - 1)


def _selected(
    graph: Graph, base: Reading, parts: tuple[Piece, ...], rows: int, table: Out,
    proto: tuple[OutputRole, ...], is_grid: bool, columns_are_anchors: bool,
) -> Iterator[Reading]:  # fmt: skip
    """[1, K, 6 + more]: x1, y1, x2, y2, score, class of detections; [1, K, 4 + nc] of queries."""
    if rows < BOX_ROWS + 2 or rows > MOST_COLUMNS or columns_are_anchors:
        return
    queries = _queries(parts)
    if queries:
        if not proto and not is_grid:
            proof = f"{queries} rows leave a sigmoid"
            yield replace(base, head="rtdetr", task="features", nc=queries, proof=proof)
        return
    joined = [piece.rows for piece in parts[-2:]] == [1, 1] and sum(piece.rows for piece in parts) == BOX_ROWS + 2
    selection = _selection(graph, table.tensor)
    proof = "box, score and class are joined" if joined else ""
    proof = f"the graph selects detections itself ({selection})" if selection else proof
    extra = rows - BOX_ROWS - 2
    if extra == base.coefs:
        task: Task = "segment" if base.coefs else "detect"
        roles = (OutputRole(table.index, "detections", order="last"), *proto)
        yield replace(base, head="end2end", task=task, layout="end2end", roles=roles, proof=proof)
    elif not proto and (proof or not is_grid):
        yield replace(base, head="obb" if extra == 1 else "pose", task="features", extra=extra, proof=proof)
    if not proto and not is_grid and not proof:
        yield replace(base, head="rtdetr", task="features", nc=rows - BOX_ROWS)


def _queries(parts: tuple[Piece, ...]) -> int:
    """Rows behind a sigmoid that follow the four of a box, which may be behind one, too; 0 where there are none."""
    if not parts or sum(piece.rows for piece in parts) <= BOX_ROWS:
        return 0
    at, scores = 0, 0
    for piece in parts:
        if at >= BOX_ROWS:
            if piece.form != "sigmoid":
                return 0
            scores += piece.rows
        elif at + piece.rows > BOX_ROWS:
            return 0
        at += piece.rows
    return scores


def _selection(graph: Graph, tensor: int) -> str:
    """What chooses detections between the last layers with weights and the output; "" where nothing does."""
    todo, seen, found = [tensor], set(), set()
    while todo:
        op = graph.producer(todo.pop())
        if op is None or op.index in seen or op.kind in WEIGHTED:
            continue
        seen.add(op.index)
        if op.kind in SELECTIONS:
            found.add(op.kind)
        else:
            todo += [t for t in op.inputs if t >= 0]
    return ", ".join(sorted(found))
