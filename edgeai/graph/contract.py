"""The contract inside a file: how its outputs are to be read, checked against the file."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeai.artifacts import Contract, OutputRole, from_json
from edgeai.errors import InputError
from edgeai.graph.types import Graph

KEY = "edgeai.contract"
MAX_IMGSZ = 8192

KINDS: dict[str, frozenset[str]] = {
    "raw": frozenset({"dfl", "logits", "coefs", "proto", "anchors", "probs", "tensor"}),
    "split": frozenset({"boxes", "scores", "coefs", "proto", "probs"}),
    "concat": frozenset({"pred", "pred5", "proto", "probs"}),
    "end2end": frozenset({"detections", "proto"}),
    "tensors": frozenset({"tensor"}),
}
# ST's applications set a mask pixel where coefficients . prototypes >= 0.5, without a sigmoid. Prototypes times ST_GAIN
# times the divisor make that a logit of 1/16.
ST_MASK_PRODUCT = 0.5
ST_GAIN = 8.0
HIGHEST_ST_LOGIT = 0.1  # masks beyond it are visibly too small: at 0.5 they lose a tenth of their area


def read_contract(graph: Graph) -> Contract | None:
    """The contract that a file carries; None where it carries none. Raises InputError where it is not sound."""
    raw = graph.lookup(KEY)
    if raw is None:
        return None
    where = "the edgeai.contract inside the file"
    try:
        text = raw.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise InputError(f"{where} is damaged") from None
    contract = from_json(Contract, text, where)
    problem = next(_problems(contract, graph), "")
    if problem:
        raise InputError(f"{where} does not fit the file: {problem}", "quantize the model again")
    return contract


def _problems(contract: Contract, graph: Graph) -> Iterator[str]:
    """What is wrong with a contract, one after the other."""
    spec = contract.spec
    if not 0 < contract.imgsz <= MAX_IMGSZ:
        yield f"imgsz {contract.imgsz}"
    if not all(math.isfinite(v) and v > 0 for v in (contract.box_unit, contract.coef_divisor, contract.proto_factor)):
        yield "box_unit, coef_divisor and proto_factor must be positive"
    if {len(contract.mean), len(contract.std)} not in ({0}, {3}) or not all(s > 0 for s in contract.std):
        yield "mean and std must be three numbers each, std positive"
    if not spec.names or spec.reg_max < 0 or spec.num_coefs < 0 or any(s < 1 for s in spec.strides):
        yield "its network has no classes or impossible sizes"
    indices = [role.index for role in contract.roles]
    if not indices or len(set(indices)) != len(indices):
        yield "its roles name no output, or one twice"
    for role in contract.roles:
        if not 0 <= role.index < len(graph.outputs):
            yield f"it names output {role.index} of {len(graph.outputs)}"
            continue
        if role.kind not in KINDS[contract.layout]:
            yield f"layout {contract.layout} has no output {role.kind!r}"
        if role.kind in ("dfl", "logits", "anchors") and role.stride not in spec.strides:
            yield f"output {role.kind!r} has stride {role.stride}"
        if role.kind == "tensor":
            continue
        shape = graph.tensors[graph.outputs[role.index]].shape
        expected = channels(contract, role)
        if expected not in shape[1:2] + shape[-1:] and -1 not in shape and shape:
            yield f"output {role.kind!r} has shape {list(shape)}, {expected} channels were expected"


def st_mask_logit(contract: Contract) -> float | None:
    """The logit from which on ST's applications set a mask pixel; None where they do not read the file's masks."""
    if contract.layout != "concat" or not any(role.kind == "proto" for role in contract.roles):
        return None
    return ST_MASK_PRODUCT * contract.coef_divisor / contract.proto_factor


def input_size(graph: Graph) -> int | None:
    """Side of the square image input, in pixels; None where there is no such single input."""
    if len(graph.inputs) != 1:
        return None
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4 or not {shape[1], shape[3]} & {1, 3}:
        return None
    height, width = (shape[1], shape[2]) if shape[3] in (1, 3) else (shape[2], shape[3])
    return height if height == width and 0 < height <= MAX_IMGSZ else None


def channels(contract: Contract, role: OutputRole) -> int:
    """Number of channels of an output, by its role."""
    spec = contract.spec
    coefs = spec.num_coefs if any(other.kind == "proto" for other in contract.roles) else 0
    shapes = max(1, len(spec.anchors[0]) // 2) if spec.anchors else 1
    return {
        "dfl": 4 * spec.reg_max,
        "boxes": 4,
        "coefs": spec.num_coefs,
        "proto": spec.num_coefs,
        "pred": 4 + spec.nc + coefs,
        "pred5": 5 + spec.nc + coefs,
        "detections": 6 + coefs,
        "anchors": shapes * (5 + spec.nc + coefs),
    }.get(role.kind, spec.nc)
