"""Whether a calibration set is enough: halves that agree, classes that occur."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeai.artifacts import CalibrationCheck, ModelSpec
from edgeai.export.heads import contract, roles
from edgeai.quantize.ranges.advice import SeenClasses, Widths, advice, check_of
from edgeai.quantize.ranges.histogram import Histogram, least_squares_range

SPEC = ModelSpec("yolov8n-seg", "yolov8", "segment", "n", ("cat", "dog", "bird"), num_coefs=5)
SIZE = 64


def filled(parts: list[np.ndarray]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def test_two_halves_make_the_histogram_of_the_whole() -> None:
    """Whatever the halves' bin widths are."""
    generator = np.random.default_rng(0)
    parts = [(generator.standard_normal(5000) * size).astype(np.float32) for size in (0.1, 3.0, 40.0, 1.0)]
    parts[1][::2] = 0
    whole, merged = filled(parts), filled(parts[::2]).merged(filled(parts[1::2]))
    assert np.array_equal(whole.counts, merged.counts)
    for name in ("exponent", "low", "high", "zeros", "images"):
        assert getattr(whole, name) == getattr(merged, name)
    assert merged.mean_high == pytest.approx(whole.mean_high)
    assert least_squares_range(whole) == least_squares_range(merged)


@pytest.mark.parametrize("layout", ["raw", "split", "concat"])
def test_a_class_is_seen_where_its_score_is_high(layout: str) -> None:
    """Dogs in both images, a bird in one; a large coefficient or box is no score."""
    agreed = contract(SPEC, layout, SIZE)
    seen = SeenClasses(agreed)
    cells = sum((SIZE // stride) ** 2 for stride in SPEC.strides)
    for bird in (0.1, 0.6):
        scores = np.full((1, cells, 3), 0.01, np.float32)
        scores[0, 5, 1], scores[0, 70, 2] = 0.9, bird
        logits = np.log(scores / (1 - scores))
        bounds = np.cumsum([0, *((SIZE // stride) ** 2 for stride in SPEC.strides)])
        outputs = []
        for role in roles(SPEC, layout):
            if role.kind == "logits":
                level = SPEC.strides.index(role.stride)
                side = SIZE // role.stride
                outputs.append(logits[:, bounds[level] : bounds[level + 1]].reshape(1, side, side, 3))
            elif role.kind == "scores":
                outputs.append(scores)
            elif role.kind == "pred":
                parts = [np.full((1, cells, 4), 0.9), scores, np.full((1, cells, 5), 0.9)]
                outputs.append(np.concatenate(parts, axis=2, dtype=np.float32).transpose(0, 2, 1))
            else:
                side = SIZE // (role.stride or 4)
                channels = {"dfl": 64, "boxes": 4}.get(role.kind, 5)
                shape = (1, cells, channels) if role.kind in ("boxes", "coefs") and not role.stride else None
                outputs.append(np.full(shape or (1, side, side, channels), 0.9, np.float32))
        seen.add(outputs)
    assert seen.images.tolist() == [0, 2, 1]


def test_advice() -> None:
    good = check_of([Widths("a", 2.0, 2.0, 1.98), Widths("b", 1.0, 0.9, 1.0)], SeenClasses(contract(SPEC, "raw", SIZE)))
    assert (good.worst_tensor, good.worst, good.median) == ("b", pytest.approx(0.1), pytest.approx(0.055))
    fine = CalibrationCheck(0.02, 0.3, "b", (3, 1, 0))
    assert advice(fine, 100, SPEC.names) == []
    assert "8 calibration images are few" in advice(fine, 8, SPEC.names)[0]
    assert "differ by 7 %" in advice(replace(fine, median=0.07), 100, SPEC.names)[0]
    (missing,) = advice(replace(fine, seen=(0, 4, 0)), 100, SPEC.names)
    assert "1 of its 3 classes" in missing and "not cat, bird" in missing
    (silent,) = advice(replace(fine, seen=(0, 0, 0)), 100, SPEC.names)
    assert silent.startswith("WARNING: the float network finds nothing in the 100 calibration images")


def test_photos_of_one_kind_are_named(kit: Path, tmp_path: Path) -> None:
    """The command line says it: four photos hold few of COCO's classes."""
    pytest.importorskip("tensorflow")
    from helpers import Silent

    from edgeai.cache import StageCache
    from edgeai.pipeline.stages import Recipe, Stages
    from edgeai.quantize.ranges.calibration import open_calibration

    photos = open_calibration(kit / "coco" / "calibration" / "images", limit=4)
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    recipe = Recipe("per-tensor", "raw", 64)
    _, made, _ = stages.quantized(kit / "weights" / "yolov8n-seg.pt", recipe, photos)
    text = " ".join(made.audit.findings)
    assert "4 calibration images are few" in text and "of its 80 classes" in text
