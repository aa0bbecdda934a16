"""What a board says about itself, in the words of the artifacts; and whether it holds the model it should."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeai.artifacts import BenchDevice, BenchLayer, BenchMemory, Engine, Fact, FileRef, TensorAudit, TimeUnit
from edgeai.device.stm32msg.client import LayerRecord, RunRecord
from edgeai.device.stm32msg.devices import EMULATED_ID, device_name
from edgeai.device.stm32msg.messages import ModelInfo, Operator, SystemInfo, TensorDesc, tensor_dtype, tensor_shape
from edgeai.device.stm32msg.session import Session
from edgeai.errors import DeviceError
from edgeai.graph.opcodes import OPERATORS

N6_ID = 0x486
TFLM_RUNTIME, NPU_RUNTIME = 2, 4
RUNTIMES = {1: "STM.AI", 2: "TFLite Micro", 3: "TVM", 4: "ATONN", 5: "GLOW", 6: "STM.AI relocatable"}
EPOCHS: tuple[Engine, ...] = ("HW", "HW", "SW", "hybrid", "EC")
SERIES_N6 = 5
CACHES = ((16, "FPU"), (11, "data cache"), (10, "instruction cache"), (9, "ART / instruction cache"), (8, "prefetch"))


def describe(session: Session) -> BenchDevice:
    """Name, clocks and caches as reported; 0 Hz counts as not reported."""
    system, sync = session.system, session.sync
    runtime = RUNTIMES.get(sync.rtid & 0xFF, f"runtime {sync.rtid & 0xFF}")
    model = session.models[0] if session.models else None
    if model is not None:
        said = [model.runtime_desc or runtime, _version(model.runtime_version)]
        runtime = " ".join(text for text in said if text)
    extra = system.extra if system.devid == N6_ID else ()
    return BenchDevice(
        name=device_name(system.devid),
        cpu_hz=system.sclock or None,
        bus_hz=system.hclock or None,
        accelerator_hz=extra[1] if len(extra) > 1 and extra[1] else None,
        runtime=runtime,
        facts=_facts(system, extra),
    )


def _facts(system: SystemInfo, extra: Sequence[int]) -> tuple[Fact, ...]:
    found = [Fact(name, "on" if system.cache >> bit & 1 else "off") for bit, name in CACHES]
    if system.cache >> 24 == SERIES_N6:
        found.append(Fact("NPU cache", "on" if system.cache & 1 else "off"))
    elif system.cache & 0xFF:
        found.append(Fact("flash latency", f"{system.cache & 0xFF} cycles"))
    if len(extra) > 2 and extra[2]:
        found.append(Fact("NIC clock", f"{extra[2] / 1e6:g} MHz"))
    return tuple(found) if system.cache else ()


def _version(word: int) -> str:
    return f"{word >> 24}.{word >> 16 & 0xFF}.{word >> 8 & 0xFF}" if word else ""


def is_emulated(session: Session) -> bool:
    return session.system.devid == EMULATED_ID


# --- the model --------------------------------------------------------------------------------------


def find_model(session: Session, path: Path | None, reference: FileRef | None) -> ModelInfo:
    """The board's model that is the file: by its digest, by name, or the only one. Raises DeviceError."""
    models = session.models
    if not models:
        raise DeviceError(
            "the firmware on the board holds no model", "build it with one: edgeai validate, or edgeai blob"
        )
    if path is None or reference is None:
        return models[0]
    for model in models:
        if len(model.signature) >= 16 and reference.sha256.startswith(model.signature):
            return model
    named = [model for model in models if model.name.lower() in (path.stem.lower(), path.stem[:63].lower())]
    if named:
        return named[0]
    if len(models) == 1:
        return models[0]
    raise DeviceError(f"no model {path.stem} on the board; it holds {', '.join(m.name for m in models)}")


def check_tensors(model: ModelInfo, inputs: Sequence[TensorAudit], outputs: Sequence[TensorAudit]) -> tuple[str, ...]:
    """Notes on what differs between the board's tensors and the file's. Raises DeviceError where they cannot be of
    the same model."""
    notes: list[str] = []
    for kind, ours, theirs in (("input", inputs, model.inputs), ("output", outputs, model.outputs)):
        if len(ours) != len(theirs):
            raise _other_model(model, f"{len(theirs)} {kind}s, the file {len(ours)}")
        for place, (mine, desc) in enumerate(zip(ours, theirs, strict=True)):
            notes += _compare(model, f"{kind} {place + 1}", mine, desc)
    return tuple(notes)


def _compare(model: ModelInfo, what: str, mine: TensorAudit, desc: TensorDesc) -> list[str]:
    count = 1
    for side in mine.shape:
        count *= side
    dtype = tensor_dtype(desc.format)
    if desc.size != count or dtype is None or dtype.name != mine.dtype:
        kind = dtype.name if dtype is not None else f"format {desc.format:#x}"
        raise _other_model(model, f"{what} of {desc.size} {kind}, the file {count} {mine.dtype}")
    if mine.scale and (abs(desc.scale / mine.scale - 1) > 1e-6 or desc.zeropoint != mine.zero_point):
        theirs = f"{desc.scale:.6g} / {desc.zeropoint}"
        return [f"{what}: scale and zero point {theirs} on the board, {mine.scale:.6g} / {mine.zero_point} in the file"]
    return []


def _other_model(model: ModelInfo, difference: str) -> DeviceError:
    return DeviceError(
        f"the board's model {model.name!r} is another one: it has {difference}",
        "load this model's firmware first: edgeai compile, or edgeai validate",
    )


def audits(descs: Sequence[TensorDesc]) -> tuple[TensorAudit, ...]:
    """The board's tensors, where no file tells more."""
    found = []
    for desc in descs:
        dtype = tensor_dtype(desc.format)
        name = dtype.name if dtype is not None else f"format {desc.format:#x}"
        found.append(TensorAudit(desc.name, tensor_shape(desc), name, desc.scale, desc.zeropoint))
    return tuple(found)


def memory(model: ModelInfo, records: Sequence[RunRecord]) -> BenchMemory:
    """Activations and weights as the board reports them, with the deepest stack and heap of the runs."""
    stack = max((record.whole.stack_used for record in records), default=-1)
    heap = max((record.whole.heap_used for record in records), default=-1)
    return BenchMemory(
        activations=_bytes(model.activations),
        weights=_bytes(model.params),
        stack=stack if stack >= 0 else None,
        heap=heap if heap >= 0 else None,
    )


def _bytes(descs: Sequence[TensorDesc]) -> int | None:
    if not descs:
        return None
    total = 0
    for desc in descs:
        dtype = tensor_dtype(desc.format)
        total += desc.size * (dtype.itemsize if dtype is not None else 1)
    return total


# --- times ------------------------------------------------------------------------------------------


def op_time(op: Operator, unit: TimeUnit, clock: int) -> float:
    """Duration of an operator: milliseconds, or the ticks that an emulator counted."""
    if unit == "ms":
        return op.duration
    return float(sum(op.cycles)) if op.cycles else float(round(op.duration * clock / 1e3))


def layer_rows(
    runs: Sequence[tuple[LayerRecord, ...]], runtime: int, unit: TimeUnit, clock: int
) -> tuple[BenchLayer, ...]:
    """The mean of every layer over several per-layer runs of one structure."""
    means = [sum(op_time(run[i].op, unit, clock) for run in runs) / len(runs) for i in range(len(runs[0]))]
    total = sum(means)
    rows = []
    for place, (mean, record) in enumerate(zip(means, runs[0], strict=True)):
        op = record.op
        kind, engine, name = _kind(op, runtime)
        share = 100 * mean / total if total else 0.0
        rows.append(BenchLayer(place, name, kind, engine, mean, share, op.cycles))
    return tuple(rows)


def _kind(op: Operator, runtime: int) -> tuple[str, Engine, str]:
    """Operator or epoch kind, engine and name. Runtimes without an accelerator run everything in software."""
    code = op.type & 0x7FFF
    if runtime == NPU_RUNTIME:
        engine = EPOCHS[code & 0xF] if code & 0xF < len(EPOCHS) else ""
        return "epoch", engine, op.name or f"EpochBlock_{op.id & 0xFFFF}"
    kind = OPERATORS[code] if runtime == TFLM_RUNTIME and code < len(OPERATORS) else op.name
    return kind, "SW", op.name or kind
