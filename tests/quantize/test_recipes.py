"""Recipe files, and the observers they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeai.artifacts import TensorRange
from edgeai.errors import InputError
from edgeai.quantize.ranges.histogram import Histogram
from edgeai.quantize.ranges.observe import joined, logit_tensors, with_fixed
from edgeai.quantize.ranges.observers import range_of
from edgeai.quantize.recipe import OBSERVERS, Method, read_recipe


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_default_and_keys_are_read(tmp_path: Path) -> None:
    assert read_recipe(recipe(tmp_path, "")) == Method()
    text = 'observer = "entropy"\nweights = "compensated"\n[[exceptions]]\ntensors = "*/head*"\nobserver = "min-max"\n'
    method = read_recipe(recipe(tmp_path, text))
    assert (method.observer, method.weights) == ("entropy", "compensated")
    assert method.observer_of("net/head3/conv") == "min-max"
    assert method.observer_of("net/neck") == "entropy"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('observer = "guess"', "guess"),
        ('observr = "min-max"', "observr"),
        ("images = 0", "images"),
        ("images = 1000", "images"),
        ('granularity = "float"', "granularity"),
        ("not toml", "TOML"),
        ('[[exceptions]]\ntensors = 3\nobserver = "min-max"', "tensors"),
    ],
)
def test_bad_recipes_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_recipe(recipe(tmp_path, text))


def filled(*images: np.ndarray) -> Histogram:
    histogram = Histogram()
    for image in images:
        histogram.add(image.astype(np.float32))
    return histogram


def test_what_each_observer_makes_of_one_outlier() -> None:
    rng = np.random.default_rng(0)
    calm = [rng.normal(0, 1, 30_000) for _ in range(9)]
    histogram = filled(*calm, np.append(rng.normal(0, 1, 30_000), [80.0]))
    high = {name: range_of(histogram, name)[1] for name in OBSERVERS}
    assert high["min-max"] == 80.0
    expected = np.mean([*(image.max() for image in calm), 80.0])
    assert high["moving-average"] == pytest.approx(expected, rel=1e-5)
    assert 3 < high["percentile"] < 5
    assert 3 < high["entropy"] < 12
    assert high["entropy"] < high["least-squares"] < 80  # one value in 300 000 counts, squared, but not for all


@pytest.mark.parametrize("name", OBSERVERS)
def test_ranges_hold_zero_and_stay_within_the_extremes(name: str) -> None:
    for values in (np.zeros(10), np.linspace(1, 2, 500), -np.linspace(1, 2, 500), np.array([3.0])):
        histogram = filled(values)
        low, high = range_of(histogram, name)
        assert histogram.low <= low <= 0 <= high <= histogram.high


def ranges(*ends: tuple[float, float]) -> list[TensorRange]:
    return [TensorRange(i, str(i), low, high) for i, (low, high) in enumerate(ends)]


def op(kind: str, inputs: list[int], output: int) -> dict[str, object]:
    return {"op_name": kind, "inputs": inputs, "outputs": [output]}


def test_concatenated_sigmoids_keep_the_scale_of_sigmoids() -> None:
    found = ranges((-9, 9), (-9, 9), (0, 0.7), (0, 0.9), (0, 0.8), (0, 0.8))
    graph = [op("LOGISTIC", [0], 2), op("LOGISTIC", [1], 3), op("CONCATENATION", [2, 3], 4), op("RESHAPE", [4, 9], 5)]
    assert [(e.minimum, e.maximum) for e in with_fixed(found, graph)[2:]] == [(0, 255 / 256)] * 4
    mixed = [op("LOGISTIC", [0], 2), op("CONCATENATION", [1, 2], 4)]
    assert with_fixed(found, mixed)[4].maximum == 0.8


def test_logits_are_what_only_sigmoids_and_softmaxes_read() -> None:
    bins = [op("CONV_2D", [0], 1), op("RESHAPE", [1], 2), op("SOFTMAX", [2], 3)]
    silu = [op("CONV_2D", [3], 4), op("LOGISTIC", [4], 5), op("MUL", [4, 5], 6)]
    scores = [op("CONV_2D", [6], 7), op("LOGISTIC", [7], 8), op("CONCATENATION", [7, 6], 9)]
    assert logit_tensors([*bins, *silu, *scores[:2]]) == {1, 2, 7}
    assert logit_tensors([*bins, *silu, *scores]) == {1, 2}


def test_joined_tensors_share_the_union_of_their_ranges() -> None:
    found = ranges((-1, 2), (-3, 1), (0, 4), (-2, 2), (-9, 9))
    graph = [op("CONCATENATION", [0, 1], 2), op("RESIZE_NEAREST_NEIGHBOR", [0], 3), op("CONV_2D", [2], 4)]
    assert [(e.minimum, e.maximum) for e in joined(found, graph)] == [(-3, 4)] * 4 + [(-9, 9)]


def test_the_default_tunes_ranges_and_what_is_asked_for_stands() -> None:
    tuned = Method(ranges="tuned", weights="nearest", scores="matched")
    assert Method().settled("per-channel") == tuned
    assert Method().settled("per-tensor") == replace(tuned, weights="compensated")
    plain = Method(ranges="observed", weights="nearest", scores="left")
    assert Method(ranges="observed").settled("per-tensor") == plain
    assert Method(ranges="observed").settled("per-channel") == plain
    asked = Method(ranges="observed", biases="none", weights="learned", scores="matched")
    assert asked.settled("per-tensor") == asked
