"""ONNX files that somebody else exported: made static, checked for what an STM32 can run, and cut where it cannot.

A network with dynamic shapes or data-dependent operators (NonMaxSuppression, RoiAlign, ...) cannot run whole on any
STM32 accelerator or, as with TopK, on TFLite's int8 kernels. Its part up to those operators usually can: for a Faster
R-CNN that is the backbone with its feature pyramid. `deployable_part` finds that part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import Contract, Count, ExportedModel
from edgeai.errors import InputError, ToolError
from edgeai.export.separate import separated
from edgeai.export.to_onnx import check_size, simplified, with_contract
from edgeai.files import file_ref
from edgeai.graph.onnx import in_order, read_onnx
from edgeai.provenance import EXPORT_TOOLS, provenance
from edgeai.recognise import Asked
from edgeai.recognise.know import know
from edgeai.recognise.tables import SELECTIONS

if TYPE_CHECKING:
    import onnx

# Operators that a fixed int8 graph can hold. Others either depend on the data for their shape, have no int8 kernel in
# TFLite, or are control flow.
STATIC_OPERATORS = frozenset(
    """Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv ConvTranspose
    DepthToSpace Div Dropout Elu Exp Expand Flatten Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish
    Identity LeakyRelu LogSoftmax MatMul Max MaxPool Min Mul Neg PRelu Pad Pow Range ReduceMax ReduceMean ReduceMin
    ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile
    Transpose Unsqueeze Upsample Where""".split()
)
# What makes an ONNX file a quantised one: QDQ, and the operator-oriented forms.
QUANTISED = frozenset(
    """QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
    QLinearAdd QLinearMul QLinearSigmoid QLinearConcat QLinearGlobalAveragePool QGemm""".split()
)


SELECTS = "export the head before that selection (Ultralytics: end2end=False, and nms=False)"


@dataclass(frozen=True, slots=True)
class Deployable:
    """What of a network can be deployed: the outputs of that part, and the operators that stand in the way."""

    outputs: tuple[str, ...]
    whole: bool
    blocking: tuple[Count, ...]
    kept: int
    total: int


def import_onnx(source: Path, asked: Asked, part: bool, separate: bool, out: Path) -> ExportedModel:
    """`source` with a batch of one, a fixed input size, folded constants and a contract, written to `out`.

    `asked` is what the user says of the file. `part` cuts the network at what cannot be deployed. `separate`: boxes in
    pixels that are joined with scores become outputs of their own, as int8 wants them. Raises InputError where the file
    is not a float network on one RGB image, or cannot be deployed whole and `part` is not set; its message names the
    operators in the way.
    """
    import onnx

    model = _load(source)
    was_open = any(not d.dim_value for entry in model.graph.input for d in entry.type.tensor_type.shape.dim[1:])
    size = _make_static(model, source.name, asked.imgsz or None)
    model = _folded(model, out)
    found = deployable_part(model)
    if not found.whole:
        if not part:
            raise _not_whole(source.name, found)
        model = _cut(model, found)
        onnx.save(model, str(out))
        model = simplified(out)
    # the words of a file of one size must name that size
    contract = _contract(model, source, replace(asked, imgsz=size if was_open else 0), separate)
    if separate and contract.layout == "concat" and contract.box_unit == 1.0 and _kinds(contract) & {"pred"}:
        contract = separated(model, contract)
        onnx.save(model, str(out))
        model = simplified(out)
    onnx.save(with_contract(model, contract), str(out))
    options = [("imgsz", size), ("mean", contract.mean), ("std", contract.std), ("part", part)]
    options.append(("layout", contract.layout))
    return ExportedModel(
        file=file_ref(out),
        contract=contract,
        parity=(),
        provenance=provenance("export", [file_ref(source)], options, EXPORT_TOOLS, contract.spec.licence),
    )


def _kinds(contract: Contract) -> set[str]:
    return {role.kind for role in contract.roles}


def _folded(model: onnx.ModelProto, out: Path) -> onnx.ModelProto:
    """Constants folded, as far as onnxsim can: what follows from fixed shapes is no operator to deploy."""
    import onnx

    in_order(model.graph)
    onnx.save(model, str(out))
    try:
        return simplified(out)
    except ToolError:
        return model


def _not_whole(name: str, found: Deployable) -> InputError:
    blocking = ", ".join(f"{c.name} ({c.count})" for c in found.blocking)
    part = f"`edgeai export {name} --part -o part.onnx` keeps the {found.kept} of {found.total} operators before them"
    if SELECTIONS & {c.name for c in found.blocking}:
        hint = f"{SELECTS}; or {part}" if found.outputs else SELECTS
        return InputError(f"{name} selects its detections itself: {blocking} cannot run in int8 on an STM32", hint)
    hint = part if found.outputs else "nothing before them can be deployed"
    return InputError(f"{name} cannot run whole on an STM32: {blocking}", hint)


def _load(source: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(source), load_external_data=False)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise InputError(f"{source.name} is not a valid ONNX file: {' '.join(str(error).split())[:120]}") from None
    quantised = sorted({node.op_type for node in model.graph.node} & QUANTISED)
    if quantised:
        raise InputError(
            f"{source.name} is quantised already ({', '.join(quantised)})", "pass the float network it was made from"
        )
    if any(entry.data_location == onnx.TensorProto.EXTERNAL for entry in model.graph.initializer):
        raise InputError(f"{source.name} keeps its weights in another file", "save it as one file")
    return model


def _make_static(model: onnx.ModelProto, name: str, imgsz: int | None) -> int:
    """Fix the input at [1,3,S,S] in place; the size. Raises InputError where the input is something else."""
    constants = {entry.name for entry in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    sizes = [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    if len(sizes) == 4 and sizes[0] not in (1, None):
        raise InputError(f"{name} takes a batch of {sizes[0]} images", "export it with a batch of one")
    if len(sizes) != 4 or sizes[1] not in (3, None):
        shapes = "; ".join(f"{e.name} {[d.dim_value for d in e.type.tensor_type.shape.dim]}" for e in inputs)
        raise InputError(f"{name} is not a network on one RGB image: {shapes}", "its input must be [1, 3, S, S]")
    fixed = sizes[2] or sizes[3]
    if sizes[2] and sizes[3] and sizes[2] != sizes[3]:
        raise InputError(f"the input of {name} is {sizes[2]}x{sizes[3]}", "only square inputs are supported")
    if fixed and imgsz and fixed != imgsz:
        raise InputError(f"{name} has an input of {fixed} pixels, not {imgsz}", f"use --imgsz {fixed}")
    size = fixed or imgsz
    if not size:
        raise InputError(f"{name} has an input of any size", "pass --imgsz")
    if not fixed:
        check_size(size)
    for dimension, value in zip(inputs[0].type.tensor_type.shape.dim, (1, 3, size, size), strict=True):
        dimension.Clear()
        dimension.dim_value = value
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            dimension.Clear()  # shape inference finds it anew
    return size


def deployable_part(model: onnx.ModelProto) -> Deployable:
    """The largest part from the input on that is static; its outputs are what the rest, or nobody, reads from it."""
    import onnx

    shaped = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    static = {e.name: _is_static(e) for e in (*shaped.value_info, *shaped.output)}
    blocked: set[str] = set()
    blocking: dict[str, int] = {}
    kept = []
    for node in shaped.node:
        dynamic = any(name and not static.get(name, True) for name in node.output)
        if node.op_type not in STATIC_OPERATORS or dynamic or any(name in blocked for name in node.input):
            if not any(name in blocked for name in node.input):
                blocking[node.op_type] = blocking.get(node.op_type, 0) + 1
            blocked.update(node.output)
        else:
            kept.append(node)
    read = {name for node in shaped.node if any(o in blocked for o in node.output) for name in node.input}
    wanted = read | {output.name for output in shaped.output}
    computed = _computed_from_image(shaped, kept)
    outputs = tuple(name for node in kept for name in node.output if name in wanted and name in computed)
    counts = tuple(Count(kind, number) for kind, number in sorted(blocking.items()))
    return Deployable(outputs, not blocking, counts, len(kept), len(shaped.node))


def _is_static(entry: onnx.ValueInfoProto) -> bool:
    return all(d.HasField("dim_value") for d in entry.type.tensor_type.shape.dim)


def _computed_from_image(graph: onnx.GraphProto, kept: list[onnx.NodeProto]) -> set[str]:
    """Tensors of rank two or more that depend on the image: shapes and constants are not features."""
    constants = {entry.name for entry in graph.initializer}
    reached = {entry.name for entry in graph.input if entry.name not in constants}
    ranks = {e.name: len(e.type.tensor_type.shape.dim) for e in (*graph.value_info, *graph.output)}
    for node in kept:
        if node.op_type != "Shape" and any(name in reached for name in node.input):
            reached.update(node.output)
    return {name for name in reached if ranks.get(name, 4) >= 2}


def _cut(model: onnx.ModelProto, found: Deployable) -> onnx.ModelProto:
    import onnx

    if not found.outputs:
        raise InputError("nothing of this network can be deployed", "its first operators are dynamic already")
    shaped = onnx.shape_inference.infer_shapes(model, data_prop=True)
    constants = {entry.name for entry in model.graph.initializer}
    inputs = [entry.name for entry in model.graph.input if entry.name not in constants]
    return onnx.utils.Extractor(shaped).extract_model(inputs, list(found.outputs))


def _contract(model: onnx.ModelProto, source: Path, asked: Asked, for_int8: bool) -> Contract:
    """What the static network is; a head that is not decoded leaves plain tensors, a contradiction is an error."""
    known = know(read_onnx(model.SerializeToString(), source.name), source.stem, asked)
    if for_int8 and known.contract.layout == "end2end":
        raise InputError(
            f"{source.name} gives detections that it selected itself: box, score and class on one int8 scale are lost",
            SELECTS,
        )
    named = known.refusal is not None and not known.refusal.contradicts
    contract = known.contract if named else known.certain(source.name)
    return replace(contract, imgsz=asked.imgsz or contract.imgsz) if known.own else contract
