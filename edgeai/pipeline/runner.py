"""How a stage runs: from the cache or anew, heavy work in a process of its own, progress to a listener."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from edgeai import artifacts, worker
from edgeai.artifacts import to_json
from edgeai.cache import StageCache, StageOutput

T = TypeVar("T")


class Listener(Protocol):
    """Hears of every stage: its start, its progress, its end."""

    def start(self, stage: str) -> None: ...
    def tick(self, done: int, total: int) -> None: ...
    def end(self, stage: str, output: StageOutput, seconds: float) -> None: ...
    def fail(self) -> None: ...


class Runner:
    """Stages over one cache; what they are is for those who inherit."""

    def __init__(self, cache: StageCache, listener: Listener) -> None:
        self._cache, self._listener = cache, listener
        self._warm: tuple[str, worker.Child] | None = None

    def _stage(self, inputs: artifacts.Provenance, produce: Callable[[Path], None]) -> Path:
        return self._run_stage(inputs, produce).folder

    def _run_stage(self, inputs: artifacts.Provenance, produce: Callable[[Path], None]) -> StageOutput:
        self._listener.start(inputs.stage)
        begin = time.monotonic()
        try:
            output = self._cache.stage(inputs, produce)
        except BaseException:
            self._listener.fail()
            self._cool_down()
            raise
        self._listener.end(inputs.stage, output, time.monotonic() - begin)
        return output

    def _child(self, folder: Path, function: Callable[..., object], *args: object) -> None:
        """Run `function(*args[:-1])` in a child and keep the artifact it returns as the file named last.

        The log stays beside the cache folder where the step fails, so that there is something to read.
        """
        *arguments, record = args
        log = folder.parent / f"{folder.name.removesuffix('.part')}.log"
        with self._take_warm(function) as child:
            child.start(function, tuple(arguments), log)
            result = child.result(self._listener.tick)
        (folder / str(record)).write_text(to_json(result))
        log.unlink(missing_ok=True)

    def _warm_up(self, step: str, modules: tuple[str, ...]) -> None:
        """Start the process of the step after this one: it imports what it needs while this one works."""
        self._cool_down()
        self._warm = (step, worker.Child(modules))

    def _take_warm(self, function: Callable[..., object]) -> worker.Child:
        if self._warm is not None and self._warm[0] == function.__name__:
            child, self._warm = self._warm[1], None
            return child
        return worker.Child()

    def _cool_down(self) -> None:
        if self._warm is not None:
            self._warm[1].stop()
            self._warm = None

    def _ticking(self, items: Iterator[T], total: int) -> Iterator[T]:
        for done, item in enumerate(items):
            yield item
            self._listener.tick(done + 1, total)
