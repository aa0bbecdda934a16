"""Benchmarks on STM32MP2 boards, over the serial console or ssh, and on the emulated one."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import (
    AuditReport,
    BenchDevice,
    BenchLayer,
    BenchMemory,
    BenchProtocol,
    BenchResult,
    BenchTime,
    Granularity,
    OutputAgreement,
)
from edgeai.board import Board
from edgeai.device.emulated.guest import PROGRAM, GuestNode, GuestReport, run_guest
from edgeai.device.emulated.linux import EmulatedLinux
from edgeai.device.host import HostModel
from edgeai.device.linux.console import Console
from edgeai.device.linux.facts import board_facts
from edgeai.device.linux.remote import Remote
from edgeai.device.linux.ssh import Ssh
from edgeai.device.linux.tools import Tool, engine_shares, find_tool, has_delegate, kind_of, measure
from edgeai.device.linux.xlinux import ToolReport
from edgeai.device.options import Engine
from edgeai.device.stm32msg.transport import Address, open_transport, parse_address
from edgeai.errors import DeviceError, InputError
from edgeai.evaluate.agreement import agreement
from edgeai.files import existing_file, file_ref, sha256_file
from edgeai.firmware.blob import ModelBlob, make_blob
from edgeai.provenance import EVALUATE_TOOLS, provenance
from edgeai.recognise.audit import audit

TICKS_NOTE = "a tick is one instruction of the emulator; it says nothing about milliseconds of a board"
NBG_MAGIC = b"VPMN"
Listener = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Mp2Options:
    """How to reach the board, and what to measure.

    `address` is a serial port (`/dev/ttyACM0`, `COM3`, `socket://...`), or `[user@]host` for ssh, with `ssh:` in front
    where that may be unclear. The benchmark program runs `repeats` times, `runs` inferences each: most of them tell
    only an average. `seconds` is the limit of one call. `source` is the TFLite file that a `.nb` was compiled from.
    """

    address: str = ""
    user: str = "root"
    password: str = field(default="", repr=False)
    runs: int = 10
    warmup: int = 1
    repeats: int = 3
    engine: Engine = "auto"
    seconds: float = 300.0
    images: tuple[Path, ...] = ()
    source: Path | None = None

    def __post_init__(self) -> None:
        if min(self.runs, self.repeats) < 1 or self.warmup < 0:
            raise InputError(f"{self.runs} runs, {self.repeats} times: nothing to measure", "at least 1 of each")


def bench_mp2(board: Board, model: Path, options: Mp2Options, listener: Listener | None = None) -> BenchResult:
    """Measure a model (`.nb`, `.tflite`, `.onnx`) on an MP2 board; on an emulated one a `.tflite` with our own program.

    Raises InputError for files that cannot run there (before anything is sent), DeviceError where board or line fail;
    on the board only a folder under /tmp is written, and removed.
    """
    existing_file(model, "a .nb, .tflite or .onnx file")
    tell = listener or (lambda what, done, total: None)
    if board.emulator is not None:
        if model.suffix.lower() != ".tflite":
            raise InputError(f"the emulated MP2 board runs .tflite files, not {model.name}")
        job = _prepared(model, options)
        with _emulated(board, options, tell) as remote:
            return _bench_own(board, remote, job, options, tell)
    kind_of(model.suffix)
    _check_network_binary(model)
    with _connected(board, options, tell) as remote:
        return _bench_vendor(board, remote, model, options, tell)


# --- connections ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _emulated(board: Board, options: Mp2Options, tell: Listener) -> Iterator[Remote]:
    tell("starting the emulated board", 0, 1)
    with EmulatedLinux() as machine, _console(Address(machine.port), board, options) as console:
        yield console


@contextlib.contextmanager
def _connected(board: Board, options: Mp2Options, tell: Listener) -> Iterator[Remote]:
    tell("connecting", 0, 1)
    address = options.address
    if not address:
        raise InputError(
            f"where is {board.name}?", "--port /dev/ttyACM0 for its console, --address 192.168.7.1 for ssh"
        )
    if is_network_address(address):
        with Ssh(address.removeprefix("ssh:").removeprefix("//"), options.user) as remote:
            remote.run("true")
            yield remote
    else:
        with _console(parse_address(address), board, options) as remote:
            yield remote


@contextlib.contextmanager
def _console(address: Address, board: Board, options: Mp2Options) -> Iterator[Console]:
    with Console(open_transport(address, board.connection.baud)) as console:
        console.login(options.user, options.password)
        yield console


def is_network_address(text: str) -> bool:
    """Whether an address is for ssh: `ssh:...`, `user@host`, an IP address or a host name with a dot."""
    if text.startswith("ssh:") or "@" in text:
        return True
    return "/" not in text and ":" not in text and "." in text


# --- vendor's programs --------------------------------------------------------------------------------


def _bench_vendor(board: Board, remote: Remote, model: Path, options: Mp2Options, tell: Listener) -> BenchResult:
    kind = kind_of(model.suffix)
    tool = find_tool(remote, kind)
    accelerated = kind.program == "nbg_benchmark" or (options.engine != "cpu" and has_delegate(remote))
    if options.engine == "npu" and not accelerated:
        raise DeviceError(f"{board.name} has no NPU delegate", "on the board: x-linux-ai -i tflite-vx-delegate")
    facts = board_facts(remote)
    with _folder(remote, model) as folder:
        target = f"{folder}/{_safe_name(model)}"
        remote.push(model, target, lambda done, total: tell(f"sending {model.name}", done, total))
        reports = []
        for i in range(options.repeats):
            tell(f"running {kind.program}", i, options.repeats)
            reports.append(
                measure(remote, tool, target, folder, options.runs, options.warmup, accelerated, options.seconds)
            )
        shares = engine_shares(remote, target, options.seconds) if accelerated else None
    audited = _audited(model, options)
    notes = _notes(audited, model, tool, reports, accelerated)
    if accelerated and shares is None:
        notes.append("shares of NPU, GPU and CPU are not known: x-linux-ai-benchmark is not there, or prints no table")
    peaks = [report.peak_bytes for report in reports if report.peak_bytes is not None]
    clocks = [report.accelerator_hz for report in reports if report.accelerator_hz is not None]
    result = _result(board, remote, model, options, audited, facts)
    return replace(
        result,
        protocol=replace(
            result.protocol,
            tool=f"{kind.program} {tool.version}",
            mode=("NPU" if kind.program == "nbg_benchmark" else "delegate") if accelerated else "CPU",
            runs=options.runs * options.repeats,
        ),
        device=replace(
            result.device, runtime=f"{kind.runtime} {tool.version}", accelerator_hz=clocks[0] if clocks else None
        ),
        time=_vendor_time(reports),
        engines=shares.engines if shares is not None else (),
        memory=BenchMemory(peak=max(peaks) if peaks else None),
        notes=tuple(notes),
    )


def _vendor_time(reports: Sequence[ToolReport]) -> BenchTime:
    """The mean over all calls; the rest only from a single one that tells it."""
    mean = float(np.mean([report.average for report in reports]))
    minima = [report.minimum for report in reports if report.minimum is not None]
    maxima = [report.maximum for report in reports if report.maximum is not None]
    single = reports[0] if len(reports) == 1 else None
    return BenchTime(
        mean=mean,
        minimum=min(minima) if minima else None,
        median=single.median if single else None,
        p95=single.p95 if single else None,
        maximum=max(maxima) if maxima else None,
        per_second=1000 / mean if mean else None,
    )


def _notes(
    audited: AuditReport | None, model: Path, tool: Tool, reports: Sequence[ToolReport], accelerated: bool
) -> list[str]:
    averages = ", ".join(f"{report.average:.2f}" for report in reports)
    notes = [f"averages of {len(reports)} calls of {tool.kind.program}: {averages} ms"]
    if audited is None:
        notes.append(f"the granularity of {model.name} is not known: --source names the .tflite it was compiled from")
    elif audited.granularity == "per-channel" and accelerated:
        notes.append(
            f"{audited.weights_per_channel} weight tensors are per-channel: these layers run on the GPU, several times "
            "slower than per-tensor ones on the NPU; quantize with --per-tensor"
        )
    taken = next((report.delegated for report in reports if report.delegated), None)
    if taken is not None and taken[0] < taken[1]:
        notes.append(f"the delegate took {taken[0]} of {taken[1]} operators; the rest ran on the CPU")
    if accelerated and tool.kind.program == "benchmark_model" and taken is None:
        notes.append("benchmark_model does not say that the delegate took any operator")
    return notes


# --- our own program ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Job:
    """What the board is to run, made on the host before the board is started.

    `refusal` says why this computer cannot compute what to expect.
    """

    host: HostModel
    expected: list[list[NDArray[Any]]]
    refusal: str
    blob: ModelBlob
    inputs: tuple[list[NDArray[Any]], ...]


def _prepared(model: Path, options: Mp2Options) -> _Job:
    host = HostModel(model)
    inputs = list(host.image_inputs(options.images)) or list(host.random_inputs(1))
    blob = make_blob(model)
    return _Job(host, *host.expected(inputs), blob, tuple(inputs))


def _bench_own(board: Board, remote: Remote, job: _Job, options: Mp2Options, tell: Listener) -> BenchResult:
    model = job.host.path
    device = board_facts(remote)
    reports: list[GuestReport] = []
    with _folder(remote, model) as folder:
        for i, inputs in enumerate(job.inputs):
            tell(f"running {PROGRAM}", i, len(job.inputs))
            data = b"".join(array.tobytes() for array in inputs)
            report = run_guest(
                remote, folder, job.blob.data, data, options.runs, options.warmup, options.seconds,
                lambda done, total: tell(f"sending {model.name}", done, total),
            )  # fmt: skip
            reports.append(report)
    values = [float(value) for report in reports for value in report.values]
    result = _result(board, remote, model, options, audit(model), device)
    return replace(
        result,
        protocol=replace(
            result.protocol, tool=PROGRAM, mode="io", unit="ticks", emulated=True, runs=options.runs * len(job.inputs)
        ),
        device=replace(result.device, runtime="edgeai int8 kernels, 1 core"),
        time=BenchTime(
            mean=float(np.mean(values)),
            minimum=min(values),
            median=float(np.median(values)),
            p95=float(np.percentile(values, 95)),
            maximum=max(values),
            per_second=None,
            values=tuple(values),
        ),
        layers=_layers(reports[-1].nodes),
        memory=BenchMemory(activations=job.blob.arena_bytes, peak=max(report.peak_bytes for report in reports)),
        images=tuple(file_ref(path) for path in options.images),
        kernels="" if job.refusal else job.host.kernels,
        agreement=() if job.refusal else _agreement(job, [report.outputs for report in reports]),
        notes=(TICKS_NOTE, *((f"outputs are not compared: {job.refusal}",) if job.refusal else job.host.doubts())),
    )


def _agreement(job: _Job, answers: Sequence[bytes]) -> tuple[OutputAgreement, ...]:
    """The board's outputs against the host's, over all inputs. Raises DeviceError where their sizes differ."""
    shapes = [(entry.shape, np.dtype(entry.dtype)) for entry in job.host.outputs]
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in shapes]
    for answer in answers:
        if len(answer) != sum(sizes):
            raise DeviceError(f"the board gave {len(answer)} bytes of outputs, {sum(sizes)} were expected")
    found = []
    for i, entry in enumerate(job.host.outputs):
        shape, dtype = shapes[i]
        start, stop = sum(sizes[:i]), sum(sizes[: i + 1])
        actual = np.stack([np.frombuffer(answer[start:stop], dtype).reshape(shape) for answer in answers])
        same = agreement(np.stack([outputs[i] for outputs in job.expected]), actual, entry.scale, entry.zero_point)
        found.append(OutputAgreement(entry.name, int(actual.size), same.cosine, same.sqnr_db, same.bit_equal))
    return tuple(found)


def _layers(nodes: Sequence[GuestNode]) -> tuple[BenchLayer, ...]:
    total = sum(node.time for node in nodes) or 1
    return tuple(
        BenchLayer(index=i, name=n.name, kind=n.kind, engine="CPU", time=float(n.time), share=100 * n.time / total)
        for i, n in enumerate(nodes)
    )


# --- common -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(remote: Remote, model: Path) -> Iterator[str]:
    """A folder on the board, removed at the end where the line still stands."""
    folder = remote.folder(sha256_file(model)[:12])
    try:
        yield folder
    finally:
        with contextlib.suppress(DeviceError):
            remote.run(f"rm -rf {shlex.quote(folder)}")


def _audited(model: Path, options: Mp2Options) -> AuditReport | None:
    """The audit of the file, or of what it was compiled from; None where neither can be read."""
    readable = options.source or (model if model.suffix.lower() != ".nb" else None)
    return audit(readable) if readable is not None else None


def _check_network_binary(model: Path) -> None:
    if model.suffix.lower() == ".nb":
        with model.open("rb") as stream:
            if stream.read(4) != NBG_MAGIC:
                raise InputError(f"{model.name} is no network binary", "edgeai compile makes one for an MP2 board")


def _safe_name(model: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", model.name).lstrip("-.") or f"model{model.suffix}"


def _result(
    board: Board, remote: Remote, model: Path, options: Mp2Options, audited: AuditReport | None, device: BenchDevice
) -> BenchResult:
    """What every benchmark has in common; the rest is filled in by the caller."""
    granularity: Granularity = audited.granularity if audited is not None else "per-tensor"
    reference = file_ref(model)
    asked = (
        ("runs", options.runs),
        ("warmup", options.warmup),
        ("repeats", options.repeats),
        ("engine", options.engine),
    )
    return BenchResult(
        model=reference,
        granularity=granularity,
        protocol=BenchProtocol(
            board=board.name,
            emulated=False,
            unit="ms",
            link=remote.link,
            tool="",
            mode="",
            warmup=options.warmup,
            runs=options.runs,
        ),
        device=device,
        time=BenchTime(0.0, None, None, None, None, None),
        layers=(),
        engines=(),
        memory=BenchMemory(),
        inputs=audited.inputs if audited is not None else (),
        outputs=audited.outputs if audited is not None else (),
        images=(),
        kernels="",
        agreement=(),
        comparisons=(),
        checks=(),
        faults=(),
        notes=(),
        provenance=provenance("bench", [reference, board.file], asked, EVALUATE_TOOLS),
    )
