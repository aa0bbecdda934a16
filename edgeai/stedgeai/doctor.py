"""Look for the tools and packages that edgeai calls; change nothing."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeai.artifacts import Check, DoctorReport
from edgeai.errors import EdgeAIError
from edgeai.stedgeai import locate, process

PROBE_TIMEOUT_S = 20.0
CORE = ("numpy", "ai-edge-litert", "opencv-python-headless", "pycocotools", "pyserial", "click")
CONVERT = ("torch", "tensorflow", "onnx", "onnx2tf", "onnxruntime", "safetensors")
REPORT = ("matplotlib",)
_PROGRAMMER = (
    "~/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin", "/opt/st/stm32cubeprogrammer/bin",
    "/usr/local/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin",
    "C:/Program Files/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin",
)  # fmt: skip
_PORTS = ("/dev/ttyACM*", "/dev/ttyUSB*")


def examine(stedgeai: Path | None = None) -> DoctorReport:
    """Everything in the order of how often it is needed."""
    return DoctorReport(
        (
            _core(stedgeai),
            _loader(stedgeai),
            _program(
                "Arm GCC", ("arm-none-eabi-gcc",), "apt install gcc-arm-none-eabi, or STM32CubeIDE's tools/bin on PATH",
                "firmware",
            ),
            _program(
                "STM32CubeProgrammer", ("STM32_Programmer_CLI",), "install STM32CubeProgrammer from st.com",
                "validate --board stm32n6", _PROGRAMMER,
            ),
            _program("QEMU, Cortex-M55", ("qemu-system-arm",), "apt install qemu-system-arm", "emulated boards"),
            _program("QEMU, Linux boards", ("qemu-system-aarch64",), "apt install qemu-system-arm", "emulated MP2"),
            _serial(),
            _packages("packages", CORE, "pip install edgeai", "inspect, footprint, evaluate, bench"),
            _packages("packages to convert", CONVERT, "pip install 'edgeai[convert]'", "import, export, quantize"),
            _packages("packages to plot", REPORT, "pip install 'edgeai[report]'", "report"),
        )
    )  # fmt: skip


def _core(given: Path | None) -> Check:
    name, use = "ST Edge AI Core", "compile, validate"
    try:
        found = locate.locate(given)
    except EdgeAIError as error:
        return Check(name, "missing", error.message, error.hint, use)
    text = f"{found.label} in {found.root or found.executable}"
    if found.toolchain != "ST Edge AI Core":
        return Check(name, "warning", text, "this is a test's stand-in: its figures are not ST's", use)
    if found.version.number < (2, 1, 0) or found.version.number >= (5, 0, 0):
        return Check(name, "warning", text, "its output was seen for versions 2.1 to 4.0.1 only", use)
    return Check(name, "ok", text, "", use)


def _loader(given: Path | None) -> Check:
    name, use = "loader of the N6", "validate --board stm32n6"
    try:
        found = locate.locate(given)
    except EdgeAIError:
        return Check(name, "missing", "needs ST Edge AI Core", locate.HOW, use)
    loader = found.scripts / "n6_loader.py" if found.scripts is not None else None
    if loader is None or not loader.is_file():
        return Check(name, "missing", "no scripts/N6_scripts/n6_loader.py", "install the component stneuralart", use)
    return Check(name, "ok", str(loader), "", use)


def _program(name: str, names: Sequence[str], hint: str, use: str, places: Sequence[str] = ()) -> Check:
    """A program on PATH or in a usual place, and the first version number it prints."""
    beside = (str(Path(place).expanduser() / program) for place in places for program in names)
    paths = (shutil.which(program) for program in names)
    path = next((p for p in (*paths, *(shutil.which(place) for place in beside)) if p), None)
    if path is None:
        return Check(name, "missing", f"no {names[0]} on PATH", hint, use)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            answer = process.run([path, "--version"], place / "log", place, PROBE_TIMEOUT_S)
        except EdgeAIError as error:
            return Check(name, "warning", error.message, hint, use)
    version = re.search(r"\d+\.\d+(?:\.\d+)*", answer.text)
    if answer.timed_out or version is None:
        return Check(name, "warning", f"{path} does not say its version", hint, use)
    return Check(name, "ok", f"{version[0]} in {path}", "", use)


def _serial() -> Check:
    """Whether the ports there are may be opened."""
    name, use = "serial ports", "validate, bench"
    ports = sorted(port for pattern in _PORTS for port in glob.glob(pattern))  # noqa: PTH207 - devices, not files
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Check(name, "warning", f"{', '.join(closed)}: no permission", "sudo usermod -aG dialout $USER", use)
    if ports:
        return Check(name, "ok", ", ".join(ports), "", use)
    if sys.platform.startswith("linux") and not _may_open_ports():
        hint = "sudo usermod -aG dialout $USER, then log in again"
        return Check(name, "warning", "no board; this user is not in the group dialout", hint, use)
    return Check(name, "ok", "no board is plugged in", "", use)


def _may_open_ports() -> bool:
    import grp

    if os.geteuid() == 0:
        return True
    names = set()
    for number in os.getgroups():
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return bool(names & {"dialout", "uucp", "plugdev"})


def _packages(name: str, packages: Sequence[str], hint: str, use: str) -> Check:
    found, lacking = [], []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lacking.append(package)
    if lacking:
        return Check(name, "missing", f"not installed: {', '.join(lacking)}", hint, use)
    return Check(name, "ok", ", ".join(found), "", use)
