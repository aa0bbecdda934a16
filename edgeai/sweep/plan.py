"""The sweep file: which models, sizes, layouts, granularities, recipes and boards to combine."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeai.artifacts import FileRef, Granularity, Layout, SweepPoint, decode
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref, parse_toml
from edgeai.project import CalibrationSection, EvaluationSection

HINT = "an example is in docs/sweeps.md"


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a sweep; a point is one value of each. A recipe is a TOML file; "" is the default."""

    models: tuple[str, ...] = ()
    imgsz: tuple[int, ...] = (256,)
    layout: tuple[Layout, ...] = ("raw",)
    granularity: tuple[Granularity, ...] = ("per-channel",)
    recipes: tuple[str, ...] = ("",)
    boards: tuple[str, ...] = ("stm32n6",)


@dataclass(frozen=True, slots=True)
class SweepFile:
    """The content of a sweep file. Paths are relative to it."""

    sweep: Axes
    calibration: CalibrationSection = field(default_factory=CalibrationSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep file that was read, and where it is."""

    name: str
    root: Path
    file: FileRef
    body: SweepFile

    @property
    def points(self) -> tuple[SweepPoint, ...]:
        """Every combination, models outermost and boards innermost: the order of the table."""
        axes = self.body.sweep
        product = itertools.product(
            axes.models, axes.imgsz, axes.layout, axes.granularity, axes.recipes, axes.boards
        )
        return tuple(itertools.starmap(SweepPoint, product))

    def path(self, text: str) -> Path:
        """A path of the file."""
        return self.root / text


def read_plan(path: Path) -> Plan:
    """The plan of a sweep file. Raises InputError, naming the key, where it has a mistake."""
    try:
        table = parse_toml(existing_file(path, "a sweep file").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", HINT) from None
    body = decode(SweepFile, table, path.name)
    _check(body, path.name)
    return Plan(path.stem, path.resolve().parent, file_ref(path), body)


def relaxed(plan: Plan, skip_bad: bool, allow_overlap: bool) -> Plan:
    """The plan with what the command line allows beside its file."""
    given = plan.body.evaluation
    evaluation = replace(
        given, skip_bad=skip_bad or given.skip_bad, allow_overlap=allow_overlap or given.allow_overlap
    )
    return replace(plan, body=replace(plan.body, evaluation=evaluation))


def _check(body: SweepFile, name: str) -> None:
    axes = body.sweep
    for axis in ("models", "imgsz", "layout", "granularity", "recipes", "boards"):
        values = getattr(axes, axis)
        if not values:
            raise InputError(f"{name}: sweep.{axis} is empty", HINT)
        if len(set(values)) != len(values):
            raise InputError(f"{name}: sweep.{axis} names a value twice", "every value once")
    if "float" in axes.granularity:
        raise InputError(f"{name}: sweep.granularity: 'float' is no int8 file", "per-channel or per-tensor")
    names_images = Path(body.evaluation.annotations).suffix.lower() in (".yaml", ".yml")  # a YOLO data.yaml
    for key, value in (("images", body.evaluation.images), ("annotations", body.evaluation.annotations)):
        if not value and not (key == "images" and names_images):
            raise InputError(f"{name}: evaluation.{key} is missing", HINT)
    if not body.calibration.images:
        raise InputError(f"{name}: calibration.images is missing", HINT)
