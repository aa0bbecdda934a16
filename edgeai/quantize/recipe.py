"""How a network is quantised: the method, as a TOML file says it. An empty file is the default.

    granularity = "per-channel"     # else the command line or the project file decides
    observer = "least-squares"      # min-max, moving-average, percentile, entropy; effect: least squares of the error
                                    # that arrives at the outputs
    ranges = "auto"                 # tuned, or observed: leave the observer's ranges as they are
    biases = "analytic"             # for the weights' rounding alone; tuned, none
    weights = "auto"                # nearest; compensated: each rounding error made good by the next weights; learned:
                                    # from the float network, minutes. auto compensates per tensor, with tuned ranges
    steps = 300                     # of learning
    scores = "auto"                 # matched: as sure as the float network, by one shift a level; left. auto matches
                                    # where ranges or biases are tuned
    equalise = true                 # channels levelled between layers, where no SiLU stands between them; false: never.
                                    # Without the line ReLU networks are, where images that nothing else saw say so
    joint_scales = false            # true: one range for all that meets in a concatenation, so that nothing is rescaled
    upsample = "resize"             # transposed: by a convolution with fixed weights, which the NPU of an N6 runs
    decode = "int8"                 # float: what is computed from logits stays in floating point, which processors run
                                    # and accelerators do not
    images = 8                      # calibration images that tuning looks at in a trial
    trials = 2                      # each on images of its own, every second one with outputs of SiLUs that end where
                                    # their inputs do; other images choose the best

    [[exceptions]]                  # tensors whose name matches get another observer
    tensors = "*/Sigmoid*"
    observer = "min-max"
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from edgeai.artifacts import Granularity, Upsample, decode
from edgeai.errors import InputError
from edgeai.files import existing_file, parse_toml

Observer = Literal["least-squares", "min-max", "moving-average", "percentile", "entropy", "effect"]
OBSERVERS: tuple[Observer, ...] = get_args(Observer)
MOST_STEPS = 100_000
MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Exceptional:
    """Tensors whose name matches the pattern `tensors` (as in a shell) get `observer`. The first match counts."""

    tensors: str
    observer: Observer


@dataclass(frozen=True, slots=True)
class Method:
    """How to quantise. The defaults are the default recipe; docs/accuracy.md says what each choice is worth."""

    observer: Observer = "least-squares"
    ranges: Literal["auto", "tuned", "observed"] = "auto"
    biases: Literal["analytic", "tuned", "none"] = "analytic"
    weights: Literal["auto", "nearest", "compensated", "learned"] = "auto"
    steps: int = 300
    scores: Literal["auto", "matched", "left"] = "auto"
    equalise: bool | None = None
    joint_scales: bool = False
    upsample: Upsample = "resize"
    decode: Literal["int8", "float"] = "int8"
    images: int = 8
    trials: int = 2
    granularity: Granularity | None = None
    exceptions: tuple[Exceptional, ...] = ()

    def settled(self, granularity: Granularity) -> Method:
        """The method with "auto" decided: ranges tuned, weights per tensor compensated, scores matched where anything
        is tuned (docs/accuracy.md)."""
        method = replace(self, ranges="tuned" if self.ranges == "auto" else self.ranges)
        if method.weights == "auto":
            worth = method.ranges == "tuned" and granularity == "per-tensor"
            method = replace(method, weights="compensated" if worth else "nearest")
        return replace(method, scores=("matched" if method.tunes else "left") if self.scores == "auto" else self.scores)

    @property
    def tunes(self) -> bool:
        """Whether the float and the int8 network must be run beside each other."""
        return "tuned" in (self.ranges, self.biases) or self.weights != "nearest" or self.scores == "matched"

    def observer_of(self, name: str) -> Observer:
        """The observer of a tensor."""
        return next((e.observer for e in self.exceptions if fnmatch.fnmatchcase(name, e.tensors)), self.observer)

    @property
    def weighs_effect(self) -> bool:
        """Whether the observer of any tensor may be "effect"."""
        return "effect" in (self.observer, *(entry.observer for entry in self.exceptions))

    def describe(self) -> str:
        """One line for provenance and tables: what differs from one method to the next."""
        parts = [self.observer, f"ranges {self.ranges}", f"biases {self.biases}", f"weights {self.weights}"]
        parts += [f"{self.steps} steps"] * (self.weights == "learned")
        parts += ["scores left"] * (self.scores == "left")
        parts += ["equalised"] * (self.equalise is True)
        parts += ["joint scales"] * self.joint_scales + ["transposed upsampling"] * (self.upsample == "transposed")
        parts += ["float decode"] * (self.decode == "float")
        parts += [f"{len(self.exceptions)} exceptions"] * bool(self.exceptions)
        return ", ".join(parts)


DEFAULT = Method()


def read_recipe(path: Path) -> Method:
    """The method of a recipe file. Raises InputError where it is no TOML, or a key or value is not known."""
    try:
        body = parse_toml(existing_file(path, "a recipe (TOML)").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}", "a recipe is a TOML file") from None
    method = decode(Method, body, path.name)
    if not 1 <= method.images <= MOST_IMAGES:
        raise InputError(f"{path.name}: images = {method.images} is not within 1..{MOST_IMAGES}")
    if not 1 <= method.trials <= MOST_IMAGES:
        raise InputError(f"{path.name}: trials = {method.trials} is not within 1..{MOST_IMAGES}")
    if not 1 <= method.steps <= MOST_STEPS:
        raise InputError(f"{path.name}: steps = {method.steps} is not within 1..{MOST_STEPS}")
    if method.granularity == "float":
        raise InputError(f"{path.name}: granularity must be per-channel or per-tensor")
    return method
