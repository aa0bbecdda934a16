"""Who runs tasks: this process, one after the other, or a Dask cluster.

A task is a function and its arguments; an argument may be another task's handle. Equal tasks run once. What a task
raises reaches whoever asks for its result, or for the result of a task that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from edgeai.errors import InputError, ToolError, need
from edgeai.files import sha256_bytes

LOST_AFTER_S = 15.0  # a scheduler that is silent for so long is gone; Dask itself would wait for ever
POLL_S = 0.5
START_TIMEOUT_S, CONNECT_TIMEOUT_S = 60, 10
RETRIES = 2  # of a task that failed by itself; a task whose worker died is not counted here


class Engine(ABC):
    """Runs tasks. A context manager: it gives its workers back on exit."""

    @abstractmethod
    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """A handle of the task."""

    @abstractmethod
    def finished(self, handles: Sequence[Any]) -> Iterator[Any]:
        """The different handles, each as it is done. Raises ToolError where the cluster is lost."""

    @abstractmethod
    def outcome(self, handle: Any) -> Any:
        """The result of a finished task. Raises what the task raised."""

    def close(self) -> None:  # noqa: B027  (this process has nothing to give back)
        """Give the workers back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Done:
    """A task that ran in this process: its value or its error."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        try:
            self.value = function(*(arg.get() if isinstance(arg, _Done) else arg for arg in args))
        except Exception as error:
            self.error = error

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Inline(Engine):
    """One task after the other, here."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self._done: dict[str, _Done] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> str:
        key = _key(function, args)
        self._known.setdefault(key, (function, args))
        return key

    def finished(self, handles: Sequence[str]) -> Iterator[str]:
        for handle in dict.fromkeys(handles):
            self._run(handle)
            yield handle

    def outcome(self, handle: str) -> Any:
        return self._run(handle).get()

    def _run(self, key: str) -> _Done:
        if key not in self._done:
            function, args = self._known[key]
            ready = tuple(self._run(arg) if isinstance(arg, str) and arg in self._known else arg for arg in args)
            self._done[key] = _Done(function, ready)
        return self._done[key]


class DaskEngine(Engine):
    """A Dask cluster: `workers` processes on this machine, or the scheduler at `address` (tcp://host:port)."""

    def __init__(self, workers: int = 0, address: str = "") -> None:
        try:
            import dask
            import distributed
        except ImportError:
            raise need("dask.distributed", "sweep") from None
        # heavy steps are processes of their own, which a daemonic worker may not have; and one scheduler that is
        # gone must end in an error of ours, not in minutes of reconnecting
        #
        # Dask has its workers give every freed page back at once (MALLOC_TRIM_THRESHOLD_), which our steps then fetch
        # again: a third of a sweep's processor time was the kernel's (2026-11-21). Nobody reads its profiles.
        dask.config.set(
            {
                "distributed.nanny.pre-spawn-environ": {},
                "distributed.worker.profile.enabled": False,
                "distributed.worker.daemon": False,
                "distributed.comm.timeouts.connect": f"{LOST_AFTER_S}s",
                "distributed.admin.log-format": "%(message)s",
            }
        )
        for name in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._cluster: Any = None
        self._futures: dict[str, Any] = {}
        self._killed = distributed.KilledWorker
        try:
            if not address:
                # workers share the cores, so threads wait asleep: two that spin take 101 s on two cores, asleep 68 s
                # (2026-11-22)
                self._cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    memory_limit=0,
                    env={"GOMP_SPINCOUNT": "0"},
                )
            self._client = distributed.Client(
                address or self._cluster,
                timeout=CONNECT_TIMEOUT_S if address else START_TIMEOUT_S,
                set_as_default=False,
            )
        except (OSError, TimeoutError, ValueError) as error:
            hint = "is it running? `dask scheduler` prints its address"
            raise InputError(f"no Dask scheduler answers at {address}: {_line(error)}", hint) from None

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        key = _key(function, args)
        if key not in self._futures:
            self._futures[key] = self._client.submit(function, *args, key=key, retries=RETRIES, pure=True)
        return self._futures[key]

    def finished(self, handles: Sequence[Any]) -> Iterator[Any]:
        waiting = dict.fromkeys(handles)
        heard = time.monotonic()
        while waiting:
            done = [handle for handle in waiting if handle.status in ("finished", "error", "cancelled", "lost")]
            for handle in done:
                if handle.status in ("cancelled", "lost"):
                    raise _lost()
                del waiting[handle]
                yield handle
            now = time.monotonic()
            if self._client.status == "running":
                heard = now
            elif now - heard > LOST_AFTER_S or self._client.status == "closed":
                raise _lost()
            if not done:
                time.sleep(POLL_S / 5)

    def outcome(self, handle: Any) -> Any:
        try:
            return handle.result(timeout=LOST_AFTER_S)
        except (asyncio.CancelledError, TimeoutError, OSError):
            raise _lost() from None
        except self._killed as error:
            hint = "out of memory? try fewer --workers"
            raise ToolError(f"every worker that tried it died: {_line(error)}", hint) from None

    def close(self) -> None:
        with contextlib.suppress(Exception):  # what cannot be closed is gone already
            self._client.close(timeout=2)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=5)


def open_engine(workers: int, address: str = "") -> Engine:
    """The engine for `--workers` and `--scheduler`: in this process for one worker and no scheduler."""
    return DaskEngine(workers, address) if address or workers > 1 else Inline()


def _key(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The same for equal tasks. A handle counts by its own key, plain data by its representation."""
    text = "\0".join(str(getattr(arg, "key", None) or repr(arg)) for arg in args)
    return f"{function.__name__}-{sha256_bytes(text.encode())[:24]}"


def _lost() -> ToolError:
    return ToolError(
        "the Dask cluster is lost", "run the same command again: what was finished is in the cache and is not repeated"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
