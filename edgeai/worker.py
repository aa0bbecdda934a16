"""Heavy steps in a process of their own.

PyTorch and TensorFlow each take a second to import and hundreds of megabytes; they print as they please, and a
converter that runs out of memory takes its process with it. A child process keeps all of that away from the command
line: its output goes to a log file, its memory is given back, its death becomes one clear error.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from edgeai.errors import EdgeAIError, InputError, ToolError

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

P = ParamSpec("P")
R = TypeVar("R")

# OpenMP: a thread that waits sleeps, but looks for work for a quarter of a millisecond first: layers follow one another
# faster than a virtual machine wakes a thread (quantising YOLOv8n-seg per tensor at 256 px on two cores: 57 s without,
# 38 to 42 s with it, 37 s with four times as much; 2026-11-22). Workers of a sweep share the cores and sleep at once
# (`edgeai.sweep.engine`). TensorFlow: no start-up chatter, no kernels that differ from machine to machine, no GPU.
# Hugging Face: offline.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "5000",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
}

# How a child begins. A fork of this process would take its threads' locks along; a test run that starts hundreds of
# children forks them from a server that has imported the heavy packages once (tests/conftest.py).
CONTEXT: SpawnContext | ForkServerContext = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error on its way from the child to the parent."""

    kind: type[EdgeAIError]
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Tick:
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Result:
    value: Any


@dataclass(frozen=True, slots=True)
class _Job:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    log: str


class Child:
    """One process for one step. It may be started early, to import `modules` while something else still runs.

    `start` gives it its work, `result` waits for it; leaving the context, or `stop`, kills what is still running.
    """

    def __init__(self, modules: tuple[str, ...] = ()) -> None:
        self._connection, theirs = CONTEXT.Pipe()
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
        self._process = CONTEXT.Process(target=_main, args=(modules, theirs), daemon=True)
        with _ctrl_c_waits():
            self._process.start()
        theirs.close()
        self._log, self._name = "", "a step"

    def start(self, function: Callable[..., Any], args: tuple[Any, ...], log: Path) -> None:
        """Give the process its one piece of work; what it prints goes to `log`."""
        self._log, self._name = str(log), function.__name__
        with contextlib.suppress(BrokenPipeError):  # a dead child is reported by `result`
            self._connection.send(_Job(function, args, str(log)))

    def result(self, on_tick: Callable[[int, int], None] | None = None) -> Any:
        """What the function returned. Raises what it raised; ToolError where it died."""
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, _Tick):
                    if on_tick:
                        on_tick(message.done, message.total)
                elif isinstance(message, _Failure):
                    raise message.kind(message.message, message.hint)
                else:
                    return cast(_Result, message).value
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise ToolError(
                f"{self._name} died ({_cause(self._process.exitcode)})", f"its output is in {self._log}"
            ) from None

    def stop(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._connection.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """A Ctrl-C of the terminal reaches us alone, and not before a child is born.

    The child inherits the mask. The mask of this thread is not enough for us: the signal may go to another thread (one
    of the linear algebra), and Python then raises here, between the birth of the child and what it waits to be told.
    """
    came: list[tuple[int, FrameType | None]] = []
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        handler = None
    else:
        signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
            if came:
                handler(*came[0])


def run(function: Callable[P, R], log: Path, *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(*args)` in a child process; its output goes to `log`."""
    if kwargs:
        raise TypeError("pass arguments by place")
    with Child() as child:
        child.start(function, args, log)
        return cast(R, child.result())


_parent: Connection | None = None


def tick(done: int, total: int) -> None:
    """Report progress from inside a step; does nothing outside of a child process."""
    if _parent is not None:
        _parent.send(_Tick(done, total))


def _main(modules: tuple[str, ...], connection: Connection) -> None:
    global _parent  # noqa: PLW0603 - one child, one parent
    _parent = connection
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _redirect(os.devnull)
    with contextlib.suppress(ImportError):  # the step itself says what is missing
        for module in modules:
            importlib.import_module(module)
    try:
        job: _Job = connection.recv()
    except EOFError:
        return
    _redirect(job.log)
    try:
        connection.send(_Result(job.function(*job.args)))
    except EdgeAIError as error:
        connection.send(_Failure(type(error), error.message, error.hint))
    except ImportError as error:
        traceback.print_exc()
        connection.send(_Failure(ToolError, f"{error.name} is not installed", "pip install 'edgeai[convert]'"))
    except MemoryError:
        connection.send(_Failure(InputError, "out of memory", "try a smaller --imgsz"))
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())[:160]
        name = job.function.__name__
        connection.send(_Failure(ToolError, f"{name}: {type(error).__name__}: {text}", f"see {job.log}"))
    finally:
        sys.stdout.flush()
        connection.close()


def _redirect(log: str) -> None:
    """Standard output and error, those of C++ libraries too, to a file."""
    with open(log, "ab", buffering=0) as stream:  # noqa: PTH123
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def _die_with_parent() -> None:
    """A parent that was killed outright cannot stop its child: an orphan must not go on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """File descriptor 2 leads nowhere: LiteRT greets on it whenever it makes a delegate, onnxsim says what it skipped,
    and neither has a switch for it."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
