"""Follow a page: run its commands in a folder, and put what they print back into it.

    python docs/follow.py docs/tutorial.md

A command is a line of a ```console block that begins with `$ `, continued where it ends in a backslash; what it prints
on stdout stands below it. A ```toml block whose first line is `# NAME` is written to that file.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SHOWN_AS = "~/parts"  # what the page calls the folder
BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A command of the page, or a file that it shows."""

    command: str = ""
    file: str = ""
    content: str = ""


def steps(text: str) -> Iterator[Step]:
    """What the page tells to do, in order."""
    for kind, body in BLOCK.findall(text):
        yield from _steps(kind, body)


def _steps(kind: str, body: str) -> Iterator[Step]:
    if kind == "console":
        yield from (Step(command=command) for command in COMMAND.findall(body))
    elif named := re.match(r"# (\S+\.toml)\n", body):
        yield Step(file=named[1], content=body)


def perform(step: Step, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a step prints. Raises CalledProcessError where it fails."""
    if step.file:
        (folder / step.file).write_text(step.content)
        return ""
    command = ["bash", "-o", "pipefail", "-c", step.command]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def followed(text: str, do: Callable[[Step], str]) -> str:
    """The page with the output of every command as `do` gives it."""

    def block(found: re.Match[str]) -> str:
        kind, body = found[1], found[2]
        outputs = [(step.command, do(step)) for step in _steps(kind, body)]
        if kind == "toml":
            return found[0]
        shown = [f"$ {command}\n{output.strip()}".rstrip() for command, output in outputs]
        return "\n".join(["```console", "\n\n".join(shown), "```"])

    return BLOCK.sub(block, text)


def main(page: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "parts"
        folder.mkdir()
        text = followed(page.read_text(), lambda step: perform(step, folder).replace(str(folder), SHOWN_AS))
    page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
