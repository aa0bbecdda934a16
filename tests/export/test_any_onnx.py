"""ONNX files that users bring: classifiers go through, a Faster R-CNN gets the truth and its backbone goes through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import edgeai, refused

torch = pytest.importorskip("torch")
zoo = pytest.importorskip("zoo")

from edgeai.artifacts import AuditReport, EvalResult, QuantizedModel, from_json  # noqa: E402
from edgeai.export.from_onnx import deployable_part  # noqa: E402

NORM = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("EDGEAI_CACHE")
    os.environ["EDGEAI_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("EDGEAI_CACHE") if before is None else os.environ.update(EDGEAI_CACHE=before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of pictures, told apart by their colour, in a folder each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in range(4):
        (folder / f"class{label}").mkdir()
        for i in range(6):
            colours = rng.integers(0, 90, (4, 5, 3)).astype(np.uint8)
            colours[..., label % 3] += 120 if label < 3 else 0
            cv2.imwrite(str(folder / f"class{label}" / f"{i}.png"), cv2.resize(colours, (100, 80)))
    return folder


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 64), ("resnet50", 64), ("efficientnet_b0", 64)]
)
def test_classifiers_go_through(
    name: str, size: int, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, number = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz_"))
    network = zoo.ResNet(number, 4) if family == "resnet" else zoo.EfficientNet(number, 4)
    source = zoo.export(zoo.seeded(network), tmp_path / f"{name}.onnx", size, dynamic=name == "resnet18")
    out = tmp_path / "int8.tflite"
    choice = ["--imgsz", size, *NORM, "--calibration", photos, "-o", out, "--json"]
    done = edgeai(capsys, "quantize", source, *choice)
    assert done.code == 0, done.err
    made = from_json(QuantizedModel, done.out)
    assert made.contract.spec.task == "classify"
    assert made.audit.granularity == "per-channel"
    assert made.audit.float_tensors == 0
    assert min(p.cosine for p in made.parity) > 0.9999
    fp32 = tmp_path / "fp32.onnx"
    assert edgeai(capsys, "export", source, "--imgsz", size, *NORM, "-o", fp32).code == 0
    results = tmp_path / "results"
    results.mkdir()
    done = edgeai(capsys, "evaluate", fp32, out, "--images", photos, "--json", results)
    assert done.code == 0, done.err
    assert "top-1" in done.out
    exact, coded = (from_json(EvalResult, (results / f"{stem}.json").read_text()) for stem in ("fp32", "int8"))
    assert exact.protocol == coded.protocol
    assert exact.protocol.num_images == 24
    assert exact.metric("top5") == coded.metric("top5") == 100.0
    assert edgeai(capsys, "footprint", out, "--board", "stm32n6").code in (0, 3)


def test_int8_follows_the_float_classifier(photos: Path, tmp_path: Path) -> None:
    """The int8 scores follow the float ones, mean and std included."""
    from helpers import Silent

    from edgeai.cache import StageCache
    from edgeai.evaluate.backends import open_runner
    from edgeai.imaging.images import canvas, read_image
    from edgeai.pipeline.stages import Recipe, Stages
    from edgeai.quantize.ranges.calibration import open_calibration

    source = zoo.export(zoo.seeded(zoo.ResNet(18, 4)), tmp_path / "r.onnx", 64)
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    recipe = Recipe(imgsz=0, mean=mean, std=std)
    path, _, _ = stages.quantized(source, recipe, open_calibration(photos))
    exact, coded = [], []
    with open_runner(path) as runner, torch.no_grad():
        network = zoo.seeded(zoo.ResNet(18, 4))
        for photo in sorted(photos.rglob("*.png")):
            image = canvas(read_image(photo), runner.contract)
            real = (torch.from_numpy(image / 255.0).float() - torch.tensor(mean)) / torch.tensor(std)
            exact.append(network(real.permute(2, 0, 1)[None]).numpy().ravel())
            coded.append(runner.infer(image)[0].real().ravel())
    a, b = np.array(exact), np.array(coded)
    assert 10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()) > 20


def test_faster_rcnn_gets_the_truth(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = zoo.faster_rcnn(tmp_path / "faster_rcnn.onnx", 96)
    refused(
        edgeai(capsys, "quantize", source, "--calibration", photos, "-o", tmp_path / "no.tflite"),
        2, "NonMaxSuppression (1)", "--part",
    )  # fmt: skip
    assert not (tmp_path / "no.tflite").exists()
    part, out = tmp_path / "part.onnx", tmp_path / "part.tflite"
    done = edgeai(capsys, "export", source, "--part", "-o", part)
    assert done.code == 0, done.err
    import onnx

    shapes = sorted(
        tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in onnx.load(str(part)).graph.output
    )
    assert (1, 256, 24, 24) in shapes  # the finest level of the pyramid
    assert any(len(shape) == 3 and shape[2] == 4 for shape in shapes)  # the proposals' boxes
    done = edgeai(capsys, "quantize", part, "--calibration", photos, "-o", out)
    assert done.code == 0, done.err
    audit = from_json(AuditReport, edgeai(capsys, "inspect", out, "--json").out)
    assert (audit.granularity, audit.float_tensors) == ("per-channel", 0)
    assert audit.weights_bytes > 20e6
    assert edgeai(capsys, "footprint", out, "--board", "stm32n6").code in (0, 3)


def test_the_part_of_a_static_network_is_the_network(tmp_path: Path) -> None:
    import onnx

    source = zoo.export(zoo.seeded(zoo.ResNet(18, 4)), tmp_path / "r.onnx", 64)
    found = deployable_part(onnx.load(str(source)))
    assert found.whole
    assert not found.blocking


def test_yolov5_seg_of_the_kit(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = kit / "weights/yolov5n-seg.onnx", tmp_path / "y5.tflite"
    choice = ["--imgsz", 160, "--calibration", kit / "coco/calibration/images", "--limit", 16, "-o", out, "--json"]
    done = edgeai(capsys, "quantize", source, *choice)
    made = from_json(QuantizedModel, done.out)
    assert [role.kind for role in made.contract.roles].count("anchors") == 3
    data = ["--images", kit / "coco/val/images", "--annotations", kit / "coco/val/instances.json", "--limit", 20]
    results = tmp_path / "results"
    results.mkdir()
    assert edgeai(capsys, "evaluate", source, out, "--imgsz", 160, *data, "--json", results).code == 0
    exact, coded = (from_json(EvalResult, (results / f"{stem}.json").read_text()) for stem in ("yolov5n-seg", "y5"))
    assert exact.metric("mask_ap") > 5
    assert coded.metric("mask_ap") > 0.8 * exact.metric("mask_ap")


@pytest.mark.parametrize(
    ("shape", "words"),
    [([1, 3, 64, 96], "64x96"), ([1, 1, 64, 64], "one RGB image"), ([2, 3, 64, 64], "a batch of 2 images")],
)
def test_networks_on_something_else(
    shape: list[int], words: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = torch.nn.Conv2d(shape[1], 2, 3)
    torch.onnx.export(network, (torch.rand(*shape),), str(tmp_path / "m.onnx"), dynamo=False)
    refused(edgeai(capsys, "quantize", tmp_path / "m.onnx", "--calibration", photos), 2, words)


def test_damaged_onnx(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01garbage")
    refused(edgeai(capsys, "quantize", tmp_path / "m.onnx", "--calibration", photos), 2, "m.onnx")
