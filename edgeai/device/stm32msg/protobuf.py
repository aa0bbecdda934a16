"""The part of the Protocol Buffers wire format (proto2) that stm32msg needs: dataclasses to bytes and back.

A message is a frozen dataclass whose fields are made by `wire`. Encoding writes every field, zeros included, as a
proto2 `required` field wants it; None and empty tuples are left out. Decoding skips unknown fields and takes repeated
numbers packed or not. Source of the format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from edgeai.device.stm32msg.faults import Garbled

T = TypeVar("T")

Kind = Literal["uint32", "uint64", "int32", "float", "string", "bytes", "message"]
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
WIRE_TYPES = {"float": FIXED32, "string": LENGTH, "bytes": LENGTH, "message": LENGTH}
MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class _Wire:
    name: str
    number: int
    kind: Kind
    repeated: bool
    required: bool
    message: Any
    tag: bytes


def wire(
    number: int, kind: Kind, default: Any = None, *, repeated: bool = False, required: bool = False, message: Any = None
) -> Any:
    """A field of a message. `required` makes its absence an error when decoding; `message` is the class within."""
    metadata = {"wire": (number, kind, repeated, required, message)}
    if repeated:
        return dataclasses.field(default=(), metadata=metadata)
    empty = {"string": "", "bytes": b"", "float": 0.0, "message": None}
    return dataclasses.field(default=empty.get(kind, 0) if default is None else default, metadata=metadata)


@cache
def _schema(kind: Any) -> dict[int, _Wire]:
    found = {}
    for entry in dataclasses.fields(kind):
        number, what, repeated, required, message = entry.metadata["wire"]
        tag = varint(number << 3 | WIRE_TYPES.get(what, VARINT))
        found[number] = _Wire(entry.name, number, what, repeated, required, message, tag)
    return found


# --- encode -----------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A non-negative number, seven bits a byte, lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def encode(message: Any) -> bytes:
    """The wire form of a message dataclass."""
    kind: Any = type(message)
    parts: list[bytes] = []
    for entry in _schema(kind).values():
        value = getattr(message, entry.name)
        for item in value if entry.repeated else () if value is None else (value,):
            parts.append(entry.tag)
            parts.append(_encode(entry.kind, item))
    return b"".join(parts)


def _encode(kind: Kind, value: Any) -> bytes:
    if kind == "float":
        return struct.pack("<f", value)
    if kind in ("string", "bytes", "message"):
        body = value.encode() if kind == "string" else value if kind == "bytes" else encode(value)
        return varint(len(body)) + body
    return varint(value & 0xFFFF_FFFF_FFFF_FFFF)  # a negative int32 takes ten bytes


# --- decode -----------------------------------------------------------------------------------------


def decode(kind: type[T], data: bytes | memoryview) -> T:
    """The message of class `kind`. Raises Garbled where the bytes are not one."""
    anything: Any = kind
    schema, view = _schema(anything), memoryview(data)
    values: dict[str, Any] = {}
    place, end = 0, len(view)
    while place < end:
        key, place = read_varint(view, place)
        raw, place = _read_value(view, place, key & 7)
        entry = schema.get(key >> 3)
        if entry is None:
            continue
        if entry.repeated:
            values[entry.name] = (*values.get(entry.name, ()), *_repeated(entry, raw, key & 7))
        else:
            values[entry.name] = _decode(entry, raw, key & 7)
    for entry in schema.values():
        if entry.required and entry.name not in values:
            raise Garbled(f"{kind.__name__} without {entry.name}")
    return kind(**values)


def read_varint(view: memoryview | bytes, place: int) -> tuple[int, int]:
    """A number and the place behind it. Raises Garbled where it has no end."""
    value = shift = 0
    for at in range(place, min(place + MAX_VARINT_BYTES, len(view))):
        byte = view[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Garbled("a number without end in a message")


def _read_value(view: memoryview, place: int, wire_type: int) -> tuple[Any, int]:
    if wire_type == VARINT:
        return read_varint(view, place)
    if wire_type == LENGTH:
        size, place = read_varint(view, place)
    else:
        size = {FIXED64: 8, FIXED32: 4}.get(wire_type, -1)
    if size < 0 or place + size > len(view):
        raise Garbled("a field beyond the end of its message")
    return view[place : place + size], place + size


def _decode(entry: _Wire, raw: Any, wire_type: int) -> Any:
    if wire_type != entry.tag[0] & 7:
        raise Garbled(f"field {entry.name} in the wrong form")
    if entry.kind == "message":
        return decode(entry.message, raw)
    if entry.kind == "bytes":
        return bytes(raw)
    if entry.kind == "string":
        return bytes(raw).decode("utf-8", "replace")
    if entry.kind == "float":
        return float(struct.unpack("<f", raw)[0])
    if entry.kind == "int32":
        low = raw & 0xFFFF_FFFF
        return low - (1 << 32) if low & 0x8000_0000 else low
    return raw & (0xFFFF_FFFF_FFFF_FFFF if entry.kind == "uint64" else 0xFFFF_FFFF)


def _repeated(entry: _Wire, raw: Any, wire_type: int) -> tuple[Any, ...]:
    if wire_type != LENGTH or entry.kind == "message":
        return (_decode(entry, raw, wire_type),)
    items, place = [], 0  # packed numbers
    while place < len(raw):
        item, place = read_varint(raw, place)
        items.append(item & 0xFFFF_FFFF)
    return tuple(items)
