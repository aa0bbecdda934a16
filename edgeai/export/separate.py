"""Boxes, scores and coefficients of an ONNX file as outputs of their own, each with a scale of its own in int8.

YOLOv8's usual export joins boxes in pixels and scores in one tensor. int8 gives a tensor one scale, so a step of a box
would be a step of a score: at 256 px all of it. The tensor is a concatenation; what it joins become the outputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeai.artifacts import Contract, OutputRole
from edgeai.errors import InputError

if TYPE_CHECKING:
    import onnx

MOVES = frozenset({"Identity", "Transpose"})


def separated(model: onnx.ModelProto, contract: Contract) -> Contract:
    """Replace the joined prediction of `model`, in place, by its parts; returns the contract in layout split.

    Raises InputError where the prediction is not a concatenation of whole parts.
    """
    import onnx

    spec, graph = contract.spec, model.graph
    place = next(role.index for role in contract.roles if role.kind == "pred")
    wanted = [("boxes", 4), ("scores", spec.nc)]
    if spec.task == "segment":
        wanted.append(("coefs", spec.num_coefs))
    parts = _parts(model, graph.output[place].name, [rows for _, rows in wanted])
    if parts is None:
        raise InputError(
            "boxes in pixels and scores leave the network in one tensor: int8 would give both one scale",
            "export the head in parts, or with boxes divided by the input size",
        )
    kept = [entry for i, entry in enumerate(graph.output) if i != place]
    del graph.output[:]
    for (kind, _), (source, shape) in zip(wanted, parts, strict=True):
        graph.node.append(onnx.helper.make_node("Identity", [source], [f"edgeai_{kind}"]))
        graph.output.append(onnx.helper.make_tensor_value_info(f"edgeai_{kind}", onnx.TensorProto.FLOAT, shape))
    graph.output.extend(kept)
    found = [OutputRole(i, kind, order=_order(parts[i][1], rows)) for i, (kind, rows) in enumerate(wanted)]
    found += [OutputRole(len(wanted), "proto")] if kept else []
    return replace(contract, layout="split", roles=tuple(found), head="split")


def _order(shape: list[int], rows: int) -> str:
    """Rows of a part stand first, unless only its last axis has as many."""
    return "last" if shape[-1] == rows != shape[1] else "first"


def _parts(model: onnx.ModelProto, output: str, wanted: list[int]) -> list[tuple[str, list[int]]] | None:
    """The tensors that hold `wanted` rows each, joined to `output` in this order, with their shapes; or None."""
    import onnx

    shaped = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        e.name: [d.dim_value for d in e.type.tensor_type.shape.dim] for e in (*shaped.value_info, *shaped.output)
    }
    made = {name: node for node in model.graph.node for name in node.output}
    total = sum(wanted)
    while output in made and made[output].op_type in MOVES:
        output = made[output].input[0]
    shape = shapes.get(output, [])
    axis = next((i for i in (1, 2) if len(shape) == 3 and shape[i] == total and _axis(made.get(output), 3) == i), None)
    if axis is None:
        return None
    names = _grouped([(output, total)], wanted, axis, made, shapes)
    return None if names is None else [(name, shapes[name]) for name in names]


def _grouped(
    pieces: list[tuple[str, int]], wanted: list[int], axis: int, made: dict[str, onnx.NodeProto],
    shapes: dict[str, list[int]],
) -> list[str] | None:  # fmt: skip
    """Open concatenations along `axis` until every wanted group is one tensor."""
    for _ in range(8):
        if [rows for _, rows in pieces] == wanted:
            return [name for name, _ in pieces]
        opened: list[tuple[str, int]] = []
        for name, rows in pieces:
            node = made.get(name)
            if rows not in wanted and node is not None and _axis(node, 3) == axis:
                opened += [(source, (shapes.get(source) or [0, 0, 0])[axis]) for source in node.input]
            else:
                opened.append((name, rows))
        if opened == pieces:
            return None
        pieces = opened
    return None


def _axis(node: onnx.NodeProto | None, rank: int) -> int | None:
    """The axis of a concatenation; None of other nodes."""
    if node is None or node.op_type != "Concat":
        return None
    value = int(next(a.i for a in node.attribute if a.name == "axis"))
    return value + rank if value < 0 else value
