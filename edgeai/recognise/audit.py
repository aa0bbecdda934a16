"""What a model file really is, from its bytes and nothing else: names and README files are not believed."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import AuditReport, Contract, Count, Granularity, TensorAudit
from edgeai.files import file_ref
from edgeai.graph.contract import HIGHEST_ST_LOGIT, st_mask_logit
from edgeai.graph.scales import quantization_faults
from edgeai.graph.types import DEQUANTIZERS, QUANTIZERS, Graph, Op, Tensor
from edgeai.kernels.plan import silently_wrong
from edgeai.recognise import NOTHING, Asked
from edgeai.recognise.know import Known, open_file
from edgeai.recognise.losses import described, empty_channels, saturated_biases

FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
MOVES = DEQUANTIZERS | set(
    "Identity Transpose TRANSPOSE Reshape RESHAPE Squeeze SQUEEZE Unsqueeze EXPAND_DIMS Flatten Split Slice SLICE "
    "STRIDED_SLICE Gather".split()
)
JOINS = frozenset({"Concat", "CONCATENATION"})
UNNAMED = "from the shapes, without names"  # how the evidence says that class names are made up
COARSE_BOX_STEP_PX = 2.0
# From this mask logit on, an application's masks are as good as empty: IoU 0.56 at logit 2, 0.19 at 4 (4 of 10 masks
# empty), 0.002 at 8 (YOLOv8n-seg, 206 masks of val2017, 2026-11-30).
EMPTY_FROM_LOGIT = 4.0


def audit(path: Path, asked: Asked = NOTHING) -> AuditReport:
    """Read a TFLite or ONNX file and say what is in it; `asked` is what the user says of it.

    Weights are the constant operands of convolutions and matrix products, counted once per operator that uses them;
    `weights_bytes`, `bias_bytes` and `constants_bytes` count shared tensors once. `macs` are those of operators with
    constant weights, batch included; products of two activations (attention) do not count.
    Raises InputError where the file is not sound, ToolError where it is ONNX and onnx is not installed.
    """
    graph, known = open_file(path, asked, computing=False)
    faults = quantization_faults(graph)
    contract = known.contract if known.refusal is None else None
    weights = _weights(graph)
    steps = _steps(graph, contract) if not faults else _Steps()
    operators = Counter(op.kind for op in graph.ops)
    report = AuditReport(
        file=file_ref(path),
        format=graph.format,
        granularity=weights.granularity,
        weights_per_channel=weights.per_channel,
        weights_per_tensor=weights.per_tensor,
        weights_float=weights.floats,
        float_tensors=len(_float_tensors(graph)),
        dtypes=_counts(Counter(tensor.dtype for tensor in graph.tensors)),
        operators=_counts(operators),
        inputs=tuple(_described(graph.tensors[t]) for t in graph.inputs),
        outputs=tuple(_described(graph.tensors[t], _kind(contract, i)) for i, t in enumerate(graph.outputs)),
        layout=_layout(known),
        shared_output_scale=steps.shared_scale > 0,
        box_step_px=steps.box_px,
        score_step_percent=steps.score_percent,
        weights_bytes=graph.stored(tensor for op in graph.ops for tensor in _weights_of(graph, op)),
        bias_bytes=graph.stored(
            bias for op in graph.ops if graph.weights(op) and (bias := graph.bias(op)) is not None
        ),
        constants_bytes=graph.stored(tensor for tensor in graph.tensors if tensor.is_constant),
        macs=sum(graph.macs(op) for op in graph.ops if any(True for _ in _weights_of(graph, op))),
        findings=(),
        evidence=known.evidence,
        head=known.contract.head,
        refusal=known.refusal.message if known.refusal is not None else "",
    )
    more = [*_mask_findings(contract), *_known_findings(known), *_float_findings(graph, report.granularity)]
    more += [*_shape_findings(graph), *_loss_findings(graph), *silently_wrong(graph)]
    return _with_findings(report, graph, steps, weights, more)


# --- weights ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Weights:
    """How many operators have weights of which kind. `split_*` count those with more than one output channel."""

    per_channel: int
    per_tensor: int
    floats: int
    split_per_channel: int
    split_all: int

    @property
    def granularity(self) -> Granularity:
        if not self.per_channel + self.per_tensor:
            return "float"
        return "per-channel" if 2 * self.split_per_channel > self.split_all else "per-tensor"


def _weights(graph: Graph) -> _Weights:
    used = [(op, tensor) for op in graph.ops if (tensor := graph.weights(op)) is not None]
    quantized = [(op, tensor) for op, tensor in used if tensor.quantized]
    several = [tensor for op, tensor in quantized if graph.output_channels(op) > 1]
    per_channel = sum(tensor.per_channel for _, tensor in quantized)
    return _Weights(
        per_channel=per_channel,
        per_tensor=len(quantized) - per_channel,
        floats=len(used) - len(quantized),
        split_per_channel=sum(tensor.per_channel for tensor in several),
        split_all=len(several),
    )


def _weights_of(graph: Graph, op: Op) -> Iterator[Tensor]:
    """The constant weights of an operator: of a convolution or matrix product, or all those of a recurrent one."""
    recurrent = (graph.behind_quantizers(tensor) for tensor in graph.recurrent_weights(op))
    yield from (tensor for tensor in (graph.weights(op), *recurrent) if tensor is not None and tensor.is_constant)


def _float_tensors(graph: Graph) -> list[Tensor]:
    """Activations in floating point. In ONNX, what stands between a Q/DQ pair is an integer."""
    found, borders = [], {*graph.inputs, *graph.outputs}
    for tensor in graph.tensors:
        if tensor.dtype not in FLOATS or graph.behind_quantizers(tensor).is_constant:
            continue
        producer, consumers = graph.producer(tensor.index), graph.consumers(tensor.index)
        if producer is None and not consumers:
            continue
        if graph.format == "onnx" and tensor.index not in borders:
            paired = producer is not None and producer.kind in DEQUANTIZERS
            paired |= bool(consumers) and all(op.kind in QUANTIZERS for op in consumers)
            found += [] if paired else [tensor]
        else:
            found.append(tensor)
    return found


def _only_converted(graph: Graph, tensor: Tensor) -> bool:
    """Whether a float input or output of the network is only the float form of integers: no operator computes it."""
    if tensor.index in graph.outputs:
        producer = graph.producer(tensor.index)
        return producer is not None and producer.kind in DEQUANTIZERS and not graph.consumers(tensor.index)
    readers = graph.consumers(tensor.index)
    return tensor.index in graph.inputs and bool(readers) and all(op.kind in QUANTIZERS for op in readers)


# --- outputs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Steps:
    """What one step of the outputs' scales is worth; 0.0 where it does not apply. `shared_scale` of a `pred` tensor."""

    box_px: float = 0.0
    score_percent: float = 0.0
    shared_scale: float = 0.0
    normalised: bool = True


def _steps(graph: Graph, contract: Contract | None) -> _Steps:
    if contract is None:
        return _Steps()

    def scales(*kinds: str) -> list[float]:
        roles = [role for role in contract.roles if role.kind in kinds]
        tensors = [graph.tensors[graph.outputs[role.index]] for role in roles]
        return [_step(graph, tensor) for tensor in tensors]

    pred, boxes = max(scales("pred", "pred5", "detections"), default=0.0), max(scales("boxes"), default=0.0)
    scores = max(scales("pred", "pred5", "detections", "scores", "probs"), default=0.0)
    # logits: the sigmoid is steepest at 0, where its derivative is 1/4
    logits = max(scales("logits", "anchors"), default=0.0) / 4
    return _Steps(
        box_px=(pred or boxes) * contract.box_unit,
        score_percent=100 * max(scores, logits),
        shared_scale=pred,
        normalised=contract.box_unit > 1,
    )


def _step(graph: Graph, tensor: Tensor) -> float:
    """The scale that the numbers of an output have: its own, or that of what it copies, moves and joins; else 0.0."""
    found, ahead, seen = set[float](), [tensor], set[int]()
    while ahead:
        at = ahead.pop()
        if at.index in seen or at.is_constant:
            continue
        seen.add(at.index)
        op = graph.producer(at.index)
        if at.quantized:
            found.add(at.scale)
        elif op is None or op.kind not in MOVES | JOINS:
            return 0.0
        else:
            sources = op.inputs if op.kind in JOINS else op.inputs[:1]
            ahead += [graph.tensors[t] for t in sources if t >= 0]
    return found.pop() if len(found) == 1 else 0.0


def _kind(contract: Contract | None, index: int) -> str:
    for role in contract.roles if contract else ():
        if role.index == index:
            return f"{role.kind}{role.stride}" if role.stride else role.kind
    return ""


def _described(tensor: Tensor, kind: str = "") -> TensorAudit:
    scale = tensor.scale if math.isfinite(tensor.scale) else 0.0  # a finding names it; JSON has no such number
    return TensorAudit(tensor.name, tensor.shape, tensor.dtype, scale, tensor.zero_point, kind)


def _counts(counter: Counter[str]) -> tuple[Count, ...]:
    """Most frequent first."""
    return tuple(Count(name, count) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])))


# --- findings -----------------------------------------------------------------------------------


def _with_findings(
    report: AuditReport, graph: Graph, steps: _Steps, weights: _Weights, more: list[str]
) -> AuditReport:
    found = [*_weight_findings(report, weights), *_output_findings(report, steps), *more]
    transposes = sum(c.count for c in report.operators if c.name in ("TRANSPOSE", "Transpose"))
    if transposes > 1:
        found.append(f"{transposes} TRANSPOSE operators: each moves a whole tensor, mostly in software")
    found += quantization_faults(graph)
    return dataclasses.replace(report, findings=tuple(found))


def _float_findings(graph: Graph, granularity: Granularity) -> list[str]:
    count = sum(not _only_converted(graph, tensor) for tensor in _float_tensors(graph))
    if not count or granularity == "float":
        return []
    return [f"{_plural(count, 'activation')} in float: the NPU leaves them to the CPU"]


def _shape_findings(graph: Graph) -> list[str]:
    if any(graph.tensors[t].dynamic for t in graph.inputs):
        return ["open dimensions: MACs and sizes count them as 1; export with a fixed input size"]
    unknown = [tensor for tensor in graph.tensors if tensor.dynamic]
    if not unknown:
        return []
    first = next((tensor for tensor in unknown if graph.producer(tensor.index)), unknown[0])
    maker = graph.producer(first.index)
    by = f" ({maker.kind})" if maker else ""
    return [
        f"the file does not fix the shape of {_plural(len(unknown), 'tensor')}, first {first.name!r}{by}: MACs and "
        "sizes count what is unknown as 1"
    ]


def _loss_findings(graph: Graph) -> list[str]:
    """What quantisation lost for good."""
    found = []
    biases, channels = saturated_biases(graph), empty_channels(graph)
    if biases:
        found.append(f"biases at the limit of int32 (±2^31) lose {described(biases)}")
    if channels:
        coarse = all(not loss.per_channel for loss in channels)
        remedy = "; one scale for all weights may be too coarse: scales per channel keep small ones" if coarse else ""
        found.append(f"weights that all round to 0 leave only a bias of {described(channels)}{remedy}")
    return found


def _weight_findings(report: AuditReport, weights: _Weights) -> list[str]:
    found = []
    claim = _claimed_granularity(Path(report.file.name).stem)
    total = weights.per_channel + weights.per_tensor
    if claim and total and claim != report.granularity:
        found.append(
            f"the file name says {claim}, the weights are {report.granularity}: "
            f"{weights.per_channel} of {total} weight tensors have a scale per channel"
        )
    if report.granularity == "per-tensor" and weights.split_per_channel:
        found.append(
            f"mixed weights: {weights.split_per_channel} of {weights.split_all} tensors with several "
            "output channels are per-channel, the others per-tensor"
        )
    if total and weights.floats:
        found.append(f"{_plural(weights.floats, 'weight tensor')} left in float beside {total} quantised")
    return found


def _output_findings(report: AuditReport, steps: _Steps) -> list[str]:
    found = []
    if steps.shared_scale and not steps.normalised:
        found.append(
            f"boxes in pixels share a tensor with scores: one step is {steps.score_percent:.0f} % of a score; "
            "export with boxes normalised to 0..1"
        )
    elif steps.shared_scale and steps.box_px > COARSE_BOX_STEP_PX:
        kinds = "boxes, scores and mask coefficients" if report.layout == "concat" else "boxes and scores"
        found.append(
            f"{kinds} share one scale of {steps.shared_scale:.4f}: one step is "
            f"{steps.box_px:.1f} px of a box and {steps.score_percent:.1f} % of a score"
        )
    tokens = _tokens(Path(report.file.name).stem)
    if tokens & {"seg", "segment", "segmentation"} and report.layout == "detect":
        found.append("the file name says seg, the output is a detector's: it holds no masks")
    return found


def _layout(known: Known) -> str:
    """The layout in the report: empty for what is not decoded and for classifiers that edgeai did not write."""
    contract = known.contract
    if known.refusal is not None or (contract.spec.task == "classify" and not known.own):
        return ""
    joined = contract.layout == "concat" and contract.spec.task == "detect"
    return "detect" if joined and not known.own else contract.layout


def _known_findings(known: Known) -> list[str]:
    """What the file leaves open about itself."""
    if known.refusal is not None:
        hint = f": {known.refusal.hint}" if known.refusal.hint else ""
        return [f"its outputs are not decoded: {known.refusal.message}{hint}"] if known.image else []
    found = []
    if any(entry.field == "classes" and entry.source == UNNAMED for entry in known.evidence):
        found.append("class names are unknown: nothing in the file says them; --classes does")
    if not known.sure:
        found.append("only the shape of the outputs says what they are: no metadata, and a graph that shows nothing")
    if not known.contract.box_unit:
        found.append("boxes may be in pixels or in 0..1: a picture or --boxes decides")
    return found


def _mask_findings(contract: Contract | None) -> list[str]:
    """What ST's applications make of the masks: they set a pixel where coefficients . prototypes reach 0.5."""
    logit = st_mask_logit(contract) if contract is not None else None
    if logit is None or logit <= HIGHEST_ST_LOGIT:
        return []
    how = "come out empty" if logit >= EMPTY_FROM_LOGIT else "come out too small"
    return [
        f"masks {how} in ST's application: it sets a pixel from logit {logit:g} on, not from 0; "
        "`edgeai st-masks` writes a file that is right there"
    ]


def _tokens(stem: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", stem.lower()))


def _claimed_granularity(stem: str) -> str:
    """What a file name says about its weights: per-channel, per-tensor or nothing."""
    name, tokens = re.sub(r"[^a-z0-9]+", "-", stem.lower()), _tokens(stem)
    if tokens & {"pc", "perchannel"} or "per-channel" in name:
        return "per-channel"
    return "per-tensor" if tokens & {"pt", "pertensor"} or "per-tensor" in name else ""


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
