"""Commands written out so that they run again as printed, in the folder where they ran first."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from edgeai.models.bundled import BUNDLED, bundled_model

SILENT = frozenset({"as_json", "markdown"})  # what changes where the result is shown, not the result


def shown(path: Path) -> str:
    """A path as the shell finds it from here: without this folder's own path in front, and no option by its dash."""
    known = next((name for name in BUNDLED if bundled_model(name) == path), None)
    if known is not None:
        return known
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def line(command: str, arguments: Sequence[Path], options: Iterable[tuple[str, object]]) -> str:
    """One line of shell. An option is left out where its value is None, False or "", a flag where it is True."""
    words = ["edgeai", command, *(shown(path) for path in arguments)]
    for name, value in options:
        if value is None or value is False or value == "":
            continue
        text = "" if value is True else shown(value) if isinstance(value, Path) else str(value)
        words += [name] if value is True else [f"{name}={text}"] if text.startswith("-") else [name, text]
    return shlex.join(words)


def as_typed(context: click.Context, arguments: Sequence[Path]) -> str:
    """The command that runs now, with the options of its command line; `arguments` may have come from elsewhere."""
    found: list[tuple[str, object]] = []
    for parameter in context.command.params:
        if not isinstance(parameter, click.Option) or parameter.name is None or parameter.name in SILENT:
            continue
        if context.get_parameter_source(parameter.name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name]
        name = max(parameter.opts, key=len)
        found += [(name, each) for each in value] if parameter.multiple else [(name, value)]
    return line(context.info_name or "", arguments, found)
