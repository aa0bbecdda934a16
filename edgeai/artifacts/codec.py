"""The JSON form of artifacts, and plain data checked against their types."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from typing import Any, Literal, TypeVar

from edgeai.errors import InputError

T = TypeVar("T")


def to_json(artifact: object) -> str:
    """An artifact as indented JSON with its type under `"artifact"`, newline at the end."""
    body = dataclasses.asdict(artifact)  # type: ignore[call-overload]
    return json.dumps({"artifact": type(artifact).__name__, **body}, indent=2, ensure_ascii=False) + "\n"


def from_json(kind: type[T], text: str, where: str = "the file") -> T:
    """The artifact of type `kind` that `to_json` wrote. Raises InputError, naming the field that is wrong."""
    try:
        body = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}", f"pass a {kind.__name__} that edgeai wrote") from None
    if not isinstance(body, dict):
        raise InputError(f"{where} is not a {kind.__name__}", f"pass a {kind.__name__} that edgeai wrote")
    found = body.pop("artifact", kind.__name__)
    if found != kind.__name__:
        raise InputError(f"{where} holds a {found}, not a {kind.__name__}", f"pass a {kind.__name__} that edgeai wrote")
    return decode(kind, body, where)


def decode(kind: type[T], value: object, where: str) -> T:
    """Plain data (from JSON or TOML) as the dataclass `kind`. Raises InputError naming the place that is wrong."""
    return typing.cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; checks every type on the way."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return _decode_generic(origin, arguments, value, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _decode_generic(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """A tuple (of one element type), a Literal or an optional."""
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list")
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if value is None and type(None) in arguments:
        return None
    return _decode(next(a for a in arguments if a is not type(None)), value, where)


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        near = difflib.get_close_matches(unknown[0], fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
        raise InputError(f"{where}: unknown key {unknown[0]!r}", hint)
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(value))
    if missing:
        raise InputError(f"{where}: {kind.__name__} lacks {missing[0]!r}")
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})
