"""The sections of the HTML report on accuracy, examples and the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from edgeai.artifacts import EvalResult, SweepResult, SweepRow
from edgeai.artifacts.debug import DebugReport
from edgeai.report.card_tables import AS_ULTRALYTICS, protocol_text
from edgeai.report.charts import Dot, Interval, colour, intervals, legend, lines, scatter
from edgeai.report.examples import Example, data_uri
from edgeai.report.html_parts import Html, Part, bullets, details, join, paragraph, table, tag
from edgeai.report.page import METRIC_NAMES, Page, interval, signed, span, tail

KIB = 1024
FIGURES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50", "top1", "top5")
WORST_LAYERS = 12
HIGHEST_DB = 60.0  # more than 8 bits give; equal tensors have hundreds
AUGMENTED = "int8, several views"


# --- accuracy -----------------------------------------------------------------------------------


def accuracy(page: Page) -> Html | None:
    """Float, int8, as on the MP2, on the board, and what it was compared with."""
    base, rows = page.baseline, _stages(page)
    if base is None:
        rows = [
            (AS_ULTRALYTICS if result.protocol.as_ultralytics else "", result)
            for subject in page.subjects
            for result in subject.results
        ]
    if not rows:
        return None
    names = [name for name in FIGURES if any(m.name == name for m in rows[0][1].metrics)]
    lead = page.lead_metric or names[0]
    header = ["Model", "Where", *(METRIC_NAMES[name] for name in names), "Drop", "95 % interval"]
    cells = [_row(page, stage, result, names, lead) for stage, result in rows]
    said = [*(protocol_text(result) for _, result in rows), *(note for _, result in rows for note in _as_on(result))]
    notes = [paragraph(text, class_="note") for text in dict.fromkeys(said)]
    drop = f"Drop is that of {METRIC_NAMES[lead]} against the float model, in points"
    sure = " with its paired-bootstrap interval over the images." if page.intervals else "."
    few = _few(rows[0][1])
    chart = _chart(page, rows, lead)
    return join([
        chart,
        table("Accuracy in per cent", header, cells, right=range(2, len(header))),
        paragraph(drop + sure + few, class_="note"),
        *notes,
        _classes(page, lead),
    ])  # fmt: skip


def _few(result: EvalResult) -> str:
    count = result.protocol.num_images
    return f" {count} images are few: differences below about a point are noise." if count < 500 else ""


def _stages(page: Page) -> list[tuple[str, EvalResult]]:
    """Every result with what it is, in the order of deployment."""
    record = page.dossier.record
    if record is None:
        return []
    ours = {made.file.sha256 for made in record.quantized}
    rest = [result for result in page.dossier.of(EvalResult) if result not in record.results]
    rows = [("float", record.results[0])]
    rows += [("int8", result) for result in record.results[1:] if result.model.sha256 in ours]
    rows += [(_where(result), result) for result in rest]
    return rows + [("compared", result) for result in record.results[1:] if result.model.sha256 not in ours]


def _where(result: EvalResult) -> str:
    options = {fact.name: fact.value for fact in result.provenance.options}
    if "as_on" in options:
        return f"as on {result.name.rpartition(' as on ')[2]}"
    if not result.backend.startswith(("litert", "onnxruntime", "torch")):
        return f"on {result.backend.partition('/')[0]}"
    if result.protocol.as_ultralytics:
        return AS_ULTRALYTICS
    return AUGMENTED if result.protocol.augmentation != "none" else result.backend


def _as_on(result: EvalResult) -> list[str]:
    return [f"{result.name}: {fact.value}." for fact in result.provenance.options if fact.name == "as_on"]


def _row(page: Page, stage: str, result: EvalResult, names: Sequence[str], lead: str) -> list[Part]:
    values = {metric.name: metric.value for metric in result.metrics}
    base = page.baseline
    against = base is not None and result is not base and lead in values and result.protocol == base.protocol
    drop = signed(base.metric(lead) - values[lead], 2) if against and base is not None else ""
    found = interval(page, result, lead) if against else None
    sure = span(found.low, found.high, 2) if found else "–" if against else ""
    shown = [f"{values[name]:.2f}" if name in values else "–" for name in names]
    return [result.model.name.rpartition(".")[0] or result.model.name, stage, *shown, drop, sure]


def _chart(page: Page, rows: Sequence[tuple[str, EvalResult]], lead: str) -> Html | None:
    """The lead metric of every row; the interval of a drop is drawn about the row's own value."""
    marks = []
    tones = {"float": "c3", "int8": "c1", "compared": "c0", AUGMENTED: "c5"}
    for stage, result in rows:
        value = next((metric.value for metric in result.metrics if metric.name == lead), None)
        if value is None:
            continue
        found = interval(page, result, lead)
        low, high = (found.baseline - found.high, found.baseline - found.low) if found else (value, value)
        marks.append(Interval(_label(stage, result), low, value, high, tones.get(stage, "c2")))
    if len(marks) < 2:
        return None
    parts = [("c3", "float"), ("c1", "int8"), ("c5", "test-time augmentation")]
    parts += [("c2", "on a board, or as there"), ("c0", "compared with")]
    used = {mark.colour for mark in marks}
    title = f"{METRIC_NAMES[lead]} of every model"
    return join([intervals(title, marks, "%"), legend([entry for entry in parts if entry[0] in used])])


def _label(stage: str, result: EvalResult) -> str:
    """What tells the rows of a chart apart: not the name that all of them start with."""
    if stage == "compared":
        return result.model.name.rpartition(".")[0] or result.model.name
    if stage == "float":
        return "float"
    return f"{result.layout} {result.granularity}" if stage == "int8" else stage


def _classes(page: Page, lead: str) -> Html | None:
    """AP per class of the main file beside the float model."""
    base = page.baseline
    if base is None or not page.main.results:
        return None
    before = {entry.category: entry.value for entry in base.per_class if entry.metric == lead}
    after = {entry.category: entry.value for entry in page.main.results[0].per_class if entry.metric == lead}
    if len(before) < 2:
        return None
    both = sorted((name for name in before if name in after), key=lambda name: after[name] - before[name])
    rows = [(name, f"{before[name]:.1f}", f"{after[name]:.1f}", signed(after[name] - before[name], 1)) for name in both]
    caption = f"{METRIC_NAMES.get(lead, lead)} per class, {page.main.name}; the greatest losses first"
    whole = table(caption, ("Class", "Float", "int8", "Change"), rows, right=(1, 2, 3))
    return details(f"All {len(rows)} classes", whole)


# --- examples -----------------------------------------------------------------------------------


def examples(page: Page) -> Html | None:
    """Photos with what both networks find, and where they differ."""
    if not page.examples:
        return None
    how = (
        "Scores over 0.25. The first images are ordinary ones, the last those on which the two networks agree least, "
        "of the 24 first images of the evaluation set. In the third picture an area is blue where only the float "
        "network sees an object, orange where only the int8 network does, and dark where both do."
    )
    return join([paragraph(how, class_="note"), *(_example(entry) for entry in page.examples)])


def _example(entry: Example) -> Html:
    count = f"{entry.both} objects in both, {entry.only_float} only in float, {entry.only_int8} only in int8"
    pictures = (("float", entry.float_picture), ("int8", entry.int8_picture), ("difference", entry.difference))
    figures = [
        tag("figure", tag("img", src=data_uri(data), alt=f"{entry.name}, {name}: {count}"),
            tag("figcaption", name))
        for name, data in pictures
    ]  # fmt: skip
    return join([tag("h3", entry.name), tag("div", *figures, class_="examples"), paragraph(f"{count}.", class_="note")])


# --- quantisation error -------------------------------------------------------------------------


def layers(page: Page) -> Html | None:
    """SQNR per layer of the main file."""
    sha = page.main.file.sha256
    report = next((entry for entry in page.dossier.of(DebugReport) if entry.model.sha256 == sha), None)
    if report is None or not report.layers:
        return None
    alone = [(float(layer.index), layer.stepwise.sqnr_db) for layer in report.layers]
    running = [(float(layer.index), layer.cumulative.sqnr_db) for layer in report.layers]
    bad = report.first_bad
    chart = lines(
        "Signal to quantisation noise per layer", (alone, running), report.threshold_db, " dB", "operator",
        bad.index if bad else -1, HIGHEST_DB,
    )  # fmt: skip
    worst = sorted(report.layers, key=lambda layer: layer.stepwise.sqnr_db)[:WORST_LAYERS]
    rows = [
        (f"#{layer.index}", layer.kind, tail(layer.name), f"{layer.stepwise.sqnr_db:.1f}",
         f"{layer.cumulative.sqnr_db:.1f}", f"{100 * layer.saturated:.2f}")
        for layer in worst
    ]  # fmt: skip
    header = ("Layer", "Operator", "Name", "Alone (dB)", "In the network (dB)", "Saturated (%)")
    how = f"{len(report.images)} images, against the {report.against}, {report.kernels} kernels."
    said = f"First bad layer: #{bad.index} {bad.kind}, {bad.reason}" if bad else "No layer is below the limit."
    return join([
        paragraph(said),
        chart,
        legend([("c1", "the layer alone"), ("c2", "in the running network")]),
        table(f"The {len(rows)} noisiest layers", header, rows, right=(3, 4, 5)),
        bullets(report.findings) if report.findings else None,
        paragraph(how, class_="note"),
    ])  # fmt: skip


# --- sweep --------------------------------------------------------------------------------------


def sweep(page: Page) -> Html | None:
    """Accuracy over latency of every point of a sweep, a picture for each board."""
    found = page.dossier.of(SweepResult)
    return join([part for result in found for part in _sweep(result)]) if found else None


def _sweep(result: SweepResult) -> list[Html]:
    parts = []
    for board in dict.fromkeys(row.point.board for row in result.rows):
        rows = [row for row in result.rows if row.point.board == board]
        timed = [row for row in rows if row.figures is not None and row.figures.latency is not None]
        if timed:
            parts += [tag("h3", board), *_picture(timed, board)]
    header = ("Model", "px", "Layout", "Weights", "Recipe", "Board", "Accuracy", "Drop", "RAM (KiB)", "ms", "Front")
    cells = [_sweep_row(row) for row in result.rows]
    front = [line for line in cells if line[-1] == "yes"]
    right = (1, 6, 7, 8, 9)
    parts.append(table(f"{result.name}: the front", header, front, right=right))
    parts.append(details(f"All {len(cells)} points", table(f"{result.name}: every point", header, cells, right=right)))
    return parts


def _picture(rows: Sequence[SweepRow], board: str) -> list[Html]:
    sizes = sorted({row.point.imgsz for row in rows})
    dots = []
    for row in rows:
        figures = row.figures
        if figures is None or figures.latency is None:
            continue
        point = row.point
        name = f"{point.model} {point.imgsz} px {point.layout} {point.granularity} {point.recipe}".strip()
        ms = figures.latency.point
        title = f"{name}: {figures.accuracy:.1f} at {ms:.1f} ms"
        dots.append(Dot(ms, figures.accuracy, colour(sizes.index(point.imgsz)), figures.front, title))
    metric = next((row.figures.metric for row in rows if row.figures is not None), "")
    title = f"{METRIC_NAMES.get(metric, metric)} over latency on {board}"
    picture = scatter(title, dots, "latency (ms, estimate)", f"{METRIC_NAMES.get(metric, metric)} (%)")
    return [picture, legend([(colour(i), f"{size} px") for i, size in enumerate(sizes)])]


def _sweep_row(row: SweepRow) -> list[str]:
    point, figures = row.point, row.figures
    head = [point.model, str(point.imgsz), point.layout, point.granularity, point.recipe or "default", point.board]
    if figures is None:
        return [*head, row.error, "", "", "", ""]
    ms = f"{figures.latency.point:.1f}" if figures.latency else "–"
    ram = f"{figures.ram.point / KIB:,.0f}"
    return [*head, f"{figures.accuracy:.1f}", f"{figures.drop:+.1f}", ram, ms, "yes" if figures.front else ""]
