"""The dataclasses that pass between stages, and their JSON form. The one vocabulary of the project.

Everything here is frozen and is plain data: strings, numbers, tuples and other artifacts.
Units: bytes, pixels, milliseconds and MACs, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from edgeai.errors import InputError

Layout = Literal["raw", "split", "concat"]
Granularity = Literal["per-channel", "per-tensor", "float"]
Task = Literal["segment", "detect", "classify", "features"]

T = TypeVar("T")


# --- provenance ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that went into a result or came out of it: its base name, content hash and size."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One named value of a protocol: an option, a tool version, a threshold."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made from. It holds no time and no path, so that same inputs give same bytes."""

    stage: str
    inputs: tuple[FileRef, ...] = ()
    options: tuple[Fact, ...] = ()
    versions: tuple[Fact, ...] = ()
    licence: str = "unknown"


# --- models -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a network is, apart from its weights.

    `name` is the registry name (`yolov8n-seg`), or the file's stem where no family was recognised.
    `names` are the class names in the order of the score channels. `imgsz` is the size it was trained at.
    """

    name: str
    family: str
    task: Task
    scale: str
    names: tuple[str, ...]
    imgsz: int = 640
    strides: tuple[int, ...] = (8, 16, 32)
    reg_max: int = 16
    num_coefs: int = 32
    anchors: tuple[tuple[float, ...], ...] = ()
    licence: str = "unknown"

    @property
    def nc(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class FloatModel:
    """An imported network: its spec and the safetensors file with its fp32 or fp16 weights."""

    spec: ModelSpec
    weights: FileRef
    source: FileRef
    parameters: int


@dataclass(frozen=True, slots=True)
class OutputRole:
    """What one output tensor of a network means.

    kind: `dfl` [1,h,w,4*reg_max] and `logits` [1,h,w,nc] and `coefs` [1,h,w,num_coefs] of one level (layout raw,
    `stride` > 0); `boxes` [1,N,4] xywh, `scores` [1,N,nc], `coefs` [1,N,num_coefs] (layout split); `pred`
    [1,4+nc+num_coefs,N] (layout concat); `proto` [1,h,w,num_coefs]; `anchors` [1,h,w,na*(5+nc+num_coefs)] of one
    level (YOLOv5); `probs` [1,nc], logits or probabilities; `tensor` anything else. `index` is the place among the
    outputs of the file. NHWC, or NCHW in an ONNX file.
    """

    index: int
    kind: str
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Contract:
    """How the outputs of a deployed file are to be read; travels inside the file (TFLite metadata `edgeai.contract`,
    ONNX metadata property of the same name).

    `box_unit` is 1.0 where boxes are in input pixels and the input size where they are normalised to 0..1.
    `coef_divisor` is the k of balanced concat: the file holds coefficients / k, which changes no mask.
    The input is (RGB / 255 - mean) / std; empty `mean` and `std` mean RGB / 255.
    """

    spec: ModelSpec
    layout: Layout
    imgsz: int
    roles: tuple[OutputRole, ...]
    box_unit: float
    coef_divisor: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of one output between two steps of the conversion, on one image."""

    step: str
    output: str
    cosine: float
    max_abs: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An ONNX file or a float TFLite with its contract and the parity of the steps that led to it."""

    file: FileRef
    contract: Contract
    parity: tuple[Parity, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """The images a model is calibrated with: names and hashes in the order of use."""

    name: str
    images: tuple[FileRef, ...]
    seed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TensorRange:
    """The range of one activation tensor of a float TFLite over a calibration set; `tensor` is its index."""

    tensor: int
    name: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class ChannelMean:
    """The mean of every channel (last axis) of one activation tensor over a calibration set."""

    tensor: int
    means: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a calibration set taught about a float TFLite, and the observer that made the ranges.

    `means` covers the tensors that feed convolutions and matrix products.
    """

    model: FileRef
    calibration_sha256: str
    observer: str
    tensors: tuple[TensorRange, ...]
    means: tuple[ChannelMean, ...] = ()


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """An int8 TFLite file, what it turned out to be, and how it was made."""

    file: FileRef
    contract: Contract
    audit: AuditReport
    calibration: CalibrationSet
    parity: tuple[Parity, ...]
    provenance: Provenance


# --- audit --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorAudit:
    """An input or output as the file declares it. `scale` is 0.0 where the tensor is not quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    kind: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a file really is, read from its bytes and from nothing else.

    `weights_*` count constant tensors that feed convolutions and matrix products. `box_step_px` and
    `score_step_percent` are what one step of the output's scale is worth; 0.0 where they do not apply.
    """

    file: FileRef
    format: Literal["tflite", "onnx"]
    granularity: Granularity
    weights_per_channel: int
    weights_per_tensor: int
    weights_float: int
    float_tensors: int
    dtypes: tuple[Count, ...]
    operators: tuple[Count, ...]
    inputs: tuple[TensorAudit, ...]
    outputs: tuple[TensorAudit, ...]
    layout: str
    shared_output_scale: bool
    box_step_px: float
    score_step_percent: float
    weights_bytes: int
    bias_bytes: int
    constants_bytes: int
    macs: int
    findings: tuple[str, ...]


# --- accuracy -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvalProtocol:
    """Everything two accuracy figures must have in common before they may be compared."""

    dataset: str
    annotations_sha256: str
    images_sha256: str
    num_images: int
    imgsz: int
    letterbox: str
    confidence: float
    nms_iou: float
    max_detections: int
    multi_label: bool
    metric_tool: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric in percent points (0..100), named as on the command line: `mask_ap`, `box_ap50`, ..."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class ClassMetric:
    category: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Accuracy of one model under one protocol."""

    model: FileRef
    name: str
    backend: str
    precision: str
    granularity: str
    layout: str
    protocol: EvalProtocol
    metrics: tuple[Metric, ...]
    per_class: tuple[ClassMetric, ...]
    detections: int
    provenance: Provenance

    def metric(self, name: str) -> float:
        """The value of a metric; raises InputError where the result does not hold it."""
        for entry in self.metrics:
            if entry.name == name:
                return entry.value
        known = ", ".join(entry.name for entry in self.metrics)
        raise InputError(f"no metric {name!r} in the result of {self.name}", f"it holds: {known}")


# --- footprint ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Bytes of one memory pool that the model needs. `kind` is `ram`, `external-ram` or `flash`."""

    pool: str
    kind: str
    capacity: int
    used: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of one model on one board. `source` says who computed it: `estimate` or `ST Edge AI Core x.y`."""

    model: FileRef
    board: str
    target: str
    source: str
    weights_bytes: int
    activations_bytes: int
    io_bytes: int
    peak_operator: str
    peak_tensors: tuple[Count, ...]
    pools: tuple[PoolUse, ...]
    fits: bool
    reasons: tuple[str, ...]
    provenance: Provenance
    memory: MemoryEstimate | None = None
    latency: LatencyEstimate | None = None
    support: SupportSummary | None = None
    what_if: tuple[WhatIf, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantity:
    """A prediction with the interval in which the true value lies, both in `unit`."""

    low: float
    point: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What ST's tools of `version` will report for a network, in bytes: `ram` on chip, inputs and outputs included;
    `external` RAM beyond it; `weights` and `code` in flash. `table` names the constants it was computed with.

    `lower_bound` is the live peak, `planned` what edgeai's own placement uses: the gap between them is its quality.
    """

    version: str
    table: str
    ram: Quantity
    weights: Quantity
    external: int
    code: int
    lower_bound: int
    planned: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpLatency:
    """Milliseconds of one operator; `bound` is `compute`, `weights`, `overhead`, `software` or `gpu`."""

    index: int
    kind: str
    unit: str
    bound: str
    macs: int
    ms: float


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """How long one inference takes. `table` names the constants; `notes` say what widens the interval."""

    board: str
    version: str
    table: str
    ms: Quantity
    bound: str
    ops: tuple[OpLatency, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftwareOperator:
    """Operators of one kind that the accelerator does not run as a whole: how many, where, why, what avoids it."""

    kind: str
    count: int
    unit: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class SupportSummary:
    """Predicted runs of the accelerator (epochs), and those of them in software or partly so."""

    epochs: int
    software_epochs: int
    hybrid_epochs: int
    software: tuple[SoftwareOperator, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same network changed in one way: `change` reads `imgsz=192` or `granularity=per-tensor`."""

    change: str
    ram: float
    weights: float
    external: int
    ms: float
    fits: bool


@dataclass(frozen=True, slots=True)
class EstimateError:
    """How far estimates lie from published figures: relative errors in per cent, of `n` rows.

    `covered` is the share of rows in per cent whose value lies in the stated interval.
    """

    target: str
    version: str
    quantity: str
    split: str
    n: int
    median: float
    p90: float
    worst: float
    mean: float
    covered: float


@dataclass(frozen=True, slots=True)
class EstimatorReport:
    """The error table of the estimators on published rows; `tables` names the constants."""

    tables: tuple[str, ...]
    errors: tuple[EstimateError, ...]
    rows: tuple[EstimateRow, ...]


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """One published value beside its estimate. `used` is false where a caveat keeps it out of the error table."""

    row: str
    model: str
    target: str
    version: str
    quantity: str
    split: str
    match: str
    published: float
    estimated: float
    low: float
    high: float
    used: bool
    caveat: str


@dataclass(frozen=True, slots=True)
class BoardAdvice:
    """Whether a board suits a network: `recommended`, `supported` or `no`, with the reason and the figures."""

    board: str
    family: str
    verdict: Literal["recommended", "supported", "no"]
    reason: str
    ram: float
    flash: float
    ms: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    model: FileRef
    boards: tuple[BoardAdvice, ...]
    provenance: Provenance


# --- gate ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One figure held against one limit. All values in the metric's own unit."""

    name: str
    baseline: float
    candidate: float
    drop: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class GateVerdict:
    passed: bool
    baseline: str
    candidate: str
    checks: tuple[GateCheck, ...]
    protocol: EvalProtocol
    provenance: Provenance


# --- run ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything one `edgeai run` found out: the float reference, every int8 file, what they measure and need.

    `results` holds the accuracy of the float model first, then of every quantised file in the order of `quantized`,
    then of the files it was compared with. `verdicts` follow `quantized`.
    """

    model: FileRef
    quantized: tuple[QuantizedModel, ...]
    results: tuple[EvalResult, ...]
    footprints: tuple[Footprint, ...]
    verdicts: tuple[GateVerdict, ...]
    provenance: Provenance


# --- JSON ---------------------------------------------------------------------------------------


def to_json(artifact: object) -> str:
    """An artifact as indented JSON with its type under `"artifact"`, newline at the end."""
    body = dataclasses.asdict(artifact)  # type: ignore[call-overload]
    return json.dumps({"artifact": type(artifact).__name__, **body}, indent=2, ensure_ascii=False) + "\n"


def from_json(kind: type[T], text: str, where: str = "the file") -> T:
    """The artifact of type `kind` that `to_json` wrote. Raises InputError, naming the field that is wrong."""
    try:
        body = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}", f"pass a {kind.__name__} that edgeai wrote") from None
    if not isinstance(body, dict):
        raise InputError(f"{where} is not a {kind.__name__}", f"pass a {kind.__name__} that edgeai wrote")
    found = body.pop("artifact", kind.__name__)
    if found != kind.__name__:
        raise InputError(f"{where} holds a {found}, not a {kind.__name__}", f"pass a {kind.__name__} that edgeai wrote")
    return decode(kind, body, where)


def decode(kind: type[T], value: object, where: str) -> T:
    """Plain data (from JSON or TOML) as the dataclass `kind`. Raises InputError naming the place that is wrong."""
    return typing.cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; checks every type on the way."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return _decode_generic(origin, arguments, value, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _decode_generic(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """A tuple (of one element type), a Literal or an optional."""
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list")
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if value is None and type(None) in arguments:
        return None
    return _decode(next(a for a in arguments if a is not type(None)), value, where)


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        near = difflib.get_close_matches(unknown[0], fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
        raise InputError(f"{where}: unknown key {unknown[0]!r}", hint)
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(value))
    if missing:
        raise InputError(f"{where}: {kind.__name__} lacks {missing[0]!r}")
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})
