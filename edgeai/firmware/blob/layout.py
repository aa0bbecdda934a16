"""A program as bytes: the arena's plan, and the tables that the firmware reads in place (runtime/blob.h)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.board import Pool as MemoryPool
from edgeai.errors import InputError
from edgeai.firmware.blob.lower import Program
from edgeai.firmware.blob.program import MAX_DIMS, InArena, InConstants, Scratch, Step, Word
from edgeai.footprint.live import LiveRange
from edgeai.footprint.planner import ALIGNMENT, live_peak, plan
from edgeai.graph.opcodes import OPERATORS
from edgeai.graph.types import Graph, Tensor

MAGIC = 0x4C424145
VERSION = 2
CRC_START = 16
HEADER = struct.Struct("<4I64s64s21I")
TENSOR = struct.Struct(f"<3I{MAX_DIMS}IfiII")
IN_CONSTANTS = 0x8000_0000
NAME_BYTES = 63

# sign, kind (1 float, 2 integer) and bits of an element, as the wire protocol codes a tensor's format
FORMATS = {
    "int8": (1, 2, 8), "uint8": (0, 2, 8), "int16": (1, 2, 16), "int32": (1, 2, 32), "int64": (1, 2, 64),
    "float32": (1, 1, 32),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arena:
    """Working memory: each tensor's offset, each step's scratch offset, the size and the live peak, in bytes."""

    tensors: dict[int, int]
    scratch: dict[tuple[int, int], int]
    size: int
    peak: int


def plan_arena(program: Program) -> Arena:
    """Place every activation. Inputs and outputs keep their places to the end, so that a host can read them back."""
    graph, end = program.graph, len(program.nodes)
    spans: dict[int, tuple[int, int]] = {}

    def touch(tensor: int, at: int) -> None:
        leader = program.leaders[tensor]
        first, last = spans.get(leader, (at, at))
        spans[leader] = min(first, at), max(last, at)

    for tensor in graph.inputs:
        touch(tensor, 0)
        touch(tensor, end)
    scratch: dict[tuple[int, int], int] = {}
    for i, node in enumerate(program.nodes):
        for k, step in enumerate(node.steps):
            for word in step.words:
                if isinstance(word, InArena):
                    touch(word.tensor, i)
                elif isinstance(word, Scratch):
                    scratch[i, k] = word.bytes
        for tensor in node.op.outputs:
            touch(tensor, i)
    for tensor in graph.outputs:
        touch(tensor, end)

    ranges = [LiveRange(t, graph.tensors[t].name, graph.tensors[t].nbytes, *span) for t, span in spans.items()]
    numbers = {key: len(graph.tensors) + n for n, key in enumerate(scratch)}
    ranges += [LiveRange(numbers[i, k], "scratch", size, i, i) for (i, k), size in scratch.items()]
    memory = MemoryPool("arena", "ram", 1 << 21, ("activations",), "")
    placed = plan(ranges, [memory])
    offsets = {p.tensor: p.offset for p in placed.placements}
    size = max((p.offset + p.size for p in placed.placements), default=0)
    return Arena(
        tensors={t: offsets[leader] for t, leader in enumerate(program.leaders) if leader in offsets},
        scratch={key: offsets[number] for key, number in numbers.items()},
        size=-(-size // ALIGNMENT) * ALIGNMENT,
        peak=live_peak(ranges),
    )


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[bytes, int] = {}

    def add(self, text: str) -> int:
        raw = clean(text)
        if raw not in self._known:
            self._known[raw] = len(self.data)
            self.data.extend(raw + b"\0")
        return self._known[raw]


def clean(text: str) -> bytes:
    """A name as the board keeps it: ASCII, at most 63 characters; the end of a long one tells more than its start."""
    return "".join(c if c.isascii() and c.isprintable() else "_" for c in text).encode()[-NAME_BYTES:]


def pack(program: Program, arena: Arena, name: str, signature: str, macs: int, tool_version: int) -> bytes:
    """The blob. `signature` are 32 hex digits of the model file's SHA-256."""
    graph = program.graph
    strings, words = _Strings(), bytearray()
    shown = sorted({*graph.inputs, *graph.outputs, *(t for node in program.nodes for t in node.op.outputs)})
    shown = [t for t in shown if t in arena.tensors]
    number = {t: i for i, t in enumerate(shown)}

    def listed(tensors: Sequence[int]) -> int:
        first = len(words) // 4
        words.extend(struct.pack(f"<{len(tensors)}I", *(number[t] for t in tensors)))
        return first

    tensors = b"".join(_tensor(graph.tensors[t], strings, arena.tensors[t]) for t in shown)
    nodes, steps = bytearray(), bytearray()
    for i, node in enumerate(program.nodes):
        outputs = [t for t in node.op.outputs if t in number]
        nodes += struct.pack(
            "<6I", strings.add(_node_name(graph, node.op.outputs)), OPERATORS.index(node.op.kind),
            len(steps) // 12, len(node.steps), listed(outputs), len(outputs),
        )  # fmt: skip
        for k, step in enumerate(node.steps):
            steps += struct.pack("<3I", step.kernel, len(words) // 4, len(step.words))
            words += _words(step, arena, arena.scratch.get((i, k), 0))
    inputs, outputs_at = listed(graph.inputs), listed(graph.outputs)

    sections = [tensors, bytes(nodes), bytes(steps), bytes(words), program.constants, bytes(strings.data)]
    counts = [len(shown), len(program.nodes), len(steps) // 12, len(words) // 4, len(program.constants),
              len(strings.data)]  # fmt: skip
    body, places = bytearray(), []
    start = -(-HEADER.size // 16) * 16
    for section in sections:
        body.extend(bytes(-len(body) % 16))
        places.append(start + len(body))
        body += section
    table = [x for pair in zip(places, counts, strict=True) for x in pair]
    weights = sum(tensor.nbytes for tensor in graph.tensors if tensor.is_constant)
    fields = (clean(name), signature.encode()[:NAME_BYTES], tool_version, macs & 0xFFFFFFFF, macs >> 32, arena.size,
              weights, *table, inputs, len(graph.inputs), outputs_at, len(graph.outputs))  # fmt: skip
    size = start + len(body)
    blob = bytearray(HEADER.pack(MAGIC, VERSION, size, 0, *fields).ljust(start, b"\0") + body)
    struct.pack_into("<I", blob, 12, zlib.crc32(blob[CRC_START:]))
    return bytes(blob)


def _node_name(graph: Graph, outputs: Sequence[int]) -> str:
    return graph.tensors[outputs[0]].name


def _tensor(tensor: Tensor, strings: _Strings, offset: int) -> bytes:
    if tensor.dtype not in FORMATS:
        raise InputError(f"tensor {tensor.name!r} has the type {tensor.dtype}, which the bench firmware cannot show")
    if len(tensor.shape) > MAX_DIMS:
        raise InputError(f"tensor {tensor.name!r} has {len(tensor.shape)} dimensions, more than {MAX_DIMS}")
    sign, kind, bits = FORMATS[tensor.dtype]
    dims = tensor.shape or (1,)
    return TENSOR.pack(
        strings.add(tensor.name), sign << 23 | kind << 17 | bits << 7 | 0x40, len(dims),
        *dims, *(0,) * (MAX_DIMS - len(dims)), tensor.scale, tensor.zero_point, offset, tensor.nbytes,
    )  # fmt: skip


def _words(step: Step, arena: Arena, scratch: int) -> bytes:
    return b"".join(_word(word, arena, scratch) for word in step.words)


def _word(word: Word, arena: Arena, scratch: int) -> bytes:
    if isinstance(word, InArena):
        return struct.pack("<I", arena.tensors[word.tensor] + word.offset)
    if isinstance(word, InConstants):
        return struct.pack("<I", IN_CONSTANTS | word.offset)
    if isinstance(word, Scratch):
        return struct.pack("<I", scratch)
    if isinstance(word, float):
        return struct.pack("<f", word)
    return struct.pack("<i", int(word))
