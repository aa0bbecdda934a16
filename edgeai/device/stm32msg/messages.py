"""The messages of stm32msg, the protocol of ST's validation firmware, as version 3.1 has them.

Versions 3.0 to 3.2 are read: fields that are missing take their default, unknown ones are skipped.
The field numbers are facts of the wire; names follow the protocol where they travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from edgeai.device.stm32msg.protobuf import wire

# ruff: noqa: RUF009  (`wire` makes a dataclass field)


class Command(IntEnum):
    SYNC = 0
    SYS_INFO = 1
    NETWORK_INFO = 10
    NETWORK_RUN = 11
    MEMORY_READ = 20
    MEMORY_WRITE = 21
    MEMORY_CHECKSUM = 22


class State(IntEnum):
    IDLE = 0
    WAITING = 1
    PROCESSING = 2
    DONE = 3
    ERROR = 4


class Capability(IntFlag):
    OBSERVER = 1
    RELOC = 2
    READ_WRITE = 8
    RANDOM = 16
    FILTERING = 32
    SELF_TEST = 128


class RunMode(IntFlag):
    IO_ONLY = 1
    PER_LAYER = 2
    PER_LAYER_WITH_DATA = 4
    PERF = 8
    DEBUG = 256
    CONST_VALUE = 512
    DIRECT_WRITE = 1024
    DIRECT_READ = 2048


class TensorFlag(IntFlag):
    INPUT = 1
    OUTPUT = 2
    INTERNAL = 4
    MEMPOOL = 8
    LAST = 256
    NO_DATA = 512
    IN_MEMPOOL = 1024


class OperatorFlag(IntFlag):
    """In the top byte of an operator's type; 0 is the whole model."""

    INTERNAL = 1
    LAST = 2
    WITHOUT_TENSOR = 4


ERROR_GENERIC = 10  # in NETWORK_INFO: this model is not initialised; any other error ends the list


@dataclass(frozen=True, slots=True)
class Request:
    reqid: int = wire(1, "uint32")
    cmd: int = wire(2, "uint32")
    param: int = wire(3, "uint32")
    name: str = wire(4, "string")
    opt: int = wire(5, "uint32")


@dataclass(frozen=True, slots=True)
class Ack:
    param: int = wire(1, "uint32", required=True)
    error: int = wire(2, "uint32", required=True)


@dataclass(frozen=True, slots=True)
class Data:
    type: int = wire(1, "uint32")
    size: int = wire(2, "uint32")
    addr: int = wire(3, "uint32")
    datas: bytes = wire(4, "bytes", required=True)


@dataclass(frozen=True, slots=True)
class Sync:
    """`version` is major << 8 | minor."""

    version: int = wire(1, "uint32", required=True)
    capability: int = wire(4, "uint32")
    rtid: int = wire(5, "uint32")


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Clocks in Hz. Version 3.2 is believed to carry a communication parameter as field 5 and `extra` as field 6."""

    devid: int = wire(1, "uint32", required=True)
    sclock: int = wire(2, "uint32")
    hclock: int = wire(3, "uint32")
    cache: int = wire(4, "uint32")
    fifth: tuple[int, ...] = wire(5, "uint32", repeated=True)
    sixth: tuple[int, ...] = wire(6, "uint32", repeated=True)

    @property
    def extra(self) -> tuple[int, ...]:
        """On the N6: 0, NPU Hz, NIC Hz, 0."""
        return self.sixth or self.fifth


@dataclass(frozen=True, slots=True)
class Log:
    """`level`: below 2 information, 2 debug, 3 warning, above 3 error."""

    level: int = wire(1, "uint32")
    str: str = wire(2, "string")


@dataclass(frozen=True, slots=True)
class TensorDesc:
    """`size` counts elements, `n_dims` has the shape format in its top byte."""

    name: str = wire(1, "string")
    format: int = wire(2, "uint32")
    size: int = wire(3, "uint32")
    n_dims: int = wire(4, "uint32", 1)
    dims: tuple[int, ...] = wire(5, "uint32", repeated=True)
    scale: float = wire(6, "float")
    zeropoint: int = wire(7, "int32")
    addr: int = wire(8, "uint32")
    flags: int = wire(9, "uint32")


@dataclass(frozen=True, slots=True)
class Tensor:
    desc: TensorDesc = wire(1, "message", required=True, message=TensorDesc)
    data: Data = wire(2, "message", required=True, message=Data)


@dataclass(frozen=True, slots=True)
class Operator:
    """`duration` in ms. Counters: 64 bit as two words, low first, where bits 31..16 of the type are 0; else 32 bit."""

    name: str = wire(1, "string")
    type: int = wire(2, "uint32")
    id: int = wire(3, "uint32")
    duration: float = wire(4, "float", required=True)
    counter_type: int = wire(5, "uint32")
    counters: tuple[int, ...] = wire(6, "uint32", repeated=True)
    stack_used: int = wire(7, "int32", -1)
    heap_used: int = wire(8, "int32", -1)

    @property
    def flags(self) -> OperatorFlag:
        return OperatorFlag(self.type >> 24)

    @property
    def cycles(self) -> tuple[int, ...]:
        if self.counter_type >> 16:
            return self.counters
        words = self.counters
        return tuple(low | high << 32 for low, high in zip(words[::2], words[1::2], strict=False))


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Versions are major << 24 | minor << 16 | patch << 8."""

    name: str = wire(1, "string", required=True)
    rtid: int = wire(2, "uint32")
    signature: str = wire(3, "string")
    compile_datetime: str = wire(4, "string")
    runtime_version: int = wire(5, "uint32")
    tool_version: int = wire(6, "uint32")
    n_macc: int = wire(7, "uint64")
    n_nodes: int = wire(8, "uint32")
    n_inputs: int = wire(10, "uint32", required=True)
    inputs: tuple[TensorDesc, ...] = wire(11, "message", repeated=True, message=TensorDesc)
    n_outputs: int = wire(12, "uint32", required=True)
    outputs: tuple[TensorDesc, ...] = wire(13, "message", repeated=True, message=TensorDesc)
    n_activations: int = wire(14, "uint32")
    activations: tuple[TensorDesc, ...] = wire(15, "message", repeated=True, message=TensorDesc)
    n_params: int = wire(16, "uint32")
    params: tuple[TensorDesc, ...] = wire(17, "message", repeated=True, message=TensorDesc)
    runtime_desc: str = wire(20, "string")


@dataclass(frozen=True, slots=True)
class Response:
    reqid: int = wire(1, "uint32", required=True)
    state: int = wire(2, "uint32", required=True)
    sync: Sync | None = wire(10, "message", message=Sync)
    sinfo: SystemInfo | None = wire(11, "message", message=SystemInfo)
    ack: Ack | None = wire(12, "message", message=Ack)
    log: Log | None = wire(13, "message", message=Log)
    data: Data | None = wire(15, "message", message=Data)
    op: Operator | None = wire(16, "message", message=Operator)
    tensor: Tensor | None = wire(17, "message", message=Tensor)
    minfo: ModelInfo | None = wire(22, "message", message=ModelInfo)

    @property
    def payload(self) -> str:
        """Name of the payload it carries, empty where none."""
        names = ("sync", "sinfo", "ack", "log", "data", "op", "tensor", "minfo")
        return next((name for name in names if getattr(self, name) is not None), "")


# --- tensors ----------------------------------------------------------------------------------------

_BITS_MASK, _FORMAT_MASK = 0x7F, 0x01FF_FFFF
_INTEGER, _FLOAT, _BOOL = 2, 1, 3


def tensor_dtype(word: int) -> np.dtype[Any] | None:
    """The element type of a tensor format word; None where numpy has none (packed bits, NPU fixed point)."""
    word &= _FORMAT_MASK
    bits, kind, signed = word >> 7 & _BITS_MASK, word >> 17 & 0xF, word >> 23 & 1
    if kind == _INTEGER and bits in (8, 16, 32, 64):
        return np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    if kind == _FLOAT and bits in (16, 32, 64):
        return np.dtype(f"<f{bits // 8}")
    return np.dtype(bool) if kind == _BOOL and bits == 8 else None


_RAW_FORMATS = (0, 5)
_ST_AI, _HAS_BATCH = 4, 64


def tensor_shape(desc: TensorDesc) -> tuple[int, ...]:
    """Dimensions of a tensor. Formats of ST's runtimes leave a batch of 1 out; it is put in front."""
    dims = desc.dims[: desc.n_dims & 0xFF_FFFF]
    code = desc.n_dims >> 24
    if code & 0xF == _ST_AI and not (code & _HAS_BATCH and dims[:1] == (1,)):
        return (1, *dims)
    return dims


def bsd_checksum(data: bytes) -> int:
    """The 16-bit checksum of MEMORY_CHECKSUM: for every byte rotate right by one, then add.

    Both steps are one-to-one, so a single wrong byte never goes unseen; several do once in 65,536 times.
    """
    value = 0
    for byte in data:
        value = ((value >> 1 | (value & 1) << 15) + byte) & 0xFFFF
    return value
