"""The closing table of `edgeai run`: a row for every file and board, and what has to be said below it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import EvalResult, Footprint, RunRecord
from edgeai.cli.render import kib, markdown_table, shorten, table, width
from edgeai.evaluate.remarks import remarks

ACCURACY = ("model", "precision", "granularity", "layout", "box AP", "mask AP", "drop")
MEMORY = ("file KiB", "weights KiB", "activations KiB", "ms", "fits")
NARROW = tuple(name.removesuffix(" KiB") for name in MEMORY)  # the line below the tables says the unit
NARROW_NAME = 16  # columns of the name in a terminal that does not hold the whole table
NARROWEST_NAME = 12  # where the board takes columns too
NONE = "–"


@dataclass(frozen=True, slots=True)
class _Row:
    """A file, and what it needs on one board; None for the float model, or where no board was asked for."""

    result: EvalResult
    need: Footprint | None


def _rows(record: RunRecord) -> list[_Row]:
    needs: dict[str, list[Footprint]] = {}
    for need in record.footprints:
        needs.setdefault(need.model.sha256, []).append(need)
    return [
        _Row(result, need)
        for result in record.results
        for need in (needs.get(result.model.sha256) or [None])  # type: ignore[list-item]
    ]


def rows(record: RunRecord) -> list[tuple[str, ...]]:
    """The cells, float model first: the columns of ACCURACY, then those of MEMORY."""
    return [(*_accuracy(row, record), *_memory(row)) for row in _rows(record)]


def _accuracy(row: _Row, record: RunRecord) -> tuple[str, ...]:
    """The accuracy on the board of the row: empty where it was not measured as that board runs the file."""
    baseline, result = record.results[0], row.result
    float_model = result is baseline
    ours = float_model or result.model.sha256 in {made.file.sha256 for made in record.quantized}
    there = result if row.need is None else record.result_on(row.need)
    return (
        Path(record.model.name).stem if ours else Path(result.model.name).stem,
        "fp32" if float_model else result.precision,
        NONE if float_model else result.granularity,
        result.layout,
        f"{there.metric('box_ap'):.1f}" if there else "",
        _mask(there) if there else "",
        "" if float_model or there is None else _drop(baseline, there),
    )


def _memory(row: _Row) -> tuple[str, ...]:
    need = row.need
    if need is None:
        return ("", "", "", "", "")
    return (
        f"{row.result.model.bytes / 1024:.0f}",
        kib(need.weights_bytes),
        kib(need.activations_bytes),
        f"{latency.ms.point:.1f}" if (latency := need.latency) else NONE,
        f"{need.board} {'yes' if need.fits else 'SLOW' if need.too_slow else 'NO'}",
    )


def _mask(result: EvalResult) -> str:
    return next((f"{m.value:.1f}" for m in result.metrics if m.name == "mask_ap"), NONE)


def _drop(baseline: EvalResult, result: EvalResult) -> str:
    """Points lost, box / mask; none where the two were not measured at one size."""
    if result.protocol.imgsz != baseline.protocol.imgsz:
        return NONE
    box = f"{baseline.metric('box_ap') - result.metric('box_ap'):+.1f}"
    if not any(m.name == "mask_ap" for m in result.metrics) or not any(m.name == "mask_ap" for m in baseline.metrics):
        return box
    return f"{box} / {baseline.metric('mask_ap') - result.metric('mask_ap'):+.1f}"


def text(record: RunRecord, folder: Path) -> str:
    protocol = record.results[0].protocol
    lines = [
        *_tables(record, shutil.get_terminal_size().columns),
        "",
        f"AP on {protocol.num_images} images of {protocol.dataset} at {protocol.imgsz} px, as the board runs the file;",
        "drop in points, box / mask; sizes in KiB; weights, activations, ms: estimates",
        *said(record),
        *_verdicts(record),
        f"results: {folder}",
    ]
    return "\n".join(lines)


def _tables(record: RunRecord, columns: int) -> list[str]:
    """One table where the terminal is wide enough, else accuracy and memory one above the other."""
    found = rows(record)
    whole = table((*ACCURACY, *MEMORY), found, right=(4, 5, 6, 7, 8, 9, 10))
    if max(map(width, whole.splitlines())) <= columns:
        return [whole]
    boards = [row.need.board if row.need else "" for row in _rows(record)]
    if len(set(filter(None, boards))) > 1:
        return _by_board(found, boards)
    names = [shorten(row[0], NARROW_NAME) for row in found]
    accuracy = [(name, *row[1 : len(ACCURACY)]) for name, row in zip(names, found, strict=True)]
    memory = [
        (name, row[2], row[3], *row[len(ACCURACY) : -1], row[-1].rpartition(" ")[2])
        for name, row in zip(names, found, strict=True)
        if row[-1]
    ]
    return [
        table(ACCURACY, accuracy, right=(4, 5, 6)),
        "",
        table(("model", "granularity", "layout", *NARROW), memory, right=(3, 4, 5, 6)),
    ]


def _by_board(found: list[tuple[str, ...]], boards: list[str]) -> list[str]:
    """Accuracy with its board, then a table of memory for every board."""
    heads = [(shorten(row[0], NARROWEST_NAME), row[2].removeprefix("per-"), row[3]) for row in found]
    accuracy = [
        (*head, *row[4 : len(ACCURACY)], board) for head, row, board in zip(heads, found, boards, strict=True)
    ]
    lines = [table(("model", "weights", "layout", *ACCURACY[4:], "on"), accuracy, right=(3, 4, 5))]
    for name in dict.fromkeys(filter(None, boards)):
        memory = [
            (head[0], row[2], head[2], *row[len(ACCURACY) : -1], row[-1].rpartition(" ")[2])
            for head, row, board in zip(heads, found, boards, strict=True)
            if board == name
        ]
        lines += ["", f"on {name}", table(("model", "granularity", "layout", *NARROW), memory, right=(3, 4, 5, 6))]
    return lines


def said(record: RunRecord) -> list[str]:
    """What a reader has to know beside the figures, each thing once."""
    baseline = record.results[0]
    found = [f"{name}: {sentence}" for result in record.results for name, sentence in remarks(result)]
    found += [
        f"{result.name} was measured at {result.protocol.imgsz} px: it does not compare"
        for result in record.results
        if result.protocol.imgsz != baseline.protocol.imgsz
    ]
    found += [f"WARNING: {fact.value}" for fact in record.provenance.options if fact.name == "overlap"]
    found += [f"note: {finding}" for made in record.quantized for finding in made.audit.findings]
    found += [
        f"{entry.result.model.name} on {entry.board}: {fact.value.partition(': ')[2]}"
        for entry in record.on_boards
        for fact in entry.result.provenance.options
        if fact.name == "as_on"
    ]
    return list(dict.fromkeys(found))


def _verdicts(record: RunRecord) -> list[str]:
    lines = []
    for verdict in record.verdicts:
        if not verdict.passed:
            worst = max(verdict.checks, key=lambda check: check.drop)
            lines.append(
                f"gate FAILED for {verdict.candidate}: {worst.name} lost {worst.drop:.2f}, limit {worst.limit:g}"
            )
    for need in record.footprints:
        if not need.fits:
            lines.append(f"{need.model.name} {unfit(need)}: {'; '.join(need.reasons)}")
    first = record.verdicts[0]
    surely = "significantly " if first.decided_by == "significant drop" else ""
    return lines or [f"gate passed: no file lost {surely}more than {first.checks[0].limit:g} points"]


def unfit(need: Footprint) -> str:
    """In which way a file is not for a board: time is no memory."""
    return f"is over the latency budget of {need.board}" if need.too_slow else f"does NOT fit {need.board}"


def as_markdown(record: RunRecord) -> str:
    """The closing table in Markdown."""
    return markdown_table((*ACCURACY, *MEMORY), rows(record))
