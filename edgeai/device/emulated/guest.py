"""Our own benchmark on a board that has none: a TFLite file on our int8 kernels, on one Arm core.

The program is `firmware_stubs/mp2`, one static file for any 64-bit Arm Linux. It runs the real network: its outputs
equal those of the kernels that docs/kernels.md names to the bit.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeai.device.linux.remote import Progress, Remote, checked
from edgeai.errors import DeviceError, ToolError
from edgeai.firmware.brought import brought
from edgeai.graph.opcodes import OPERATORS

PROGRAM = "edgeai-mp2-bench"


@dataclass(frozen=True, slots=True)
class GuestNode:
    """One operator: its name, its kind in TFLite's vocabulary, and its nanoseconds."""

    name: str
    kind: str
    time: int


@dataclass(frozen=True, slots=True)
class GuestReport:
    """Nanoseconds of the board's clock for every run in order, peak memory, nodes and outputs of the last run."""

    values: tuple[int, ...]
    nodes: tuple[GuestNode, ...]
    peak_bytes: int
    outputs: bytes


def program() -> Path:
    """The program that edgeai brings. Raises ToolError where it is missing."""
    found = brought("firmware", "prebuilt", PROGRAM)
    if found is None:
        raise ToolError(f"{PROGRAM} is missing", "install edgeai again, or run make -C firmware_stubs/mp2 prebuilt")
    return found


def run_guest(
    remote: Remote,
    folder: str,
    blob: bytes,
    inputs: bytes,
    runs: int,
    warmup: int,
    seconds: float,
    progress: Progress | None = None,
) -> GuestReport:
    """Push the program, a model blob and the bytes of its inputs, and run it. Raises DeviceError where that fails."""
    with tempfile.TemporaryDirectory(prefix="edgeai-mp2-") as scratch:
        local = Path(scratch)
        (local / "model.blob").write_bytes(blob)
        (local / "inputs").write_bytes(inputs)
        remote.push(program(), f"{folder}/{PROGRAM}")
        remote.push(local / "inputs", f"{folder}/inputs")
        remote.push(local / "model.blob", f"{folder}/model.blob", progress)
    where = shlex.quote(folder)
    call = f"cd {where} && chmod +x {PROGRAM} && ./{PROGRAM} model.blob -r {runs} -w {warmup} -i inputs -o outputs"
    text = checked(remote, call, PROGRAM, seconds)
    return parse(text, runs, remote.pull(f"{folder}/outputs"))


def parse(text: str, runs: int, outputs: bytes) -> GuestReport:
    """What the program printed. Raises DeviceError where it is not whole."""
    values = tuple(int(value) for value in re.findall(r"^run \d+: (\d+) ns$", text, re.MULTILINE))
    peak = re.search(r"^peak memory: (\d+) bytes$", text, re.MULTILINE)
    if len(values) != runs or peak is None:
        raise DeviceError(f"{PROGRAM} reported {len(values)} of {runs} runs", "were bytes lost on the line?")
    nodes = tuple(
        GuestNode(name, OPERATORS[int(kind)] if int(kind) < len(OPERATORS) else kind, int(time))
        for kind, time, name in re.findall(r"^node \d+ (\d+) (\d+) ns (.*)$", text, re.MULTILINE)
    )
    return GuestReport(values, nodes, int(peak.group(1)), outputs)
