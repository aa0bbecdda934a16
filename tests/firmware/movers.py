"""Operators that move numbers, drawn as those of `operators.py` are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from operators import Draw, Ends, Shape, operator

Move = Callable[[Draw, Callable[[Shape, int], int]], Ends]


def mover(name: str, **fields: Any) -> Callable[[Callable[..., Ends]], Callable[..., Ends]]:
    """Under `name` with one scale on both sides, and under another with two, where the format allows that."""

    def keep(function: Callable[..., Ends]) -> Callable[..., Ends]:
        operator(name, result=Draw.like, **fields)(function)
        operator(f"{name} other scales", result=_rescaled, **fields)(function)
        return function

    return keep


def _rescaled(d: Draw, shape: Shape, source: int) -> int:
    return d.out(shape, d.reach(source))


@mover("CONCATENATION")
def concatenate(d: Draw, result: Any) -> Ends:
    axis = d.pick(0, 1, 2, -1)
    shapes = [tuple(n + i if at == axis % 4 else n for at, n in enumerate((2, 3, 4, 5))) for i in range(3)]
    first = d.x(shapes[0])
    xs = [first, *(result(d, s, first) for s in shapes[1:])]
    total = list(shapes[0])
    total[axis] = sum(s[axis] for s in shapes)
    y = result(d, tuple(total), first)
    d.m.op("CONCATENATION", xs, [y], "ConcatenationOptions", 2, axis=axis)
    return xs, [y]


@mover("TRANSPOSE")
def transpose(d: Draw, result: Any) -> Ends:
    axes = d.pick((1, 0), (0, 2, 1), (0, 3, 1, 2), (3, 2, 1, 0), (0, 1, 4, 2, 3))
    shape = (2, 3, 4, 5, 6)[: len(axes)]
    x = d.x(shape)
    y = result(d, tuple(shape[a] for a in axes), x)
    d.m.op("TRANSPOSE", [x, d.ints(axes)], [y], "TransposeOptions", 2)
    return [x], [y]


SLICES = (
    {"begin": (0, 1, 2, 0), "end": (2, 5, 6, 7), "stride": (1, 2, 3, 1)},
    {"begin": (1, 1, 2, 3), "end": (1, 4, 3, 4), "stride": (1, 1, 1, 1), "beginMask": 1, "endMask": 9},
    {"begin": (0, -1, 5, 0), "end": (2, 0, 1, 7), "stride": (1, -1, -2, 1)},
    {"begin": (0, 3, 0, 0), "end": (2, 4, 6, 7), "stride": (1, 1, 1, 1), "shrinkAxisMask": 2},
)


@mover("STRIDED_SLICE")
def strided_slice(d: Draw, result: Any) -> Ends:
    shape, masks = (2, 5, 6, 7), dict(d.pick(*SLICES))
    begin, end, stride = (masks.pop(name) for name in ("begin", "end", "stride"))
    parts = []
    for i, (b, e, s) in enumerate(zip(begin, end, stride, strict=True)):
        free = [masks.get(name, 0) >> i & 1 for name in ("beginMask", "endMask")]
        parts.append(slice(None if free[0] else b, None if free[1] else e, s))
    left = np.zeros(shape)[tuple(parts)].shape
    x = d.x(shape)
    y = result(d, tuple(n for i, n in enumerate(left) if not masks.get("shrinkAxisMask", 0) >> i & 1), x)
    operands = [x, d.ints(begin), d.ints(end), d.ints(stride)]
    d.m.op("STRIDED_SLICE", operands, [y], "StridedSliceOptions", 2, **masks)
    return [x], [y]


@mover("SLICE")
def slice_(d: Draw, result: Any) -> Ends:
    x = d.x((2, 5, 6, 7))
    y = result(d, (2, 3, 4, 5), x)
    d.m.op("SLICE", [x, d.ints((0, 1, 2, 1)), d.ints((2, 3, 4, 5))], [y], "SliceOptions", 2)
    return [x], [y]


@mover("SPLIT", kind="SPLIT")
@mover("SPLIT_V", kind="SPLIT_V")
def split(d: Draw, result: Any, kind: str) -> Ends:
    x = d.x((2, 3, 9))
    if kind == "SPLIT":
        ys = [result(d, (2, 3, 3), x) for _ in range(3)]
        d.m.op("SPLIT", [d.ints(2), x], ys, "SplitOptions", 2, numSplits=3)
    else:
        ys = [result(d, (2, 3, n), x) for n in (2, 3, 4)]
        d.m.op("SPLIT_V", [x, d.ints((2, 3, 4)), d.ints(2)], ys, "SplitVOptions", 2, numSplits=3)
    return [x], ys


@mover("PACK")
def pack(d: Draw, result: Any) -> Ends:
    axis = d.pick(0, 2, -1)
    first = d.x((2, 3, 4))
    xs = [first, *(result(d, (2, 3, 4), first) for _ in range(2))]
    y = result(d, tuple(np.insert((2, 3, 4), axis % 4, 3).tolist()), first)
    d.m.op("PACK", xs, [y], "PackOptions", 2, valuesCount=3, axis=axis)
    return xs, [y]


@mover("UNPACK")
def unpack(d: Draw, result: Any) -> Ends:
    x = d.x((2, 3, 4))
    ys = [result(d, (2, 4), x) for _ in range(3)]
    d.m.op("UNPACK", [x], ys, "UnpackOptions", 2, num=3, axis=1)
    return [x], ys


@mover("PAD", kind="PAD")
@mover("PADV2", kind="PADV2")
@mover("MIRROR_PAD", kind="MIRROR_PAD")
def pad(d: Draw, result: Any, kind: str) -> Ends:
    x = d.x((1, 3, 4, 5))
    amounts = d.pick(((0, 0), (1, 2), (2, 0), (0, 3)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = result(d, tuple(n + a + b for n, (a, b) in zip((1, 3, 4, 5), amounts, strict=True)), x)
    operands = [x, d.ints(amounts)]
    if kind == "PADV2":
        given = d.m.graph.tensors[y].quantization
        value = d.rng.integers(-128, 128, ())
        operands.append(d.m.tensor((), scale=given.scale[0], zero=given.zeroPoint[0], data=value))
    options = {"PAD": "PadOptions", "PADV2": "PadV2Options", "MIRROR_PAD": "MirrorPadOptions"}[kind]
    d.m.op(kind, operands, [y], options, 2)
    return [x], [y]


@mover("TILE", version=2)
@mover("TILE version 3", version=3)
def tile(d: Draw, result: Any, version: int) -> Ends:
    x = d.x((1, 2, 3))
    y = result(d, (2, 6, 3), x)
    d.m.op("TILE", [x, d.ints((2, 3, 1))], [y], "TileOptions", version)
    return [x], [y]


@mover("GATHER")
def gather(d: Draw, result: Any) -> Ends:
    axis = d.pick(0, 1)
    x = d.x((4, 5, 6))
    y = result(d, tuple(5 if i == axis else n for i, n in enumerate((4, 5, 6))), x)
    d.m.op("GATHER", [x, d.ints((3, 0, 1, 2, 0))], [y], "GatherOptions", 2, axis=axis)
    return [x], [y]


@mover("DEPTH_TO_SPACE", kind="DEPTH_TO_SPACE")
@mover("SPACE_TO_DEPTH", kind="SPACE_TO_DEPTH")
def blocks(d: Draw, result: Any, kind: str) -> Ends:
    deep, shallow = (1, 2, 3, 12), (1, 4, 6, 3)
    x = d.x(deep if kind == "DEPTH_TO_SPACE" else shallow)
    y = result(d, shallow if kind == "DEPTH_TO_SPACE" else deep, x)
    options = "DepthToSpaceOptions" if kind == "DEPTH_TO_SPACE" else "SpaceToDepthOptions"
    d.m.op(kind, [x], [y], options, 1 if kind == "DEPTH_TO_SPACE" else 2, blockSize=2)
    return [x], [y]


@mover("RESHAPE", kind="RESHAPE")
@mover("SQUEEZE", kind="SQUEEZE")
@mover("EXPAND_DIMS", kind="EXPAND_DIMS")
def reshape(d: Draw, result: Any, kind: str) -> Ends:
    x = d.x((2, 1, 3, 4))
    if kind == "RESHAPE":
        y = result(d, (6, 4), x)
        d.m.op("RESHAPE", [x, d.ints((6, 4))], [y], "ReshapeOptions", 1, newShape=[6, 4])
    elif kind == "SQUEEZE":
        y = result(d, (2, 3, 4), x)
        d.m.op("SQUEEZE", [x], [y], "SqueezeOptions", 1, squeezeDims=[1])
    else:
        y = result(d, (2, 1, 1, 3, 4), x)
        d.m.op("EXPAND_DIMS", [x, d.ints(1)], [y], "ExpandDimsOptions", 1)
    return [x], [y]
