"""The models that a card or report is about: what each file is, and what it needs on the chosen boards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import AuditReport, Contract, EvalResult, FileRef, Footprint, QuantizedModel
from edgeai.board import Board
from edgeai.errors import EdgeAIError, InputError
from edgeai.report.dossier import Dossier
from edgeai.report.licences import contract_of

TASKS = {
    "segment": ("Instance segmentation", "image-segmentation"),
    "detect": ("Object detection", "object-detection"),
    "classify": ("Image classification", "image-classification"),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One model file. `path` is None where only its record is at hand; `contract` where its outputs are not known."""

    file: FileRef
    path: Path | None
    audit: AuditReport
    contract: Contract | None
    footprints: tuple[Footprint, ...]
    results: tuple[EvalResult, ...]

    @property
    def name(self) -> str:
        return Path(self.file.name).stem

    @property
    def task(self) -> str:
        return self.contract.spec.task if self.contract else "features"

    @property
    def resolution(self) -> str:
        """Height x width x channels of the input, as ST's tables write it."""
        shape = self.audit.inputs[0].shape if self.audit.inputs else ()
        if self.audit.format == "onnx" and len(shape) == 4:
            shape = (shape[0], *shape[2:], shape[1])
        return "x".join(map(str, shape[1:])) or "–"

    @property
    def format(self) -> str:
        """The type of the weights, as ST's tables write it."""
        return "Float" if self.audit.granularity == "float" else "Int8"

    @property
    def weights_text(self) -> str:
        """Granularity and the count that proves it."""
        total = self.audit.weights_per_channel + self.audit.weights_per_tensor + self.audit.weights_float
        return f"{self.audit.granularity} ({self.audit.weights_per_channel} of {total} weight tensors per channel)"


def subjects(dossier: Dossier, boards: Sequence[Board]) -> tuple[Subject, ...]:
    """The int8 files of a run, or the model files given; each with its needs on `boards`.

    Raises InputError where a file given on the command line cannot be read.
    """
    if dossier.record is None:
        return tuple(_of_file(path, boards, dossier) for path in dossier.models)
    return tuple(_of_run(made, boards, dossier) for made in dossier.record.quantized)


def meant_for(dossier: Dossier, found: Sequence[Subject], board: str) -> Subject:
    """The file that a run made for a board; the first where it made one for all."""
    needs = dossier.record.footprints if dossier.record is not None else ()
    files = {need.model.sha256 for need in needs if need.board == board}
    return next((subject for subject in found if subject.file.sha256 in files), found[0])


def boards_of(dossier: Dossier, given: Iterable[str], default: Iterable[str]) -> tuple[Board, ...]:
    """The boards of the command line, else those of the run, else `default`."""
    from edgeai.board import load_board

    names = list(given)
    if not names and dossier.record is not None:
        for name in dict.fromkeys(need.board for need in dossier.record.footprints):
            try:
                load_board(name)
            except InputError:
                continue  # a profile of another machine: the record's own figures stay
            names.append(name)
    return tuple(load_board(name) for name in names or default)


def _of_file(path: Path, boards: Sequence[Board], dossier: Dossier) -> Subject:
    from edgeai.recognise.audit import audit

    report = audit(path)
    results = tuple(r for r in dossier.of(EvalResult) if r.model.sha256 == report.file.sha256)
    return Subject(report.file, path, report, contract_of(path), _needs(path, boards), results)


def _of_run(made: QuantizedModel, boards: Sequence[Board], dossier: Dossier) -> Subject:
    path = dossier.file(made.file)
    recorded = {n.board: n for n in dossier.of(Footprint) if n.model.sha256 == made.file.sha256}
    if path is not None:  # the record of a run holds memory only
        recorded |= {need.board: need for need in _needs(path, boards) if need.latency is not None}
    results = tuple(r for r in dossier.of(EvalResult) if r.model.sha256 == made.file.sha256)
    return Subject(made.file, path, made.audit, made.contract, tuple(recorded.values()), results)


def _needs(path: Path, boards: Sequence[Board]) -> tuple[Footprint, ...]:
    from edgeai.latency.estimate import assess

    found = []
    for board in boards:
        try:
            found.append(assess(path, board))
        except EdgeAIError:
            continue  # a board whose processor has no figures, or a file of open shape: the audit says which
    return tuple(found)
