"""A tool that hangs, floods, dies or leaves children: we end in time and leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import process

from edgeai.errors import ToolError
from edgeai.stedgeai.process import HEAD_LIMIT, TAIL_LIMIT, ended, run


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def group_is_gone(pid: int, within: float = 5.0) -> bool:
    """Whether no process of the group is left (zombies of other parents aside)."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def pid_is_gone(pid: int, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


CHILD = "import os,subprocess,sys,time,signal\n"
GRANDCHILD = "p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(600)']); print(p.pid, flush=True)\n"


@pytest.mark.parametrize("deaf", [False, True])
def test_a_hang_ends_at_the_deadline_with_its_children(tmp_path: Path, deaf: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    begin = time.monotonic()
    outcome = run(python(CHILD + ignore + GRANDCHILD + "time.sleep(600)"), tmp_path / "log", tmp_path, 2.0)
    assert outcome.timed_out and time.monotonic() - begin < 8
    assert pid_is_gone(int(outcome.text.split()[0]))
    assert ended(outcome).startswith("did not end within")


def test_a_child_left_behind_by_a_tool_that_ended_is_killed(tmp_path: Path) -> None:
    """The child holds the output open: we do not wait for it."""
    begin = time.monotonic()
    outcome = run(python(CHILD + GRANDCHILD), tmp_path / "log", tmp_path, 60)
    assert outcome.status == 0 and not outcome.timed_out and time.monotonic() - begin < 10
    assert pid_is_gone(int(outcome.text.split()[0]))


def test_a_flood_is_cut_and_keeps_head_and_tail(tmp_path: Path) -> None:
    code = "import sys\nprint('first')\nfor i in range(1000): sys.stdout.write('x'*100_000)\nprint('\\nlast')"
    outcome = run(python(code), tmp_path / "log", tmp_path, 60)
    assert outcome.status == 0 and outcome.left_out > 90_000_000
    assert (tmp_path / "log").stat().st_size < HEAD_LIMIT + TAIL_LIMIT * 2 + 200
    assert outcome.text.startswith("first") and outcome.text.rstrip().endswith("last")
    assert b"bytes left out" in (tmp_path / "log").read_bytes()


def test_lines_stream_while_the_tool_runs(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    begin = time.monotonic()
    code = "import time\nprint('one', flush=True)\ntime.sleep(0.6)\nprint('two')"
    run(python(code), tmp_path / "log", tmp_path, 60, lambda line: heard.append((time.monotonic() - begin, line)))
    assert [line for _, line in heard] == ["one", "two"] and heard[1][0] - heard[0][0] > 0.3


def test_death_by_a_signal_is_named(tmp_path: Path) -> None:
    outcome = run(python("import os,signal; os.kill(os.getpid(), signal.SIGKILL)"), tmp_path / "log", tmp_path, 60)
    assert outcome.status == -signal.SIGKILL and "SIGKILL" in ended(outcome)


def test_what_is_no_program_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        run([str(tmp_path / "nothing")], tmp_path / "log", tmp_path, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_tool_and_everything_below_it(standin: Path, model: Path, tmp_path: Path, number: int) -> None:
    env = {**os.environ, "EDGEAI_STANDIN_FAULT": "hang"}
    ours = process(
        "compile", model, "--board", "stm32n6", "--stedgeai", standin, "-o", tmp_path / "runs", cwd=tmp_path, env=env
    )
    tools = _wait_for_children(ours)
    ours.send_signal(number)
    _, err = ours.communicate(timeout=15)
    assert ours.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert tools and all(pid_is_gone(pid) for pid in tools)


def _wait_for_children(parent: subprocess.Popen[str]) -> list[int]:
    """The tool and the compiler below it, once both run."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = _below(parent.pid)
        if len(found) >= 2 and any("time.sleep" in _command(pid) for pid in found):
            return found
        time.sleep(0.05)
    parent.kill()
    raise AssertionError("the tool did not start")


def _below(pid: int) -> list[int]:
    out: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            out += [child, *_below(child)]
    return out


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
