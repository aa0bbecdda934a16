"""Every head that the outputs of a network may be, by their shapes and by what computes them.

A reading is one consistent meaning of all outputs. Shapes alone often allow several; `edgeai.recognise` lets the file's
own words decide between them, and refuses where nothing does. Formulas of the heads: edgeai/evaluate/decode.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeai.artifacts import OutputRole
from edgeai.graph.types import Graph
from edgeai.recognise.maps import levels, separate
from edgeai.recognise.reading import Out, Reading, side
from edgeai.recognise.tables import predictions
from edgeai.recognise.trace import pieces

LENGTHS = frozenset({"L2_NORMALIZATION", "ReduceL2", "LpNormalization"})
SSD_OPERATOR = "CUSTOM:TFLite_Detection_PostProcess"


def readings(graph: Graph, outputs: tuple[Out, ...], imgsz: int) -> list[Reading]:
    """Every reading of the outputs of a network of one square image of `imgsz` pixels."""
    if any(op.kind == SSD_OPERATOR for op in graph.ops):
        return [Reading("ssd", "features", proof="its last operator is TFLite_Detection_PostProcess")]
    tables = [out for out in outputs if len(out.shape) == 3]
    maps = [out for out in outputs if len(out.shape) == 4]
    found: list[Reading] = []
    if len(tables) == 1 and len(outputs) <= 2 and len(maps) == len(outputs) - 1:
        found += predictions(graph, tables[0], maps[0] if maps else None, imgsz)
    if len(tables) >= 2:
        found += separate(tables, maps, imgsz)
    if len(maps) == len(outputs) and len(maps) > 1:
        found += levels(graph, maps, imgsz)
    if len(outputs) == 1:
        found += _single(graph, outputs[0], imgsz)
    return found


def _single(graph: Graph, out: Out, imgsz: int) -> Iterator[Reading]:
    flat = [s for s in out.shape[1:] if s != 1]
    if len(out.shape) in (2, 4) and len(flat) == 1 and flat[0] >= 2 and math.prod(out.shape) == flat[0]:
        yield _row(graph, out, flat[0])
    elif len(out.shape) == 4:
        stride, channels = side(out.shape, imgsz)
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
