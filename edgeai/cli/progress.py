"""Progress of long steps: a bar on a terminal, a few plain lines elsewhere. Written to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

BAR_WIDTH = 24
PLAIN_INTERVAL_S = 10.0


class Progress:
    """One step's progress. Also a context manager: the last line stands when the step ends."""

    def __init__(self, label: str, total: int = 0) -> None:
        self.label, self.total, self.done = label, total, 0
        self._start = self._last = time.monotonic()
        self._tty = sys.stderr.isatty()
        self._open = True
        self._show(first=True)

    def advance(self, count: int = 1) -> None:
        self.done += count
        self._show()

    def report(self, done: int, total: int) -> None:
        """How far a step is that counts by itself."""
        self.total = total
        self.advance(done - self.done)

    def close(self, note: str = "") -> None:
        """End the step with its time and a note."""
        if not self._open:
            return
        self._open = False
        seconds = time.monotonic() - self._start
        text = f"{self.label}: {note or 'done'} ({seconds:.1f} s)"
        print(f"\r\x1b[K{text}" if self._tty else text, file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close("failed" if kind else "")

    def _show(self, first: bool = False) -> None:
        now = time.monotonic()
        interval = 0.1 if self._tty else PLAIN_INTERVAL_S
        if not first and now - self._last < interval:
            return
        self._last = now
        if self._tty:
            print(f"\r\x1b[K{self._line(now)}", end="", file=sys.stderr, flush=True)
        elif not first:
            print(f"{self.label}: {self.done}/{self.total}", file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        if not self.total:
            return f"{self.label} ..."
        filled = BAR_WIDTH * self.done // self.total
        rest = (now - self._start) / self.done * (self.total - self.done) if self.done else 0.0
        bar = "█" * filled + "░" * (BAR_WIDTH - filled)
        return f"{self.label} {bar} {self.done}/{self.total}" + (f", {rest:.0f} s left" if self.done else "")


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """`items`, with a bar."""
    with Progress(label, total) as progress:
        for item in items:
            yield item
            progress.advance()
