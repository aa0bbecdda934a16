"""The exact command lines of ST Edge AI Core for a board, and the files that they need."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeai.board import Board
from edgeai.errors import InputError
from edgeai.stedgeai.mpool import (
    OPTIONS,
    POOL_FILE,
    PROFILE_FILE,
    PROFILE_NAME,
    mcu_pool_file,
    pool_file,
    profile_file,
)

Action = Literal["generate", "analyze"]
NETWORK = "network"
BUILDS = {"STM32N6570-DK": "N6-DK", "NUCLEO-N657X0-Q": "N6-Nucleo"}  # of the validation firmware
MPU = "stm32mp25"
_TYPES = {".tflite": "tflite", ".onnx": "onnx"}


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What the user may choose. `profile` is `NAME@FILE` of their own; `level` the accelerator's optimisation 0..3.

    `for_application`: memory pools, epoch controller and input type as ST's camera applications for the N6 have them.
    """

    action: Action = "generate"
    profile: str = ""
    level: int = 3
    epoch_controller: bool = False
    optimization: str = ""
    compression: str = ""
    input_type: str = ""
    output_type: str = ""
    for_application: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: the command, and the files (name below `work`, text) that must be there before."""

    command: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    work: Path
    output: Path
    workspace: Path


def is_npu(board: Board) -> bool:
    """Whether the board's compiler is the Neural-ART one."""
    return "--st-neural-art" in board.toolchain.options


def is_mpu(board: Board) -> bool:
    """Whether the target is a Linux board whose NPU runs network binary graphs."""
    return board.toolchain.target.startswith("stm32mp2")


def compile_plan(executable: str, model: Path, board: Board, work: Path, options: CompileOptions) -> Plan:
    """`stedgeai generate` or `analyze` of a model for a board, everything it writes below `work`."""
    output, workspace = work / "output", work / "workspace"
    target = board.toolchain.target
    command = [executable, options.action, "--model", str(model), "--target", target]
    files: list[tuple[str, str]] = []
    if is_npu(board):
        chosen, files = _profile(board, work, options)
        command += ["--st-neural-art", chosen, *_extra(board)]
        if options.epoch_controller and options.profile and options.action == "generate":
            command.append("--enable-epoch-controller")
    elif is_mpu(board):
        command += ["--type", _TYPES.get(model.suffix.lower(), "tflite"), *_extra(board)]
    else:
        pools = mcu_pool_file(board)
        if pools is not None:
            files = [("pools.json", pools)]
            command += ["--memory-pool", str(work / "pools.json")]
        command += ["--c-api", "st-ai", *_extra(board)]
    if not is_mpu(board):
        command += ["--name", NETWORK]
        command += _chosen(options)
    command += ["--workspace", str(workspace), "--output", str(output), "--quiet"]
    return Plan(tuple(command), tuple(files), work, output, workspace)


def _profile(board: Board, work: Path, options: CompileOptions) -> tuple[str, list[tuple[str, str]]]:
    """The profile to name, and the files that define it where the user gave none."""
    if options.profile:
        return options.profile, []
    compiler = OPTIONS.replace("--optimization 3", f"--optimization {options.level}")
    if options.for_application:
        compiler = compiler.replace("--Oauto-sched", "--Oalt-sched")
    if options.epoch_controller:  # an option of the compiler in every version, of the command line in 4.0 only
        compiler += " --enable-epoch-controller"
    files = [(POOL_FILE, pool_file(board, options.for_application)), (PROFILE_FILE, profile_file(options=compiler))]
    return f"{PROFILE_NAME}@{work / PROFILE_FILE}", files


def _extra(board: Board) -> list[str]:
    return [option for option in board.toolchain.options if option != "--st-neural-art"]


def _chosen(options: CompileOptions) -> list[str]:
    pairs = (
        ("--optimization", options.optimization),
        ("--compression", options.compression),
        ("--input-data-type", options.input_type),
        ("--output-data-type", options.output_type),
    )
    return [word for name, value in pairs if value for word in (name, value)]


def checked(options: CompileOptions, board: Board) -> CompileOptions:
    """The options with what `for_application` asks for. Raises InputError where options do not go together, or with the
    board.
    """
    types = options.input_type or options.output_type
    if types and is_mpu(board):
        raise InputError(f"the compiler for {board.name} takes the types of the file", "leave --input-data-type out")
    if not options.for_application:
        return options
    if not is_npu(board):
        raise InputError(f"--for-application is for the STM32N6, not for {board.name}", "leave it out")
    if options.profile:
        raise InputError("--for-application and --profile both choose the memory pools", "leave one of them out")
    if options.input_type not in ("", "uint8"):
        raise InputError(f"ST's applications feed uint8, not {options.input_type}", "leave --input-data-type out")
    return dataclasses.replace(options, epoch_controller=True, input_type="uint8")


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """How to validate: on the target through `port`, or `host`. `samples` is the number of inputs in the file."""

    mode: Literal["target", "host"] = "target"
    port: str = ""
    baud: int = 115200
    samples: int = 10
    io_only: bool = False


def validate_command(
    executable: str, model: Path, board: Board, compiled: Path, work: Path, inputs: Path,
    version: tuple[int, int, int], options: ValidateOptions,
) -> tuple[str, ...]:  # fmt: skip
    """`stedgeai validate` of a compiled model; `compiled` is the folder that `compile_plan` worked in."""
    command = [executable, "validate", "--model", str(model), "--target", board.toolchain.target]
    if is_npu(board):
        profile = compiled / PROFILE_FILE
        command += ["--st-neural-art", f"{PROFILE_NAME}@{profile}"] if profile.exists() else ["--st-neural-art"]
    else:
        command += ["--c-api", "st-ai"]
    command += ["--name", NETWORK, "--mode", options.mode]
    if options.mode == "target":
        port = f":{options.port}" if options.port else ""
        command += ["--desc", f"serial{port}:{options.baud}"]
    command += ["--batch-size", str(options.samples), "--valinput", str(inputs)]
    info = compiled / "output" / f"{NETWORK}_c_info.json"
    if version >= (4, 0, 0) and is_npu(board) and info.exists():  # seen from 4.0 on
        command += ["--val-json", str(info)]
    if options.io_only:
        command.append("--io-only")
    return (*command, "--workspace", str(work / "workspace"), "--output", str(work / "output"), "--quiet")


def plain_name(path: Path) -> str:
    """A file name of ASCII letters, digits, dots and dashes: what every version of the tool reads."""
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", path.stem.encode("ascii", "ignore").decode()).strip("_.")
    return (stem or "model") + path.suffix.lower()
