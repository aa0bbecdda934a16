"""The stage cache: shared, whole or absent, never stale."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeai.artifacts import Fact, Provenance
from edgeai.cache import StageCache, default_root

INPUTS = Provenance("demo", options=(Fact("a", "1"),))

SLOW = """
import sys, time
from pathlib import Path
from edgeai.artifacts import Fact, Provenance
from edgeai.cache import StageCache
def produce(folder):
    with open(sys.argv[2], "a") as log:
        log.write("x")
    (folder / "half").write_text("half")
    time.sleep(float(sys.argv[3]))
    (folder / "out").write_text("whole")
out = StageCache(Path(sys.argv[1])).stage(Provenance("demo", options=(Fact("a", "1"),)), produce)
print(out.reused, (out.folder / "out").read_text())
"""


def start(cache: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(cache), str(log), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_second_time_is_reused(tmp_path: Path) -> None:
    calls = []

    def produce(folder: Path) -> None:
        calls.append(folder)
        (folder / "out").write_text("x")

    first = StageCache(tmp_path).stage(INPUTS, produce)
    second = StageCache(tmp_path).stage(INPUTS, produce)
    assert (first.reused, second.reused, len(calls)) == (False, True, 1)
    assert first.folder == second.folder


def test_other_options_are_another_stage(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    one = cache.stage(INPUTS, lambda folder: None)
    two = cache.stage(Provenance("demo", options=(Fact("a", "2"),)), lambda folder: None)
    assert one.folder != two.folder


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest"])
def test_damaged_entries_are_made_again(tmp_path: Path, damage: str) -> None:
    def produce(folder: Path) -> None:
        (folder / "out").write_text("good")

    made = StageCache(tmp_path).stage(INPUTS, produce)
    if damage == "flip":
        (made.folder / "out").write_text("evil")
    elif damage == "remove":
        (made.folder / "out").unlink()
    else:
        (made.folder / "stage.json").write_text('{"files": 3}')
    again = StageCache(tmp_path).stage(INPUTS, produce)
    assert not again.reused
    assert (again.folder / "out").read_text() == "good"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def produce(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        StageCache(tmp_path).stage(INPUTS, produce)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_two_at_once_share_one_result(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = [start(tmp_path / "cache", log, 0.5) for _ in range(3)]
    answers = sorted(run.communicate(timeout=30)[0].strip() for run in runs)
    assert answers == ["False whole", "True whole", "True whole"]
    assert log.read_text() == "x"


def test_killed_half_way_then_whole(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "cache"
    run = start(cache, log, 60)
    while not log.exists():
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert start(cache, log, 0).communicate(timeout=30)[0].strip() == "False whole"
    assert not list(cache.rglob("*.part"))


def test_a_relative_folder_is_one_place_for_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEAI_CACHE", "here")
    assert default_root() == tmp_path / "here"
