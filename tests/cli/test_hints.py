"""A hint that names an option names one that exists, of the command it names or of one that can show it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import edgeai
from edgeai.cli import COMMANDS, cli

PACKAGE = Path(edgeai.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
COMMAND = re.compile(r"\bedgeai ([a-z-]+)([^`;]*)")  # a command line in a sentence, up to its end
COMMON = {"--help", "--version", "--debug"}
# folders whose errors only some commands can show
USERS = {
    "device": ("bench", "evaluate", "doctor", "validate", "postprocess", "blob"),
    "gate": ("gate", "run"),
    "stedgeai": ("compile", "validate", "doctor", "footprint", "quantize"),  # what does not fit is made smaller
    "sweep": ("sweep", "evaluate"),
    "training": ("train",),
}
# what looks like options and is none of ours: those of programs on a board and of ST's, variables of a style sheet
FOREIGN_FILES = (
    "device/emulated/initramfs.py", "device/linux/tools.py", "stedgeai/mpool.py", "report/html_style.py",
)  # fmt: skip
FOREIGN_TEXTS = ("argument --target: invalid choice",)


@dataclass(frozen=True)
class Text:
    """A string of the package with an option in it; the parts of an f-string between the values are one each."""

    file: Path
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line}: {self.words!r}"


def options_of(name: str) -> set[str]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    found = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
    if isinstance(command, click.Group):
        for part in command.commands.values():
            found |= {text for option in part.params for text in (*option.opts, *option.secondary_opts)}
    return {text for text in found if text.startswith("--")} | COMMON


def told(file: Path) -> Iterator[Text]:
    """Sentences that name an option, where an error, a warning or a note is made. Docstrings are not told to anybody,
    and a lone option is an argument of a program."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    silent = {id(node.value) for node in statements if isinstance(node.value, ast.Constant)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in silent:
            continue
        words = node.value.strip()
        if OPTION.search(words) and " " in words and not any(part in words for part in FOREIGN_TEXTS):
            yield Text(file, node.lineno, words)


def texts() -> list[Text]:
    foreign = {PACKAGE / name for name in FOREIGN_FILES}
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file not in foreign]
    return [text for file in files for text in told(file)]


def missing(text: Text, options: dict[str, set[str]]) -> set[str]:
    """The options of a text that no command has which it may be about."""
    rest, wrong = text.words, set()
    for match in COMMAND.finditer(text.words):
        if match[1] in options:
            wrong |= set(OPTION.findall(match[2])) - options[match[1]]
            rest = rest.replace(match[0], " ")
    place = text.file.relative_to(PACKAGE).parts[0]
    named = [word for word in re.findall(r"[a-z-]+", rest) if word in options]
    about = (*USERS.get(place, options), *named)
    return wrong | (set(OPTION.findall(rest)) - set().union(*(options[name] for name in about)))


def test_every_hint_names_options_that_exist() -> None:
    options = {name: options_of(name) for name in COMMANDS}
    found = texts()
    assert len(found) > 50
    wrong = [f"{text}: {', '.join(sorted(missing(text, options)))}" for text in found if missing(text, options)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("place", "words", "wrong"),
    [
        ("device/mp2.py", "give it with --password", set()),
        ("device/mp2.py", "give it with --passwort", {"--passwort"}),
        ("device/mp2.py", "quantize with --per-tensor", set()),
        ("device/mp2.py", "quantize with --epochs", {"--epochs"}),
        ("cli/run.py", "`edgeai doctor --serial` looks; --baseline", set()),
        ("cli/run.py", "`edgeai doctor --baseline` looks", {"--baseline"}),
    ],
)
def test_the_search_sees_what_is_wrong(place: str, words: str, wrong: set[str]) -> None:
    options = {name: options_of(name) for name in COMMANDS}
    assert missing(Text(PACKAGE / place, 1, words), options) == wrong
