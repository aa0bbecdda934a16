"""AP: perfect and absent detections, classes and categories, and the published models of the kit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from edgeai.artifacts import Contract, EvalResult, ModelSpec, OutputRole, from_json, to_json
from edgeai.errors import InputError
from edgeai.evaluate.backends.litert import LiteRtRunner
from edgeai.evaluate.coco import ImageDetections, category_ids, detect, evaluate, measure
from edgeai.evaluate.dataset import Category, Dataset
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.masks import Rle
from edgeai.evaluate.postprocess import Detections, Thresholds


@pytest.fixture(scope="module")
def val(kit: Path) -> Dataset:
    return read_dataset(kit / "coco" / "val" / "images", kit / "coco" / "val" / "instances.json")


def names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(category.name for category in dataset.categories)


def contract(dataset: Dataset, imgsz: int) -> Contract:
    spec = ModelSpec("st", "yolov8", "segment", "n", names(dataset), imgsz=imgsz)
    return Contract(spec, "concat", imgsz, (OutputRole(0, "pred"), OutputRole(1, "proto")), float(imgsz))


def perfect(dataset: Dataset) -> tuple[ImageDetections, ...]:
    """The annotations, as detections."""
    place = {category.id: i for i, category in enumerate(dataset.categories)}
    results = []
    for image in dataset.images:
        objects = [entry for entry in dataset.objects if entry.image_id == image.id and not entry.crowd]
        boxes = np.array([entry.bbox for entry in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = []
        for entry in objects:
            segmentation = json.loads(entry.segmentation)
            if isinstance(segmentation, list):
                one = coco_mask.merge(coco_mask.frPyObjects(segmentation, image.height, image.width))
            else:  # run lengths, compressed already
                one = {"counts": segmentation["counts"].encode()}
            masks.append(Rle(image.height, image.width, one["counts"]))
        classes = np.array([place[entry.category_id] for entry in objects], np.int64)
        results.append(
            ImageDetections(image.id, Detections(boxes, np.ones(len(objects), np.float32), classes, tuple(masks)))
        )
    return tuple(results)


def test_perfect_detections_have_100_percent(val: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    few = replace(val, images=val.images[:20], objects=tuple(e for e in val.objects if e.image_id <= val.images[19].id))
    accuracy = measure(few, perfect(few), names(val), masks=True)
    assert {metric.name: round(metric.value, 6) for metric in accuracy.metrics} == {
        f"{kind}_{name}": 100.0 for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")
    }
    assert {entry.metric for entry in accuracy.per_class} == {"box_ap", "mask_ap"}
    assert len(accuracy.per_class) == 2 * len({e.category_id for e in few.objects})
    assert capsys.readouterr().out == ""


def test_no_detections_have_0_percent(val: Dataset) -> None:
    accuracy = measure(val, (), names(val), masks=True)
    assert {metric.value for metric in accuracy.metrics} == {0.0}


def test_a_model_of_one_class_is_measured_on_that_class(val: Dataset) -> None:
    person = [replace(entry, found=_only(entry.found, 0)) for entry in perfect(val)]
    accuracy = measure(val, person, ("person",), masks=False)
    assert [metric.name for metric in accuracy.metrics] == ["box_ap", "box_ap50", "box_ap75"]
    assert [(entry.category, round(entry.value, 6)) for entry in accuracy.per_class] == [("person", 100.0)]


def _only(found: Detections, label: int) -> Detections:
    keep = found.classes == label
    return Detections(found.boxes[keep], found.scores[keep], found.classes[keep], ())


def test_classes_map_by_name_then_by_id(val: Dataset) -> None:
    small = replace(val, categories=(Category(5, "cat"), Category(2, "dog")))
    assert category_ids(("dog", "cat"), small) == (2, 5)
    assert category_ids(("dog",), small) == (2,)
    assert category_ids(("class0", "class1"), small) == (2, 5)
    with pytest.raises(InputError, match=r"3 classes.*'bird'"):
        category_ids(("cat", "dog", "bird"), small)


def test_masks_need_annotated_masks(val: Dataset) -> None:
    bare = replace(val, objects=tuple(replace(entry, segmentation="") for entry in val.objects))
    with pytest.raises(InputError, match="without masks"):
        measure(bare, (), names(val), masks=True)


@pytest.mark.parametrize(
    ("imgsz", "published"),
    [(256, (25.0, 38.5, 21.7, 35.3)), (320, (26.7, 42.7, 24.3, 38.9))],
)
def test_published_models(kit: Path, val: Dataset, imgsz: int, published: tuple[float, ...]) -> None:
    path = kit / "tflite" / f"yolov8n_{imgsz}_quant_pc_ii_seg_coco-st.tflite"
    with LiteRtRunner(path, contract(val, imgsz)) as runner:
        result = evaluate(runner, val)
    measured = [result.metric(name) for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")]
    assert measured == pytest.approx(published, abs=0.3)
    assert (result.precision, result.granularity, result.backend) == ("int8", "per-tensor", "litert/xnnpack")
    assert (result.protocol.num_images, result.protocol.imgsz) == (171, imgsz)
    assert from_json(EvalResult, to_json(result)) == result


def test_results_repeat_to_the_byte(kit: Path, val: Dataset) -> None:
    few = read_dataset(kit / "coco" / "val" / "images", kit / "coco" / "val" / "instances.json", limit=6)
    path = kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    texts = set()
    for threads in (1, 2):
        with LiteRtRunner(path, contract(val, 256), threads=threads) as runner:
            texts.add(to_json(evaluate(runner, few, conf=0.1)))
    assert len(texts) == 1


def test_an_image_of_another_size_than_annotated_is_named(kit: Path, val: Dataset) -> None:
    image = replace(val.images[0], height=val.images[0].height + 1)
    path = kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    with LiteRtRunner(path, contract(val, 256)) as runner, pytest.raises(InputError, match="annotated as"):
        detect(runner, replace(val, images=(image,)), Thresholds())


@pytest.mark.parametrize(("conf", "iou", "count"), [(1.0, 0.7, 300), (-0.1, 0.7, 300), (0.1, 0.0, 300), (0.1, 0.7, 0)])
def test_thresholds_out_of_range(conf: float, iou: float, count: int) -> None:
    with pytest.raises(InputError):
        Thresholds(conf, iou, count)
