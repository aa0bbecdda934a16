"""`edgeai predict`: pictures, videos, cameras, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import edgeai, refused
from pycocotools import mask as coco_mask

from edgeai.artifacts import Prediction, from_json
from edgeai.evaluate.masks import Rle
from edgeai.evaluate.postprocess import Detections
from edgeai.predict.draw import PALETTE, draw

MODEL = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
BEAR = "000000000285.jpg"  # one bear that fills the picture
BEAR_CLASS = "bear"  # from the metadata in the file


@pytest.fixture
def model(kit: Path) -> Path:
    return kit / "tflite" / MODEL


def test_a_photo_of_a_bear(kit: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Box and mask lie on the bear that COCO's annotators drew."""
    import json

    photo = kit / "coco" / "val" / "images" / BEAR
    outcome = edgeai(capsys, "predict", photo, "--model", model, "--save", tmp_path / "found", "--json")
    found = from_json(Prediction, outcome.out)
    image = found.images[0]
    body = json.loads((kit / "coco" / "val" / "instances.json").read_text())
    truth = next(a for a in body["annotations"] if a["image_id"] == 285)
    x, y, width, height = truth["bbox"]
    bear = image.objects[0]
    assert bear.category == BEAR_CLASS and bear.score > 0.7
    assert np.allclose(bear.box, (x, y, x + width, y + height), atol=0.06 * max(image.width, image.height))
    coded = {"size": [image.height, image.width], "counts": bear.mask.encode()}
    true = {**truth["segmentation"], "counts": truth["segmentation"]["counts"].encode()}
    assert coco_mask.iou([coded], [true], [0])[0][0] > 0.8
    assert bear.mask_pixels == int(coco_mask.decode(coded).sum())
    picture = cv2.imread(str(tmp_path / "found" / "000000000285.jpg"))
    assert picture.shape == (image.height, image.width, 3)
    before = cv2.imread(str(photo)).astype(int)
    changed = np.abs(picture.astype(int) - before).max(axis=2) > 24
    inside = coco_mask.decode(coded).astype(bool)
    assert changed[inside].mean() > 0.9 and changed[~inside].mean() < 0.2


def test_folders_files_and_names_that_clash(
    kit: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = (kit / "coco" / "val" / "images" / BEAR).read_bytes()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bear.jpg").write_bytes(photo)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    outcome = edgeai(capsys, "predict", tmp_path / "a", tmp_path / "b" / "bear.jpg", "--model", model,
                     "--save", tmp_path / "out", "--classes", ",".join(f"thing {i}" for i in range(80)))  # fmt: skip
    assert outcome.code == 0 and "thing 21" in outcome.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bear.jpg", "bear_2.jpg"]
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if str(tmp_path) not in line)


def test_the_same_photo_gives_the_same_bytes(
    kit: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = kit / "coco" / "val" / "images" / BEAR
    answers = [edgeai(capsys, "predict", photo, "--model", model, "--save", tmp_path / n, "--json").out for n in "ab"]
    assert answers[0] == answers[1]
    assert (tmp_path / "a" / BEAR).read_bytes() == (tmp_path / "b" / BEAR).read_bytes()


def test_a_video_becomes_a_video(
    kit: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (BEAR, "000000000724.jpg", BEAR)
    video = tmp_path / "three.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 5, (320, 240))
    for name in names:
        writer.write(cv2.resize(cv2.imread(str(kit / "coco" / "val" / "images" / name)), (320, 240)))
    writer.release()
    outcome = edgeai(capsys, "predict", video, "--model", model, "--save", tmp_path / "out", "--json")
    found = from_json(Prediction, outcome.out)
    assert [image.frame for image in found.images] == [0, 1, 2]
    assert {found.images[i].objects[0].category for i in (0, 2)} == {BEAR_CLASS}
    reader = cv2.VideoCapture(str(tmp_path / "out" / "three.mp4"))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and reader.get(cv2.CAP_PROP_FPS) == 5
    limited = edgeai(capsys, "predict", video, "--model", model, "--frames", 2, "--json").out
    assert len(from_json(Prediction, limited).images) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["three.mp4"]


def test_what_cannot_be_looked_at_is_refused(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no")
    (tmp_path / "broken.mp4").write_bytes(b"no")
    cases = (("empty", 2, "holds no images"), ("broken.jpg", 2, "not an image"), ("broken.mp4", 2, "not a video"),
             ("none.jpg", 2, "does not exist"))  # fmt: skip
    for name, code, words in cases:
        refused(edgeai(capfd, "predict", tmp_path / name, "--model", model), code, words)
    refused(edgeai(capfd, "predict", "camera:x", "--model", model), 2, "names no camera")
    refused(edgeai(capfd, "predict", "camera:93", "--model", model), 6, "camera 93")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    refused(edgeai(capfd, "predict", tmp_path / "photo.jpg", "--model", model, "--on", "no-such-board"), 2, "no-such")


def test_a_network_without_boxes_is_refused(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = next((kit / "tflite").glob("mobilenet_v1_0.25_96*.tflite"))
    photo = kit / "coco" / "val" / "images" / BEAR
    refused(edgeai(capsys, "predict", photo, "--model", classifier), 2, classifier.stem[:20])


def test_several_views_find_at_least_the_bear(
    kit: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = kit / "coco" / "val" / "images" / BEAR
    found = from_json(Prediction, edgeai(capsys, "predict", photo, "--model", model, "--tta", "--json").out)
    assert found.images[0].objects[0].category == BEAR_CLASS
    assert any(fact.name == "tta" and "mirrored" in fact.value for fact in found.provenance.options)


def test_drawing_touches_boxes_and_masks_only() -> None:
    image = np.full((200, 300, 3), 200, np.uint8)
    shape = np.zeros((200, 300), np.uint8, order="F")
    shape[100:140, 60:120] = 1
    coded = coco_mask.encode(shape)
    found = Detections(np.array([[50, 90, 130, 150]], np.float32), np.array([0.9], np.float32), np.array([1]),
                       (Rle(200, 300, coded["counts"]),))  # fmt: skip
    drawn = draw(image, found, ("a", "b|\N{GREEK SMALL LETTER BETA}"))
    assert (image == 200).all()
    changed = (drawn != 200).any(axis=2)
    assert changed[105:135, 65:115].all()
    assert not changed[160:].any() and not changed[:, 200:].any() and not changed[:, :45].any()
    assert tuple(drawn[150, 100]) == PALETTE[1]
