"""Paired bootstrap over images: how sure a difference of two APs is.

Images are drawn with replacement, the same ones for both models, and COCO's AP is computed anew on every draw (Efron
and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13: percentile interval). Hard images cost both
models, so the difference is known far better than either AP.

A draw is a weight for every image: how often it was drawn. Detections are matched to objects inside their own image,
so the matches stay what they are, and AP of a draw needs nothing but cumulative sums of the weights along the list of
detections by score. A thousand draws of a hundred images take about a second.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import ClassMatches, DropInterval, Matches
from edgeai.errors import InputError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

THRESHOLDS = 10  # IoU 0.50:0.05:0.95
RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's
RESAMPLES = 1000
IMAGE_SHIFT, IGNORED_SHIFT, BITS = 20, 10, (1 << THRESHOLDS) - 1


def drop_interval(
    baseline: Matches,
    candidate: Matches,
    *,
    confidence: float = 0.95,
    limit: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> DropInterval:
    """The drop in AP points from `baseline` to `candidate` with its interval. Same inputs give the same result.

    Raises InputError where the two are not of the same metric on the same images and annotations.
    """
    pairs = [(baseline, candidate)]
    return mean_drop_interval(pairs, confidence=confidence, limit=limit, resamples=resamples, seed=seed)


def mean_drop_interval(
    pairs: Sequence[tuple[Matches, Matches]],
    *,
    confidence: float = 0.95,
    limit: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> DropInterval:
    """The mean drop over several settings (input sizes, say) of the same images; all of them share every draw."""
    first = pairs[0][0]
    for before, after in pairs:
        _check(before, after)
        _check(first, before)
    weights = np.concatenate([np.ones((1, first.num_images)), draws(first.num_images, resamples, seed)])
    baseline = np.mean([average_precision(before, weights) for before, _ in pairs], axis=0)
    candidate = np.mean([average_precision(after, weights) for _, after in pairs], axis=0)
    drops = baseline - candidate
    tail = (1 - confidence) / 2
    low, high = np.quantile(drops[1:], [tail, 1 - tail])
    return DropInterval(
        metric=first.metric,
        baseline=float(baseline[0]),
        candidate=float(candidate[0]),
        drop=float(drops[0]),
        low=float(low),
        high=float(high),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        limit=limit,
        over=float(np.mean(drops[1:] > limit)),
    )


def draws(images: int, resamples: int, seed: int) -> Floats:
    """[resamples, images]: how often every image was drawn."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)


def average_precision(matches: Matches, weights: Floats) -> Floats:
    """AP in percent points for every row of `weights` [B, images], as pycocotools computes it on those images.

    A category counts in a draw where the draw has an object of it. Detections of one image with equal scores keep
    their order, each followed by its copies.
    """
    total = np.zeros(len(weights))
    present = np.zeros(len(weights))
    for entry in matches.classes:
        table = _unpacked(entry)
        objects = weights @ np.bincount(table.objects, minlength=matches.num_images).astype(np.float64)
        there = objects > 0
        if there.any():
            total[there] += _class_precision(table, weights[there], objects[there])
            present += there
    return np.asarray(100 * total / np.maximum(present, 1))


@dataclass(frozen=True, slots=True)
class _Table:
    """One category: the image of every detection [D] by descending score, `hit` and `ignored` [10, D]."""

    images: Indices
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: Indices


def _class_precision(table: _Table, weights: Floats, objects: Floats) -> Floats:
    """Mean over IoU and recall of the interpolated precision of one category, for every row of `weights`."""
    weight = weights[:, table.images]
    before = np.cumsum(weight, axis=1)  # detections up to and with this one
    total = np.zeros(len(weights))
    for hit, ignored in zip(table.hit, table.ignored, strict=True):
        true = np.flatnonzero(hit & ~ignored)
        if not true.size:
            continue
        counted = before[:, true]
        if ignored.any():
            counted = counted - np.cumsum(weight * ignored, axis=1)[:, true]
        found = np.cumsum(weight[:, true], axis=1)
        precision = found / np.maximum(counted, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # every recall level takes the envelope where it is first reached: only hits raise the recall
        reached = np.searchsorted(RECALLS, found / objects[:, None], side="right")
        levels = np.diff(reached, axis=1, prepend=0)
        total += (envelope * levels).sum(axis=1) / len(RECALLS)
    return total / len(table.hit)


def packed_class(category: str, images: Sequence[dict[str, Any] | None]) -> ClassMatches:
    """One category's entries of pycocotools' `evalImgs`, one per image in the order of the data set, in brief.

    False detections behind the last hit change no AP and are left out.
    """
    scores: list[float] = []
    codes: list[int] = []
    objects: list[int] = []
    bits = 1 << np.arange(THRESHOLDS)
    for place, entry in enumerate(images):
        if entry is None:
            continue
        objects += [place] * int(np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0))
        ignored = bits @ (np.asarray(entry["dtIgnore"]) > 0)  # [10, D] -> [D]
        hit = bits @ (np.asarray(entry["dtMatches"]) > 0)
        codes += (place << IMAGE_SHIFT | ignored << IGNORED_SHIFT | hit).tolist()
        scores += entry["dtScores"]
    order = np.argsort(-np.asarray(scores), kind="mergesort")  # as pycocotools sorts: ties by image
    ordered = np.asarray(codes, np.uint32)[order]
    hits = np.flatnonzero(ordered & BITS)
    return ClassMatches(category, _packed(ordered[: hits[-1] + 1 if hits.size else 0]), _packed(np.asarray(objects)))


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.astype("<u4").tobytes()).decode()


def _numbers(text: str, category: str) -> Indices:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<u4").astype(np.int64)
    except ValueError:
        raise InputError(f"the matches of {category!r} are damaged", "evaluate the model again") from None


def _unpacked(entry: ClassMatches) -> _Table:
    codes = _numbers(entry.detections, entry.category)
    bits = np.arange(THRESHOLDS)[:, None]
    return _Table(
        images=codes >> IMAGE_SHIFT,
        hit=(codes & BITS) >> bits & 1 > 0,
        ignored=(codes >> IGNORED_SHIFT & BITS) >> bits & 1 > 0,
        objects=_numbers(entry.objects, entry.category),
    )


def _check(one: Matches, other: Matches) -> None:
    same = ("metric", "num_images", "images_sha256", "annotations_sha256")
    for name in same:
        if getattr(one, name) != getattr(other, name):
            raise InputError(f"these results differ in {name}: a pair needs the same images", "evaluate again")
    for matches in (one, other):
        for entry in matches.classes:
            table = _unpacked(entry)
            if table.images.size and int(table.images.max()) >= matches.num_images:
                raise InputError(f"the matches of {entry.category!r} are damaged", "evaluate the model again")
