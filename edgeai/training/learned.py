"""The activation ranges that quantisation-aware training leaves beside its weights. Light: no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeai.artifacts import FileRef


@dataclass(frozen=True, slots=True)
class LearnedRange:
    """The range of the tensor that `module` makes; a ConvBnAct's `.bn` is its convolution before the activation."""

    module: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class LearnedRanges:
    """The activation ranges that training ended with, of the network in the file `weights`."""

    weights: FileRef
    granularity: Literal["per-channel", "per-tensor"]
    ranges: tuple[LearnedRange, ...]


def ranges_path(weights: Path) -> Path:
    """Where the learned ranges of a weight file lie."""
    return weights.with_suffix(".ranges.json")
