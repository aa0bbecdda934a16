"""Find an installation of ST Edge AI Core, and ask it for its version."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import Toolchain
from edgeai.errors import ToolError
from edgeai.stedgeai import process
from edgeai.stedgeai.text import STAND_IN, CoreVersion, find_version

VARIABLE = "STEDGEAI_CORE_DIR"
VERSION_TIMEOUT_S = 60.0  # the tool unpacks itself at its first start
SYSTEM = {"linux": "linux", "darwin": "mac", "win32": "windows"}.get(sys.platform, "linux")
USUAL = (
    "/opt/ST/STEdgeAI", "/opt/stedgeai", "C:/ST/STEdgeAI", "~/ST/STEdgeAI",
    "~/STM32Cube/Repository/Packs/STMicroelectronics/X-CUBE-AI",
)  # fmt: skip
HOW = f"install ST Edge AI Core from st.com and set {VARIABLE} to its folder, or pass --stedgeai PATH"


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation: the executable, the root of its tree (where it has one), and what `--version` printed.

    `toolchain` is `stand-in` where the executable says so of itself: a test's, not ST's.
    """

    executable: Path
    root: Path | None
    version: CoreVersion
    toolchain: Toolchain

    @property
    def label(self) -> str:
        return f"{self.toolchain} {self.version}-{self.version.build}"

    @property
    def scripts(self) -> Path | None:
        """The folder of the loader of the N6."""
        folder = self.root / "scripts" / "N6_scripts" if self.root is not None else None
        return folder if folder is not None and folder.is_dir() else None


def candidates(given: Path | None = None) -> Iterator[Path]:
    """Executables in the order of the search: the option, the variable, PATH, the usual places (newest first)."""
    if given is not None:
        yield from _below(given)
        return
    if root := os.environ.get(VARIABLE):
        yield from _below(Path(root))
    if found := shutil.which("stedgeai"):
        yield Path(found)
    for place in USUAL:
        folder = Path(place).expanduser()
        if folder.is_dir():
            for version in sorted(folder.iterdir(), key=_order, reverse=True):
                yield from _below(version)


def _order(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", path.name))


def _below(path: Path) -> Iterator[Path]:
    """The executable at `path`, or in the tree below it."""
    name = "stedgeai.exe" if SYSTEM == "windows" else "stedgeai"
    systems = (SYSTEM, "macarm") if SYSTEM == "mac" else (SYSTEM,)
    places = [path] if path.is_file() else [path / "Utilities" / system / name for system in systems] + [path / name]
    yield from (place for place in places if place.is_file())


def locate(given: Path | None = None) -> Installation:
    """The installation to use. Raises ToolError where there is none, or none that starts."""
    refused: ToolError | None = None
    for executable in candidates(given):
        try:
            return probe(executable)
        except ToolError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    if given is not None:
        raise ToolError(f"{given} is not ST Edge AI Core", "pass its folder, or the executable stedgeai")
    raise ToolError("ST Edge AI Core was not found", HOW)


def probe(executable: Path) -> Installation:
    """Ask an executable for its version. Raises ToolError where it does not answer as ST Edge AI Core does."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        answer = process.run([str(executable), "--version"], place / "version.log", place, VERSION_TIMEOUT_S)
    if answer.timed_out:
        raise ToolError(f"{executable} --version did not end", "reinstall ST Edge AI Core")
    text = answer.text
    version = find_version(text)
    if version is None:
        raise ToolError(f"{executable} --version does not answer as ST Edge AI Core does", HOW)
    toolchain: Toolchain = "stand-in" if STAND_IN in text else "ST Edge AI Core"
    return Installation(executable.absolute(), _root(executable.absolute()), version, toolchain)


def _root(executable: Path) -> Path | None:
    """The tree an executable stands in: `ROOT/Utilities/<system>/stedgeai`."""
    parents = executable.resolve().parents
    if len(parents) > 2 and parents[1].name == "Utilities":
        return parents[2]
    variable = os.environ.get(VARIABLE)
    return Path(variable) if variable and Path(variable).is_dir() else None
