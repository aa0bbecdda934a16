"""Whole sweeps of the bundled network on pictures made on the spot, and evaluation in pieces."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from helpers import edgeai, refused

from edgeai.artifacts import FileRef, Quantity, SweepFigures, SweepPoint, SweepResult, SweepRow, from_json
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.coco import evaluate
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Thresholds
from edgeai.models.bundled import bundled_model
from edgeai.sweep.engine import Inline, open_engine
from edgeai.sweep.plan import read_plan
from edgeai.sweep.shards import Opening, evaluate_shards, pieces
from edgeai.sweep.table import with_front

SWEEP = """
[sweep]
models = ["yolov8n-seg-synthetic"]
imgsz = [64]
layout = ["raw"]
granularity = ["per-channel", "per-tensor"]
boards = ["stm32n6", "stm32mp2"]
[calibration]
images = "set/calibration/images"
limit = 4
[evaluation]
images = "set/val/images"
annotations = "set/val/instances.json"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A synthetic set of 6 images, and the sweep file beside it."""
    root = tmp_path_factory.mktemp("sweep")
    command = [sys.executable, "-m", "edgeai", "synth", "set", "--train", "0", "--val", "6", "--calibration", "4"]
    subprocess.run([*command, "--seed", "3"], cwd=root, check=True, capture_output=True)
    (root / "small.toml").write_text(SWEEP)
    return root


def sweep(folder, cache, out, *options):
    environment = {**os.environ, "EDGEAI_CACHE": str(cache)}
    command = [sys.executable, "-m", "edgeai", "sweep", "small.toml", "--out", str(out), *options]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_sweep_on_two_workers_survives_kills_and_equals_the_sequential_one(folder, tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    plain = sweep(folder, tmp_path / "one", tmp_path / "sequential")
    assert plain.wait(timeout=300) == 0, plain.stderr.read()

    # Dask's scheduler lives in the process of the command: killing that kills the scheduler
    first = sweep(folder, tmp_path / "two", tmp_path / "killed", "--workers", "2")
    made = tmp_path / "two"
    _until(lambda: list(made.glob("export/*/exported.json")), first)
    orphans = psutil.Process(first.pid).children(recursive=True)
    assert orphans
    first.kill()
    first.wait()
    assert not (tmp_path / "killed").exists()
    assert not psutil.wait_procs(orphans, timeout=30)[1]

    again = sweep(folder, tmp_path / "two", tmp_path / "resumed", "--workers", "2")
    _until(lambda: _workers(again.pid), again)[0].kill()
    assert again.wait(timeout=300) == 0, again.stderr.read()
    for name in ("sweep.json", "sweep.md", "sweep.svg"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "sequential" / name).read_bytes()

    result = from_json(SweepResult, (tmp_path / "resumed" / "sweep.json").read_text())
    assert [row.error for row in result.rows] == [""] * 4
    files = {row.point.granularity: row.figures.file.sha256 for row in result.rows}
    assert len(set(files.values())) == 2


def _workers(pid):
    """The processes in which tasks run: those below the command that have a child of their own, a stage."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
            found += [child] if child.children() else []
    return found


def _until(condition, running, seconds=120):
    """What the condition found. Asking it again may find nothing: a stage can end at any time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_evaluation_in_pieces_is_exactly_that_of_one_process(folder):
    dataset = read_dataset(folder / "set/val/images", folder / "set/val/instances.json")
    model = bundled_model("yolov8n-seg-synthetic")
    with open_runner(model, imgsz=64) as runner:
        whole = evaluate(runner, dataset)
    thresholds = Thresholds(0.001, 0.7, 300)
    for count in (1, 2, 4):
        sharded = evaluate_shards(Opening(model, imgsz=64), dataset, thresholds, count, Inline(), lambda *_: None)
        assert sharded == whole
    assert [len(piece.images) for piece in pieces(dataset, 4)] == [1, 2, 1, 2]
    assert len(pieces(dataset, 40)) == 6


@pytest.mark.slow
def test_pieces_on_a_cluster_give_the_same_result(folder):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    dataset = read_dataset(folder / "set/val/images", folder / "set/val/instances.json")
    opening = Opening(bundled_model("yolov8n-seg-synthetic"), imgsz=64)
    results = []
    for workers in (1, 2):
        with open_engine(workers) as engine:
            found = evaluate_shards(opening, dataset, Thresholds(0.001, 0.7, 300), 3, engine, lambda *_: None)
            results.append(found)
    assert results[0] == results[1]


def test_pieces_from_the_command_line_give_the_bytes_of_one_process(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    model = bundled_model("yolov8n-seg-synthetic")
    data = ("--images", "set/val/images", "--annotations", "set/val/instances.json")
    given = ("evaluate", model, "--imgsz", 64, *data, "--tta")
    for name, options in (("whole", ()), ("pieces", ("--shards", 4))):
        assert edgeai(capsys, *given, *options, "--json", tmp_path / f"{name}.json").code == 0
    assert (tmp_path / "whole.json").read_bytes() == (tmp_path / "pieces.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", "2"), ("--shards is missing",)),
        (("--shards", "2", "--as-on", "stm32mp2"), ("--shards and --as-on exclude each other",)),
        (("--shards", "2", "--on", "emulated-n6"), ("--shards and --on exclude each other",)),
        (("--shards", "0"), ("--shards",)),
    ],
)
def test_options_for_pieces_that_make_no_sense_are_refused(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused(edgeai(capsys, "evaluate", "a.tflite", *options), 2, *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("imgsz", "imgs"), ("unknown key 'imgs'", "imgsz")),
        (("imgsz = [64]", "imgsz = []"), ("sweep.imgsz is empty",)),
        (('"stm32mp2"', '"stm32n6"'), ("names a value twice",)),
        (('"stm32mp2"', '"stm32n7"'), ("stm32n7",)),
        (("per-tensor", "float"), ("no int8 file",)),
        (('images = "set/val/images"', ""), ("evaluation.images is missing",)),
        (("[sweep]", "[sweep"), ("small.toml",)),
        (("yolov8n-seg-synthetic", "best.pt"), ("best.pt",)),
    ],
)
def test_a_mistake_in_the_file_is_named(folder, tmp_path, capsys, change, words):
    shutil.copytree(folder / "set", tmp_path / "set")
    (tmp_path / "small.toml").write_text(SWEEP.replace(*change))
    refused(edgeai(capsys, "sweep", tmp_path / "small.toml", "--out", tmp_path / "out"), 2, *words)
    assert not (tmp_path / "out").exists()


def test_a_plan_lists_every_combination_in_the_order_of_the_file(folder):
    points = read_plan(folder / "small.toml").points
    assert [(p.granularity, p.board) for p in points] == [
        ("per-channel", "stm32n6"),
        ("per-channel", "stm32mp2"),
        ("per-tensor", "stm32n6"),
        ("per-tensor", "stm32mp2"),
    ]


def row(board, accuracy, ms, ram, fits=True):
    point = SweepPoint("m", 64, "raw", "per-channel", "", board)
    spot = Quantity(ram, ram, ram, "B")
    time_ = Quantity(ms, ms, ms, "ms")
    found = SweepFigures(FileRef("m.tflite", "0", 1), "mask_ap", accuracy, 0.0, spot, spot, time_, fits, False)
    return SweepRow(point, found)


def test_the_front_holds_what_nothing_else_beats_on_its_board():
    rows = [
        row("a", 30.0, 20.0, 100),
        row("a", 29.0, 21.0, 100),  # worse and slower
        row("a", 28.0, 10.0, 100),  # faster
        row("a", 40.0, 1.0, 10, fits=False),  # the best, but it does not fit
        row("b", 10.0, 90.0, 900),  # alone on its board
        row("a", 30.0, 20.0, 100),  # as good as the first: both stay
        replace(row("a", 1.0, 1.0, 1), figures=None, error="failed"),
    ]
    front = [entry.figures.front if entry.figures else None for entry in with_front(rows)]
    assert front == [True, False, True, False, True, True, None]
