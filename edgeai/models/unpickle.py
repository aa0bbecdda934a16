"""A restricted reader of torch checkpoints: nothing that a file names is ever imported or called.

A pickle is a program. This one runs it in three steps: the opcodes are scanned and bounded without running any; then
they run with `find_class` answering every name of the allow-list with an inert class that only records what it was
given, and refusing every other name; then tensors are built from the recorded calls with every bound checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from edgeai.errors import InputError
from edgeai.models.allowlist import ALLOWED, FAMILIES
from edgeai.models.archive import AGAIN, MAX_TENSOR_BYTES, Archive

if TYPE_CHECKING:
    import torch

MAX_OPCODES = 1_000_000  # published checkpoints have under 100 thousand
MAX_DEPTH = 1000  # of nesting; they have under 100. Hashing a deep tuple recurses in C without a check
MAX_TUPLE = 4096  # elements; calling with one tuple over and over copies it every time
MAX_ARGUMENTS = 64
MAX_DIMENSIONS = 8

# storage class of torch -> (dtype of torch, bytes of an element)
STORAGES: Final[dict[str, tuple[str, int]]] = {
    "torch.HalfStorage": ("float16", 2),
    "torch.BFloat16Storage": ("bfloat16", 2),
    "torch.FloatStorage": ("float32", 4),
    "torch.DoubleStorage": ("float64", 8),
    "torch.LongStorage": ("int64", 8),
    "torch.IntStorage": ("int32", 4),
    "torch.ShortStorage": ("int16", 2),
    "torch.CharStorage": ("int8", 1),
    "torch.ByteStorage": ("uint8", 1),
    "torch.BoolStorage": ("uint8", 1),
}

# What a malformed pickle can make the unpickler raise.
PICKLE_ERRORS = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class Placeholder:
    """Stands for an object of a class, or for the result of a call, that the file names. Records, never acts."""

    __slots__ = ("args", "items", "state")

    origin = ""
    args: tuple[Any, ...]
    items: list[Any]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> Placeholder:
        if len(args) > MAX_ARGUMENTS:
            raise pickle.UnpicklingError(f"{len(args)} arguments in one call")
        self = object.__new__(cls)
        self.args, self.items, self.state = args, [], None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        self.items.append(value)

    def extend(self, values: Any) -> None:
        self.items.extend(values)

    def add(self, value: Any) -> None:
        self.items.append(value)


class InertDict(dict[Any, Any]):
    """Stands for collections.OrderedDict, whose insertion order a dict keeps as well."""

    origin = "collections.OrderedDict"

    def __init__(self, *args: Any) -> None:
        # torch fills it item by item; copying an argument would let a small file make large dictionaries
        if args:
            raise pickle.UnpicklingError("an OrderedDict with arguments")
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """torch keeps `_metadata` here; nothing of it is needed."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage the file refers to: the key of its zip entry, its class and its number of elements."""

    key: str
    kind: str
    count: int

    def __setstate__(self, state: object) -> None:
        # the one that dataclass would write lets a file change a storage after it was checked
        raise pickle.UnpicklingError("state for a storage")


class Checkpoint:
    """An open checkpoint: its inert object tree, and tensors on demand. A context manager.

    Raises InputError where the file is hostile, damaged, or not a torch checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._archive = Archive(path)
        self._storages: dict[Storage, torch.Tensor] = {}
        self._built_bytes = 0
        try:
            self.tree = load_tree(self._archive.pickle_bytes(), self.name)
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def tensor(self, node: object, where: str) -> torch.Tensor:
        """The tensor or parameter that `node` records, as a copy of its own. `where` names it in errors."""
        node = _unwrap_parameter(node)
        if not isinstance(node, Placeholder) or node.origin != "torch._utils._rebuild_tensor_v2":
            raise InputError(f"{self.name}: {where} is not a tensor", AGAIN)
        if len(node.args) < 4 or not isinstance(node.args[0], Storage):
            raise InputError(f"{self.name}: {where} has no storage", AGAIN)
        storage, offset = node.args[0], node.args[1]
        size, stride = _dimensions(node.args[2]), _dimensions(node.args[3])
        if size is None or stride is None or len(size) != len(stride) or not _index(offset):
            raise InputError(f"{self.name}: {where} has impossible dimensions; refused")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
        if last >= max(storage.count, 1) or (count and not storage.count):
            raise InputError(f"{self.name}: {where} reaches beyond its storage; refused")
        self._built_bytes += count * STORAGES[storage.kind][1]
        if self._built_bytes > MAX_TENSOR_BYTES:
            raise InputError(f"{self.name} asks for more than {MAX_TENSOR_BYTES >> 30} GiB of tensors; refused")
        return self._storage(storage).as_strided(size, stride, offset).clone()

    def _storage(self, storage: Storage) -> torch.Tensor:
        import torch

        if storage not in self._storages:
            dtype, width = STORAGES[storage.kind]
            data = self._archive.storage_bytes(storage.key, storage.count * width)
            kind: torch.dtype = getattr(torch, dtype)
            flat = torch.frombuffer(bytearray(data), dtype=kind) if data else torch.empty(0, dtype=kind)
            self._storages[storage] = flat
        return self._storages[storage]


def load_tree(data: bytes, name: str) -> object:
    """The inert object tree of a pickle. `name` is the file in errors. Raises InputError, and nothing else."""
    try:
        _scan(data, name)
        return _Unpickler(data, name).load()
    except PICKLE_ERRORS as error:
        text = " ".join(str(error).split())[:80]
        raise InputError(f"{name} is damaged: its data.pkl cannot be read ({text})", AGAIN) from None


def printable(text: object) -> str:
    """A text from a file, made safe for one line of a terminal."""
    return str(text)[:80].encode("unicode_escape").decode()


class _Unpickler(pickle.Unpickler):
    """Answers names with inert classes and storages with their description."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(io.BytesIO(data))
        self._name = name
        self._classes: dict[str, type] = {"collections.OrderedDict": InertDict}

    def find_class(self, module: str, name: str, /) -> type:
        origin = f"{module}.{name}"
        if origin not in ALLOWED and origin.startswith(FAMILIES):
            text = f"{self._name} holds {printable(origin)}: a newer or unknown network, which edgeai does not build"
            raise InputError(text, "export it to ONNX with the code that trained it, and pass the .onnx file")
        if origin not in ALLOWED:
            raise InputError(f"{self._name} names {printable(origin)}, which no checkpoint needs; refused")
        if origin not in self._classes:
            self._classes[origin] = type(name, (Placeholder,), {"__slots__": (), "origin": origin})
        return self._classes[origin]

    def persistent_load(self, pid: Any, /) -> Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise InputError(f"{self._name} refers to something that is not a storage; refused")
        _, kind, key, _, count = pid
        origin = getattr(kind, "origin", "")
        if origin not in STORAGES or not isinstance(key, str) or not key.isalnum() or not _index(count):
            raise InputError(f"{self._name} describes a storage that cannot be; refused")
        return Storage(key=key, kind=origin, count=count)


_PARAMETERS = frozenset(
    {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter"}
)
_MARK = -1
_REFUSED = frozenset({"EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})


def _scan(data: bytes, name: str) -> None:
    """Walk the opcodes without running them; InputError where they ask for too much.

    Lengths are checked against the bytes that are there (by pickletools), memo numbers and nesting against limits:
    the unpickler allocates what a memo number asks for, and hashes nested tuples recursively in C.
    """
    stack: list[int] = []  # the nesting depth of each object, or _MARK
    memo: dict[int, int] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _REFUSED:
            raise InputError(f"{name} uses the pickle opcode {opcode.name}, which no checkpoint needs; refused")
        if count >= MAX_OPCODES:
            raise InputError(f"{name} has a data.pkl of more than {MAX_OPCODES} steps; refused")
        if opcode.name in _PUTS or opcode.name == "MEMOIZE":
            key = len(memo) if argument is None else argument
            if not 0 <= key < MAX_OPCODES:
                raise InputError(f"{name} asks for {key} memo entries; refused")
            memo[key] = stack[-1]
        elif opcode.name in _GETS:
            stack.append(memo[int(argument or 0)])
        elif opcode.name == "DUP":
            stack.append(stack[-1])
        elif opcode.name == "POP":
            stack.pop()
        else:
            _apply(opcode, stack)
        if stack and stack[-1] > MAX_DEPTH:
            raise InputError(f"{name} nests objects more than {MAX_DEPTH} deep; refused")


def _apply(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """The effect of an ordinary opcode on the stack of depths. IndexError or ValueError where it is malformed."""
    popped: list[int] = []
    for item in reversed(opcode.stack_before):
        if item is pickletools.stackslice:
            continue  # goes with the mark below it
        if item is pickletools.markobject:
            while (depth := stack.pop()) != _MARK:
                popped.append(depth)
        elif (depth := stack.pop()) == _MARK:
            raise ValueError("mark where an object belongs")
        else:
            popped.append(depth)
    if opcode.name == "TUPLE" and len(popped) > MAX_TUPLE:
        raise ValueError(f"a tuple of {len(popped)} elements")
    if opcode.name == "MARK":
        stack.append(_MARK)
    elif opcode.name in _FILLS:
        stack.append(max(popped[-1], 1 + max(popped[:-1], default=0)))
    else:
        stack.extend(1 + max(popped, default=0) for _ in opcode.stack_after)


def _unwrap_parameter(node: object) -> object:
    if isinstance(node, Placeholder) and node.origin in _PARAMETERS and node.args:
        inner: object = node.args[0]
        return inner
    return node


def _index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _dimensions(value: object) -> tuple[int, ...] | None:
    """A size or stride of the file as a tuple, or None where it is not one."""
    if isinstance(value, Placeholder) and value.origin == "torch.Size" and value.args:
        value = value.args[0]
    if not isinstance(value, tuple | list) or len(value) > MAX_DIMENSIONS or not all(_index(n) for n in value):
        return None
    return tuple(value)
