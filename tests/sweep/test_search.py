"""`edgeai quantize --search`: the cheapest file within an accuracy budget."""

import pytest
from helpers import edgeai, refused

from edgeai.artifacts import FileRef, Quantity, SweepFigures, SweepPoint, SweepResult, SweepRow
from edgeai.provenance import provenance
from edgeai.recognise.audit import audit
from edgeai.sweep.search import cheapest


def row(layout, drop, ms, ram, fits=True):
    spot, took = Quantity(ram, ram, ram, "B"), Quantity(ms, ms, ms, "ms")
    point = SweepPoint("m", 64, layout, "per-channel", "", "stm32n6")
    found = SweepFigures(FileRef("m.tflite", "0", 1), "mask_ap", 30 - drop, drop, spot, spot, took, fits, False)
    return SweepRow(point, found)


def chosen(rows, max_drop):
    best = cheapest(SweepResult("search", tuple(rows), provenance("sweep", [], [], ())), max_drop)
    return best.point.layout if best else None


def test_the_fastest_within_the_budget_that_fits_is_chosen():
    rows = [row("raw", 0.2, 30, 800), row("split", 0.6, 25, 800), row("concat", 0.4, 25, 900)]
    assert chosen(rows, 1.0) == "split"  # as fast as concat, less RAM
    assert chosen(rows, 0.5) == "concat"
    assert chosen(rows, 0.3) == "raw"
    assert chosen(rows, 0.1) is None
    assert chosen([row("raw", 0.2, 30, 800), row("split", 0.1, 5, 9, fits=False)], 1.0) == "raw"
    assert chosen([SweepRow(rows[0].point, None, "failed")], 1.0) is None


@pytest.mark.slow
def test_a_search_writes_the_cheapest_file_and_shows_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEAI_CACHE", str(tmp_path / "cache"))
    assert edgeai(capsys, "synth", "set", "--train", 0, "--val", 4, "--calibration", 4, "--seed", 3).code == 0
    search = ("quantize", "yolov8n-seg-synthetic", "--imgsz", 64, "--layout", "raw", "--search")
    data = ("--calibration", "set/calibration/images", "--images", "set/val/images")
    data += ("--annotations", "set/val/instances.json")
    found = edgeai(capsys, *search, *data, "--max-drop", 100, "--board", "stm32mp2", "-o", "best.tflite")
    assert found.code == 0, found.err
    assert "front" in found.err
    # the MP2's accelerator runs per-tensor files only, so that is the faster one
    assert audit(tmp_path / "best.tflite").granularity == "per-tensor"
    refused(edgeai(capsys, *search, *data, "--max-drop", -100, "-o", "none.tflite"), 4, "loses at most -100 points")
    assert not (tmp_path / "none.tflite").exists()
