"""Builds the C post-processing for a model, on the host or for the emulated Cortex-M55, and runs outputs through it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.decode import Output
from edgeai.evaluate.postprocess import Thresholds
from edgeai.firmware.postprocess import CONFIG, NETWORK, SOURCES, sources_folder
from edgeai.imaging.images import letterbox, read_image

WARNINGS = "-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror".split()
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all".split()
M55 = (
    "-O2 -mcpu=cortex-m55 -mthumb -mfloat-abi=hard -ffunction-sections -fdata-sections -nostartfiles -Wl,--gc-sections"
).split()
# one instruction lasts 2 ns under -icount shift=1; the board's SysTick runs at 32 MHz
INSTRUCTIONS_PER_TICK = 1e9 / 32e6 / 2
DETECTION = struct.Struct("<5fHHI")


@dataclass(frozen=True)
class Shot:
    """One image as the network left it: its outputs, and the size of the image they came from."""

    outputs: tuple[Output, ...]
    width: int
    height: int


@dataclass(frozen=True)
class Found:
    """What the C code found; `masks` [height, width] bool each, `ticks` of detection and of all masks."""

    status: int
    above_threshold: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: tuple[NDArray[np.bool_], ...]
    ticks: tuple[int, int]


def shots(model: Path, images: list[Path]) -> list[Shot]:
    """Every image through the network."""
    made = []
    with open_runner(model, threads=1) as runner:
        for path in images:
            pixels = read_image(path)
            outputs = runner.infer(letterbox(pixels, runner.input_size)[0])
            kept = tuple(Output(np.array(o.array), o.scale, o.zero_point) for o in outputs)
            made.append(Shot(kept, pixels.shape[1], pixels.shape[0]))
    return made


def compiler(name: str) -> str:
    """The path of a compiler or emulator; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def build_host(folder: Path, *flags: str) -> Path:
    """The check program for this machine from the sources in `folder`."""
    program = folder / "check"
    _compile([compiler("gcc"), *WARNINGS, *(flags or ("-O2",))], folder, "port_host.c", program)
    return program


def build_m55(folder: Path) -> Path:
    program = folder / "check.elf"
    script = sources_folder() / "check" / "an547.ld"
    _compile([compiler("arm-none-eabi-gcc"), *WARNINGS, *M55, f"-T{script}"], folder, "port_an547.c", program)
    return program


def _compile(command: list[str], folder: Path, port: str, program: Path) -> None:
    check = sources_folder() / "check"
    sources = [str(folder / name) for name in (*SOURCES, NETWORK) if name.endswith(".c")]
    sources += [str(check / "main.c"), str(check / port)]
    command = [*command, f"-I{folder}", f"-I{check}", *sources, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{(folder / CONFIG).name}: {done.stderr}"


def run_host(program: Path, shots: Sequence[Shot], thresholds: Thresholds, masks: bool = True) -> list[Found]:
    return _run([str(program)], program.parent, shots, thresholds, masks, 300)


def run_m55(program: Path, shots: Sequence[Shot], thresholds: Thresholds, masks: bool = True) -> list[Found]:
    command = [
        compiler("qemu-system-arm"), "-M", "mps3-an547", "-cpu", "cortex-m55", "-display", "none", "-monitor", "none",
        "-serial", "none", "-semihosting-config", "enable=on,target=native", "-icount", "shift=1,sleep=off",
        "-kernel", str(program),
    ]  # fmt: skip
    return _run(command, program.parent, shots, thresholds, masks, 300)


def _run(
    command: list[str], folder: Path, shots: Sequence[Shot], thresholds: Thresholds, masks: bool, seconds: float
) -> list[Found]:
    with (folder / "check.in").open("wb") as stream:
        stream.write(struct.pack("<I", len(shots)))
        for shot in shots:
            asked = (shot.width, shot.height, thresholds.conf, thresholds.iou, thresholds.max_det, masks)
            stream.write(struct.pack("<IIffII", *asked))
            for output in shot.outputs:
                stream.write(np.ascontiguousarray(output.array).tobytes())
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
    reader = _Answers((folder / "check.out").read_bytes())
    found = [reader.next(shot, masks) for shot in shots]
    assert reader.at == len(reader.data)
    return found


class _Answers:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def next(self, shot: Shot, masks: bool) -> Found:
        count, above, detect_ticks = self.take("<iII")
        rows, drawn = [], []
        for _ in range(max(count, 0)):
            rows.append(DETECTION.unpack_from(self.data, self.at))
            self.at += DETECTION.size
            if masks:
                drawn.append(self.mask(shot))
        (mask_ticks,) = self.take("<I")
        values = np.array([row[:6] for row in rows], np.float64).reshape(-1, 6)
        return Found(
            status=count,
            above_threshold=above,
            boxes=values[:, :4].astype(np.float32),
            scores=values[:, 4].astype(np.float32),
            classes=values[:, 5].astype(np.int64),
            masks=tuple(drawn),
            ticks=(detect_ticks, mask_ticks),
        )

    def mask(self, shot: Shot) -> NDArray[np.bool_]:
        x1, y1, x2, y2 = self.take("<4H")
        size = (y2 - y1) * (x2 - x1)
        inside = np.frombuffer(self.data, np.uint8, size, self.at).reshape(y2 - y1, x2 - x1)
        self.at += size
        assert not inside.size or inside.max() <= 1
        whole = np.zeros((shot.height, shot.width), np.bool_)
        whole[y1:y2, x1:x2] = inside
        return whole
