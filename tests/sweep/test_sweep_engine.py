"""The engines: same results, one run per equal task, and nothing lost with a worker or a scheduler."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeai.errors import InputError, ToolError
from edgeai.sweep.engine import DaskEngine, Inline, open_engine

pytest.importorskip("distributed", reason="dask.distributed is not installed")


def add(folder, one, other):
    Path(folder, f"{os.getpid()}-{time.time_ns()}").touch()
    return one + other


def slow(marker, seconds):
    """Leaves its process id where the test can read it, sleeps, and says who did the work."""
    with Path(marker).open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return os.getpid()


def refuse(reason):
    raise InputError(reason, "a hint")


def chain(engine, folder):
    first = engine.submit(add, folder, 1, 2)
    again = engine.submit(add, folder, 1, 2)
    second = engine.submit(add, folder, first, 10)
    assert set(engine.finished([first, again, second])) == {first, second}
    return engine.outcome(first), engine.outcome(again), engine.outcome(second)


def test_an_argument_may_be_a_task_and_equal_tasks_run_once(tmp_path):
    for name, engine in (("here", Inline()), ("cluster", DaskEngine(workers=2))):
        folder = tmp_path / name
        folder.mkdir()
        with engine:
            assert chain(engine, str(folder)) == (3, 3, 13)
        assert len(list(folder.iterdir())) == 2


def test_an_error_of_ours_arrives_as_itself_and_at_dependent_tasks():
    for engine in (Inline(), DaskEngine(workers=2)):
        with engine:
            bad = engine.submit(refuse, "no such layout")
            after = engine.submit(add, "/nowhere", bad, 1)
            list(engine.finished([bad, after]))
            for handle in (bad, after):
                with pytest.raises(InputError, match="no such layout") as caught:
                    engine.outcome(handle)
                assert caught.value.hint == "a hint"


def test_a_killed_worker_loses_no_task(tmp_path):
    marker = tmp_path / "pids"
    with DaskEngine(workers=2) as engine:
        handles = [engine.submit(slow, str(marker), 1.0 + i / 1000) for i in range(4)]
        while not marker.exists() or not marker.read_text().strip():
            time.sleep(0.05)
        victim = int(marker.read_text().split()[0])
        os.kill(victim, signal.SIGKILL)
        done = [engine.outcome(handle) for handle in engine.finished(handles)]
    assert len(done) == 4
    assert victim not in done


def test_threads_of_workers_that_share_the_cores_wait_asleep(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "5000")  # as a step before it left it in this process
    with DaskEngine(workers=1) as engine:
        assert engine.outcome(engine.submit(os.getenv, "GOMP_SPINCOUNT")) == "0"


def test_no_scheduler_at_the_address_is_one_clear_error():
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        DaskEngine(address="tcp://127.0.0.1:9")


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler and a worker, as a user starts them."""
    contact = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}

    def start(*command):
        process = [sys.executable, "-m", "dask", *command, "--scheduler-file", str(contact)]
        return subprocess.Popen(process, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    head = start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
    worker = start("worker", "--nthreads", "1", "--no-dashboard")
    try:
        deadline = time.monotonic() + 30
        while not contact.exists() or not contact.read_text():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        import json

        yield head, json.loads(contact.read_text())["address"]
    finally:
        for process in (worker, head):
            process.kill()
            process.wait()


def test_a_killed_scheduler_ends_in_one_clear_error_within_its_deadline(scheduler, tmp_path):
    head, address = scheduler
    marker = tmp_path / "pids"
    with DaskEngine(address=address) as engine:
        handles = [engine.submit(slow, str(marker), 30)]
        while not marker.exists():
            time.sleep(0.05)
        head.kill()
        begin = time.monotonic()
        with pytest.raises(ToolError, match="cluster is lost") as caught:
            list(engine.finished(handles))
        assert "run the same command again" in caught.value.hint
        assert time.monotonic() - begin < 30


def test_one_worker_and_no_address_need_no_cluster():
    assert isinstance(open_engine(1), Inline)
