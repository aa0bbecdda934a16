"""What an HTML report is made from, and its summary: the verdict and the four figures that matter most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeai.artifacts import (
    BenchResult,
    CompiledModel,
    DropInterval,
    EvalResult,
    Footprint,
    GateVerdict,
    LicenceReport,
    Quantity,
    ValidationResult,
    on_board,
)
from edgeai.board import Board
from edgeai.report.card_tables import bench_origin, validation_origin
from edgeai.report.dossier import Dossier
from edgeai.report.examples import Example
from edgeai.report.html_parts import Html, Part, bullets, facts, join, paragraph, tag
from edgeai.report.subject import Subject, meant_for

KIB = 1024
METRIC_NAMES = {"mask_ap": "Mask AP", "box_ap": "Box AP", "top1": "Top-1", "mask_ap50": "Mask AP50",
                "box_ap50": "Box AP50", "top5": "Top-5", "mask_ap75": "Mask AP75",
                "box_ap75": "Box AP75"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResultInterval:
    """How sure the drop of one result against the float model is."""

    result: EvalResult
    drop: DropInterval


@dataclass(frozen=True, slots=True)
class Page:
    """`subjects` are the int8 files, the first of them the one that the figures at the top are of.

    `examples` is empty where there are none, and `no_examples` then says why.
    """

    dossier: Dossier
    subjects: tuple[Subject, ...]
    boards: tuple[Board, ...]
    examples: tuple[Example, ...]
    no_examples: str
    intervals: tuple[ResultInterval, ...]
    licences: LicenceReport
    commands: tuple[str, ...]

    @property
    def main(self) -> Subject:
        return self.subjects[0]

    @property
    def lead_metric(self) -> str:
        """Mask AP where there are masks, else box AP or top-1; "" where nothing was measured."""
        result = self.baseline or next(iter(self.main.results), None)
        names = [metric.name for metric in result.metrics] if result else []
        return next((name for name in ("mask_ap", "box_ap", "top1") if name in names), "")

    @property
    def baseline(self) -> EvalResult | None:
        """The float model's accuracy."""
        return self.dossier.record.results[0] if self.dossier.record else None

    def validations(self, subject: Subject | None = None) -> list[ValidationResult]:
        """What ST's own validation measured of a file, by default the main one, on a board."""
        sha = (subject or self.main).file.sha256
        found = [v for v in self.dossier.of(ValidationResult) if v.model is not None and v.model.sha256 == sha]
        return [v for v in found if v.mode == "target"]

    def compiled(self, subject: Subject | None = None) -> list[CompiledModel]:
        """What ST Edge AI Core made of a file, by default the main one."""
        sha = (subject or self.main).file.sha256
        return [c for c in self.dossier.of(CompiledModel) if c.model is not None and c.model.sha256 == sha]

    def benches(self, subject: Subject | None = None) -> list[BenchResult]:
        """What boards and emulators measured of a file, by default the main one."""
        return [b for b in self.dossier.of(BenchResult) if b.model.sha256 == (subject or self.main).file.sha256]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report. `make` answers None where its artifact is absent; `absent` then says what makes it."""

    name: str
    title: str
    make: Callable[[Page], Html | None]
    absent: str


def verdict(page: Page) -> tuple[str, str, list[str]]:
    """Tone (`good`, `bad`, `warn`), headline and reasons. One file that fails is a failed run."""
    record = page.dossier.record
    failures = [line for subject in page.subjects for line in _failures(page, subject)]
    own = record.verdicts if record is not None else ()
    gates = [result for result in page.dossier.of(GateVerdict) if not result.passed and result not in own]
    failures += [f"gate on {result.candidate or 'budgets'}: {_why(result)}" for result in gates]
    failed = {subject.file.sha256 for subject in page.subjects if _failures(page, subject)}
    if failures:
        passed = [subject.name for subject in page.subjects if subject.file.sha256 not in failed]
        several = f": {len(failed)} of {len(page.subjects)} int8 files" if failed and len(page.subjects) > 1 else ""
        return "bad", f"Failed{several}", [*failures, *(f"{name}: passed" for name in passed)]
    needs = [need for subject in page.subjects for need in subject.footprints]
    boards = ", ".join(dict.fromkeys(need.board for need in needs))
    fits = f"Fits {boards} (estimate)." if needs else "Whether it fits a board is not known."
    if record is None or not record.verdicts:
        return "warn", "No verdict on accuracy", ["Accuracy was not measured against the float model.", fits]
    checks = [check for result in record.verdicts for check in result.checks]
    worst = max(checks, key=lambda check: check.drop, default=None)
    if worst is None:
        return "good", "Passed", [fits]
    name = METRIC_NAMES.get(worst.name, worst.name)
    return "good", "Passed", [f"Largest loss: {worst.drop:.2f} points of {name}, limit {worst.limit:g}.", fits]


def _failures(page: Page, subject: Subject) -> list[str]:
    """What one file fails in: memory, accuracy, limits on the board."""
    found = [f"{subject.name} {_unfit(need)}: {need.reasons[0]}" for need in subject.footprints if not need.fits]
    record = page.dossier.record
    if record is not None:
        place = next((i for i, made in enumerate(record.quantized) if made.file == subject.file), -1)
        verdicts = record.verdicts[place : place + 1] if place >= 0 else ()
        # those of files as boards run them follow, by name
        start = f"{subject.name} as on "
        there = [v for v in record.verdicts[len(record.quantized) :] if v.candidate.startswith(start)]
        found += [f"{subject.name}: {_why(entry)}" for entry in verdicts if not entry.passed]
        found += [f"{entry.candidate}: {_why(entry)}" for entry in there if not entry.passed]
    benches = [bench for bench in page.dossier.of(BenchResult) if bench.model.sha256 == subject.file.sha256]
    checks = [(bench, check) for bench in benches for check in bench.checks if not check.passed]
    said = [f"{c.name} on {b.protocol.board} is {c.measured:g} {c.unit}, limit {c.limit:g}" for b, c in checks]
    return [*found, *(f"{subject.name}: {line}" for line in said)]


def _unfit(need: Footprint) -> str:
    return f"is over the latency budget of {need.board}" if need.too_slow else f"does not fit {need.board}"


def _why(result: GateVerdict) -> str:
    worst = max((c for c in result.checks if not c.passed), key=lambda c: c.drop - c.limit, default=None)
    if worst is not None:
        return f"{METRIC_NAMES.get(worst.name, worst.name)} lost {worst.drop:.2f} points, limit {worst.limit:g}"
    over = next((c for c in result.budgets if not c.passed), None)
    if over is not None:
        return f"{over.subject}: {over.name} is {over.measured:g} {over.unit}, limit {over.limit:g}"
    lost = next((c for c in result.classes if not c.passed), None)
    return f"{lost.category} lost {lost.drop:.2f} points of {lost.metric}" if lost else "a stored figure got worse"


def summary(page: Page) -> Html:
    """The verdict in a box, and the figures below it."""
    tone, headline, reasons = verdict(page)
    box = tag("div", paragraph(tag("strong", headline)), bullets(reasons), class_=f"verdict {tone}")
    return join([box, *(_tiles(page, subject, need, len(pairs(page)) > 1) for subject, need in pairs(page))])


def pairs(page: Page) -> list[tuple[Subject, Footprint | None]]:
    """Every board with the file that was made for it; the main file alone where there is no board."""
    needs = {need.board for subject in page.subjects for need in subject.footprints}
    order = [board.name for board in page.boards]
    names = sorted(needs, key=lambda name: (order.index(name) if name in order else len(order), name))
    files = [(meant_for(page.dossier, page.subjects, name), name) for name in names]
    found = [(file, need) for file, name in files for need in file.footprints if need.board == name]
    return [*found] or [(page.main, None)]


def _tiles(page: Page, subject: Subject, need: Footprint | None, several: bool) -> Html:
    """The figures of one file on one board."""
    made = (_accuracy(page, subject, need), _ram(page, subject, need), _flash(page, subject, need),
            _latency(page, subject, need))  # fmt: skip
    tiles = facts([figure for figure in made if figure is not None], class_="key")
    if not several or need is None:
        return tiles
    return join([tag("h2", f"{need.board}: {subject.weights_text.partition(' ')[0]}, {subject.name}"), tiles])


def signed(value: float, digits: int) -> str:
    """A difference with its sign, as typography writes it."""
    return f"{value:+.{digits}f}".replace("-", "−")


def tail(name: str, room: int = 34) -> str:
    """The end of a tensor's name: that is where converters put what differs."""
    return name if len(name) <= room else "…" + name[-room:]


def span(low: float, high: float, digits: int) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}".replace("-", "−")


def _figure(name: str, value: str, *small: str) -> tuple[str, Part]:
    lines = [tag("small", line) for line in small if line]
    return name, join([tag("span", value, class_="big"), *lines])


def _accuracy(page: Page, subject: Subject, need: Footprint | None) -> tuple[str, Part] | None:
    """The accuracy on the board beside whose figures it stands."""
    name, base = page.lead_metric, page.baseline
    if base is None or not name or not subject.results:
        return None
    result = subject.results[0] if need is None else on_board(subject.results, need)
    title = f"{METRIC_NAMES[name]}, int8"
    if result is None:
        return _figure(title, "–", f"not measured as {need.board if need else 'the board'} runs the file")
    value, before = result.metric(name), base.metric(name)
    found = interval(page, result, name)
    sure = f"loss {span(found.low, found.high, 1)} ({found.confidence:.0%} interval)" if found else ""
    where = f"as on {need.board}" if need is not None and result.name.endswith(f" as on {need.board}") else ""
    small = (f"float {before:.1f}, {signed(value - before, 1)}", sure, where)
    return _figure(title, f"{value:.1f}", *small, f"measured on {base.protocol.num_images} images")


def interval(page: Page, result: EvalResult, metric: str) -> DropInterval | None:
    """The interval of a result's drop in a metric, where it was computed."""
    return next((e.drop for e in page.intervals if e.result is result and e.drop.metric == metric), None)


def _ram(page: Page, subject: Subject, need: Footprint | None) -> tuple[str, Part] | None:
    for made in _compiled(page, subject, need):
        if made.activations_bytes is not None:
            origin = f"{made.toolchain} {made.version}, {made.board}"
            return _figure("Activations", f"{made.activations_bytes / KIB:,.0f} KiB", origin)
    if need is None:
        return None
    if need.memory is None:
        return _figure("Activations", f"{need.activations_bytes / KIB:,.0f} KiB", f"estimate, {need.board}")
    return _figure("Core RAM", *_kib(need.memory.ram), f"estimate, {need.board}")


def _flash(page: Page, subject: Subject, need: Footprint | None) -> tuple[str, Part] | None:
    for made in _compiled(page, subject, need):
        if made.weights_bytes is not None:
            origin = f"{made.toolchain} {made.version}, {made.board}"
            return _figure("Weights", f"{made.weights_bytes / KIB:,.0f} KiB", origin)
    if need is None:
        return None
    if need.memory is None:
        return _figure("Weights", f"{need.weights_bytes / KIB:,.0f} KiB", f"estimate, {need.board}")
    return _figure("Core flash", *_kib(need.memory.weights), f"estimate, {need.board}")


def _compiled(page: Page, subject: Subject, need: Footprint | None) -> list[CompiledModel]:
    """What the compiler made of a file for the board of the tile."""
    return [made for made in page.compiled(subject) if need is None or made.board == need.board]


def _kib(value: Quantity) -> tuple[str, str]:
    return f"{value.point / KIB:,.0f} KiB", f"{value.low / KIB:,.0f} to {value.high / KIB:,.0f}"


def _latency(page: Page, subject: Subject, need: Footprint | None) -> tuple[str, Part] | None:
    for bench in page.benches(subject):
        if bench.protocol.unit == "ms" and (need is None or bench.protocol.board == need.board):
            return _figure("Latency", f"{bench.time.mean:.1f} ms", bench_origin(bench), bench.protocol.board)
    for result in page.validations(subject):
        if result.profile is not None and (need is None or result.board == need.board):
            return _figure("Latency", f"{result.profile.ms:.1f} ms", validation_origin(result), result.board)
    if need is None or need.latency is None:
        return None
    ms = need.latency.ms
    return _figure("Latency", f"{ms.point:.1f} ms", f"{ms.low:.1f} to {ms.high:.1f}", f"estimate, {need.board}")
