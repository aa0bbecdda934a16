"""The HTML report: structure, contrast, hostile names, and a real browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import browser as chromium
import pytest
from helpers import edgeai, refused
from report_runs import SEED_256, Run
from structure import check, contrast

from edgeai.artifacts import (
    BenchDevice,
    BenchLayer,
    BenchMemory,
    BenchProtocol,
    BenchResult,
    BenchTime,
    DebugReport,
    EvalResult,
    Fact,
    FileRef,
    HtmlReport,
    OutputAgreement,
    Provenance,
    Quantity,
    RunRecord,
    SweepFigures,
    SweepPoint,
    SweepResult,
    SweepRow,
    from_json,
    to_json,
)
from edgeai.artifacts.debug import Culprit, Divergence, LayerError
from edgeai.board import load_board
from edgeai.files import file_ref
from edgeai.footprint.estimate import estimate
from edgeai.report.html_parts import table, tag, text
from edgeai.report.html_style import DARK, LIGHT, REST, SERIES
from edgeai.stedgeai.read import read_compiled

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u202egpj.\x1b[31m"
ROOT = Path(__file__).resolve().parents[2]


def bench(model: FileRef, name: str = "layer", emulated: bool = False) -> BenchResult:
    """A result as a board with per-layer timing gives it."""
    layers = tuple(BenchLayer(i, f"{name} {i}", "Conv", "NPU" if i else "CPU", 1.0 + i, 10.0) for i in range(4))
    return BenchResult(
        model=model, granularity="per-tensor",
        protocol=BenchProtocol(
            "STM32N6570-DK", emulated, "ticks" if emulated else "ms", "stm32msg 3.1", name, "io", 2, 16
        ),
        device=BenchDevice(name, 800_000_000, None, None, "4.0.0"),
        time=BenchTime(31.5, 31.0, 31.4, 32.0, 33.0, 31.7), layers=layers, engines=(),
        memory=BenchMemory(activations=875_520), inputs=(), outputs=(), images=(), kernels="reference",
        agreement=(OutputAgreement(name, 1000, 0.999, 41.0, 0.97),), comparisons=(), checks=(), faults=(),
        notes=(name,), provenance=Provenance("bench"),
    )  # fmt: skip


def debug(model: FileRef, name: str = "layer") -> DebugReport:
    noise = [Divergence(db, 0.99, 0.1) for db in (40.0, 6.0, 31.0)]
    layers = tuple(
        LayerError(
            index=i, kind="CONV_2D", name=f"{name} {i}", shape=(1, 8, 8, 4), scale=0.1, zero_point=0, minimum=-1.0,
            maximum=1.0, rms=0.5, saturated=0.01 * i, range_use=0.9, stepwise=d, cumulative=d,
        )
        for i, d in enumerate(noise)
    )  # fmt: skip
    culprit = Culprit(1, "CONV_2D", name, name)
    return DebugReport(model, None, "own simulation", (), "reference", 10.0, layers, (), (), culprit, (name,),
                       Provenance("debug"))  # fmt: skip


def sweep(model: FileRef, name: str = "net") -> SweepResult:
    def row(size: int, ap: float, ms: float, front: bool) -> SweepRow:
        kib = Quantity(1e5, 2e5, 3e5, "bytes")
        figures = SweepFigures(model, "mask_ap", ap, 1.0, kib, kib, Quantity(ms, ms, ms, "ms"), True, front)
        return SweepRow(SweepPoint(name, size, "raw", "per-channel", "", "STM32N6570-DK"), figures)

    failed = SweepRow(SweepPoint(name, 96, "raw", "per-channel", "", "STM32N6570-DK"), None, f"failed: {name}")
    rows = (row(192, 20.0, 15.0, True), row(256, 23.0, 25.0, True), row(320, 22.0, 40.0, False), failed)
    return SweepResult(name, rows, Provenance("sweep"))


@pytest.fixture
def full(run_folder: Run, kit: Path, tmp_path: Path) -> Run:
    """A run folder with an artifact of every kind beside it."""
    folder = tmp_path / "full"
    shutil.copytree(run_folder.folder, folder)
    model = file_ref(folder / SEED_256)
    real = kit / "stedgeai" / "n6_reports" / "fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt"
    compiled = read_compiled([real], "STM32N6570-DK", model)
    result = run_folder.record.results[1]
    on_mp2 = replace(result, name=f"{result.name} as on STM32MP257F-EV1",
                     provenance=replace(result.provenance, options=(Fact("as_on", "made per-tensor"),)))  # fmt: skip
    beside = (bench(model), debug(model), sweep(model), compiled, on_mp2)
    for name, artifact in zip(("bench", "debug", "sweep", "compiled", "mp2"), beside, strict=True):
        (folder / f"{name}.json").write_text(to_json(artifact))
    return replace(run_folder, folder=folder)


def report(run: Run, capsys: pytest.CaptureFixture[str], pictures: bool = False) -> str:
    images = run.images if pictures else run.folder / "none"
    outcome = edgeai(capsys, "report", run.folder, "--images", images)
    assert outcome.code == 0, outcome.err
    return (run.folder / "report.html").read_text()


def test_every_section_is_there_and_the_page_is_sound(full: Run, capsys: pytest.CaptureFixture[str]) -> None:
    page = check(report(full, capsys, pictures=True))
    assert page.problems == []
    titles = [a["id"] for a in page.of("section")]
    assert titles == ["accuracy", "examples", "memory", "latency", "layers", "compiler", "device", "sweep", "licences",
                      "provenance"]  # fmt: skip
    text_of_page = " ".join(" ".join(page.texts).split())
    float_result, int8 = full.record.results
    for value in (float_result.metric("mask_ap"), int8.metric("mask_ap"), int8.metric("box_ap50")):
        assert f"{value:.2f}" in text_of_page
    for words in ("as on STM32MP257F-EV1", "31.5 ms", "measured on board", "First bad layer: #1", "paired-bootstrap",
                  "not legal advice", int8.model.sha256, "edgeai run yolov8n-seg.pt"):  # fmt: skip
        assert words in text_of_page, words
    pictures = [a["src"] for a in page.of("img")]
    assert len(pictures) == 12 and all(src.startswith("data:image/jpeg;base64,/9j/") for src in pictures)


def test_the_page_is_small_and_the_same_twice(run_folder: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (report(run_folder, capsys, pictures=True) for _ in range(2))
    assert first == second
    assert len(first) < 1_500_000


def test_what_is_absent_is_said(run_folder: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.html"
    outcome = edgeai(capsys, "report", run_folder.folder, "-o", out, "--json", "--images", tmp_path / "none")
    result = from_json(HtmlReport, outcome.out)
    absent = {fact.name: fact.value for fact in result.absent}
    assert {"Examples", "Board", "Sweep", "Compiler", "Quantisation error per layer"} == set(absent)
    assert "--images" in absent["Examples"] and "edgeai bench" in out.read_text()


def test_a_bare_model_gets_a_report(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.html"
    assert edgeai(capsys, "report", kit / "tflite" / SEED_256, "-o", out).code == 0
    page = check(out.read_text())
    assert page.problems == [] and "No verdict on accuracy" in " ".join(page.texts)


def test_the_verdict_follows_the_record(
    run_folder: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "failed"
    shutil.copytree(run_folder.folder, folder)
    verdict = run_folder.record.verdicts[0]
    checks = tuple(replace(entry, limit=0.1, passed=False) for entry in verdict.checks)
    record = replace(run_folder.record, verdicts=(replace(verdict, checks=checks, passed=False),))
    (folder / "run.json").write_text(to_json(record))
    assert "Failed" in report(replace(run_folder, folder=folder), capsys)
    assert ">Passed<" in report(run_folder, capsys)


def test_the_memory_map_is_the_plan(run_folder: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The pools drawn hold together what the footprint says is used."""
    page = report(run_folder, capsys)
    drawn = re.findall(r"([\d,.]+) of ([\d,]+) KiB</text>", page)
    need = estimate(run_folder.folder / SEED_256, load_board("stm32n6"))
    total = sum(float(used.replace(",", "")) for used, _ in drawn)
    assert total == pytest.approx(need.activations_bytes / 1024, abs=0.1 * len(drawn))


def hostile(record: RunRecord) -> RunRecord:
    made = record.quantized[0]
    spec = replace(made.contract.spec, name=EVIL, names=(EVIL,) * made.contract.spec.nc)
    results = tuple(
        replace(r, name=EVIL, protocol=replace(r.protocol, dataset=EVIL),
                per_class=tuple(replace(c, category=f"{EVIL}{i}") for i, c in enumerate(r.per_class)))
        for r in record.results
    )  # fmt: skip
    return replace(
        record,
        model=replace(record.model, name=EVIL),
        quantized=(replace(made, contract=replace(made.contract, spec=spec),
                           calibration=replace(made.calibration, name=EVIL)),),
        results=results,
        footprints=tuple(replace(n, board=EVIL, reasons=(EVIL,), fits=False) for n in record.footprints),
        provenance=replace(record.provenance, options=(Fact(EVIL, EVIL),), licence=EVIL),
    )  # fmt: skip


def test_hostile_names_stay_text(full: Run, capsys: pytest.CaptureFixture[str]) -> None:
    model = file_ref(full.folder / SEED_256)
    (full.folder / "run.json").write_text(to_json(hostile(full.record)))
    beside = (bench(model, EVIL), debug(model, EVIL), sweep(model, EVIL))
    for name, artifact in zip(("bench", "debug", "sweep"), beside, strict=True):
        (full.folder / f"{name}.json").write_text(to_json(artifact))
    source = report(full, capsys)
    page = check(source)
    assert page.problems == []
    assert "\u202e" not in source and "\x1b" not in source
    assert sum(content.count("<script>alert(1)</script>") for content in page.texts) > 20


def test_a_run_file_that_points_elsewhere_is_not_followed(
    run_folder: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    outside = tmp_path / SEED_256
    outside.write_bytes((run_folder.folder / SEED_256).read_bytes())
    made = run_folder.record.quantized[0]
    moved = replace(made, file=replace(made.file, name=f"../{SEED_256}"))
    (folder / "run.json").write_text(to_json(replace(run_folder.record, quantized=(moved,))))
    page = report(replace(run_folder, folder=folder), capsys, pictures=True)
    assert "is not in the run folder" in page and 'id="examples"' not in page


@pytest.mark.parametrize("content", ["{", "[]", '{"artifact": "RunRecord"}', '{"artifact": "EvalResult"}', "\xff"])
def test_a_damaged_record_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    refused(edgeai(capsys, "report", tmp_path), 2, "run.json")


def test_damaged_artifacts_beside_a_run_do_not_stop_it(full: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (full.folder / "bench.json").write_text('{"artifact": "BenchResult", "model": 3}')
    (full.folder / "odd.json").write_text("[" * 100_000)
    assert 'id="device"' not in report(full, capsys)


def test_escaping_is_at_the_door() -> None:
    assert text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert tag("p", "<i>", tag("b", "x"), title='"><i>') == '<p title="&quot;&gt;&lt;i&gt;">&lt;i&gt;<b>x</b></p>'
    assert "<i>" not in table("<i>", ("<i>",), [("<i>",)])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_the_palette_can_be_read(palette: Mapping[str, str]) -> None:
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for marks in charts."""
    for name in ("ink", "soft", "accent", "good", "bad", "warn"):
        for ground in ("page", "panel"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for name in (*SERIES, REST):
        assert contrast(palette[name], palette["page"]) >= 3, name


def test_contrast_is_computed_as_published() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the usual example of a near miss


# --- in a browser -------------------------------------------------------------------------------


def axe() -> str | None:
    """axe-core's source: where EDGEAI_AXE points, or from a node_modules beside the project."""
    places = [Path(os.environ.get("EDGEAI_AXE", "")), ROOT / "node_modules" / "axe-core" / "axe.min.js"]
    return next((place.read_text(encoding="utf-8") for place in places if place.is_file()), None)


@pytest.mark.skipif(not chromium.installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it_without_complaint(
    dark: bool, full: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(full, capsys, pictures=True)
    page = full.folder / "report.html"
    with chromium.browser(tmp_path, dark) as session:
        session.resize(1280, 900)
        session.open(page)
        assert session.run("return matchMedia('(prefers-color-scheme: dark)').matches") is dark
        ground = session.run("return getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb({}, {}, {})".format(*_rgb((DARK if dark else LIGHT)["page"]))
        assert session.console() == []
        asked = session.requests(page)
        assert page.as_uri() in asked and all(url.startswith("data:") for url in asked if url != page.as_uri())
        session.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        _no_serious_fault(session)
        for width in (390, 320):
            session.resize(width, 844)
            assert session.run("return document.documentElement.scrollWidth <= innerWidth"), width
        _keyboard(session)
        session.print(tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
        assert session.run("return [...document.images].filter(i => i.naturalWidth > 50).length") == 12
        assert session.console() == []


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _no_serious_fault(session: chromium.Browser) -> None:
    source = axe()
    if source is None:
        return  # the structural check has run; axe-core is not shipped
    session.run(source)
    found = session.run("return axe.run(document, {resultTypes: ['violations']})")
    grave = [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert [entry for entry in grave if entry[1] in ("serious", "critical")] == []


def _keyboard(session: chromium.Browser) -> None:
    """Tab leads first to the skip link, then through the sections and every box that scrolls."""
    session.run("window.scrollTo(0, 0); document.activeElement.blur()")
    seen = []
    for _ in range(12):
        session.keys("\ue004")
        seen.append(session.run("const e = document.activeElement; return e.getAttribute('href') || e.className"))
    assert seen[0] == "#main" and "#accuracy" in seen and "scroll" in seen


@pytest.mark.skipif(not chromium.installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)")
def test_hostile_names_run_nothing_in_a_browser(
    full: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (full.folder / "run.json").write_text(to_json(hostile(full.record)))
    report(full, capsys)
    with chromium.browser(tmp_path) as session:
        session.open(full.folder / "report.html")  # a dialogue of alert() would make the next command fail
        assert session.run("return document.scripts.length") == 0
        assert session.console() == []


def test_results_of_another_protocol_get_no_drop(full: Run, capsys: pytest.CaptureFixture[str]) -> None:
    result = full.record.results[1]
    other = replace(result, protocol=replace(result.protocol, augmentation="256 px, 256 px mirrored"))
    (full.folder / "tta.json").write_text(to_json(other))
    page = report(full, capsys)
    row = re.search(r"<td>int8, several views</td>(.*?)</tr>", page)
    assert row is not None and row[1].endswith('<td class="num"></td><td class="num"></td>')
    assert isinstance(other, EvalResult)
