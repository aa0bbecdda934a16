"""A folder that holds whatever the examples of the help name, made by the commands themselves, small and only once.

Everything comes from the bundled network and a synthetic set at 64 px.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests"
sys.path += [str(TESTS / name) for name in ("device", "export", "stedgeai")]  # their fakes
SIZE = 64
DATA = """
[calibration]
images = "photos"
limit = 4
[evaluation]
images = "val/images"
annotations = "val/instances.json"
"""
PROJECT = f"""
[model]
path = "best.pt"
imgsz = {SIZE}
{DATA}
[gate]
max_drop = 100.0
"""
SWEEP = f"""
[sweep]
models = ["best.pt"]
imgsz = [{SIZE}]
boards = ["stm32n6"]
{DATA}
"""
RECIPE = """
observer = "min-max"
ranges = "observed"
biases = "analytic"
"""


class Sandbox:
    """Makes files on demand in one folder, and gives out copies of it."""

    def __init__(self, root: Path, kit: Path) -> None:
        self.root, self.kit = root / "all", kit
        self.home, self.bin = root / "home", root / "bin"
        for folder in (self.root, self.home / ".config/fish/completions", self.bin):
            folder.mkdir(parents=True)
        (self.root / ".edgeai").mkdir()
        _program(self.bin / "edgeai", f'exec "{sys.executable}" -m edgeai "$@"')
        _program(self.bin / "torchrun", f'exec "{sys.executable}" -m torch.distributed.run "$@"')
        self.core = root / "STEdgeAI" / "4.0"
        stedgeai = self.core / "Utilities/linux/stedgeai"
        stedgeai.parent.mkdir(parents=True)
        (self.core / "scripts/N6_scripts").mkdir(parents=True)
        shutil.copyfile(TESTS / "fakes/standin/n6_loader.py", self.core / "scripts/N6_scripts/n6_loader.py")
        _program(stedgeai, f'exec "{sys.executable}" "{TESTS / "fakes/stedgeai"}" "$@"')
        _linux_board(self.bin / "ssh", root / "board")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEAI_", "STEDGEAI"))}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.home), "PYTHONPATH": str(ROOT), "STEDGEAI_CORE_DIR": str(self.core)}
        return {**kept, **own, "COLUMNS": "80"}

    def run(self, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """What a shell makes of a line."""
        return subprocess.run(
            ["bash", "-c", line], cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def make(self, name: str) -> None:
        """Make a file or folder of the sandbox, and what it is made from."""
        if (self.root / name).exists():
            return
        needed, how = MAKERS[name]
        for other in needed:
            self.make(other)
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(how, str):
            done = self.run(how, self.root)
            assert done.returncode == 0, f"{name}: {how}\n{done.stdout}\n{done.stderr}"
        else:
            how(self)
        assert (self.root / name).exists(), f"{name} was not made"

    def copy(self, target: Path, names: Iterable[str]) -> None:
        """A folder of its own with the named things in it; all share the cache of stages."""
        target.mkdir()
        (target / ".edgeai").symlink_to(self.root / ".edgeai")
        for name in names:
            self.make(name)
            source, place = self.root / name, target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, place)


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _linux_board(ssh: Path, folder: Path) -> None:
    """An `ssh` that runs commands here, where the benchmark program prints what a board's one prints."""
    from test_mp2_bench import FAKE_SSH, printing
    from test_mp2_xlinux import BENCHMARK_MODEL

    folder.mkdir()
    printing(folder / "benchmark_model", BENCHMARK_MODEL)
    _program(ssh, FAKE_SSH.replace("$FAKE_TOOLS", str(folder)))


@contextmanager
def serial_board(model: Path) -> Iterator[str]:
    """The port of a board that computes `model`."""
    from test_validate_on_a_board import NetworkBoard

    with NetworkBoard(model) as board:
        yield board.port


def _bench(sandbox: Sandbox) -> None:
    _on_board(sandbox, "edgeai bench model.tflite --board stm32n6 -o main.json")


def _validation(sandbox: Sandbox) -> None:
    _on_board(sandbox, "edgeai validate model.tflite --board stm32n6 --inputs photos")
    (report,) = sandbox.root.glob("runs/validate/**/network_validate_report.txt")
    shutil.copyfile(report, sandbox.root / report.name)


def _on_board(sandbox: Sandbox, line: str) -> None:
    with serial_board(sandbox.root / "model.tflite") as port:
        done = sandbox.run(f"{line} --port {port}", sandbox.root)
    assert done.returncode == 0, done.stderr


def _checkpoint(sandbox: Sandbox) -> None:
    """The bundled network as a checkpoint with classes of another project inside."""
    import checkpoints

    from edgeai.models import load_model
    from edgeai.models.bundled import bundled_model

    weights = bundled_model("yolov8n-seg-synthetic")
    assert weights is not None
    network, spec = load_model(weights)
    network.names = dict(enumerate(spec.names))  # type: ignore[assignment]
    checkpoints.save_as_ultralytics(sandbox.root / "best.pt", {"model": network, "license": "CC0-1.0"})


def _faster_rcnn(sandbox: Sandbox) -> None:
    import zoo

    zoo.faster_rcnn(sandbox.root / "faster_rcnn.onnx", 96)


def _classifier(sandbox: Sandbox) -> None:
    import zoo

    zoo.export(zoo.seeded(zoo.ResNet(18, 2)), sandbox.root / "classifier.onnx", 96)


def _data_yaml(sandbox: Sandbox) -> None:
    """A YOLO set of two pictures with a rectangle each."""
    for kind in ("images", "labels"):
        (sandbox.root / "yolo" / kind / "train").mkdir(parents=True)
    for i, photo in enumerate(sorted((sandbox.root / "photos").iterdir())[:2]):
        shutil.copyfile(photo, sandbox.root / "yolo/images/train" / photo.name)
        label = sandbox.root / "yolo/labels/train" / f"{photo.stem}.txt"
        label.write_text(f"{i} 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(_names(sandbox)))
    (sandbox.root / "data.yaml").write_text(f"path: yolo\ntrain: images/train\nval: images/train\nnames:\n{names}\n")


def _names(sandbox: Sandbox) -> list[str]:
    import json

    return [entry["name"] for entry in json.loads((sandbox.root / "val/instances.json").read_text())["categories"]]


def _flowers(sandbox: Sandbox) -> None:
    for i, photo in enumerate(sorted((sandbox.root / "photos").iterdir())[:4]):
        folder = sandbox.root / "flowers" / ("rose" if i % 2 else "daisy")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, folder / photo.name)


def _photo(sandbox: Sandbox) -> None:
    shutil.copyfile(min((sandbox.root / "photos").iterdir()), sandbox.root / "photo.jpg")


def _video(sandbox: Sandbox) -> None:
    import cv2

    writer = cv2.VideoWriter(str(sandbox.root / "street.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (SIZE, SIZE))
    for photo in sorted((sandbox.root / "photos").iterdir()):
        image = cv2.imread(str(photo))
        assert image is not None
        writer.write(cv2.resize(image, (SIZE, SIZE)))
    writer.release()


def _measurements(sandbox: Sandbox) -> None:
    with (sandbox.root / "n6.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["model_name", "resolution", "board_time", "latency_ms", "tool_name", "tool_version"])
        rows.writerow(["a_256", "64x64x3", "STM32N6570-DK", "4.2", "STEdgeAI Core", "4.0.0"])


def _batch(sandbox: Sandbox) -> None:
    import numpy as np

    values = np.random.default_rng(0).integers(-128, 128, (2, SIZE, SIZE, 3))
    np.save(sandbox.root / "batch.npy", values.astype(np.int8))


def _kit(sandbox: Sandbox) -> None:
    (sandbox.root / "kit").symlink_to(sandbox.kit)


def _renamed(old: str) -> Callable[[Sandbox], None]:
    """The same file under another name."""

    def how(sandbox: Sandbox) -> None:
        name = next(name for name, (_, made) in MAKERS.items() if made is how)
        shutil.copyfile(sandbox.root / old, sandbox.root / name)

    return how


# name -> what it is made from, and how: a line of shell or a function
MAKERS: dict[str, tuple[tuple[str, ...], str | Callable[[Sandbox], None]]] = {
    "data": ((), "edgeai synth data --train 2 --val 6 --calibration 4 --seed 3"),
    "photos": (("data",), "cp -r data/calibration/images photos"),
    "val": (("data",), "cp -r data/val val"),
    "set": (("data",), "mkdir set && cp -r data/train data/val set"),
    "best.pt": ((), _checkpoint),
    "edgeai.toml": (("best.pt", "photos", "val"), lambda s: (s.root / "edgeai.toml").write_text(PROJECT)),
    "sweep.toml": (("best.pt", "photos", "val"), lambda s: (s.root / "sweep.toml").write_text(SWEEP)),
    "data.yaml": (("photos", "val"), _data_yaml),
    "yolo": (("data.yaml",), "true"),
    "photo.jpg": (("photos",), _photo),
    "street.mp4": (("photos",), _video),
    "flowers": (("photos",), _flowers),
    "n6.csv": ((), _measurements),
    "batch.npy": ((), _batch),
    "faster_rcnn.onnx": ((), _faster_rcnn),
    "kit": ((), _kit),
    "model.tflite": (("edgeai.toml",), "edgeai quantize -o model.tflite"),
    "per_tensor.tflite": (("edgeai.toml",), "edgeai quantize --per-tensor --layout concat -o per_tensor.tflite"),
    "concat_int8.tflite": (("per_tensor.tflite",), _renamed("per_tensor.tflite")),
    "recipe.toml": ((), lambda s: (s.root / "recipe.toml").write_text(RECIPE)),
    "int8.tflite": (("model.tflite",), _renamed("model.tflite")),
    "best_int8.tflite": (("model.tflite",), _renamed("model.tflite")),
    "somebody_elses_int8.tflite": (("model.tflite",), _renamed("model.tflite")),
    "a_256.tflite": (("model.tflite",), _renamed("model.tflite")),
    "a_320.tflite": (("per_tensor.tflite",), _renamed("per_tensor.tflite")),
    "classifier.onnx": ((), _classifier),
    "int8.json": (("model.tflite",), "edgeai evaluate model.tflite --json int8.json"),
    "fp32.json": (("int8.json",), _renamed("int8.json")),
    "a.json": (("int8.json",), _renamed("int8.json")),
    "b.json": (("a_320.tflite",), "edgeai evaluate a_320.tflite --json b.json"),
    "baselines.json": (
        ("a.json", "b.json"),
        "edgeai gate --store baselines.json --candidate a.json --candidate b.json --update",
    ),
    "n6.json": (("model.tflite",), "edgeai footprint model.tflite --board stm32n6 -o n6.json"),
    "main.json": (("model.tflite",), _bench),
    "runs/compile": (("model.tflite",), "edgeai compile model.tflite --board stm32n6"),
    "st_ai_output": (("runs/compile",), "cp -r runs/compile/*/ st_ai_output"),
    "network_validate_report.txt": (("runs/compile", "photos"), _validation),
    "runs/best": (("edgeai.toml",), "edgeai run"),
}
