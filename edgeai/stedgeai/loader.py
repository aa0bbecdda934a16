"""Flash weights and validation firmware into an STM32N6 with ST's loader script; success is its success line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeai.board import Board
from edgeai.errors import DeviceError, ToolError
from edgeai.files import write_text
from edgeai.stedgeai.commands import BUILDS, NETWORK
from edgeai.stedgeai.failures import Failure, find_failures
from edgeai.stedgeai.locate import Installation
from edgeai.stedgeai.process import ended, run
from edgeai.stedgeai.text import clean

SUCCESS = "Start operation achieved successfully"
FAILED = ("Loading memories failed", "Start operation did not achieve successfully")
TIMEOUT_S = 600.0
CONFIG = "config_n6l.json"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The loader's command, its folder, and the text of its configuration file."""

    command: tuple[str, ...]
    cwd: Path
    config: str


def load_plan(tool: Installation, board: Board, compiled: Path, work: Path) -> LoadPlan:
    """How to load a compiled network. Raises ToolError where the installation brings no loader."""
    scripts = tool.scripts
    if scripts is None or not (scripts / "n6_loader.py").is_file():
        raise ToolError(f"{tool.executable} brings no scripts/N6_scripts/n6_loader.py",
                        "install the component stneuralart, or pass --no-load")  # fmt: skip
    assert tool.root is not None
    config = {
        "network.c": str(compiled / "output" / f"{NETWORK}.c"),
        "project_path": str(tool.root / "Projects" / "STM32N6570-DK" / "Applications" / "NPU_Validation"),
        "project_build_conf": BUILDS.get(board.name, "N6-DK"),
        "skip_external_flash_programming": False,
        "skip_ram_data_programming": False,
    }
    # `--n6-loader-config` is the option of 2.x; 4.0 calls it deprecated and asks for `--config-file`
    option = "--config-file" if tool.version.number >= (4, 0, 0) else "--n6-loader-config"
    command = (sys.executable, str(scripts / "n6_loader.py"), option, str(work / CONFIG))
    return LoadPlan(command, scripts, json.dumps(config, indent=2) + "\n")


def load(
    plan: LoadPlan, work: Path, log: Path, timeout_s: float = TIMEOUT_S, on_line: Callable[[str], None] | None = None
) -> tuple[str, ...]:
    """Run the loader; what it warned of. Raises DeviceError unless it says that the program was started.

    A validation after a failed load would measure the firmware that was there before.
    """
    write_text(work / CONFIG, plan.config)
    outcome = run(plan.command, log, plan.cwd, timeout_s, on_line)
    said = read_loader_log(outcome.text)
    if outcome.timed_out or outcome.status != 0 or not said.started:
        causes = [failure for failure in said.failures if "loader" not in failure.message] or list(said.failures)
        if causes and not outcome.timed_out:
            raise causes[0].error("the loader", str(log))
        raise DeviceError(f"the loader {ended(outcome)} and did not start the program", f"its output is in {log}")
    return tuple(f"loader: {failure.message}" for failure in said.failures)


@dataclass(frozen=True, slots=True)
class LoaderLog:
    """Whether the loader says, as its last word, that the program was started; and the failures on the way."""

    started: bool
    failures: tuple[Failure, ...]


def read_loader_log(text: str) -> LoaderLog:
    """The loader's output, or its file `n6_loader.log`."""
    verdicts = [line for line in clean(text) if SUCCESS in line or any(word in line for word in FAILED)]
    return LoaderLog(bool(verdicts) and SUCCESS in verdicts[-1], find_failures(text))
