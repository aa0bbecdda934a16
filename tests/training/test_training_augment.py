"""Geometry of the augmentation: boxes are the bounds of their masks, and masks stay on their objects."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgeai.imaging.images import PAD_VALUE, letterbox
from edgeai.training.augment import (
    Sample,
    copy_paste,
    finish,
    flip_scene,
    letterbox_scene,
    make_sample,
    mosaic,
    shrink_mask,
    warp_patch,
    warp_scene,
)
from edgeai.training.data import TrainingSet, class_names, open_datasets
from edgeai.training.scene import Instance, Patch, Scene, box_of, box_patch
from edgeai.training.settings import NO_AUGMENTATION, Augmentation

SIZE = 128


def rectangle(x: int, y: int, w: int, h: int) -> Patch:
    return Patch(x, y, np.full((h, w), 255, np.uint8))


def painted(instances: list[Instance], size: int = SIZE) -> Scene:
    """A black picture on which every mask is painted in the colour of its label."""
    pixels = np.zeros((size, size, 3), np.uint8)
    for entry in instances:
        h, w = entry.mask.pixels.shape
        pixels[entry.mask.y : entry.mask.y + h, entry.mask.x : entry.mask.x + w, entry.label] = entry.mask.pixels
    return Scene(pixels, tuple(instances))


def training_set(folder: Path, imgsz: int = SIZE) -> TrainingSet:
    sets = open_datasets(folder, None)
    return TrainingSet(sets, class_names(sets), imgsz, masks=True)


def test_the_box_of_a_mask_is_where_its_coverage_crosses_a_half() -> None:
    assert box_of(rectangle(3, 5, 10, 4)) == (3, 5, 13, 9)
    soft = box_patch((10.25, 4.5, 30.75, 20.0), 64, 64)
    assert soft is not None
    assert box_of(soft) == pytest.approx((10.25, 4.5, 30.75, 20.0), abs=0.11)
    assert box_of(Patch(0, 0, np.full((3, 3), 100, np.uint8))) is None


@pytest.mark.parametrize("angle", [0.0, 20.0, -75.0])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.4])
def test_an_affine_map_moves_picture_mask_and_box_alike(angle: float, scale: float) -> None:
    scene = painted([Instance(0, False, rectangle(40, 50, 30, 20)), Instance(1, False, rectangle(70, 20, 24, 40))])
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.concatenate([linear, (np.array([64.3, 63.6]) - linear @ [64, 64])[:, None]], axis=1)
    warped = warp_scene(scene, matrix, SIZE)
    sample = finish(warped, SIZE, masks=True)
    assert len(sample.boxes) == 2
    for entry, box, source in zip(warped.instances, sample.boxes, scene.instances, strict=True):
        h, w = entry.mask.pixels.shape
        shown = warped.pixels[entry.mask.y : entry.mask.y + h, entry.mask.x : entry.mask.x + w, entry.label]
        both = np.abs(shown.astype(int) - entry.mask.pixels)
        assert both[1:-1, 1:-1].mean() < 20, "the mask lies where the picture shows the object"
        x, y = source.mask.x, source.mask.y
        sh, sw = source.mask.pixels.shape
        corners = linear @ np.array([[x, x + sw, x, x + sw], [y, y, y + sh, y + sh]]) + matrix[:, 2:]
        wanted = np.clip([*corners.min(axis=1), *corners.max(axis=1)], 0, SIZE)
        # a rotated corner is a point that covers no half of any pixel
        assert np.abs(box - wanted).max() < (0.25 if angle == 0 else 1.6)


def test_letterboxing_is_that_of_evaluation(shapes: Path) -> None:
    data = training_set(shapes)
    item = data.items[0]
    from edgeai.imaging.images import read_image

    canvas, transform = letterbox(read_image(item.image.path), SIZE)
    scene = letterbox_scene(data.scene(0), SIZE)
    assert np.array_equal(canvas, scene.pixels)
    for entry, instance in zip(item.objects, scene.instances, strict=True):
        x, y, w, h = entry.bbox
        wanted = np.array([x, y, x + w, y + h]) * transform.ratio + [transform.pad_left, transform.pad_top] * 2
        assert box_of(instance.mask) == pytest.approx(tuple(wanted), abs=1.0)


def test_samples_have_boxes_that_bound_their_masks(shapes: Path) -> None:
    data = training_set(shapes)
    plan = Augmentation(copy_paste=0.5, degrees=10.0, shear=3.0)
    seen = 0
    for index in range(40):
        sample = make_sample(
            data.scene, len(data), index % len(data), SIZE, plan, np.random.default_rng((1, index)), True
        )
        assert sample.masks.shape == (len(sample.labels), SIZE // 4, SIZE // 4)
        for mask, box in zip(sample.masks, sample.boxes, strict=True):
            ys, xs = np.nonzero(mask)
            bounds = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) * 4
            assert np.abs(bounds - box).max() <= 6, "bounds at a quarter of the size"
            seen += 1
    assert seen > 50


def test_samples_follow_from_their_seed(shapes: Path) -> None:
    data = training_set(shapes)

    def one(seed: int) -> Sample:
        return make_sample(data.scene, len(data), 1, SIZE, Augmentation(), np.random.default_rng(seed), True)

    assert np.array_equal(one(3).pixels, one(3).pixels)
    assert not np.array_equal(one(3).pixels, one(4).pixels)


def test_flipping_twice_changes_nothing() -> None:
    scene = painted([Instance(0, False, rectangle(10, 20, 30, 15))])
    once = flip_scene(scene)
    assert box_of(once.instances[0].mask) == (SIZE - 40, 20, SIZE - 10, 35)
    assert np.array_equal(flip_scene(once).pixels, scene.pixels)


def test_mosaic_cuts_what_hangs_over_and_keeps_the_rest() -> None:
    scenes = [painted([Instance(0, False, rectangle(10 * i + 4, 30, 40, 40))]) for i in range(4)]
    for seed in range(6):
        canvas = mosaic(scenes, SIZE, np.random.default_rng(seed))
        assert canvas.pixels.shape == (2 * SIZE, 2 * SIZE, 3)
        for entry in canvas.instances:
            h, w = entry.mask.pixels.shape
            shown = canvas.pixels[entry.mask.y : entry.mask.y + h, entry.mask.x : entry.mask.x + w, 0]
            assert np.array_equal(shown, entry.mask.pixels)


def test_a_small_rest_of_an_object_is_ignored_not_background() -> None:
    scene = painted([Instance(0, False, rectangle(100, 40, 28, 40))])
    shifted = warp_scene(scene, np.array([[1.0, 0, 25.5], [0, 1, 0]]), SIZE)
    sample = finish(shifted, SIZE, masks=True)
    assert not len(sample.labels)
    assert sample.ignore == pytest.approx(np.array([[125.5, 40, 128, 80]]), abs=0.2)


def test_what_is_pasted_hides_and_boxes_shrink() -> None:
    below = painted([Instance(0, False, rectangle(20, 20, 60, 40))])
    donor = painted([Instance(1, False, rectangle(50, 10, 60, 60))])
    for seed in range(20):
        pasted = copy_paste(below, donor, np.random.default_rng(seed))
        if len(pasted.instances) == 2:
            break
    assert box_of(pasted.instances[0].mask) == (20, 20, 50, 60)
    assert (pasted.pixels[30, 52] == donor.pixels[30, 52]).all()
    covering = painted([Instance(1, False, rectangle(22, 10, 60, 60))])
    assert all(len(copy_paste(below, covering, np.random.default_rng(s)).instances) == 1 for s in range(8))


def test_masks_at_prototype_size_keep_thin_objects() -> None:
    assert shrink_mask(rectangle(8, 8, 8, 8), 32).sum() == 4
    assert shrink_mask(rectangle(9, 9, 1, 12), 32).sum() > 0
    assert warp_patch(rectangle(0, 0, 4, 4), np.array([[1.0, 0, -50], [0, 1, 0]]), SIZE) is None


def test_without_augmentation_a_sample_is_the_letterboxed_image(shapes: Path) -> None:
    data = training_set(shapes)
    sample = make_sample(data.scene, len(data), 2, SIZE, NO_AUGMENTATION, np.random.default_rng(0), True)
    assert np.array_equal(sample.pixels, letterbox_scene(data.scene(2), SIZE).pixels)
    assert (sample.pixels == PAD_VALUE).all(axis=2).any()
