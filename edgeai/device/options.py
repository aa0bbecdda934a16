"""What a bench is asked to do, and who hears how far it is. For every kind of board."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from edgeai.kernels.table import Set

Engine = Literal["auto", "npu", "cpu"]
RUNS = 10
EMULATED_RUNS = 3  # an emulator counts the same instructions every time


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """`port` is a serial port or URL and `address` that of ssh; empty where the board is to be found. `runs` 0 is the
    usual number. `images` are inputs whose outputs are compared with the host's, `random` how many random ones follow.
    `timeout` seconds bound one inference. Of Linux boards alone: `user` and `password` of the console's login (ssh has
    its keys), the `engine` to run on, and the TFLite file that a network binary was compiled from, its `source`.
    """

    port: str = ""
    baud: int = 0
    address: str = ""
    runs: int = 0
    warmup: int = 1
    mode: Literal["perf", "io"] = "perf"
    layers: bool = True
    images: tuple[Path, ...] = ()
    random: int = 0
    kernels: Set | None = None
    timeout: float = 60.0
    user: str = "root"
    password: str = field(default="", repr=False)
    engine: Engine = "auto"
    source: Path | None = None


class BenchListener(Protocol):
    """Hears of every step of a bench, and of every fault that was mended."""

    def start(self, title: str, total: int) -> None: ...
    def advance(self) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
    def end(self, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...
