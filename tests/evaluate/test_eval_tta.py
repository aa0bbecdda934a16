"""Test-time augmentation: views come back to where they were, the merge is the one that is documented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from edgeai.artifacts import EvalResult, from_json
from edgeai.errors import InputError
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.coco import evaluate
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.masks import Rle
from edgeai.evaluate.postprocess import Detections, Thresholds, postprocess
from edgeai.evaluate.tta import VIEWS, View, detect_views, merge
from edgeai.gate.policy import judge
from edgeai.imaging.images import letterbox, read_image

SEED = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
PLAIN, MIRRORED = View(1.0, False), View(1.0, True)


def rle(mask: NDArray[np.bool_]) -> Rle:
    return Rle(*mask.shape, coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"])


def pixels(mask: Rle) -> NDArray[np.bool_]:
    return np.asarray(coco_mask.decode({"size": [mask.height, mask.width], "counts": mask.counts}), np.bool_)


def one(box: tuple[float, ...], score: float, label: int = 0, mask: NDArray[np.bool_] | None = None) -> Detections:
    masks = (rle(mask),) if mask is not None else ()
    return Detections(np.array([box], np.float32), np.array([score], np.float32), np.array([label]), masks)


def square(x: int, y: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros((40, 60), np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


def test_one_plain_view_is_no_augmentation(kit: Path) -> None:
    image = read_image(kit / "coco" / "val" / "images" / "000000000139.jpg")
    thresholds = Thresholds(0.05)
    with open_runner(kit / "tflite" / SEED) as runner:
        canvas, transform = letterbox(image, runner.input_size)
        plain = postprocess(runner.infer(canvas), runner.contract, transform, thresholds)
        viewed = detect_views(runner, image, thresholds, (PLAIN,))
    assert np.array_equal(plain.scores, viewed.scores) and np.array_equal(plain.classes, viewed.classes)
    assert np.allclose(plain.boxes, viewed.boxes, atol=1e-3)
    assert plain.masks == viewed.masks


@pytest.mark.parametrize("view", [MIRRORED, View(0.85, False), View(0.85, True)], ids=str)
def test_every_view_comes_back_to_the_image(view: View, kit: Path) -> None:
    """Another view of a picture with one large object finds the same box and the same mask, to within the network."""
    image = read_image(kit / "coco" / "val" / "images" / "000000000285.jpg")
    with open_runner(kit / "tflite" / SEED) as runner:
        plain = detect_views(runner, image, Thresholds(0.5), (PLAIN,))
        other = detect_views(runner, image, Thresholds(0.5), (view,))
    assert len(plain.scores) == len(other.scores) == 1
    assert np.allclose(plain.boxes, other.boxes, atol=0.05 * max(image.shape))
    a, b = pixels(plain.masks[0]), pixels(other.masks[0])
    assert (a & b).sum() / (a | b).sum() > 0.9


def test_a_mirrored_image_mirrored_is_the_image(kit: Path) -> None:
    """Exact: the mirrored view of the mirrored image shows the network the very same pixels."""
    image = read_image(kit / "coco" / "val" / "images" / "000000000285.jpg")
    assert image.shape[1] % 2 == 0
    with open_runner(kit / "tflite" / SEED) as runner:
        plain = detect_views(runner, image, Thresholds(0.3), (PLAIN,))
        turned = detect_views(runner, np.ascontiguousarray(image[:, ::-1]), Thresholds(0.3), (MIRRORED,))
    width = image.shape[1]
    assert np.array_equal(plain.scores, turned.scores)
    assert np.allclose(width - turned.boxes[:, [2, 1, 0, 3]][:, [0, 2]], plain.boxes[:, [0, 2]], atol=2.0)
    for a, b in zip(plain.masks, turned.masks, strict=True):
        flipped = pixels(b)[:, ::-1]
        assert (pixels(a) & flipped).sum() / (pixels(a) | flipped).sum() > 0.97


def test_scores_are_summed_over_the_views_and_boxes_weighted() -> None:
    found = merge([one((0, 0, 10, 10), 0.8), one((0, 0, 10, 12), 0.4)], Thresholds(0.1))
    assert found.scores.tolist() == pytest.approx([0.6])
    assert found.boxes[0].tolist() == pytest.approx([0, 0, 10, (0.8 * 10 + 0.4 * 12) / 1.2])
    alone = merge([one((0, 0, 10, 10), 0.8), one((30, 30, 40, 40), 0.4)], Thresholds(0.1))
    assert alone.scores.tolist() == pytest.approx([0.4, 0.2])
    classes = merge([one((0, 0, 10, 10), 0.8, 1), one((0, 0, 10, 10), 0.4, 2)], Thresholds(0.1))
    assert classes.classes.tolist() == [1, 2]


def test_two_of_one_view_are_never_one() -> None:
    twice = Detections(np.array([[0, 0, 10, 10], [0, 0, 10, 10.5]], np.float32), np.array([0.9, 0.8], np.float32),
                       np.array([0, 0]), ())  # fmt: skip
    found = merge([twice, one((0, 0, 10, 10), 0.7)], Thresholds(0.1))
    assert sorted(found.scores.tolist()) == pytest.approx([0.4, 0.8])


def test_masks_decide_where_boxes_agree() -> None:
    """Two halves of one box are two objects; a pixel needs more than half of the weight."""
    left, right = square(0, 0, 20), square(20, 20, 20)
    box = (0.0, 0.0, 40.0, 40.0)
    apart = merge([one(box, 0.8, 0, left), one(box, 0.7, 0, right)], Thresholds(0.1))
    assert len(apart.scores) == 2
    a, b, c = square(0, 0, 20), square(1, 0, 20), square(1, 1, 20)
    voted = merge([one(box, 0.5, 0, m) for m in (a, b, c)], Thresholds(0.1))
    assert len(voted.scores) == 1
    majority = (a.astype(int) + b + c) >= 2
    assert np.array_equal(pixels(voted.masks[0]), majority)


def test_an_empty_merge_and_the_limits() -> None:
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ())
    assert merge([none, none], Thresholds(0.1)).boxes.shape == (0, 4)
    many = [one((20.0 * i, 0, 20.0 * i + 10, 10), 0.9) for i in range(4)]
    assert len(merge(many, Thresholds(0.1, max_det=2)).scores) == 2
    assert len(merge(many, Thresholds(0.25)).scores) == 0  # seen by one view of four: 0.9 / 4


def test_the_protocol_records_it_and_the_gate_refuses_the_pair(
    kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val, out = kit / "coco" / "val", tmp_path / "r.json"
    options = ("--images", val / "images", "--annotations", val / "instances.json", "--limit", 6)
    outcome = edgeai(capsys, "evaluate", kit / "tflite" / SEED, *options, "--tta", "--json", out)
    assert outcome.code == 0 and "mirrored" in outcome.out
    augmented = from_json(EvalResult, out.read_text())
    assert "256 px mirrored, 224 px" in augmented.protocol.augmentation
    with open_runner(kit / "tflite" / SEED) as runner:
        plain = evaluate(runner, read_dataset(val / "images", val / "instances.json", 6))
    assert plain.protocol == replace(augmented.protocol, augmentation="none")
    with pytest.raises(InputError, match="measured differently: augmentation"):
        judge(plain, augmented, 1.0)


def test_views_raise_ap(kit: Path) -> None:
    """Solovyev et al. gain about a point of AP by fusing views of one detector; on 40 images a gain must show."""
    val = kit / "coco" / "val"
    dataset = read_dataset(val / "images", val / "instances.json", 40)
    with open_runner(kit / "tflite" / SEED) as runner:
        plain, augmented = (evaluate(runner, dataset, views=views) for views in ((), VIEWS))
    assert augmented.metric("box_ap") > plain.metric("box_ap") and augmented.metric("mask_ap") > plain.metric("mask_ap")


def test_classifiers_have_no_views(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        photo = (kit / "coco" / "val" / "images" / "000000000285.jpg").read_bytes()
        (tmp_path / name / "x.jpg").write_bytes(photo)
    classifier = next((kit / "tflite").glob("mobilenet_v1_0.25_96*.tflite"))
    refused(edgeai(capsys, "evaluate", classifier, "--images", tmp_path, "--tta"), 2, "")
