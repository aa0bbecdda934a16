"""Agreement between two steps of the conversion, measured on one probe image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Parity
from edgeai.errors import ToolError

MIN_COSINE = 0.9999  # a float step that agrees less is broken, not imprecise


def probe_image(imgsz: int) -> NDArray[np.float32]:
    """A fixed picture [1,S,S,3] in 0..1 with structure at every scale: seeded noise, octave upon octave."""
    rng = np.random.default_rng(20)
    image = np.zeros((imgsz, imgsz, 3), np.float64)
    cells = imgsz // 32
    while cells <= imgsz:
        repeat = -(-imgsz // cells)
        octave = rng.random((cells, cells, 3)).repeat(repeat, axis=0).repeat(repeat, axis=1)
        image += octave[:imgsz, :imgsz] / np.sqrt(cells)
        cells *= 2
    image = (image - image.min()) / (image.max() - image.min())
    return np.asarray(image[None], np.float32)


def match_outputs(
    names: Sequence[str], expected: Sequence[NDArray[np.float32]], actual: Sequence[NDArray[np.float32]]
) -> list[int]:
    """For every expected output (NCHW or as it is) the place of the actual one (NHWC) that holds the same numbers.

    Converters reorder outputs, and shapes alone do not tell three levels of equal channel counts from each other.
    Raises ToolError where an output has no equal.
    """
    free = list(range(len(actual)))
    order = []
    for name, wanted in zip(names, expected, strict=True):
        image = to_nhwc(wanted)
        scored = [(_difference(image, actual[i]), i) for i in free]
        best, place = min(scored, default=(np.inf, -1))
        if not np.isfinite(best):
            shapes = ", ".join(str(a.shape) for a in actual)
            raise ToolError(f"the converter lost output {name} {image.shape}; it made {shapes}")
        free.remove(place)
        order.append(place)
    return order


def to_nhwc(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def _difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).mean()) if a.shape == b.shape else float("inf")


def check(parities: Sequence[Parity]) -> None:
    """Raises ToolError where a float step did not keep the numbers."""
    for parity in parities:
        if not parity.cosine >= MIN_COSINE:
            raise ToolError(
                f"{parity.step} changed output {parity.output}: cosine {parity.cosine:.6f}, "
                f"largest difference {parity.max_abs:.4g}",
                "report this with the model: a float conversion must keep every number",
            )
