"""Readings of several outputs: boxes and scores in tables of their own, and maps of one or several levels."""

from __future__ import annotations

from collections.abc import Iterator

from edgeai.artifacts import OutputRole, Task
from edgeai.graph.types import Graph
from edgeai.models.registry import P5_ANCHORS, P5_STRIDES
from edgeai.recognise.reading import (
    ANCHORS_A_CELL,
    BOX_ROWS,
    STRIDE_SETS,
    Out,
    Reading,
    grid,
    listed,
    map_order,
    proto_channels,
    side,
    strides_of,
)  # fmt: skip
from edgeai.recognise.trace import Piece, pieces


def separate(tables: list[Out], maps: list[Out], imgsz: int) -> Iterator[Reading]:
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
    coefs = proto_channels(maps[0].shape, imgsz)
    if len(rows) != 2 or rows.count(coefs) != 1:
        return None
    return ["coefs" if n == coefs else "scores" for n in rows], rows[1 - rows.index(coefs)], coefs


def levels(graph: Graph, maps: list[Out], imgsz: int) -> Iterator[Reading]:
    """Maps of several levels: raw heads; or of one level: CenterNet."""
    sides = {out.index: side(out.shape, imgsz) for out in maps}
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
            yield Reading("centernet", "features", proof=f"maps of {listed(tuple(sizes))} channels at one level")
        return
    if strides not in STRIDE_SETS or len({len(outs) for outs in levels.values()}) != 1:
        return
    coefs = channels[proto[0].index] if proto else 0
    proto_roles = tuple(OutputRole(out.index, "proto", order=map_order(graph, out.shape)) for out in proto)
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
        proof = f"{dfl} channels of box distances at strides {listed(strides)}, from convolutions"
        proof = proof if dfl > BOX_ROWS else ""
        yield Reading("yolov8-raw", task, "raw", ordered, nc, coefs, dfl // 4, strides, proof=proof)
        if dfl == BOX_ROWS:
            yield Reading("distances", "features", nc=nc, coefs=coefs, strides=strides)


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


def _channel_pieces(graph: Graph, out: Out, channels: int) -> tuple[Piece, ...]:
    return pieces(graph, out.tensor, 1 if out.shape[1] == channels else 3)


def _behind_sigmoid(graph: Graph, tensor: int) -> bool:
    rank = len(graph.tensors[tensor].shape)
    return any(piece.form == "sigmoid" for axis in range(1, rank) for piece in pieces(graph, tensor, axis)[:1])
