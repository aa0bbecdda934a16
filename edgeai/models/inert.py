"""Reading the inert object tree of a checkpoint: modules, weights, attributes and numbers, none of them ever run."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgeai.errors import InputError
from edgeai.models.unpickle import Placeholder

MAX_MODULE_DEPTH = 32
MAX_MODULES = 20_000  # and as many weights; the largest published network has under 2000
RETRAIN_HINT = "pass the .pt that training wrote (best.pt), or an ONNX file of the network"

_NAME = re.compile("[A-Za-z0-9_]{1,64}")
# What wraps a network without changing what it computes -> the name of what is inside.
_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
}
# Left by training beside the network: the loss, which may hold modules of its own.
_NOT_THE_NETWORK = frozenset({"criterion", "compute_loss", "loss"})
_NUMPY_SCALARS = frozenset({"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"})
_NUMPY_FORMATS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
_NUMPY_FORMATS |= {"f2": "e", "f4": "f", "f8": "d", "b1": "?"}


@dataclass(frozen=True, slots=True)
class Tree:
    """The modules of a network by their dotted names ("" is the network itself), and its parameters and buffers."""

    modules: dict[str, Placeholder] = field(default_factory=dict)
    weights: dict[str, object] = field(default_factory=dict)


def tree_of(model: Placeholder, name: str) -> Tree:
    """The modules and weights of a model in the order of the file, without wrappers; `name` is the file in errors.

    Raises InputError where modules nest too deep or are too many, or where there are no weights.
    """
    tree = Tree()

    def walk(node: Placeholder, path: str, depth: int) -> None:
        # a shared or cyclic module would be walked over and over: these limits end it
        if depth > MAX_MODULE_DEPTH or max(len(tree.modules), len(tree.weights)) > MAX_MODULES:
            raise InputError(f"{name} is not a checkpoint: its modules nest too deep or are too many")
        tree.modules[path] = node
        state = state_of(node)
        prefix = f"{path}." if path else ""
        for kind in ("_parameters", "_buffers"):
            for key, value in _named(state.get(kind)):
                if value is not None:
                    tree.weights[f"{prefix}{key}"] = value
        for key, child in _named(state.get("_modules")):
            if isinstance(child, Placeholder) and (path or key not in _NOT_THE_NETWORK):
                walk(unwrapped(child), f"{prefix}{key}", depth + 1)

    walk(unwrapped(model), "", 0)
    if not tree.weights:
        raise InputError(f"{name} holds no weights", RETRAIN_HINT)
    return tree


def unwrapped(node: Placeholder) -> Placeholder:
    """The module inside of torch.compile and the data-parallel wrappers; a module that is not wrapped as it is."""
    for _ in range(MAX_MODULE_DEPTH):
        if node.origin not in _WRAPPERS:
            break
        modules = state_of(node).get("_modules")
        inner = modules.get(_WRAPPERS[node.origin]) if isinstance(modules, dict) else None
        inner = inner or next(iter(node.args), None)  # torch.compile's says how to make it anew, not what is in it
        if not isinstance(inner, Placeholder):
            break
        node = inner
    return node


def state_of(node: object) -> dict[Any, Any]:
    """The attributes a placeholder was given, empty where there are none."""
    state = node.state if isinstance(node, Placeholder) else None
    return state if isinstance(state, dict) else {}


def class_of(node: Placeholder) -> str:
    """The name of a placeholder's class, without its module."""
    return node.origin.rpartition(".")[2]


def plain(value: object) -> object:
    """A number or text of numpy as Python has it; None where it cannot be read, anything else as it is."""
    if not isinstance(value, Placeholder) or value.origin not in _NUMPY_SCALARS:
        return value
    kind, data = (*value.args, None, None)[:2]
    code = kind.args[0] if isinstance(kind, Placeholder) and kind.args else None
    raw = _bytes(data)
    if not isinstance(code, str) or raw is None:
        return None
    state = kind.state if isinstance(kind, Placeholder) else None
    order = ">" if isinstance(state, tuple) and len(state) > 1 and state[1] == ">" else "<"
    code = code.lstrip("<>=|")
    try:
        if code.startswith("U"):
            return raw.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0")
        number: object = struct.unpack(f"{order}{_NUMPY_FORMATS[code]}", raw)[0]
    except (KeyError, struct.error, UnicodeDecodeError):
        return None
    return number


def _bytes(data: object) -> bytes | None:
    """Bytes, which pickles of protocol 2 spell as a call of _codecs.encode."""
    if isinstance(data, Placeholder) and data.origin == "_codecs.encode" and data.args:
        text = data.args[0]
        try:
            return text.encode("latin1") if isinstance(text, str) else None
        except UnicodeEncodeError:
            return None
    return data if isinstance(data, bytes) else None


def _named(value: object) -> Iterator[tuple[str, object]]:
    """The items of a dictionary of a module that have usable names."""
    if isinstance(value, dict):
        yield from ((key, item) for key, item in value.items() if isinstance(key, str) and _NAME.fullmatch(key))
