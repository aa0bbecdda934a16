"""The tables of a model card: memory and time, from measurements, the compiler and the estimators, in that order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeai.artifacts import (
    BenchResult,
    CardRow,
    CardTable,
    CompiledModel,
    EvalResult,
    Footprint,
    Measurement,
    Quantity,
    Recommendation,
    ValidationResult,
)
from edgeai.board import Board
from edgeai.footprint.memory import target_of
from edgeai.report.dossier import Dossier
from edgeai.report.measurements import rate_disagrees
from edgeai.report.subject import Subject

KIB = 1024
NONE = "–"
AS_ULTRALYTICS = "AP as Ultralytics"
CHECKED, UNCHECKED = "[x]", "[]"
SERIES = ("STM32L0", "STM32L4", "STM32U5", "STM32H7", "STM32MP1", "STM32MP2", "STM32N6")
CORE = "STEdgeAI Core version"
NPU_MEMORY = ("Model", "Dataset", "Format", "Resolution", "Series", "Internal RAM (KiB)", "External RAM (KiB)",
              "Weights Flash (KiB)", CORE)  # fmt: skip
NPU_TIME = ("Model", "Dataset", "Format", "Resolution", "Board", "Execution Engine", "Inference time (ms)",
            "Inf / sec", CORE)  # fmt: skip
MCU_MEMORY = ("Model", "Format", "Resolution", "Series", "Activation RAM (KiB)", "Runtime RAM (KiB)",
              "Weights Flash (KiB)", "Code Flash (KiB)", "Total RAM (KiB)", "Total Flash (KiB)", CORE)  # fmt: skip
MCU_TIME = ("Model", "Format", "Resolution", "Board", "Frequency", "Inference time (ms)", "Inf / sec",
            CORE)  # fmt: skip
MPU_TIME = ("Model", "Dataset", "Format", "Resolution", "Quantization", "Board", "Execution Engine", "Frequency",
            "Inference time (ms)", "Inf / sec", "%NPU", "%GPU", "%CPU", "X-LINUX-AI version",
            "Framework")  # fmt: skip
ACCURACY = ("Model", "Format", "Resolution", "Box AP", "Box AP50", "Mask AP", "Mask AP50", "Runs on")
CLASSES = ("Model", "Format", "Resolution", "Top-1 (%)", "Top-5 (%)", "Runs on")
LINK = re.compile(r"([\w.-]+/[\w.-]+):([\w./-]+)")


def published(rows: Iterable[Measurement], subject: Subject, core: str = "") -> tuple[Measurement, ...]:
    """The rows of a table about a model, newest tool first; `core` keeps those of one version of ST Edge AI Core."""
    mine = [row for row in rows if row.model == subject.name]
    kept = [row for row in mine if not core or "core" not in row.tool.lower() or row.version == core]
    return tuple(sorted(kept, key=lambda row: _version(row.version), reverse=True))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


# --- formats ------------------------------------------------------------------------------------


def kib(count: float | None) -> str:
    """Bytes in KiB with up to two decimals, as ST's cards print them."""
    return NONE if count is None else f"{count / KIB:.2f}".removesuffix("0").removesuffix(".0")


def kib_range(value: Quantity) -> str:
    return f"{value.point / KIB:.1f} ({value.low / KIB:.1f} to {value.high / KIB:.1f})"


def ms_range(value: Quantity) -> str:
    return f"{value.point:.2f} ({value.low:.1f} to {value.high:.1f})"


def rate(ms: float | None) -> str:
    """Inferences per second, computed from the time."""
    return f"{1000 / ms:.2f}" if ms else NONE


def origin_of(row: Measurement) -> str:
    """Rows that name a public source are published; others were measured by whoever passes them."""
    return f"{'published' if row.source else 'measured on board'}, {row.tool} {row.version}"


def link_of(row: Measurement) -> str:
    """`owner/name:path` as an address; "" for anything else."""
    found = LINK.fullmatch(row.link)
    return f"https://github.com/{found[1]}/blob/main/{found[2]}" if found else ""


def bench_origin(entry: BenchResult) -> str:
    where = "measured on an emulator" if entry.protocol.emulated else "measured on board"
    return f"{where}, {entry.protocol.tool}, {entry.protocol.runs} runs"


def validation_origin(entry: ValidationResult) -> str:
    """ST's validation on a board; a stand-in for the tool is called one."""
    if entry.toolchain != "ST Edge AI Core":
        return f"{entry.toolchain} {entry.version}"
    return f"measured on {'board' if entry.mode == 'target' else 'the host'}, ST Edge AI Core {entry.version}"


# --- memory -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """What the rows of one model are made from. `rows` are those of `published`, `dataset` names the evaluation set."""

    subject: Subject
    rows: tuple[Measurement, ...]
    dossier: Dossier
    boards: tuple[Board, ...]
    dataset: str

    def head(self, row: Measurement | None = None, dataset: bool = True) -> tuple[str, ...]:
        """Model, data set, format and resolution: those of a row where it names them."""
        own = (self.dataset, self.subject.format, self.subject.resolution)
        said = (row.dataset, row.format, row.resolution) if row is not None else ("", "", "")
        cells = [theirs or ours for theirs, ours in zip(said, own, strict=True)]
        return (self.subject.name, *cells[0 if dataset else 1 :])

    def needs(self, family: str) -> list[Footprint]:
        """The estimates for boards of a family: `n6`, `mp2` or `mcu`."""
        names = {board.name for board in self.boards if target_of(board) == family}
        return [need for need in self.subject.footprints if need.board in names]

    def clock(self, name: str) -> str:
        """The clock of what does the work: the accelerator where there is one, else the CPU."""
        board = next((b for b in self.boards if b.name == name), None)
        if board is None:
            return NONE
        mhz = board.accelerator.clock_mhz if board.accelerator else board.cpu.clock_mhz
        return f"{mhz:g} MHz" if mhz else NONE

    def benches(self, board: str) -> list[BenchResult]:
        """What a board measured in milliseconds; an emulator's ticks are no time of any board."""
        mine = [b for b in self.dossier.of(BenchResult) if b.model.sha256 == self.subject.file.sha256]
        return [b for b in mine if b.protocol.board == board and b.protocol.unit == "ms"]

    def on_board(self, board: str) -> list[tuple[float, str, str]]:
        """Time in ms, runtime and origin of what was measured on a board: by us, or by ST's own validation."""
        found = [(b.time.mean, b.device.runtime, bench_origin(b)) for b in self.benches(board)]
        for result in self.dossier.of(ValidationResult):
            mine = result.model is not None and result.model.sha256 == self.subject.file.sha256
            if mine and result.board == board and result.mode == "target" and result.profile is not None:
                found.append((result.profile.ms, result.version, validation_origin(result)))
        return found


def npu_memory(s: Source) -> list[CardRow]:
    """Memory on the STM32N6."""
    found = []
    for row in s.rows:
        if row.internal_ram is not None and row.series == "STM32N6":
            memory = (kib(row.internal_ram), kib(row.external_ram), kib(row.weights_flash))
            found.append(CardRow((*s.head(row), row.series, *memory, row.version), origin_of(row), link_of(row)))
    for made in s.dossier.of(CompiledModel):
        if made.model is not None and made.model.sha256 == s.subject.file.sha256 and "n6" in made.target:
            ram = [_activations(made, kind) for kind in ("ram", "external-ram")]
            cells = ("STM32N6", *map(kib, ram), kib(made.weights_bytes), made.version)
            found.append(CardRow((*s.head(), *cells), f"{made.toolchain} {made.version}"))
    for need in s.needs("n6"):
        if need.memory is not None:
            memory = (kib_range(need.memory.ram), kib(need.memory.external), kib_range(need.memory.weights))
            found.append(CardRow((*s.head(), "STM32N6", *memory, need.memory.version), f"estimate, {need.board}"))
    return found


def _activations(made: CompiledModel, kind: str) -> int:
    return sum(pool.activations for pool in made.pools if pool.kind == kind)


def mcu_memory(s: Source) -> list[CardRow]:
    """Memory on microcontrollers without an accelerator."""
    found = []
    for row in s.rows:
        if row.activation_ram is not None:
            memory = (row.activation_ram, row.runtime_ram, row.weights_flash, row.code_flash)
            totals = (_sum(memory[:2]), _sum(memory[2:]))
            cells = (*s.head(row, dataset=False), row.series, *map(kib, (*memory, *totals)), row.version)
            found.append(CardRow(cells, origin_of(row), link_of(row)))
    for need in s.needs("mcu"):
        if need.memory is not None:
            estimated, code = need.memory, need.memory.code
            weights = estimated.weights
            flash = Quantity(weights.low + code, weights.point + code, weights.high + code, "bytes")
            cells = (NONE, NONE, kib_range(weights), kib(code), kib_range(estimated.ram), kib_range(flash))
            head = (*s.head(dataset=False), _family(s, need.board))
            found.append(CardRow((*head, *cells, estimated.version), f"estimate, {need.board}"))
    return found


def _family(s: Source, name: str) -> str:
    return next((board.family for board in s.boards if board.name == name), name)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# --- time ---------------------------------------------------------------------------------------


def npu_time(s: Source) -> list[CardRow]:
    """Inference time on the STM32N6."""
    found = []
    for row in s.rows:
        if row.ms is not None and row.board.startswith(("STM32N6", "NUCLEO-N6")):
            cells = (row.board, "NPU/MCU", f"{row.ms:g}", rate(row.ms), row.version)
            found.append(CardRow((*s.head(row), *cells), origin_of(row), link_of(row)))
    for need in s.needs("n6"):
        head = (*s.head(), need.board, "NPU/MCU")
        found += [CardRow((*head, f"{ms:.2f}", rate(ms), tool), origin) for ms, tool, origin in s.on_board(need.board)]
        if need.latency is not None:
            time = need.latency.ms
            found.append(CardRow((*head, ms_range(time), rate(time.point), need.latency.version), "estimate"))
    return found


def mcu_time(s: Source) -> list[CardRow]:
    """Inference time on microcontrollers without an accelerator."""
    found = []
    for row in s.rows:
        if row.ms is not None and row.activation_ram is not None:
            cells = (row.board, s.clock(row.board), f"{row.ms:g}", rate(row.ms), row.version)
            found.append(CardRow((*s.head(row, dataset=False), *cells), origin_of(row), link_of(row)))
    for need in s.needs("mcu"):
        head = (*s.head(dataset=False), need.board, s.clock(need.board))
        found += [CardRow((*head, f"{ms:.2f}", rate(ms), tool), origin) for ms, tool, origin in s.on_board(need.board)]
        if need.latency is not None:
            time = need.latency.ms
            found.append(CardRow((*head, ms_range(time), rate(time.point), need.latency.version), "estimate"))
    return found


def mpu_time(s: Source) -> list[CardRow]:
    """Inference time on Linux boards with the shares of NPU, GPU and CPU."""
    found = []
    for row in s.rows:
        if row.ms is not None and row.board.startswith("STM32MP"):
            head = (*s.head(row), _label(row, s.subject), row.board, _engines(row.shares), s.clock(row.board))
            shares = [f"{share:g}" for share in row.shares] or [NONE] * 3
            framework = row.tool.partition("/")[2] or row.tool
            cells = (*head, f"{row.ms:g}", rate(row.ms), *shares, row.version, framework)
            found.append(CardRow(cells, origin_of(row), link_of(row)))
    for need in s.needs("mp2"):
        start, clock = (*s.head(), s.subject.audit.granularity, need.board), s.clock(need.board)
        for bench in s.benches(need.board):
            by = {share.engine: share.percent for share in bench.engines}
            parts = tuple(by.get(unit, 0.0) for unit in ("NPU", "GPU", "CPU")) if by else ()
            shares = [f"{part:.2f}" for part in parts] or [NONE] * 3
            cells = (*start, _engines(parts), clock, f"{bench.time.mean:.2f}", rate(bench.time.mean), *shares)
            found.append(CardRow((*cells, bench.device.runtime, bench.protocol.tool), bench_origin(bench)))
        if need.latency is not None:
            ms, parts = need.latency.ms, _predicted_shares(need)
            cells = (*start, _engines(parts), clock, ms_range(ms), rate(ms.point), *(f"{part:.0f}" for part in parts))
            found.append(CardRow((*cells, need.latency.version, "TensorFlow Lite"), "estimate"))
    return found


def _label(row: Measurement, subject: Subject) -> str:
    """The granularity that a row claims, marked where the file holds another."""
    label = row.quantization or subject.audit.granularity
    return label if label == subject.audit.granularity else f"{label} (label)"


def _predicted_shares(need: Footprint) -> tuple[float, ...]:
    ops = need.latency.ops if need.latency else ()
    total = sum(op.ms for op in ops) or 1.0
    return tuple(100 * sum(op.ms for op in ops if op.unit == unit) / total for unit in ("npu", "gpu", "cpu"))


def _engines(shares: Sequence[float]) -> str:
    return "/".join(name for name, share in zip(("NPU", "GPU", "CPU"), shares, strict=False) if share > 0) or NONE


# --- accuracy and platforms ---------------------------------------------------------------------


def accuracy(results: Sequence[EvalResult], resolution: str) -> CardTable | None:
    """AP, or top-1, of every result with the protocol below; None where nothing was measured."""
    if not results:
        return None
    classify = any(metric.name == "top1" for metric in results[0].metrics)
    names = ("top1", "top5") if classify else ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
    rows = []
    for result in results:
        values = {metric.name: f"{metric.value:.2f}" for metric in result.metrics}
        side = result.protocol.imgsz
        size = resolution if resolution.startswith(f"{side}x") else f"{side}x{side}x3"
        head = (result.model.name.rpartition(".")[0] or result.model.name, _format(result), size)
        cells = (*head, *(values.get(name, NONE) for name in names), _runs_on(result))
        rows.append(CardRow(cells, f"measured, {result.protocol.num_images} images"))
    notes = tuple(dict.fromkeys(protocol_text(result) for result in results))
    return CardTable("Accuracy", CLASSES if classify else ACCURACY, tuple(dict.fromkeys(rows)), notes)


def _format(result: EvalResult) -> str:
    return result.precision if result.granularity == "float" else f"{result.precision}, {result.granularity}"


def _runs_on(result: EvalResult) -> str:
    if any(fact.name == "as_on" for fact in result.provenance.options):
        return f"{result.backend}, as on {result.name.rpartition(' as on ')[2]} (simulated)"
    views = ", several views" if result.protocol.augmentation != "none" else ""
    return result.backend + views + (f", {AS_ULTRALYTICS}" if result.protocol.as_ultralytics else "")


def protocol_text(result: EvalResult) -> str:
    """The protocol of a result in one sentence."""
    p = result.protocol
    how = (
        f"score over {p.confidence:g}, NMS IoU {p.nms_iou:g} per class, at most {p.max_detections} detections, "
        "AP over IoU 0.50:0.95 in per cent, "
    )
    how = "" if any(metric.name == "top1" for metric in result.metrics) else how
    where = f"{p.num_images} images of {p.dataset} (annotations {p.annotations_sha256[:12]})"
    views = "" if p.augmentation == "none" else f"test-time augmentation ({p.augmentation}); "
    return f"Protocol: {where}; input {p.imgsz} px, {p.letterbox}; {views}{how}{p.metric_tool}."


def platforms(advice: Recommendation, preferred: Sequence[str] = ()) -> CardTable:
    """Supported and recommended per STM32 series: a series is what its `preferred` board is, the project's; without
    one, what its best board is."""
    rank = {"no": 0, "supported": 1, "recommended": 2}
    families = [*SERIES, *sorted({a.family for a in advice.boards} - set(SERIES))]
    rows = []
    for family in families:
        boards = [a for a in advice.boards if a.family == family]
        boards.sort(key=lambda a: (a.board not in preferred, -rank[a.verdict]))
        if boards:
            best = boards[0]
            marks = [CHECKED if rank[best.verdict] >= least else UNCHECKED for least in (1, 2)]
            rows.append(CardRow((family, *marks, best.reason.replace("`", "")), f"estimate, {best.board}"))
    return CardTable("Recommended platforms", ("Platform", "Supported", "Recommended", "Why"), tuple(rows))


def rate_notes(rows: Iterable[Measurement]) -> tuple[str, ...]:
    """The places where a published rate and the published time disagree."""
    return tuple(
        f"Published {row.stated_inf_per_s} inf/s of {row.model} ({row.tool} {row.version}) disagree with the published "
        f"{row.ms:g} ms, which are {rate(row.ms)} inf/s; the table shows the latter."
        for row in rows
        if rate_disagrees(row)
    )


def label_notes(rows: Iterable[Measurement], subject: Subject) -> tuple[str, ...]:
    """Rows whose label says something else than the file."""
    wrong = {row.quantization for row in rows if row.quantization} - {subject.audit.granularity}
    return tuple(f"{subject.name} is labelled {label}; the file is {subject.weights_text}." for label in sorted(wrong))
