"""The benchmark programs of an MP2 board: which is there, how it is called, what it measured."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from edgeai.device.linux.remote import COMMAND_SECONDS, Remote, last_line
from edgeai.device.linux.xlinux import (
    ToolReport,
    WrapperRow,
    parse_benchmark_model,
    parse_nbg_benchmark,
    parse_perf_test,
    parse_wrapper,
)
from edgeai.errors import DeviceError, InputError

DELEGATE = "/usr/lib/libvx_delegate.so.2"
WRAPPER = "x-linux-ai-benchmark"


@dataclass(frozen=True, slots=True)
class Kind:
    """The program for one kind of file: where X-LINUX-AI installs it, in what package, and how its output is read."""

    program: str
    folder: str
    package: str
    parse: Callable[[str], ToolReport]
    runtime: str


KINDS = {
    ".nb": Kind("nbg_benchmark", "nbg-benchmark", "nbg-benchmark", parse_nbg_benchmark, "OpenVX"),
    ".tflite": Kind(
        "benchmark_model", "tensorflow-lite", "libtensorflow-lite-tools", parse_benchmark_model, "TensorFlow Lite"
    ),
    ".onnx": Kind("onnxruntime_perf_test", "onnxruntime", "onnxruntime-tools", parse_perf_test, "ONNX Runtime"),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A benchmark program on the board. `version` is that of its folder."""

    kind: Kind
    path: str
    version: str


def kind_of(suffix: str) -> Kind:
    """The program for a file's suffix. Raises InputError where there is none."""
    found = KINDS.get(suffix.lower())
    if found is None:
        raise InputError(f"an MP2 board runs no {suffix or 'file without suffix'}", f"pass one of {', '.join(KINDS)}")
    return found


def find_tool(remote: Remote, kind: Kind) -> Tool:
    """The newest of the installed versions. Raises DeviceError where there is none."""
    pattern = f"/usr/local/bin/{kind.folder}-*/tools/{kind.program}"
    done = remote.run(f"ls -d {pattern} 2>/dev/null; command -v {kind.program}")
    paths = [line.strip() for line in done.output.splitlines() if line.strip().endswith(f"/{kind.program}")]
    if not paths:
        raise DeviceError(
            f"{kind.program} is not on {remote.name}",
            f"on the board: x-linux-ai -i {kind.package}, or apt-get install it",
        )
    path = max(paths, key=_version_key)
    found = re.search(rf"{re.escape(kind.folder)}-([^/]+)/", path)
    return Tool(kind, path, found.group(1) if found else "unknown")


def has_delegate(remote: Remote) -> bool:
    """Whether TensorFlow Lite can use the NPU and the GPU."""
    return remote.run(f"[ -e {DELEGATE} ]").status == 0


def measure(
    remote: Remote, tool: Tool, model: str, folder: str, runs: int, warmup: int, accelerated: bool, seconds: float
) -> ToolReport:
    """Run the program once. Raises DeviceError where it fails, with what it said."""
    # nbg_benchmark writes its outputs where it runs
    command = f"cd {shlex.quote(folder)} && {_command(tool, model, runs, warmup, accelerated)}"
    done = remote.run(command, seconds)
    if done.status and tool.kind.program != "nbg_benchmark":
        raise DeviceError(f"{tool.kind.program} failed on {remote.name}: {last_line(done)}")
    return tool.kind.parse(done.output)


def _command(tool: Tool, model: str, runs: int, warmup: int, accelerated: bool) -> str:
    path, file = shlex.quote(tool.path), shlex.quote(model)
    if tool.kind.program == "nbg_benchmark":
        return f"{path} -m {file} -l {runs}"
    if tool.kind.program == "benchmark_model":
        delegate = f" --external_delegate_path={DELEGATE}" if accelerated else ""
        counts = f"--num_runs={runs} --warmup_runs={max(warmup, 1)} --min_secs=0 --warmup_min_secs=0"
        return f"{path} --graph={file} {counts} --num_threads=2 --report_peak_memory_footprint=true{delegate}"
    provider = " -e vsinpu" if accelerated else ""
    return f"{path} -I -m times -r {runs} -P -y 1 -x 2{provider} {file}"


def engine_shares(remote: Remote, model: str, seconds: float) -> WrapperRow | None:
    """What the wrapper says of the engines; None where it is not installed or prints something else."""
    if remote.run(f"command -v {WRAPPER}", COMMAND_SECONDS).status:
        return None
    done = remote.run(f"{WRAPPER} -m {shlex.quote(model)} --minimal_serial", seconds)
    rows = parse_wrapper(done.output)
    return rows[0] if len(rows) == 1 else None


def _version_key(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]
