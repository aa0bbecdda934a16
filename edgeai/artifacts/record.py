"""The record of a whole run."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.accuracy import EvalResult
from edgeai.artifacts.base import FileRef, Provenance
from edgeai.artifacts.estimate import Footprint
from edgeai.artifacts.model import QuantizedModel
from edgeai.artifacts.verdict import GateVerdict


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
