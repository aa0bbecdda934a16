"""The C post-processing finds what the decode in Python finds."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from check_program import (
    INSTRUCTIONS_PER_TICK,
    SANITIZERS,
    Found,
    Shot,
    build_host,
    build_m55,
    compiler,
    run_host,
    run_m55,
    shots,
)
from pycocotools import mask as coco_mask

from edgeai.artifacts import Contract
from edgeai.evaluate.decode import Output, decode
from edgeai.evaluate.nms import nms
from edgeai.evaluate.postprocess import Detections, Thresholds, postprocess
from edgeai.firmware.postprocess import write_postprocess
from edgeai.firmware.postprocess_text import Limits
from edgeai.graph import Graph, load_graph
from edgeai.imaging.images import Letterbox, letterbox
from edgeai.recognise.know import know_file

IMAGES = 100
BOX_TOLERANCE = 0.5
MASK_IOU = 0.99
LAYOUTS = ["raw", "st", "split", "concat"]
APPLICATION = Thresholds(0.25, 0.7, 100)


def transform(shot: Shot, imgsz: int = 256) -> Letterbox:
    return letterbox(np.zeros((shot.height, shot.width, 3), np.uint8), imgsz)[1]


@functools.cache
def graph_of(model: Path) -> Graph:
    return load_graph(model)


@functools.cache
def contract_of(model: Path) -> Contract:
    return know_file(model).contract


def expected(model: Path, shot: Shot, thresholds: Thresholds) -> Detections:
    return postprocess(shot.outputs, contract_of(model), transform(shot), thresholds)


def assert_same(found: Found, wanted: Detections) -> int:
    """Same detections in the same order; the number of masks compared."""
    assert found.status == len(wanted.boxes)
    assert np.array_equal(found.classes, wanted.classes)
    assert np.array_equal(found.scores, wanted.scores)
    if len(wanted.boxes):
        assert np.abs(found.boxes - wanted.boxes).max() <= BOX_TOLERANCE
    for mine, other in zip(found.masks, wanted.masks, strict=bool(found.masks)):
        theirs = coco_mask.decode({"size": [other.height, other.width], "counts": other.counts}).astype(np.bool_)
        union = (mine | theirs).sum()
        assert (mine & theirs).sum() >= MASK_IOU * union
    return len(found.masks)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_images_on_the_host(layout: str, models: Mapping[str, Path], photos: list[Path], tmp_path: Path) -> None:
    model = models[layout]
    write_postprocess(model, tmp_path, Limits())
    seen = shots(model, photos[:IMAGES])
    answers = run_host(build_host(tmp_path), seen, APPLICATION)
    masks = sum(assert_same(a, expected(model, s, APPLICATION)) for a, s in zip(answers, seen, strict=True))
    assert len(answers) == IMAGES
    assert masks > 2 * IMAGES


@pytest.mark.parametrize("layout", ["raw", "st"])
def test_the_thresholds_of_average_precision(
    layout: str, models: Mapping[str, Path], photos: list[Path], tmp_path: Path
) -> None:
    """Hundreds of weak candidates, ties of their scores included."""
    model, weak = models[layout], Thresholds(0.001, 0.7, 300)
    write_postprocess(model, tmp_path, Limits(0.001, 0.7, 300, 30000))
    seen = shots(model, photos[-10:])
    answers = run_host(build_host(tmp_path), seen, weak, masks=False)
    for answer, shot in zip(answers, seen, strict=True):
        assert_same(answer, expected(model, shot, weak))
    assert sum(answer.above_threshold for answer in answers) > 50 * len(answers)


@pytest.mark.parametrize("layout", ["raw", "st"])
def test_real_images_on_the_emulated_cortex_m55(
    layout: str,
    models: Mapping[str, Path],
    photos: list[Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    model = models[layout]
    write_postprocess(model, tmp_path, Limits())
    seen = shots(model, photos[:5])
    program = build_m55(tmp_path)
    answers = run_m55(program, seen, APPLICATION)
    for answer, shot in zip(answers, seen, strict=True):
        assert_same(answer, expected(model, shot, APPLICATION))
        detect, masks = (int(ticks * INSTRUCTIONS_PER_TICK) for ticks in answer.ticks)
        record_property("instructions", f"{layout}: {answer.status} detections {detect}, masks {masks}")
        # 1344 anchors x 80 scores are read; three instructions a score, and masks of the image at twelve a pixel
        assert 0 < detect < 3 * 1344 * 80
        assert 0 < masks < 12 * answer.status * shot.width * shot.height
    assert run_m55(program, seen, APPLICATION)[0].ticks == answers[0].ticks


def test_memory_is_what_was_said(models: Mapping[str, Path], tmp_path: Path) -> None:
    made = write_postprocess(models["raw"], tmp_path, Limits(max_detections=37, max_candidates=203))
    done = subprocess.run(
        [compiler("arm-none-eabi-nm"), "-S", str(build_m55(tmp_path))], capture_output=True, text=True, check=True
    )
    sizes = {
        name.partition(".")[0]: int(size, 16)
        for _, size, _, name in (line.split() for line in done.stdout.splitlines() if len(line.split()) == 4)
    }
    assert sizes["work"] == made.workspace_bytes
    assert sizes["found"] == made.result_bytes
    assert sizes["mask"] == made.mask_bytes
    assert sum(size for name, size in sizes.items() if name.startswith(("score_of", "dfl_weight"))) == made.table_bytes


# --- whatever the outputs hold ------------------------------------------------------------------------


def noise(model: Path, rng: np.random.Generator, width: int, height: int, extremes: bool) -> Shot:
    graph = graph_of(model)
    outputs = []
    for index in graph.outputs:
        tensor = graph.tensors[index]
        info = np.iinfo(tensor.dtype)
        values = rng.integers(info.min, info.max + 1, tensor.shape)
        if extremes:
            values = np.where(rng.random(tensor.shape) < 0.8, info.min, info.max)
        outputs.append(Output(values.astype(tensor.dtype), tensor.scale, tensor.zero_point))
    return Shot(tuple(outputs), width, height)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_bytes_under_sanitizers(layout: str, models: Mapping[str, Path], tmp_path: Path) -> None:
    """Outputs of random bytes and images of odd sizes: no access out of bounds, no overflow, and still equal."""
    model, rng = models[layout], np.random.default_rng(7)
    loose = Thresholds(0.85, 0.5, 20)
    write_postprocess(model, tmp_path, Limits(max_detections=20, max_candidates=30000))
    sizes = [(1, 1), (1, 700), (700, 1), (3, 2), (64, 64), (255, 257), (256, 256), (427, 640), (500, 333), (640, 428)]
    seen = [noise(model, rng, *size, extremes=i % 2 == 1) for i, size in enumerate(sizes)]
    answers = run_host(build_host(tmp_path, *SANITIZERS), seen, loose)
    for answer, shot in zip(answers, seen, strict=True):
        assert 20 < answer.above_threshold <= 30000
        assert_same(answer, expected(model, shot, loose))
    assert sum(answer.status for answer in answers) > 20


@pytest.mark.parametrize("layout", ["raw", "st"])
def test_too_many_candidates_keep_the_best(layout: str, models: Mapping[str, Path], tmp_path: Path) -> None:
    model, few = models[layout], 64
    write_postprocess(model, tmp_path, Limits(max_detections=few, max_candidates=few))
    shot = noise(model, np.random.default_rng(3), 256, 256, extremes=False)
    thresholds = Thresholds(0.3, 0.7, few)
    (answer,) = run_host(build_host(tmp_path, *SANITIZERS), [shot], thresholds, masks=False)
    found = decode(shot.outputs, contract_of(model), thresholds.conf)
    kept = nms(found.boxes[found.rows], found.scores, found.classes, 0.7, few, few)
    assert answer.above_threshold == len(found.scores) > few
    assert np.array_equal(answer.classes, found.classes[kept])
    assert np.array_equal(answer.scores, found.scores[kept])


def test_impossible_requests_are_refused(models: Mapping[str, Path], tmp_path: Path) -> None:
    write_postprocess(models["st"], tmp_path, Limits())
    program = build_host(tmp_path, *SANITIZERS)
    rng = np.random.default_rng(5)
    wide = noise(models["st"], rng, 8193, 10, extremes=False)
    empty = noise(models["st"], rng, 0, 10, extremes=False)
    assert [answer.status for answer in run_host(program, [wide, empty], APPLICATION)] == [-1, -1]
