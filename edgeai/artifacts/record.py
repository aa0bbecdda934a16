"""The record of a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.artifacts.accuracy import EvalResult
from edgeai.artifacts.base import FileRef, Provenance
from edgeai.artifacts.estimate import Footprint
from edgeai.artifacts.model import QuantizedModel
from edgeai.artifacts.verdict import GateVerdict

CONVERTING = "stm32mp2"  # targets whose tools make per-channel weights per-tensor


@dataclass(frozen=True, slots=True)
class BoardResult:
    """The accuracy of a file as a board runs it, where that is not what the file holds."""

    board: str
    result: EvalResult


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything one `edgeai run` found out: the float reference, every int8 file, what they measure and need.

    `results` holds the accuracy of the float model first, then of every quantised file in the order of `quantized`,
    then of the files it was compared with. `verdicts` follow `quantized`; then come those of `on_boards`, the accuracy
    of files on boards that change them (older records have none).
    """

    model: FileRef
    quantized: tuple[QuantizedModel, ...]
    results: tuple[EvalResult, ...]
    footprints: tuple[Footprint, ...]
    verdicts: tuple[GateVerdict, ...]
    provenance: Provenance
    on_boards: tuple[BoardResult, ...] = ()

    def result_on(self, need: Footprint) -> EvalResult | None:
        """The accuracy of a file on the board of its footprint; None where it was not measured as that runs it."""
        there = [entry.result for entry in self.on_boards if entry.board == need.board]
        return on_board([*there, *self.results], need)


def on_board(results: Sequence[EvalResult], need: Footprint) -> EvalResult | None:
    """The first of these results that is of the footprint's file as its board runs it; None where none is."""
    mine = [result for result in results if result.model.sha256 == need.model.sha256]
    as_there = [result for result in mine if result.name.endswith(f" as on {need.board}")]
    plain = [result for result in mine if not any(fact.name == "as_on" for fact in result.provenance.options)]
    changed = plain and plain[0].granularity == "per-channel" and need.target.startswith(CONVERTING)
    return next(iter([*as_there, *([] if changed else plain)]), None)
