"""The model card of a run or of model files, in the order of ST's model zoo.

Every figure comes from an artifact, a file or a row of measurements, and its row says which; none is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgeai import __version__
from edgeai.artifacts import (
    CardRow,
    CardTable,
    EvalResult,
    Fact,
    FileRef,
    Measurement,
    ModelCard,
    Provenance,
)
from edgeai.board import Board, all_boards
from edgeai.errors import EdgeAIError, InputError
from edgeai.report import card_tables as tables
from edgeai.report.commands import reproduce
from edgeai.report.dossier import Dossier
from edgeai.report.licences import review, weights_licence
from edgeai.report.subject import TASKS, Subject, meant_for, subjects

PAPERS = {
    "yolov8": "https://arxiv.org/abs/2305.09972",
    "yolov5": "https://doi.org/10.5281/zenodo.3908559",
}
COCO = "T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014. https://arxiv.org/abs/1405.0312"
AP = "Average precision as defined by COCO's detection evaluation. https://cocodataset.org/#detection-eval"
NOT_MEASURED = "Not measured: `edgeai evaluate MODEL --images DIR --annotations JSON` measures it"
# The headings are those of ST's model zoo.
NAMES_NOTE = "In rows of estimates, RAM that is not external is edgeai's Core RAM, and Weights Flash its Core flash."
PER_CHANNEL_NOTE = (
    "The MP2's NPU works with one scale per weight tensor: a per-channel file runs there on the GPU, or is turned "
    "into a per-tensor one on the board at some loss. Quantise with `--per-tensor` for it."
)


def make_card(
    dossier: Dossier,
    boards: Sequence[Board],
    measurements: Sequence[Measurement] = (),
    core: str = "",
    licence: str = "",
    files: Sequence[FileRef] = (),
    again: str = "",
) -> ModelCard:
    """The card of a dossier's models on `boards`. `measurements` were read from `files`; `core` keeps those of one
    version of ST Edge AI Core; `again` is the command that writes this card.

    Raises InputError where there is no quantised model, or a file cannot be read.
    """
    found = subjects(dossier, boards)
    if not found:
        raise InputError("there is no quantised model in this run", "`edgeai run` makes them")
    dataset = _dataset(dossier)
    sources = [
        tables.Source(subject, tables.published(measurements, subject, core), dossier, tuple(boards), dataset)
        for subject in found
    ]
    known = [row for source in sources for row in source.rows]
    made = [table for table in _tables(sources) if table.rows]
    report = review(dossier, licence)
    results = _results(dossier, found)
    ap = tables.accuracy(results, found[0].resolution)
    spec = found[0].contract.spec if found[0].contract else None
    use_case, tag = TASKS.get(found[0].task, ("Not stated in the file", "other"))
    return ModelCard(
        title=spec.name if spec and dossier.record else " and ".join(subject.name for subject in found[:2]),
        licence=weights_licence(report),
        pipeline_tag=tag,
        tags=("stm32", "edge-ai", found[0].audit.format, found[0].format.lower()),
        use_case=use_case,
        description=_description(found[0], use_case),
        models=tuple(subject.file for subject in found),
        network=_network(found[0]),
        files=_files(found),
        platforms=_platforms(dossier, found, boards),
        tables=(*made, *([ap] if ap else [])),
        absent=_absent(made, ap),
        licences=report,
        commands=(*reproduce(dossier, [board.name for board in boards]), *([again] if again else [])),
        references=_references(found[0], known, bool(results)),
        provenance=Provenance(
            stage="card",
            inputs=(*(subject.file for subject in found), *files),
            options=(Fact("boards", ",".join(board.name for board in boards)), *([Fact("core", core)] if core else [])),
            versions=(Fact("edgeai", __version__),),
            licence=weights_licence(report),
        ),
    )


def _results(dossier: Dossier, found: Sequence[Subject]) -> list[EvalResult]:
    """The float model first, then ours, then what was measured beside them."""
    if dossier.record is not None:
        rest = [result for result in dossier.of(EvalResult) if result not in dossier.record.results]
        return [*dossier.record.results, *rest]
    return [result for subject in found for result in subject.results]


def _dataset(dossier: Dossier) -> str:
    results = dossier.of(EvalResult)
    return results[0].protocol.dataset if results else tables.NONE


def _description(subject: Subject, use_case: str) -> str:
    """What the network is, from the file."""
    audit, contract = subject.audit, subject.contract
    purpose = f" for {use_case.lower()}" if subject.task in TASKS else ""
    sentences = [f"{subject.name} is a network{purpose} with {audit.macs / 1e6:,.1f} million MACs"]
    if contract is not None:
        spec = contract.spec
        named = "" if all(name.startswith("class") for name in spec.names) else f" ({_some(spec.names)})"
        classes = f"{spec.nc} {'class' if spec.nc == 1 else 'classes'}{named}"
        sentences[0] += f" at {contract.imgsz} x {contract.imgsz} pixels and {classes}"
        if audit.layout:
            sentences.append(f"Its outputs are in the layout `{audit.layout}`")
    kept = "kept as floating point" if audit.granularity == "float" else f"8-bit integers, {subject.weights_text}"
    sentences.append(f"Weights are {kept}")
    return ". ".join(sentences) + "."


def _some(names: Sequence[str], shown: int = 6) -> str:
    return ", ".join(names[:shown]) + (" and others" if len(names) > shown else "")


def _network(first: Subject) -> tuple[Fact, ...]:
    spec = first.contract.spec if first.contract else None
    facts = [Fact("Framework", {"tflite": "TensorFlow Lite", "onnx": "ONNX"}[first.audit.format])]
    if spec is not None:
        facts.append(Fact("Architecture", f"{spec.family} {spec.scale}, {spec.task}".strip()))
        facts.append(Fact("Classes", str(spec.nc)))
    facts.append(Fact("Quantization", "int8" if first.format == "Int8" else "none"))
    if spec is not None and spec.family in PAPERS:
        facts.append(Fact("Paper", PAPERS[spec.family]))
    return tuple(facts)


def _files(found: Sequence[Subject]) -> CardTable:
    """What each file is."""
    header = ("Model", "Weights", "Layout", "Input", "Outputs", "Work (MMAC)", "File (KiB)", "SHA-256")
    rows = []
    for subject in found:
        audit = subject.audit
        tensors = ["; ".join(_tensor(t.shape, t.dtype) for t in side) for side in (audit.inputs, audit.outputs)]
        sizes = (f"{audit.macs / 1e6:,.1f}", tables.kib(subject.file.bytes))
        cells = (subject.name, subject.weights_text, audit.layout or tables.NONE, *tensors, *sizes)
        rows.append(CardRow((*cells, subject.file.sha256), "read from the file"))
    return CardTable("Files", header, tuple(rows))


def _tensor(shape: Sequence[int], dtype: str) -> str:
    return f"{'x'.join(map(str, shape))} {dtype}"


def _platforms(dossier: Dossier, found: Sequence[Subject], boards: Sequence[Board]) -> CardTable:
    """Advice for the first model of the card, for the project's boards for the file that was made for each; empty
    where the file is not at hand."""
    from edgeai.latency.recommend import recommend

    header = ("Platform", "Supported", "Recommended", "Why")
    subject = found[0]
    if subject.path is None:
        return CardTable("Recommended platforms", header, (), (f"{subject.file.name} is not in the run folder.",))
    try:
        names = [board.name for board in boards]
        advice = recommend(subject.path, tuple(board for board in all_boards() if board.name not in names))
        own = [
            entry for board in boards
            for entry in recommend(meant_for(dossier, found, board.name).path or subject.path, (board,)).boards
        ]  # fmt: skip
        return tables.platforms(replace(advice, boards=(*own, *advice.boards)), names)
    except EdgeAIError as error:
        return CardTable("Recommended platforms", header, (), (f"No advice: {error.message}.",))


def _tables(sources: Sequence[tables.Source]) -> list[CardTable]:
    kinds: tuple[tuple[str, tuple[str, ...], Callable[[tables.Source], list[CardRow]]], ...] = (
        ("Reference NPU memory footprint", tables.NPU_MEMORY, tables.npu_memory),
        ("Reference NPU inference time", tables.NPU_TIME, tables.npu_time),
        ("Reference MCU memory footprint", tables.MCU_MEMORY, tables.mcu_memory),
        ("Reference MCU inference time", tables.MCU_TIME, tables.mcu_time),
        ("Reference MPU inference time", tables.MPU_TIME, tables.mpu_time),
    )
    return [
        CardTable(title, header, tuple(row for source in sources for row in make(source)), _notes(title, sources))
        for title, header, make in kinds
    ]


def _notes(title: str, sources: Sequence[tables.Source]) -> tuple[str, ...]:
    notes: list[str] = []
    for source in sources:
        npu, mpu = "NPU" in title, "MPU" in title
        rows = [row for row in source.rows if row.board.startswith("STM32MP") == mpu]
        rows = [row for row in rows if mpu or (row.series == "STM32N6") == npu]
        if "time" in title:
            notes += tables.rate_notes(rows)
        elif source.needs("n6" if npu else "mcu"):
            notes.append(NAMES_NOTE)
        if mpu:
            notes += tables.label_notes(rows, source.subject)
            notes += [PER_CHANNEL_NOTE] if source.subject.audit.granularity == "per-channel" else []
    return tuple(dict.fromkeys(notes))


def _absent(made: Sequence[CardTable], ap: CardTable | None) -> tuple[Fact, ...]:
    absent = [] if ap else [Fact("Accuracy", NOT_MEASURED)]
    measured = any("measured on board" in row.origin or "published" in row.origin for t in made for row in t.rows)
    if not measured:
        absent.append(Fact("Measurements", "No board was measured: `edgeai bench MODEL --board B` does it"))
    return tuple(absent)


def _references(subject: Subject, rows: Sequence[Measurement], measured: bool) -> tuple[str, ...]:
    spec = subject.contract.spec if subject.contract else None
    paper = [f"{spec.family}: {PAPERS[spec.family]}"] if spec and spec.family in PAPERS else []
    sources = [f"Published figures: {row.source}" for row in rows if row.source]
    data = [COCO, AP] if measured or "coco" in subject.name.lower() else []
    return tuple(dict.fromkeys([*paper, *data, *sources]))
