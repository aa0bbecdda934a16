"""A run over several boards: the right file for each, the accuracy of a file as its board runs it, and what is loud."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import edgeai, refused

from edgeai.artifacts import (
    BoardResult,
    EvalProtocol,
    EvalResult,
    Fact,
    FileRef,
    Footprint,
    Metric,
    Provenance,
    RunRecord,
    SweepFigures,
    SweepResult,
    from_json,
    on_board,
)
from edgeai.board import load_board
from edgeai.cli.run_table import rows, text
from edgeai.gate.budgets import Budgets, budget_checks
from edgeai.gate.policy import judge
from edgeai.gate.wording import budget_sentence
from edgeai.pipeline.run import jobs_of
from edgeai.pipeline.stages import Recipe

N6, MP2 = "STM32N6570-DK", "STM32MP257F-EV1"


def result(name: str, ap: float, granularity: str = "per-channel", imgsz: int = 256, as_on: str = "") -> EvalResult:
    options = (Fact("as_on", f"{as_on}: 3 weight tensors made per-tensor"),) if as_on else ()
    return EvalResult(
        model=FileRef(f"{name}.tflite", name, 1024), name=f"{name} as on {as_on}" if as_on else name,
        backend="litert/xnnpack", precision="int8", granularity="per-tensor" if as_on else granularity, layout="raw",
        protocol=EvalProtocol("d", "f" * 64, "e" * 64, 5, imgsz, "", 0.001, 0.7, 300, True, "pycocotools"),
        metrics=(Metric("box_ap", ap),), per_class=(), detections=3, provenance=Provenance("evaluate", (), options),
    )  # fmt: skip


def need(name: str, board: str, fits: bool = True, memory_fits: bool | None = None) -> Footprint:
    target = "stm32mp25" if board == MP2 else "stm32n6"
    return Footprint(
        FileRef(f"{name}.tflite", name, 1024), board, target, "estimate", 1024, 2048, 0, "CONV_2D #0", (), (), fits,
        () if fits else ("latency is over its budget by 1.0 ms: 3.0 of 2 ms",), Provenance("footprint"),
        memory_fits=memory_fits,
    )  # fmt: skip


def record(*on_boards: EvalResult) -> RunRecord:
    base, a, b = result("net", 40.0, "float"), result("a", 39.0), result("b", 38.0, "per-tensor")
    return RunRecord(
        model=FileRef("net.pt", "0", 1), quantized=(), results=(base, a, b),
        footprints=(need("a", N6), need("a", MP2), need("b", N6), need("b", MP2)),
        verdicts=(judge(base, a, 5.0), judge(base, b, 5.0)), provenance=Provenance("run"),
        on_boards=tuple(BoardResult(MP2, entry) for entry in on_boards),
    )  # fmt: skip


def test_every_row_has_the_accuracy_of_its_board_or_none() -> None:
    there = result("a", 30.0, as_on=MP2)
    cells = [(row[4], row[6], row[-1]) for row in rows(record(there))]
    assert cells == [
        ("40.0", "", ""),
        ("39.0", "+1.0", f"{N6} yes"),
        ("30.0", "+10.0", f"{MP2} yes"),
        ("38.0", "+2.0", f"{N6} yes"),
        ("38.0", "+2.0", f"{MP2} yes"),
    ]
    unknown = [row[4:7] for row in rows(record())]
    assert unknown[2] == ("", "", "") and unknown[1][0] == "39.0"
    shown = text(record(there), Path("runs"))
    assert f"a.tflite on {MP2}: 3 weight tensors made per-tensor" in shown


def test_the_accuracy_on_a_board_is_not_that_of_the_file() -> None:
    plain, there = result("a", 39.0), result("a", 30.0, as_on=MP2)
    assert on_board([plain, there], need("a", MP2)) is there
    assert on_board([there, plain], need("a", N6)) is plain
    assert on_board([plain], need("a", MP2)) is None
    assert on_board([there], need("a", N6)) is None
    assert on_board([result("b", 1.0, "per-tensor")], need("b", MP2)) is not None
    assert on_board([plain], need("b", N6)) is None


def test_the_table_fits_80_columns_with_two_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = text(record(result("a", 30.0, as_on=MP2)), Path("runs")).splitlines()
    assert max(map(len, lines)) <= 80
    assert f"on {N6}" in lines and f"on {MP2}" in lines


def test_each_board_gets_the_file_that_suits_it() -> None:
    boards = [load_board(name) for name in ("stm32n6", "stm32mp2", "stm32h7")]
    n6, mp2, h7 = boards
    assert [(job.recipe.granularity, job.boards) for job in jobs_of(Recipe(), boards, fixed=False)] == [
        ("per-channel", (n6, h7)),
        ("per-tensor", (mp2,)),
    ]
    assert [job.boards for job in jobs_of(Recipe(), boards, fixed=True)] == [tuple(boards)]
    per_tensor = jobs_of(Recipe(granularity="per-tensor"), boards, fixed=False)
    assert [(job.recipe.granularity, len(job.boards)) for job in per_tensor] == [("per-tensor", 3)]


def test_too_slow_is_not_too_large() -> None:
    slow, large, old = need("a", N6, False, True), need("a", N6, False, False), need("a", N6, False)
    assert (slow.too_slow, large.too_slow, old.too_slow, need("a", N6).too_slow) == (True, False, False, False)
    shown = text(replace(record(), footprints=(slow,)), Path("runs"))
    assert f"a.tflite is over the latency budget of {N6}" in shown and "NOT fit" not in shown
    assert "does NOT fit" in text(replace(record(), footprints=(large,)), Path("runs"))
    check = budget_checks([slow], [], Budgets())[0]
    assert (check.kind, check.passed) == ("latency", False)
    assert budget_sentence(check).startswith(f"a.tflite on {N6} fits, and is over its latency budget: latency is over")
    assert "does not fit" in budget_sentence(budget_checks([large], [], Budgets())[0])


def test_other_sizes_are_said_and_lose_nothing() -> None:
    body = record()
    other = replace(body, results=(*body.results, result("c", 50.0, imgsz=640)), footprints=(need("c", N6),))
    assert rows(other)[-1][4:7] == ("50.0", "–", "–")
    assert "c was measured at 640 px: it does not compare" in text(other, Path("runs"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeai.cli import main

    root = tmp_path_factory.mktemp("boards")
    with pytest.raises(SystemExit):
        main(["synth", str(root / "set"), "--train", "0", "--val", "6", "--calibration", "4", "--seed", "3"])
    return root


def data(**other: str) -> list[str]:
    given = {"calibration": "set/calibration/images", "images": "set/val/images"}
    given |= {"annotations": "set/val/instances.json", **other}
    return ["--imgsz", "64", *(word for name, value in given.items() for word in (f"--{name}", value))]


@pytest.mark.slow
def test_a_run_and_a_sweep_over_two_boards_agree(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEAI_CACHE", str(folder / "cache"))
    two = ("--board", "stm32n6", "--board", "stm32mp2", "--max-drop", 100)
    done = edgeai(capsys, "run", "yolov8n-seg-synthetic", *data(), *two, "--out", "each", "--json")
    assert done.code == 0, done.err
    each = from_json(RunRecord, done.out)
    assert [made.audit.granularity for made in each.quantized] == ["per-channel", "per-tensor"]
    pairs = {(entry.board, entry.model.sha256) for entry in each.footprints}
    assert pairs == {(N6, each.quantized[0].file.sha256), (MP2, each.quantized[1].file.sha256)}
    assert not each.on_boards

    shown = edgeai(capsys, "run", "yolov8n-seg-synthetic", *data(), *two, "--per-channel", "--out", "one")
    assert shown.code == 0 and "4 calibration images are few" in shown.out
    one = from_json(RunRecord, Path("one/run.json").read_text())
    assert len(one.quantized) == 1 and len(one.footprints) == 2
    there = one.on_boards[0]
    assert there.board == MP2 and there.result.model == one.quantized[0].file
    assert one.verdicts[1].candidate.endswith(f" as on {MP2}")
    simulated = from_json(EvalResult, next(Path("one").glob(f"*.{MP2}.eval.json")).read_text())
    assert simulated == there.result
    evaluated = edgeai(
        capsys, "evaluate", next(Path("one").glob("*.tflite")), *data()[4:], "--as-on", MP2, "--json", "-"
    )
    assert from_json(EvalResult, evaluated.out).metrics == there.result.metrics

    Path("s.toml").write_text(
        '[sweep]\nmodels = ["yolov8n-seg-synthetic"]\nimgsz = [64]\nboards = ["stm32n6", "stm32mp2"]\n'
        '[calibration]\nimages = "set/calibration/images"\n'
        '[evaluation]\nimages = "set/val/images"\nannotations = "set/val/instances.json"\n'
    )
    swept = from_json(SweepResult, edgeai(capsys, "sweep", "s.toml", "--out", "swept", "--json").out)
    figures = {row.point.board: row.figures for row in swept.rows}
    on_n6, on_mp2 = figures["stm32n6"], figures["stm32mp2"]
    assert on_n6 is not None and on_n6.accuracy == one.results[1].metric(on_n6.metric)
    assert on_mp2 is not None and on_mp2.accuracy == there.result.metric(on_mp2.metric)

    every_figure(capsys, one, {N6: on_n6, MP2: on_mp2})

    # the same figures in report and card
    for run, value in (("each", each.results[2]), ("one", there.result)):
        assert edgeai(capsys, "report", run, "-o", f"{run}.html").code == 0
        page = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", Path(f"{run}.html").read_text()))
        tile = page.partition(f"{MP2}: ")[2][:200]
        assert f"Mask AP, int8 {value.metric('mask_ap'):.1f} float" in tile
        assert edgeai(capsys, "card", run, "-o", f"{run}.md").code == 0
        assert f"{value.metric('mask_ap'):.2f}" in Path(f"{run}.md").read_text()
    again = re.search(r"edgeai run [^\n<]*", Path("each.html").read_text())
    assert again is not None and "--all" not in again[0] and "--per-" not in again[0]


def every_figure(capsys: pytest.CaptureFixture[str], one: RunRecord, swept: dict[str, SweepFigures]) -> None:
    """All figures of one file on two boards: JSON, terminal, record, sweep, report and card have the same under one
    name."""
    file = next(Path("one").glob("*.tflite"))
    assert edgeai(capsys, "report", "one", "-o", "names.html").code == 0
    assert edgeai(capsys, "card", "one", "-o", "names.md").code == 0
    page = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", Path("names.html").read_text()))
    card = Path("names.md").read_text()
    table = edgeai(capsys, "sweep", "s.toml", "--out", "swept").out
    assert "Core RAM" in table and "Core flash" in table
    closing = text(one, Path("one"))
    for board, row in swept.items():
        need = from_json(Footprint, edgeai(capsys, "footprint", file, "--board", board, "--json").out)
        memory, latency = need.memory, need.latency
        assert memory is not None and latency is not None
        named = {
            "weights": need.weights_bytes, "activations": need.activations_bytes, "Core RAM": memory.ram.point,
            "peak": sum(tensor.count for tensor in need.peak_tensors), "Core flash": memory.weights.point,
            "placement": memory.planned, **({"code": memory.code} if memory.code else {}),
        }  # fmt: skip
        shown = edgeai(capsys, "footprint", file, "--board", board).out
        for name, count in named.items():
            line = re.search(rf"^{name} +(?:about )?([0-9.]+) KiB", shown, re.M)
            assert line is not None and line[1] == f"{count / 1024:.1f}", (board, name)
        assert f"{latency.ms.point:.1f} ms" in shown
        (recorded,) = [entry for entry in one.footprints if entry.board == board]
        assert (recorded.weights_bytes, recorded.activations_bytes) == (need.weights_bytes, need.activations_bytes)
        assert (row.ram, row.flash, row.latency) == (memory.ram, memory.weights, latency.ms)
        assert f"{memory.ram.point / 1024:.1f}" in table and f"{memory.weights.point / 1024:.1f}" in table
        own = closing.partition(f"on {board}\n")[2].partition("\n\n")[0].split()
        assert {f"{need.weights_bytes / 1024:.1f}", f"{need.activations_bytes / 1024:.1f}"} <= set(own)
        tile = page.partition(f"{board}: ")[2][:600]
        assert f"Core RAM {memory.ram.point / 1024:,.0f} KiB" in tile
        assert f"Core flash {memory.weights.point / 1024:,.0f} KiB" in tile
        assert f"Latency {latency.ms.point:.1f} ms" in tile
        section = f"{need.activations_bytes / 1024:,.1f} KiB of activations, {need.weights_bytes / 1024:,.1f} KiB of w"
        assert section in page
        rows = [line for line in card.splitlines() if line.startswith("|")]
        assert any(board in line and f" {latency.ms.point:.2f} (" in line for line in rows)
        if board == N6:
            ram, flash = (f" {value.point / 1024:.1f} (" for value in (memory.ram, memory.weights))
            assert any(ram in line and flash in line for line in rows)


def test_calibration_on_the_evaluation_images_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEAI_CACHE", str(folder / "empty"))
    same = data(calibration="set/val/images")
    words = ("6 of 6 calibration images are evaluation images", "--allow-overlap")
    refused(edgeai(capsys, "run", "yolov8n-seg-synthetic", *same), 2, *words)
    searching = edgeai(capsys, "quantize", "yolov8n-seg-synthetic", *same, "--search", "--layout", "raw")
    refused(searching, 2, *words)
    Path("overlap.toml").write_text(
        '[sweep]\nmodels = ["yolov8n-seg-synthetic"]\nimgsz = [64]\n[calibration]\nimages = "set/val/images"\n'
        '[evaluation]\nimages = "set/val/images"\nannotations = "set/val/instances.json"\n'
    )
    refused(edgeai(capsys, "sweep", "overlap.toml"), 2, *words)
    assert not (folder / "empty").exists()


@pytest.mark.slow
def test_a_float_network_that_finds_nothing_ends_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objects of the wrong classes: whatever int8 loses against an AP of 0 says nothing."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEAI_CACHE", str(folder / "cache"))
    body = json.loads(Path("set/val/instances.json").read_text())
    for entry in body["annotations"]:
        entry["bbox"], entry["segmentation"] = [0, 0, 2, 2], [[0, 0, 2, 0, 2, 2, 0, 2]]
    Path("set/val/wrong.json").write_text(json.dumps(body))
    done = edgeai(capsys, "run", "yolov8n-seg-synthetic", *data(annotations="set/val/wrong.json"))
    refused(done, 4, "the float network says nothing of val/wrong.json", "is right about nothing in 6 images")
