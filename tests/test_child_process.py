"""Steps in a process of their own: results, errors and deaths arrive as what they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeai import worker
from edgeai.errors import InputError, ToolError


def double(x: int) -> int:
    print("chatter")
    for i in range(3):
        worker.tick(i + 1, 3)
    return 2 * x


def refuse() -> None:
    raise InputError("no", "yes")


def crash() -> None:
    raise RuntimeError("boom\nand more")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lack() -> None:
    import a_package_that_is_not_there  # noqa: F401


def test_result_progress_and_log(tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    with worker.Child(("json",)) as child:
        child.start(double, (21,), tmp_path / "log")
        assert child.result(lambda done, total: ticks.append((done, total))) == 42
    assert ticks == [(1, 3), (2, 3), (3, 3)]
    assert "chatter" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (refuse, InputError, "^no$"),
        (crash, ToolError, "boom and more"),
        (die, ToolError, "SIGKILL"),
        (lack, ToolError, "a_package_that_is_not_there is not installed"),
    ],
)
def test_failures(tmp_path: Path, function: object, kind: type[Exception], words: str) -> None:
    assert callable(function)
    with pytest.raises(kind, match=words):
        worker.run(function, tmp_path / "log")


ORPHAN = """
import sys, time
from pathlib import Path
from edgeai import worker
def wait(path):
    import os
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
if __name__ == "__main__":
    worker.run(wait, Path(sys.argv[1] + ".log"), sys.argv[1])
"""


def test_no_orphan_survives_its_parent(tmp_path: Path) -> None:
    script, pid = tmp_path / "orphan.py", tmp_path / "pid"
    script.write_text(ORPHAN)
    parent = subprocess.Popen([sys.executable, str(script), str(pid)])
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = Path(f"/proc/{pid.read_text()}")
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists()
