"""A model on a microcontroller board: how long it takes, layer by layer, and whether it computes what the host does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import (
    BenchLayer,
    BenchProtocol,
    BenchResult,
    BenchTime,
    FileRef,
    Granularity,
    OutputAgreement,
    TimeUnit,
)
from edgeai.board import Board
from edgeai.device.connect import connected
from edgeai.device.host import HostModel
from edgeai.device.options import EMULATED_RUNS, RUNS, BenchListener, BenchOptions
from edgeai.device.stm32msg import identity
from edgeai.device.stm32msg.client import RunRecord
from edgeai.device.stm32msg.faults import LineFault, Unconfirmed
from edgeai.device.stm32msg.messages import ModelInfo, tensor_dtype
from edgeai.device.stm32msg.session import Session
from edgeai.errors import InputError
from edgeai.evaluate.agreement import agreement
from edgeai.files import file_ref
from edgeai.provenance import provenance

TOOLS = ("pyserial", "ai-edge-litert", "numpy", "opencv-python-headless")
LAYER_RUNS = 2
TICKS_NOTE = "ticks count the instructions of an emulator; they say nothing about milliseconds on a board"


def bench_serial(board: Board, model: Path | None, options: BenchOptions, listener: BenchListener) -> BenchResult:
    """Bench over stm32msg, on a real board or an emulated one. Without `model`: what the board holds, times only.

    Raises InputError for a model or option that cannot be used, DeviceError where the board fails.
    """
    host = HostModel(model, options.kernels) if model is not None else None
    if host is None and (options.images or options.random):
        raise InputError("outputs can only be compared with a model at hand", "pass the .tflite file")
    measured = _Measured()
    if host is not None:
        measured.inputs = [*host.image_inputs(options.images), *host.random_inputs(options.random)]
        measured.expected, measured.refusal = host.expected(measured.inputs)
    if measured.refusal:
        listener.say(f"outputs are not compared: {measured.refusal}")
    emulated = board.emulator is not None

    def heard(fault: LineFault) -> None:
        listener.say(f"{fault.kind}: {fault.message}")

    listener.start(f"connect {board.name}", 0)
    line = connected(board, model, options.port, options.baud, options.timeout, heard, counting=emulated)
    with line as session:
        reference = file_ref(model) if model is not None else None
        held = identity.find_model(session, model, reference)
        notes = identity.check_tensors(held, host.inputs, host.outputs) if host is not None else ()
        listener.end(f"{identity.describe(session).name}, {held.name}")
        if host is not None and measured.inputs and (measured.expected or options.mode == "io"):
            _run_inputs(session, held, host, options, measured, listener)
        runs = options.runs or (EMULATED_RUNS if emulated else RUNS)
        _time(session, held, runs, options, measured, listener)
        return _result(board, session, held, host, reference, options, measured, notes)


@dataclass
class _Measured:
    """What a bench gathers on its way: inputs and the outputs to expect, before the board computes, or in `refusal` why
    this computer cannot compute them; then what the board did."""

    refusal: str = ""
    inputs: list[list[NDArray[Any]]] = field(default_factory=list)
    times: list[RunRecord] = field(default_factory=list)
    io: list[RunRecord] = field(default_factory=list)
    layers: list[RunRecord] = field(default_factory=list)
    expected: list[list[NDArray[Any]]] = field(default_factory=list)
    actual: list[list[NDArray[Any]]] = field(default_factory=list)
    images: list[FileRef] = field(default_factory=list)
    runs: int = 0


# --- runs -------------------------------------------------------------------------------------------


def _run_inputs(
    session: Session,
    held: ModelInfo,
    host: HostModel,
    options: BenchOptions,
    measured: _Measured,
    listener: BenchListener,
) -> None:
    """Images and random inputs through the board."""
    listener.start("compare with the host", len(measured.inputs))
    measured.images = [file_ref(path) for path in options.images]
    for inputs in measured.inputs:
        record = session.infer(held, [array.tobytes() for array in inputs])
        measured.io.append(record)
        measured.actual.append(output_arrays(record, [entry.shape for entry in host.outputs]))
        listener.advance()
    listener.end()


def output_arrays(record: RunRecord, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    """The outputs of a run in the shapes of the file."""
    found = []
    for tensor, shape in zip(record.outputs, shapes, strict=True):
        dtype = tensor_dtype(tensor.desc.format)
        assert dtype is not None  # `check_tensors` saw to it
        found.append(np.frombuffer(tensor.data.datas, dtype).reshape(shape))
    return found


def _time(
    session: Session,
    held: ModelInfo,
    runs: int,
    options: BenchOptions,
    measured: _Measured,
    listener: BenchListener,
) -> None:
    """Warm-up, timed runs, per-layer runs."""
    layer_runs = 0 if not options.layers else 1 if session.trusted else LAYER_RUNS
    if options.mode == "io":
        if not measured.io:
            raise InputError("mode io times real inputs, and there are none", "pass --images or --random")
        measured.times = measured.io
        runs = 0
    measured.runs = len(measured.times) or runs
    listener.start("time", options.warmup + runs + layer_runs)
    for number in range(-options.warmup, runs):
        record = session.perf(held)
        if number >= 0:
            measured.times.append(record)
        listener.advance()
    for _ in range(layer_runs):
        measured.layers.append(_layer_run(session, held, measured.layers))
        listener.advance()
    listener.end()


def _layer_run(session: Session, held: ModelInfo, earlier: Sequence[RunRecord]) -> RunRecord:
    """A per-layer run whose layers are named as those of the runs before: a name that changes was changed on the line.

    Raises Unconfirmed where runs never agree.
    """
    for _ in range(session.retries):
        record = session.perf(held, per_layer=True)
        if not earlier or _structure(record) == _structure(earlier[0]):
            return record
        session.faults[Unconfirmed.kind] += 1
    raise Unconfirmed("the layers of two runs differ", "look at the line with `edgeai doctor --serial`")


def _structure(record: RunRecord) -> list[tuple[str, int, int]]:
    return [(layer.op.name, layer.op.type, layer.op.id) for layer in record.layers]


# --- result -----------------------------------------------------------------------------------------


def time_of(values: Sequence[float], unit: TimeUnit) -> BenchTime:
    """Statistics of whole inferences; inferences per second follow from milliseconds only."""
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    return BenchTime(
        mean=mean,
        minimum=float(array.min()),
        median=float(np.median(array)),
        p95=float(np.percentile(array, 95)),
        maximum=float(array.max()),
        per_second=1e3 / mean if unit == "ms" and mean else None,
        values=tuple(map(float, values)),
    )


def agreements(
    host: HostModel, expected: Sequence[Sequence[NDArray[Any]]], actual: Sequence[Sequence[NDArray[Any]]]
) -> tuple[OutputAgreement, ...]:
    """Every output over all inputs."""
    found = []
    for place, entry in enumerate(host.outputs):
        wanted = np.stack([outputs[place].reshape(entry.shape) for outputs in expected])
        got = np.stack([outputs[place] for outputs in actual])
        same = agreement(wanted, got, entry.scale, entry.zero_point)
        found.append(OutputAgreement(entry.name, wanted.size, same.cosine, same.sqnr_db, same.bit_equal))
    return tuple(found)


def _result(
    board: Board,
    session: Session,
    held: ModelInfo,
    host: HostModel | None,
    reference: FileRef | None,
    options: BenchOptions,
    measured: _Measured,
    notes: Iterable[str],
) -> BenchResult:
    device = identity.describe(session)
    emulated = identity.is_emulated(session)
    unit: TimeUnit = "ticks" if emulated else "ms"
    clock = device.cpu_hz or 0
    times = [identity.op_time(record.whole, unit, clock) for record in measured.times]
    layers = _layers(measured, held, unit, clock)
    version = session.sync.version
    protocol = BenchProtocol(
        board=board.name,
        emulated=emulated,
        unit=unit,
        link=f"stm32msg {version >> 8}.{version & 0xFF}",
        tool=device.runtime,
        mode=options.mode,
        warmup=options.warmup,
        runs=measured.runs,
    )
    compared = bool(measured.expected) and host is not None
    kernels = host.kernels if compared and host is not None else ""
    doubted = host.doubts() if compared and host is not None else ()
    refused = (f"outputs are not compared: {measured.refusal}",) if measured.refusal else ()
    shown = (("kernels", kernels), ("timeout", options.timeout), ("board", board.name))
    return BenchResult(
        model=reference or FileRef(held.name, held.signature, 0),
        granularity=_granularity(host),
        protocol=protocol,
        device=device,
        time=time_of(times, unit),
        layers=layers,
        engines=(),
        memory=identity.memory(held, [*measured.times, *measured.io, *measured.layers]),
        inputs=host.inputs if host is not None else identity.audits(held.inputs),
        outputs=host.outputs if host is not None else identity.audits(held.outputs),
        images=tuple(measured.images),
        kernels=kernels,
        agreement=agreements(host, measured.expected, measured.actual) if compared and host is not None else (),
        comparisons=(),
        checks=(),
        faults=session.counts(),
        notes=(*notes, *refused, *doubted, *_notes(session, held, emulated, options, measured, layers, times)),
        provenance=provenance("bench", [reference] if reference else [], shown, TOOLS),
    )


def _layers(measured: _Measured, held: ModelInfo, unit: TimeUnit, clock: int) -> tuple[BenchLayer, ...]:
    if not measured.layers:
        return ()
    return identity.layer_rows([record.layers for record in measured.layers], held.rtid & 0xFF, unit, clock)


def _granularity(host: HostModel | None) -> Granularity:
    from edgeai.evaluate.backends.base import weights_kind

    return weights_kind(host.graph)[1] if host is not None else "float"


def _notes(
    session: Session,
    held: ModelInfo,
    emulated: bool,
    options: BenchOptions,
    measured: _Measured,
    layers: Sequence[BenchLayer],
    times: Sequence[float],
) -> list[str]:
    notes = []
    if emulated:
        notes.append(TICKS_NOTE)
    if session.sync.version & 0xFF > 1:
        notes.append("the firmware's protocol is newer than 3.1, the newest one that is public")
    if layers and times:
        gap = sum(layer.time for layer in layers) / (sum(times) / len(times)) - 1
        if math.isfinite(gap) and abs(gap) > 0.01:
            notes.append(f"the layers add up to {100 * gap:+.1f} % of the whole inference: timing them costs time")
    if options.mode == "perf":
        notes.append("timed on constant inputs, nothing on the line; power is not measured")
    return notes
