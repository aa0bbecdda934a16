"""A small flatbuffer reader that trusts nothing: every offset and every length is checked.

Format: FlatBuffers' binary format (a table starts with the signed distance back to its vtable; a vtable holds its own
size, the table's size and one 16-bit offset per field, 0 for an absent one; offsets to tables, vectors and strings are
unsigned and relative to where they stand).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

# Tables may share vectors, so a small file can describe a huge network: these bound what is read from one file.
# The largest file of ST's zoo needs about a hundredth of it.
MAX_TABLES = 20_000
MAX_ITEMS = 4_000_000


class DamagedError(Exception):
    """An offset, a length or an index that points outside of the file."""


class Reader:
    """The file's bytes, and the account of how much has been read from them."""

    __slots__ = ("data", "items", "whole")

    def __init__(self, data: bytes) -> None:
        self.whole = data
        self.data = memoryview(data)
        self.items = 0

    def charge(self, count: int) -> None:
        self.items += count
        if self.items > MAX_ITEMS:
            raise DamagedError("it describes more than its size allows")

    def number(self, code: str, at: int) -> Any:
        if at < 0:
            raise DamagedError("an offset points before its start")
        return struct.unpack_from(f"<{code}", self.data, at)[0]

    def follow(self, at: int) -> int:
        """Where the unsigned relative offset at `at` points."""
        target: int = at + self.number("I", at)
        return target

    def vector(self, at: int, item_size: int) -> tuple[int, int]:
        """Start and length of the vector at `at`."""
        length: int = self.number("I", at)
        if at + 4 + length * item_size > len(self.data):
            raise DamagedError(f"a list of {length} items goes beyond its end")
        return at + 4, length


class Table:
    """One table. `slots` are the byte offsets of its fields, 0 where a field is absent."""

    __slots__ = ("at", "reader", "slots")

    def __init__(self, reader: Reader, at: int) -> None:
        reader.charge(1)
        vtable = at - reader.number("i", at)
        size = reader.number("H", vtable)
        if size < 4 or size % 2:
            raise DamagedError("a table has an impossible layout")
        reader.charge(size // 16)
        self.reader, self.at = reader, at
        self.slots: tuple[int, ...] = struct.unpack_from(f"<{size // 2 - 2}H", reader.data, vtable + 4)

    def slot(self, field: int) -> int:
        """Where a field stands; 0 where it is absent."""
        offset = self.slots[field] if field < len(self.slots) else 0
        return self.at + offset if offset else 0

    def scalar(self, field: int, code: str, default: Any = 0) -> Any:
        at = self.slot(field)
        return self.reader.number(code, at) if at else default

    def table(self, field: int) -> Table | None:
        at = self.slot(field)
        return Table(self.reader, self.reader.follow(at)) if at else None

    def tables(self, field: int) -> Iterator[Table]:
        at = self.slot(field)
        if not at:
            return
        start, length = self.reader.vector(self.reader.follow(at), 4)
        if length > MAX_TABLES:
            raise DamagedError(f"a list of {length} tables")
        for i in range(length):
            yield Table(self.reader, self.reader.follow(start + 4 * i))

    def numbers(self, field: int, code: str) -> tuple[Any, ...]:
        at = self.slot(field)
        if not at:
            return ()
        start, length = self.reader.vector(self.reader.follow(at), struct.calcsize(code))
        self.reader.charge(length)
        return struct.unpack_from(f"<{length}{code}", self.reader.data, start)

    def view(self, field: int) -> memoryview | None:
        """A vector of bytes, not copied."""
        at = self.slot(field)
        if not at:
            return None
        start, length = self.reader.vector(self.reader.follow(at), 1)
        return self.reader.data[start : start + length]

    def text(self, field: int) -> str:
        raw = self.view(field)
        if raw is None:
            return ""
        self.reader.charge(len(raw))
        return bytes(raw).decode("utf-8", "replace")


DAMAGED = (DamagedError, struct.error)  # what reading a damaged flatbuffer raises


def root_table(data: bytes) -> Table:
    """The root table of a flatbuffer. It and what is read from it raise one of DAMAGED for bytes that are not sound."""
    reader = Reader(data)
    return Table(reader, reader.follow(0))
