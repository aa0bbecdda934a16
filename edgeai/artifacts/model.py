"""Networks on their way from a checkpoint to an int8 file, and what a file turned out to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import Count, FileRef, Provenance

Layout = Literal["raw", "split", "concat"]  # what edgeai exports
FileLayout = Literal["raw", "split", "concat", "end2end", "tensors"]  # what a file may have
Upsample = Literal["resize", "transposed"]
Granularity = Literal["per-channel", "per-tensor", "float"]
Task = Literal["segment", "detect", "classify", "features"]


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
class FieldEvidence:
    """One field of what a file is, and what says so: metadata, the graph, the numbers, the user, a convention."""

    field: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a file really is, read from its bytes and from nothing else.

    `weights_*` count constant tensors that feed convolutions and matrix products. `box_step_px` and
    `score_step_percent` are what one step of the output's scale is worth; 0.0 where they do not apply. `evidence` is
    what the file was recognised as, field by field; `refusal` why its outputs cannot be decoded, empty where they can.
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
    evidence: tuple[FieldEvidence, ...] = ()
    head: str = ""
    refusal: str = ""


Activation = Literal["", "silu", "relu", "relu6", "leaky_relu", "hardswish", "mish", "identity"]


@dataclass(frozen=True, slots=True)
class Variant:
    """Where a network differs from its published form in what has no weights.

    `layer` is the dotted name of a convolution with norm and activation (`model.9.cv1`), or `*` for every one. A later
    entry wins. `activation` is empty and `eps` (of the batch norm) 0.0 where the entry does not say; `slope` is that
    of leaky_relu.
    """

    layer: str
    activation: Activation = ""
    slope: float = 0.0
    eps: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a network is, apart from its weights.

    `name` is the registry name (`yolov8n-seg`), or the file's stem where no family was recognised.
    `names` are the class names in the order of the score channels. `imgsz` is the size it was trained at.
    `variants` say how it differs from the published network of its name. `licence_source` says what the licence is
    known from, where the file does not state it; `notes` what else the import had to settle.
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
    variants: tuple[Variant, ...] = ()
    licence_source: str = ""
    notes: tuple[str, ...] = ()

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
    level (YOLOv5); `pred5` [1,N,5+nc+num_coefs] cx, cy, w, h, objectness, classes (YOLOv5, decoded); `detections`
    [1,K,6+num_coefs] x1, y1, x2, y2, score, class (layout end2end); `probs` [1,nc], logits or probabilities; `tensor`
    anything else. `index` is the place among the outputs of the file. NHWC or NCHW, rows or columns: the shapes tell,
    and `order` (`first` or `last`: where channels or rows stand) where a shape fits both.
    """

    index: int
    kind: str
    stride: int = 0
    order: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """How the outputs of a deployed file are to be read; travels inside the file (TFLite metadata `edgeai.contract`,
    ONNX metadata property of the same name).

    `box_unit` is 1.0 where boxes are in input pixels and the input size where they are normalised to 0..1.
    `coef_divisor` is the k of balanced concat: the file holds coefficients / k. `proto_factor` is the m by which its
    prototypes are multiplied. No positive factor changes a mask where the rule is logit > 0; ST's applications set a
    pixel where the product of what the file holds reaches 0.5, that is where the logit reaches 0.5 k / m.
    The input is (RGB / 255 - mean) / std; empty `mean` and `std` mean RGB / 255.
    `head` is the name in `edgeai.recognise.heads`, empty in files that are older than those names. `logits`: scores of
    `pred`, `scores` and `probs` have no sigmoid or softmax yet. Layout `tensors` is of outputs that are not decoded.
    """

    spec: ModelSpec
    layout: FileLayout
    imgsz: int
    roles: tuple[OutputRole, ...]
    box_unit: float
    coef_divisor: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    proto_factor: float = 1.0
    head: str = ""
    logits: bool = False


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
class CalibrationCheck:
    """Whether a calibration set is enough.

    Its images are taken in two disjoint halves: a tensor's disagreement is the difference of the two ranges' widths,
    as a share of the whole set's. `median` and `worst` are over the tensors, `worst_tensor` names the latter. `seen`
    counts per class the images in which the float network finds it; empty for networks without scores.
    """

    median: float
    worst: float
    worst_tensor: str
    seen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a calibration set taught about a float TFLite, and the observer that made the ranges.

    `means` covers the tensors that feed convolutions and matrix products. `check` is None for a single image.
    """

    model: FileRef
    calibration_sha256: str
    observer: str
    tensors: tuple[TensorRange, ...]
    means: tuple[ChannelMean, ...] = ()
    check: CalibrationCheck | None = None


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """An int8 TFLite file, what it turned out to be, and how it was made."""

    file: FileRef
    contract: Contract
    audit: AuditReport
    calibration: CalibrationSet
    parity: tuple[Parity, ...]
    provenance: Provenance
