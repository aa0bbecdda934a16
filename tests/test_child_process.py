"""Steps in a process of their own: results, errors and deaths arrive as what they are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
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


def test_a_ctrl_c_that_another_thread_takes_waits_until_the_child_is_born(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask of the main thread does not hold it: whichever thread the signal hits, Python raises in the main one."""
    due, sent = threading.Event(), threading.Event()

    def other() -> None:
        due.wait(60)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        sent.set()

    thread = threading.Thread(target=other)
    thread.start()
    born = []
    kind = type(multiprocessing.get_context("spawn").Process(target=double))
    start = kind.start

    def started(process: multiprocessing.process.BaseProcess) -> None:
        due.set()
        assert sent.wait(60)
        for _ in range(1000):  # here the interpreter would raise
            pass
        start(process)
        born.append(process)

    monkeypatch.setattr(worker, "CONTEXT", multiprocessing.get_context("spawn"))
    monkeypatch.setattr(kind, "start", started)
    with pytest.raises(KeyboardInterrupt):
        worker.Child()
    thread.join()
    assert len(born) == 1
    born[0].kill()
    born[0].join()
