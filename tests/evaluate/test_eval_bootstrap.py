"""Paired bootstrap: AP of every draw against pycocotools on the images of that draw, and what an interval must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeai.artifacts import FileRef, from_json, to_json
from edgeai.artifacts.accuracy import Matches
from edgeai.errors import InputError
from edgeai.evaluate.bootstrap import average_precision, draws, drop_interval, mean_drop_interval
from edgeai.evaluate.coco import ImageDetections, match, measure
from edgeai.evaluate.dataset import Annotation, Category, Dataset, Image
from edgeai.evaluate.postprocess import Detections

NAMES = ("cat", "dog", "owl")
SIZE = 200
IMAGES = 24


def dataset(order: Sequence[int]) -> Dataset:
    """The images of `order`, which may repeat, each with its objects under an id of its own."""
    images, objects = [], []
    for place, number in enumerate(order):
        random = np.random.default_rng(number)
        images.append(Image(place + 1, Path(f"{number}.png"), SIZE, SIZE))
        for _ in range(random.integers(0, 5)):
            x, y, w, h = (*random.uniform(0, 120, 2), *random.uniform(10, 70, 2))
            category = int(random.integers(1, 4))
            crowd = bool(random.random() < 0.15)
            objects.append(Annotation(place + 1, category, (x, y, w, h), w * h, crowd, ""))
    categories = tuple(Category(i + 1, name) for i, name in enumerate(NAMES))
    return Dataset("set", tuple(images), categories, tuple(objects), FileRef("a", "0", 0), "0")


def found(data: Dataset, order: Sequence[int], noise: float) -> list[ImageDetections]:
    """Every object, moved by `noise` pixels, and false alarms; scores repeat between images, not inside one."""
    result = []
    for image, number in zip(data.images, order, strict=True):
        random = np.random.default_rng(1000 + number)
        boxes, classes = [], []
        for entry in data.objects:
            if entry.image_id == image.id:
                x, y, w, h = np.asarray(entry.bbox) + random.normal(0, noise, 4)
                boxes.append([x, y, x + max(w, 1), y + max(h, 1)])
                classes.append(entry.category_id - 1)
        for _ in range(6):
            x, y = random.uniform(0, 150, 2)
            boxes.append([x, y, x + 30, y + 30])
            classes.append(int(random.integers(0, 3)))
        scores = random.permutation(12)[: len(boxes)] / 12
        best = np.argsort(-scores, kind="stable")
        result.append(
            ImageDetections(
                image.id,
                Detections(
                    np.asarray(boxes, np.float32)[best], scores[best], np.asarray(classes)[best], ()
                ),
            )
        )
    return result


def matched(noise: float) -> Matches:
    order = range(IMAGES)
    data = dataset(order)
    return match(data, found(data, order, noise), NAMES, masks=False)[0]


@pytest.mark.parametrize("noise", [1.0, 4.0, 9.0])
def test_ap_of_a_draw_is_what_pycocotools_says_of_its_images(noise: float) -> None:
    weights = draws(IMAGES, 6, seed=3)
    ours = average_precision(matched(noise), weights)
    for row, value in zip(weights.astype(int), ours, strict=True):
        order = np.repeat(np.arange(IMAGES), row).tolist()
        data = dataset(order)
        theirs = measure(data, found(data, order, noise), NAMES, masks=False).metrics[0].value
        assert value == pytest.approx(theirs, abs=1e-9)


def test_the_interval_holds_the_drop_and_shrinks_to_nothing_against_itself() -> None:
    good, bad = matched(2.0), matched(6.0)
    drop = drop_interval(good, bad, limit=1.0)
    assert drop.low < drop.drop < drop.high
    assert drop.drop > 3
    assert drop.over == 1.0
    assert drop_interval(good, bad, limit=1.0) == drop
    same = drop_interval(good, good)
    assert (same.low, same.drop, same.high, same.over) == (0, 0, 0, 0)
    narrow = drop_interval(good, bad, confidence=0.5)
    assert drop.low < narrow.low < narrow.high < drop.high
    mean = mean_drop_interval([(good, bad), (good, good)])
    assert mean.drop == pytest.approx(drop.drop / 2)


def test_coverage_of_the_interval() -> None:
    """Over many sets drawn from one population, about 95 of 100 intervals hold the population's drop."""
    good, bad = matched(2.0), matched(3.0)
    ones = np.ones((1, IMAGES))
    truth = float((average_precision(good, ones) - average_precision(bad, ones))[0])
    inside = 0
    for weights in draws(IMAGES, 60, seed=9):
        population = np.repeat(np.arange(IMAGES), weights.astype(int)).tolist()
        data = dataset(population)
        pair = [match(data, found(data, population, noise), NAMES, masks=False)[0] for noise in (2.0, 3.0)]
        interval = drop_interval(pair[0], pair[1], resamples=200)
        inside += interval.low <= truth <= interval.high
    assert inside >= 48


def test_matches_survive_json_and_damage_is_refused() -> None:
    matches = matched(4.0)
    assert from_json(Matches, to_json(matches)) == matches
    with pytest.raises(InputError, match="images_sha256"):
        drop_interval(matches, replace(matches, images_sha256="other"))
    broken = replace(matches, classes=(replace(matches.classes[0], detections="no base64!"), *matches.classes[1:]))
    with pytest.raises(InputError, match="damaged"):
        drop_interval(matches, broken)
    with pytest.raises(InputError, match="damaged"):
        drop_interval(replace(matches, num_images=2), replace(matches, num_images=2))
