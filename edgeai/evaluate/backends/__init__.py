"""Everything that runs a network on the host, behind one interface."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeai.errors import InputError
from edgeai.evaluate.backends.base import ONNX_KERNELS, Kernels, Runner
from edgeai.files import existing_file
from edgeai.kernels.table import SETS
from edgeai.recognise import NOTHING, Asked

__all__ = ["ONNX_KERNELS", "Kernels", "Runner", "open_runner", "with_names"]


def open_runner(
    path: Path,
    *,
    kernels: Kernels | None = None,
    threads: int = 1,
    imgsz: int | None = None,
    names: tuple[str, ...] = (),
    asked: Asked = NOTHING,
) -> Runner:
    """The runner of a model file, by its suffix: .tflite, .onnx, .pt or .safetensors.

    `kernels` is for TFLite (default XNNPACK, where it is right) and for ONNX with int8 activations (default integer);
    other files have one set, and a set of another kind of file does not count for them. `imgsz` is for checkpoints and
    ONNX files of dynamic size, and checked against the others.
    `names` replaces the class names, for files that carry none; `asked` is what the user says of a file that does not
    say it itself.
    Raises InputError where the file is missing, corrupt, of another kind or not decodable.
    """
    return with_names(_open(path, kernels, threads, imgsz, replace(asked, names=names or asked.names)), names, path)


def with_names(runner: Runner, names: tuple[str, ...], path: Path) -> Runner:
    """`runner` with other class names, where there are any. Raises InputError where they are too few or too many."""
    if names:
        spec = runner.contract.spec
        if len(names) != spec.nc:
            raise InputError(f"{path.name} has {spec.nc} classes, not {len(names)}", "name every class, in order")
        runner.contract = replace(runner.contract, spec=replace(spec, names=names))
    return runner


def _open(path: Path, kernels: Kernels | None, threads: int, imgsz: int | None, asked: Asked) -> Runner:
    existing_file(path, "a .tflite, .onnx, .pt or .safetensors file")
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        from edgeai.evaluate.backends.litert import LiteRtRunner

        chosen = kernels if kernels in SETS else None
        runner = LiteRtRunner(path, kernels=chosen, threads=threads, asked=asked)
        if imgsz and imgsz != runner.input_size:
            size = runner.input_size
            raise InputError(f"{path.name} has an input of {size} pixels, not {imgsz}", f"use --imgsz {size}")
        return runner
    if suffix == ".onnx":
        from edgeai.evaluate.backends.onnxrt import OnnxRunner

        return OnnxRunner(path, imgsz=imgsz, threads=threads, asked=asked, kernels=kernels)
    if suffix in (".pt", ".pth", ".safetensors"):
        from edgeai.evaluate.backends.pytorch import open_checkpoint

        return open_checkpoint(path, imgsz)
    if suffix == ".nb":
        raise InputError(
            f"{path.name} is a network binary for the NPU of an STM32MP2", "pass the .tflite or .onnx it was made from"
        )
    raise InputError(f"{path.name} is not a model that can be run", "pass a .tflite, .onnx, .pt or .safetensors file")
