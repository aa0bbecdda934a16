"""The dataclasses that pass between stages, and their JSON form. The one vocabulary of the project.

Everything here is frozen and is plain data: strings, numbers, tuples and other artifacts.
Units: bytes, pixels, milliseconds and MACs, unless a name says otherwise.
"""

from edgeai.artifacts.accuracy import (
    ClassMetric,
    EvalProtocol,
    EvalResult,
    GateCheck,
    GateVerdict,
    Metric,
)
from edgeai.artifacts.base import (
    Count,
    Fact,
    FileRef,
    Provenance,
)
from edgeai.artifacts.codec import (
    decode,
    from_json,
    to_json,
)
from edgeai.artifacts.estimate import (
    BoardAdvice,
    EstimateError,
    EstimateRow,
    EstimatorReport,
    Footprint,
    LatencyEstimate,
    MemoryEstimate,
    OpLatency,
    PoolUse,
    Quantity,
    Recommendation,
    SoftwareOperator,
    SupportSummary,
    WhatIf,
)
from edgeai.artifacts.model import (
    AuditReport,
    CalibrationSet,
    ChannelMean,
    Contract,
    ExportedModel,
    FloatModel,
    Granularity,
    Layout,
    ModelSpec,
    OutputRole,
    Parity,
    QuantizedModel,
    Ranges,
    Task,
    TensorAudit,
    TensorRange,
)
from edgeai.artifacts.record import (
    RunRecord,
)

__all__ = [
    "AuditReport",
    "BoardAdvice",
    "CalibrationSet",
    "ChannelMean",
    "ClassMetric",
    "Contract",
    "Count",
    "EstimateError",
    "EstimateRow",
    "EstimatorReport",
    "EvalProtocol",
    "EvalResult",
    "ExportedModel",
    "Fact",
    "FileRef",
    "FloatModel",
    "Footprint",
    "GateCheck",
    "GateVerdict",
    "Granularity",
    "LatencyEstimate",
    "Layout",
    "MemoryEstimate",
    "Metric",
    "ModelSpec",
    "OpLatency",
    "OutputRole",
    "Parity",
    "PoolUse",
    "Provenance",
    "Quantity",
    "QuantizedModel",
    "Ranges",
    "Recommendation",
    "RunRecord",
    "SoftwareOperator",
    "SupportSummary",
    "Task",
    "TensorAudit",
    "TensorRange",
    "WhatIf",
    "decode",
    "from_json",
    "to_json",
]
