"""`--protocol ultralytics`: the counting by hand, and figures that Ultralytics 8.4.190 gave for images of the kit.

Measured on 2026-11-30 on the first 24 images of val by id, labels by its own `convert_coco(use_segments=True)`:
`YOLO(file).val(data="data.yaml", imgsz=256, batch=16, device="cpu", plots=False)`.
"""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import edgeai, refused

from edgeai.artifacts import (
    Contract,
    EvalProtocol,
    EvalResult,
    FileRef,
    Metric,
    ModelSpec,
    OutputRole,
    Provenance,
    from_json,
    to_json,
)
from edgeai.cli.evaluate import command, render
from edgeai.errors import InputError
from edgeai.evaluate.dataset import Dataset, Image
from edgeai.evaluate.decode import Candidates
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Thresholds, suppressed
from edgeai.evaluate.yolo_ap import THRESHOLDS, Hits, area, average_precisions, box_ious, hits, mask_ious
from edgeai.evaluate.yolo_frames import Frame, frames, picture
from edgeai.evaluate.yolo_protocol import first_of_equals
from edgeai.evaluate.yolo_truth import as_label, boxes, joined, masks, sampled
from edgeai.gate.policy import Rule, judge
from edgeai.models.bundled import bundled_model
from edgeai.report.card_tables import accuracy

NAMES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
CHECKPOINT = (33.690, 46.872, 28.786, 42.942)  # weights/yolov8n-seg.pt: rectangles
FIXED = (33.214, 46.885, 27.990, 41.373)  # weights2/onnx/yolov8n-seg-256.onnx.tar.xz, its default export: squares
AS_SHOWN = 0.2  # points
# class and pixels of every mask that the loader of Ultralytics draws at 64x64, overlaps taken off
PIXELS = {
    "000000000139.jpg": [
        (0, 7), (0, 29), (56, 2), (56, 4), (56, 19), (56, 30), (56, 31), (58, 8), (60, 23), (62, 67), (62, 147),
        (68, 4), (72, 31), (73, 3), (73, 7), (74, 3), (75, 2), (75, 3), (75, 4), (75, 28),
    ],
    "000000000632.jpg": [
        (56, 61), (58, 30), (58, 78), (59, 655), (73, 0), (73, 0), (73, 1), (73, 3), *[(73, 4)] * 8, (73, 11),
    ],
    "000000002299.jpg": [
        (0, 32), (0, 35), (0, 44), (0, 45), (0, 45), (0, 55), (0, 60), (0, 65), (0, 67), (0, 69), (0, 70), (0, 76),
        (0, 80), *[(27, 1)] * 5, *[(27, 2)] * 3, (27, 3),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def few(kit: Path) -> Dataset:
    return read_dataset(kit / "coco/val/images", kit / "coco/val/instances.json", limit=24)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take five times as long where the cores are busy."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def image(number: int, height: int, width: int) -> Image:
    return Image(number, Path(f"{number:02d}.jpg"), height, width)


# --- counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "objects", "expected"),
    [
        # 1 up to recall 0.5, 2/3 behind it, 0 at 1: 49 strips of 1, then halves between 1 and 2/3 and 2/3 and 0
        ((True, False, True), 2, 0.49 + 0.005 * (1 + 2 / 3) + 0.49 * 2 / 3 + 0.005 * 2 / 3),
        ((True,), 4, 0.245),  # 24 strips of 1, and half of the one in which it falls; COCO's steps give 26 / 101
        ((True,) * 4, 4, 0.995),  # all found, and still half a strip short of 1
        ((False, False), 3, 0.0),
        ((), 3, 0.0),
    ],
)
def test_area_by_hand(right: tuple[bool, ...], objects: int, expected: float) -> None:
    assert area(np.array(right, np.bool_), objects) == pytest.approx(expected, abs=1e-12)


def test_a_detection_takes_the_best_object_that_is_free() -> None:
    ious = np.array([[0.62, 0.82], [0.57, 0.52]], np.float32)  # two objects, two detections, best first
    found = hits(ious, np.array([3, 3]), np.array([3, 3]))
    # up to 0.6 the first takes object 0, and the second has 0.52 left; above, the second has object 0 for itself
    assert found[:, 0].tolist() == [True, True]
    assert found[0].tolist() == [level <= 0.62 for level in THRESHOLDS]
    assert found[1].tolist() == [level <= 0.52 or 0.62 < level <= 0.82 for level in THRESHOLDS]
    assert not hits(ious, np.array([3, 3]), np.array([4, 4])).any()
    assert hits(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), np.array([1, 1])).shape == (2, 10)


def test_ap_is_of_classes_with_objects_and_detections_of_all_images_by_score() -> None:
    yes, no = np.ones((1, 10), np.bool_), np.zeros((1, 10), np.bool_)
    images = [
        Hits(no, np.array([0.9], np.float32), np.array([2]), np.array([2])),
        Hits(yes, np.array([0.8], np.float32), np.array([2]), np.array([2, 5])),
        Hits(no, np.array([0.7], np.float32), np.array([7]), np.zeros(0, np.int64)),
    ]
    found = average_precisions(images)
    assert sorted(found) == [2, 5]
    # precision 0, then 1/2 at recall 1/2; the curve starts at 1 and meets 1/2 at recall 0 already
    assert found[2][0] == pytest.approx(0.5 * 0.49 + 0.25 * 0.01)
    assert found[5].tolist() == [0.0] * 10


def test_overlaps_by_hand() -> None:
    one = np.array([[0, 0, 2, 2]], np.float32)
    other = np.array([[1, 0, 3, 2], [4, 4, 5, 5]], np.float32)
    np.testing.assert_allclose(box_ious(one, other), [[1 / 3, 0]], atol=1e-6)
    left, right = np.zeros((1, 2, 3), np.bool_), np.zeros((1, 2, 3), np.bool_)
    left[:, :, :2], right[:, :, 1:] = True, True
    np.testing.assert_allclose(mask_ious(left, right), [[1 / 3]], atol=1e-6)
    assert mask_ious(left, right[:0]).shape == (1, 0)


def test_of_equal_scores_the_earlier_box_stays() -> None:
    """As torchvision's NMS has it; int8 scores tie often. Ours keeps the later one."""
    near = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.5, 0.5, 0.7], np.float32)
    found = Candidates(near, np.zeros((3, 0), np.float32), np.arange(3), np.zeros(3, np.int64), scores, None)
    spec = ModelSpec("m", "yolov8", "detect", "n", ("a",), imgsz=64)
    contract = Contract(spec, "concat", 64, (OutputRole(0, "pred"),), 1.0)
    assert first_of_equals(found, contract, Thresholds()).tolist() == [2, 0]
    assert suppressed(found, contract, Thresholds()).tolist() == [2, 1]
    selects = dataclasses.replace(contract, layout="end2end")
    assert first_of_equals(found, selects, Thresholds()).tolist() == [2, 0, 1]


# --- pictures -----------------------------------------------------------------------------------


def test_a_batch_has_the_smallest_shape_that_holds_it_and_half_a_stride() -> None:
    wide, square, tall = (image(n, *size) for n, size in enumerate([(480, 640), (500, 500), (640, 480)]))
    # 0.75 x 256 / 32 + 0.5 = 6.5 strides, 256 / 32 + 0.5 = 8.5
    assert frames([wide], 256, True)[0][1] == Frame(224, 288, 192, 256)
    assert frames([tall], 256, True)[0][1] == Frame(288, 224, 256, 192)
    assert {(f.rows, f.columns) for _, f in frames([tall, square, wide], 256, True)} == {(288, 288)}
    assert [i.id for i, _ in frames([tall, square, wide], 256, True)] == [0, 1, 2]
    assert frames([wide], 256, False)[0][1] == Frame(256, 256, 192, 256)
    assert frames([image(1, 427, 640)], 256, False)[0][1].height == 171  # 170.8, rounded up
    assert Frame(256, 256, 171, 256).start == (0, 42)  # 85 rows of padding, the odd one below


@pytest.mark.kit
def test_shapes_are_those_of_ultralytics(few: Dataset) -> None:
    shown = frames(few.images, 256, True)
    assert [(f.rows, f.columns) for _, f in shown] == [(256, 288)] * 16 + [(288, 288)] * 8
    assert len({i.id for i, _ in shown}) == 24


def test_a_picture_lies_in_grey() -> None:
    shown = picture(np.full((4, 8, 3), 9, np.uint8), Frame(16, 12, 4, 8))
    assert shown.shape == (16, 12, 3) and (shown[6:10, 2:10] == 9).all()
    assert (shown == 9).sum() == 96 and (shown[0] == 114).all()


# --- ground truth -------------------------------------------------------------------------------


def test_parts_become_one_outline() -> None:
    first = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    second, third = first + np.array([4, 0]), first + np.array([4, 5])
    assert joined([first]).tolist() == first.tolist()
    there = [[2, 0], [2, 2], [0, 2], [0, 0], [2, 0]]  # from the corner nearest to the second part, and round
    then = [[4, 0], [6, 0], [6, 2], [4, 2], [4, 0]]
    assert joined([first, second]).tolist() == there + then
    # in the middle: in at one corner, the third part, and out
    last = [[4, 5], [6, 5], [6, 7], [4, 7], [4, 5]]
    middle = [[4, 0], [6, 0], [6, 2]]
    found = joined([first, second, third]).tolist()
    assert found[:5] == there and found[5] == [4, 0]
    assert all(point in found for point in [*middle, *last]) and found[-1] == [4, 0]


def test_an_outline_keeps_its_own_points_where_it_is_sampled() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    found = sampled(square, 1000)
    assert found.shape == (1000, 2)
    assert all(any((point == corner).all() for point in found) for corner in square)
    assert np.abs(np.diff(found, axis=0)).max() < 0.01
    assert sampled(square, 3).tolist() == [[0, 0], [1, 1], [0, 0]]  # fewer than it has


@pytest.mark.kit
def test_masks_are_those_of_ultralytics(few: Dataset) -> None:
    place = {category.id: i for i, category in enumerate(sorted(few.categories, key=lambda c: c.id))}
    for shown, frame in frames(few.images, 256, False):
        if shown.path.name not in PIXELS:
            continue
        inside = [entry for entry in few.objects if entry.image_id == shown.id and not entry.crowd]
        labels = [as_label(e, place[e.category_id], shown.height, shown.width, True) for e in inside]
        drawn = masks(labels, frame).sum(axis=(1, 2))
        pixels = sorted((label.label, int(count)) for label, count in zip(labels, drawn, strict=True))
        assert pixels == PIXELS[shown.path.name]


@pytest.mark.kit
def test_boxes_are_those_of_the_outlines_or_where_there_are_none_of_the_annotations(few: Dataset) -> None:
    shown, frame = next(pair for pair in frames(few.images, 256, False) if pair[0].path.name == "000000000285.jpg")
    (bear,) = (entry for entry in few.objects if entry.image_id == shown.id)
    plain = boxes([as_label(bear, 21, shown.height, shown.width, False)], frame)[0]
    outlined = boxes([as_label(bear, 21, shown.height, shown.width, True)], frame)[0]
    scale = np.array([frame.width / shown.width, frame.height / shown.height])
    x, y, w, h = bear.bbox
    corners = np.array([[x, y], [x + w, y + h]]) * scale + frame.start
    assert plain == pytest.approx(corners.ravel(), abs=0.01)
    # run lengths: contours run through the middle of the outer pixels, so that a box lacks one pixel of the image
    assert outlined[2:] == pytest.approx(plain[2:] - scale, abs=0.01)
    assert outlined[:2] == pytest.approx(plain[:2], abs=0.01)


# --- figures ------------------------------------------------------------------------------------


def measured(kit: Path, model: Path, *options: str) -> EvalResult:
    val = kit / "coco/val"
    data = ["--images", str(val / "images"), "--annotations", str(val / "instances.json"), "--limit", "24"]
    arguments = [str(model), *data, "--threads", "1", "--json", "-", *options]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    return from_json(EvalResult, result.stdout)


@pytest.mark.kit
@pytest.mark.usefixtures("one_thread")
def test_a_checkpoint_has_the_figures_of_yolo_val(kit: Path) -> None:
    checkpoint = kit / "weights/yolov8n-seg.pt"
    result = measured(kit, checkpoint, "--imgsz", "256", "--protocol", "ultralytics")
    assert [result.metric(name) for name in NAMES] == pytest.approx(CHECKPOINT, abs=AS_SHOWN)
    assert "Ultralytics" in result.protocol.metric_tool and "rectangles" in result.protocol.letterbox
    assert not result.matches and {entry.metric for entry in result.per_class} == {"box_ap", "mask_ap"}
    boxes = [entry.value for entry in result.per_class if entry.metric == "box_ap"]
    assert np.mean(boxes) == pytest.approx(result.metric("box_ap"))


@pytest.mark.kit
def test_files_of_fixed_and_of_open_size_have_the_figures_of_yolo_val(kit: Path, tmp_path: Path) -> None:
    with tarfile.open(kit / "weights2/onnx/yolov8n-seg-256.onnx.tar.xz") as packed:
        for name in ("yolov8n-seg-256.onnx", "yolov8n-seg-256-dynamic.onnx"):
            packed.extract(name, tmp_path, filter="data")
    result = measured(kit, tmp_path / "yolov8n-seg-256.onnx", "--protocol", "ultralytics")
    assert [result.metric(name) for name in NAMES] == pytest.approx(FIXED, abs=0.02)
    assert "rectangles" not in result.protocol.letterbox
    open_size = measured(kit, tmp_path / "yolov8n-seg-256-dynamic.onnx", "--imgsz", "256", "--protocol", "ultralytics")
    assert [open_size.metric(name) for name in NAMES] == pytest.approx(CHECKPOINT, abs=0.02)
    assert "rectangles" in open_size.protocol.letterbox
    plain = measured(kit, tmp_path / "yolov8n-seg-256.onnx")
    assert [plain.metric(name) for name in NAMES] != pytest.approx(FIXED, abs=AS_SHOWN)
    with pytest.raises(InputError, match="metric_tool"):
        judge(plain, result, 50.0)


# --- what does not go together ------------------------------------------------------------------


@pytest.mark.parametrize("options", [("--tta",), ("--shards", "2"), ("--on", "emulated-n6"), ("--as-on", "stm32mp2")])
def test_what_yolo_val_does_not_do_is_refused(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    model = bundled_model("yolov8n-seg-synthetic")
    outcome = edgeai(capsys, "evaluate", model, "--protocol", "ultralytics", *options)
    refused(outcome, 2, f"--protocol ultralytics and {options[0]} exclude each other", "hint")
    assert len(outcome.err.strip().splitlines()) == 2


@pytest.mark.kit
def test_classifiers_are_refused(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_bytes((kit / "coco/val/images/000000000285.jpg").read_bytes())
    classifier = next((kit / "tflite").glob("mobilenet_v1_0.25_96*.tflite"))
    outcome = edgeai(capsys, "evaluate", classifier, "--images", tmp_path, "--protocol", "ultralytics")
    refused(outcome, 2, "--protocol ultralytics is for detection and segmentation networks", "leave it out")


def result(tool: str, letterbox: str = "centred", name: str = "m.pt") -> EvalResult:
    protocol = EvalProtocol("val", "f" * 64, "e" * 64, 24, 256, letterbox, 0.001, 0.7, 300, True, tool)
    metrics = tuple(Metric(figure, 50.0) for figure in NAMES)
    return EvalResult(
        FileRef(name, "", 1),
        name,
        "torch/cpu",
        "fp32",
        "float",
        "raw",
        protocol,
        metrics,
        (),
        1,
        Provenance("evaluate"),
    )


def test_results_say_whose_ap_they_hold_and_do_not_compare() -> None:
    ours, theirs = result("pycocotools 2.0.11"), result("Ultralytics 8.4.190's rules")
    assert from_json(EvalResult, to_json(theirs)) == theirs
    assert theirs.protocol.as_ultralytics and not ours.protocol.as_ultralytics
    with pytest.raises(InputError, match=r"metric_tool pycocotools 2\.0\.11 and Ultralytics"):
        judge(ours, theirs, 1.0)
    verdict = judge(theirs, theirs, 1.0, rule=Rule(0.95, significant=True))
    assert verdict.passed and all("Ultralytics" in note for note in verdict.notes) and verdict.notes
    with pytest.raises(InputError, match="--strict needs an interval") as error:
        judge(theirs, theirs, 1.0, rule=Rule(0.95, strict=True))
    assert "without --protocol" in error.value.hint


def test_the_card_tells_the_rows_apart() -> None:
    shown = accuracy([result("pycocotools 2.0.11"), result("Ultralytics 8.4.190's rules")], "256x256x3")
    assert shown is not None
    assert [row.cells[-1] for row in shown.rows] == ["torch/cpu", "torch/cpu, AP as Ultralytics"]
    assert any("Ultralytics 8.4.190's rules" in note for note in shown.notes)


def test_the_table_says_so_too_and_warns_of_rectangles_beside_squares() -> None:
    one = result("Ultralytics 8.4.190's rules", "rectangles")
    text = render([one, dataclasses.replace(result("Ultralytics 8.4.190's rules", "centred"), name="m.tflite")])
    assert "Ultralytics 8.4.190's rules" in text and "WARNING" in text and "do not compare" in text
    assert "WARNING" not in render([one, one])
    assert all(len(line) <= 80 for line in text.splitlines())
