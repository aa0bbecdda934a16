"""Every example of every command's help does what it says; and the help itself fits a terminal."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from helpers import kit_path
from sandbox import MAKERS, Sandbox, serial_board

from edgeai.cli import COMMANDS, cli

pytest.importorskip("torch", reason="the examples quantise")

# options whose full size only costs time
SMALLER = (
    ("--train 4000 --val 300 --calibration 128", "--train 2 --val 2 --calibration 2"),
    ("--imgsz 256", "--imgsz 64"),
    ("--imgsz 320", "--imgsz 96"),
    ("--epochs 100", "--epochs 1 --imgsz 64"),
    ("--epochs 30", "--epochs 1 --imgsz 64"),
)
# what a command reads without naming it
SILENT = {
    "card": ("runs/best",),
    "report": ("runs/best",),
    "licences": ("runs/best",),
    "train": ("yolo",),
    "validate": ("runs/compile",),
}
ON_SERIAL_BOARD = re.compile(r"edgeai (bench|validate) model\.tflite --board (stm32n6|STM32N6570-DK)\b")
WRITES = {"init": "edgeai.toml", "synth": "data"}


@dataclass(frozen=True)
class Example:
    command: str
    line: str


def examples() -> Iterator[Example]:
    """The lines of the examples in the help, without what is said behind them."""
    for name, command in commands():
        text = (command.help or "").replace("\\\n", " ")
        for line in text.splitlines():
            if re.match(r"(edgeai|torchrun) ", line.strip()):
                yield Example(name, re.sub(r"(?<=\S)   +.*", "", re.sub(r" +--", " --", line.strip())))


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    yield "", cli
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("examples"), kit_path())


def named(example: Example) -> list[str]:
    """What the sandbox must hold for an example."""
    words = example.line.split()
    found = [name for name in MAKERS if any(word.rstrip("/") == name or word.startswith(f"{name}/") for word in words)]
    wanted = ["photos", "val", "best.pt", *SILENT.get(example.command, ()), *found]
    if "flowers" not in found:
        wanted.append("edgeai.toml")
    if "--compare" in words:
        wanted.append("runs/compile")
    return [name for name in dict.fromkeys(wanted) if name != WRITES.get(example.command)]


@pytest.mark.slow
@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.line)
def test_an_example_of_the_help_works(example: Example, sandbox: Sandbox, tmp_path: Path) -> None:
    if "kit/" in example.line and not sandbox.kit.is_dir():
        pytest.skip("no data kit: set EDGEAI_KIT to its folder")
    sandbox.copy(tmp_path / "work", named(example))
    if "emulated-n6" in example.line and shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")
    with here(example, tmp_path / "work", sandbox) as line:
        done = sandbox.run(line, tmp_path / "work")
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@contextmanager
def here(example: Example, folder: Path, sandbox: Sandbox) -> Iterator[str]:
    """The line of an example with the addresses of this machine, for as long as somebody answers at them."""
    line = example.line.replace("/opt/ST/STEdgeAI/4.0", str(sandbox.core)).replace("192.168.7.1", "root@board.local")
    for old, new in SMALLER:
        line = line.replace(old, new)
    with ExitStack() as stack:
        if "tcp://" in line:
            dask = pytest.importorskip("dask", reason="dask is not installed")
            distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
            workers = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
            stack.enter_context(dask.config.set({"distributed.worker.daemon": False}))
            cluster = stack.enter_context(distributed.LocalCluster(**workers))
            line = re.sub(r"tcp://[\d.:]+", cluster.scheduler_address, line)
        if ON_SERIAL_BOARD.match(line):
            port = stack.enter_context(serial_board(folder / "model.tflite"))
            line = line.replace("/dev/ttyACM0", port) if "--port" in line else f"{line} --port {port}"
        yield line


@pytest.mark.parametrize(("name", "command"), [pytest.param(*entry, id=entry[0] or "edgeai") for entry in commands()])
def test_the_help_of_a_command_has_an_example_and_fits_a_terminal(name: str, command: click.Command) -> None:
    context = click.Context(command, info_name=f"edgeai {name}", terminal_width=80)
    shown = command.get_help(context).splitlines()
    assert [line for line in shown if len(line) > 80] == []
    assert any(example.command == name for example in examples())
    assert not any("..." in example.line for example in examples() if example.command == name)
    first = (command.help or "").split("\n")[0]
    assert len(first) > 20 and first[0].isupper()
