"""The project file `edgeai.toml`: what a bare command works on. Options on the command line win over it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from edgeai.artifacts import Granularity, Layout, decode
from edgeai.cache import StageCache, default_root
from edgeai.errors import InputError
from edgeai.files import parse_toml, write_text

FILE_NAME = "edgeai.toml"


@dataclass(frozen=True, slots=True)
class ModelSection:
    path: str = ""
    imgsz: int = 256
    layout: Layout = "raw"


@dataclass(frozen=True, slots=True)
class QuantizeSection:
    granularity: Granularity = "per-channel"
    input_type: str = "int8"
    output_type: str = "int8"


@dataclass(frozen=True, slots=True)
class CalibrationSection:
    images: str = ""
    limit: int = 128
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationSection:
    """`skip_bad` leaves unreadable pictures and objects without area out; `allow_overlap` lets calibration images be
    evaluation images."""

    images: str = ""
    annotations: str = ""
    limit: int = 0
    skip_bad: bool = False
    allow_overlap: bool = False


@dataclass(frozen=True, slots=True)
class BoardsSection:
    targets: tuple[str, ...] = ("stm32n6",)


@dataclass(frozen=True, slots=True)
class GateSection:
    """`confidence` 0: the drop alone decides, its interval is only shown."""

    max_drop: float = 1.0
    metrics: tuple[str, ...] = ()
    confidence: float = 0.0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The content of `edgeai.toml`. Every key has a default; paths are relative to the file."""

    model: ModelSection = field(default_factory=ModelSection)
    quantize: QuantizeSection = field(default_factory=QuantizeSection)
    calibration: CalibrationSection = field(default_factory=CalibrationSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    boards: BoardsSection = field(default_factory=BoardsSection)
    gate: GateSection = field(default_factory=GateSection)


@dataclass(frozen=True, slots=True)
class Project:
    """Settings and the folder they speak of. Without a project file: defaults, the current folder, the user's cache."""

    root: Path
    settings: Settings
    found: bool

    def path(self, text: str) -> Path | None:
        """A path of the settings, or None where it is not set."""
        return self.root / text if text else None

    @property
    def cache(self) -> StageCache:
        return StageCache(self.root / ".edgeai" / "cache" if self.found else default_root())

    @property
    def runs(self) -> Path:
        return self.root / "runs"


def load_project(start: Path | None = None) -> Project:
    """The project of the nearest `edgeai.toml` from `start` upwards. Raises InputError where it has a mistake."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        file = folder / FILE_NAME
        if file.is_file():
            return Project(root=folder, settings=_read(file), found=True)
    return Project(root=here, settings=Settings(), found=False)


def _read(file: Path) -> Settings:
    try:
        table = parse_toml(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}", "`edgeai init` writes a fresh one") from None
    return decode(Settings, table, FILE_NAME)


TEMPLATE = """\
# What bare edgeai commands work on; options on the command line win. Paths are relative to this file.

[model]
path = {model}           # .pt, .safetensors or .onnx
imgsz = 256                # a multiple of 32
layout = "raw"             # raw | split | concat (ST's application code reads concat)

[quantize]
granularity = "per-channel"  # the N6 takes per-channel; the MP2's NPU wants per-tensor
input_type = "int8"        # int8 | uint8 | float32
output_type = "int8"       # int8 | float32

[calibration]
images = {calibration}     # a folder, a list or a manifest: 100 or so photos of what the camera will see
limit = 128
seed = 0

[evaluation]
images = {images}
annotations = {annotations}  # COCO format
limit = 0                  # 0: all images

[boards]
targets = ["stm32n6"]

[gate]
max_drop = 1.0             # points of AP against fp32
metrics = []               # empty: box_ap and mask_ap
confidence = 0.0           # 0.95: fail only where the drop is over the limit that surely
"""


def write_template(folder: Path, model: str, calibration: str, images: str, annotations: str) -> Path:
    """Write `edgeai.toml` into `folder`. Raises InputError where there is one."""
    file = folder / FILE_NAME
    if file.exists():
        raise InputError(f"{file} exists already", "edit it, or remove it first")
    values = {"model": model, "calibration": calibration, "images": images, "annotations": annotations}
    write_text(file, TEMPLATE.format(**{name: _quoted(value) for name, value in values.items()}))
    return file


def _quoted(text: str) -> str:
    """`text` as a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
