"""Checkpoints of every family, fine-tuned ones among them, come back as the network and spec they were."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeai.errors import InputError  # noqa: E402
from edgeai.models import build, load_model  # noqa: E402

Save = Callable[[Path, dict[str, Any]], Path]

NAMES = ("bolt", "nut", "washer")


def made(name: str, nc: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    network, _ = build(name, nc)
    with torch.no_grad():
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    "name",
    ["yolov8n-seg", "yolov8s-seg", "yolov8n", "yolov8n-cls", "yolov5n", "yolov5n6", "yolov5n-seg", "yolov5n-cls",
     "yolov5nu", "yolov5n6u"],
)  # fmt: skip
def test_round_trip(name: str, tmp_path: Path, save_as_ultralytics: Save) -> None:
    network = made(name)
    network.names = dict(enumerate(NAMES))
    path = save_as_ultralytics(tmp_path / "best.pt", {"model": network, "ema": None, "license": "CC0-1.0"})
    loaded, spec = load_model(path)
    assert (spec.name, spec.names, spec.licence, spec.nc) == (name, NAMES, "CC0-1.0", 3)
    assert not loaded.training
    for (key, ours), theirs in zip(network.state_dict().items(), loaded.state_dict().values(), strict=True):
        if not key.endswith("num_batches_tracked"):
            assert theirs.dtype == torch.float32 and torch.equal(ours, theirs), key
    size = 32 if len(spec.strides) < 4 else 64
    image = torch.rand(1, 3, size, size)
    with torch.no_grad():
        for ours, theirs in zip(network(image), loaded(image), strict=True):
            assert torch.equal(ours, theirs)


def test_a_training_checkpoint(tmp_path: Path, save_as_ultralytics: Save) -> None:
    """ema wins over model, fp16 becomes fp32, and what training leaves in the file does no harm."""
    network, ema = made("yolov8n-seg"), made("yolov8n-seg").half()
    with torch.no_grad():
        network.model[0].conv.weight.zero_()
    ema.names = list(NAMES)
    ema.model[22].register_buffer("strides", torch.tensor([8.0, 16.0, 32.0]))
    ema.model[22].dfl = torch.nn.Sequential()
    ema.model[22].dfl.conv = torch.nn.Conv2d(16, 1, 1, bias=False)
    ema.model[22].dfl.conv.weight.data = torch.arange(16.0).view(1, 16, 1, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    content = {
        "model": network,
        "ema": ema,
        "optimizer": optimizer.state_dict(),
        "train_args": argparse.Namespace(imgsz=[320, 256], data=pathlib.PurePosixPath("coco.yaml")),
        "epoch": 7,
    }
    loaded, spec = load_model(save_as_ultralytics(tmp_path / "last.pt", content))
    assert (spec.name, spec.imgsz, spec.licence) == ("yolov8n-seg", 320, "AGPL-3.0")
    assert torch.equal(loaded.model[0].conv.weight, ema.model[0].conv.weight.float())
    assert loaded.model[0].bn.eps == 1e-3


def test_anchors_come_from_the_file(tmp_path: Path, save_as_ultralytics: Save) -> None:
    network = made("yolov5n-seg")
    cells = torch.arange(18, dtype=torch.float32).view(3, 3, 2) + 1
    network.model[24].register_buffer("anchors", cells)
    _, spec = load_model(save_as_ultralytics(tmp_path / "a.pt", {"model": network}))
    assert spec.anchors[0] == (8.0, 16.0, 24.0, 32.0, 40.0, 48.0)
    assert spec.anchors[2][0] == 13 * 32
    assert spec.names == ("class0", "class1", "class2")
    network.model[24].register_buffer("anchors", cells[0])
    with pytest.raises(InputError, match="anchors has the shape"):
        load_model(save_as_ultralytics(tmp_path / "b.pt", {"model": network}))


def drop_norm(network: Any) -> None:
    network.model[0].bn = torch.nn.Identity()


def widen(network: Any) -> None:
    network.model[2].cv1.conv = torch.nn.Conv2d(32, 40, 1, bias=False)


def add(network: Any) -> None:
    network.model[3].extra = torch.nn.Conv2d(1, 1, 1)


def poison(network: Any) -> None:
    network.model[4].cv1.bn.weight.data[3] = float("nan")


def misname(network: Any) -> None:
    network.names = {0: "one", 1: "two"}


def pose(network: Any) -> None:
    del network.model[22].proto
    network.yaml = {"yaml_file": "yolov8n-pose.yaml"}


def focus(network: Any) -> None:
    network.model[0].conv = torch.nn.Sequential()
    network.model[0].conv.conv = torch.nn.Conv2d(12, 16, 3)


def gray(network: Any) -> None:
    network.model[0].conv = torch.nn.Conv2d(1, 16, 3, bias=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_norm, "model.0.bn.weight is missing"),
        (widen, r"model.2.cv1.conv.weight is \[40, 32, 1, 1\], not \[32, 32, 1, 1\]"),
        (add, "'model.3.extra.weight' is left over"),
        (poison, "model.4.cv1.bn.weight holds a value that is not a number"),
        (misname, "names 2 classes, but its head has 3"),
        (pose, "is a SegmentationModel of yolov8n-pose.yaml, which is not a network"),
        (focus, "is a YOLOv5 from before v6.0"),
        (gray, r"model.0.conv.weight is \[16, 1, 3, 3\], not \[16, 3, 3, 3\]"),
    ],
)
def test_networks_that_do_not_fit(
    change: Callable[[Any], None], says: str, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network = made("yolov8n-seg")
    change(network)
    with pytest.raises(InputError, match=says):
        load_model(save_as_ultralytics(tmp_path / "odd.pt", {"model": network}))


def test_weights_without_their_model(tmp_path: Path) -> None:
    torch.save(made("yolov8n").state_dict(), tmp_path / "state.pt")
    with pytest.raises(InputError, match="weights without their model"):
        load_model(tmp_path / "state.pt")


def test_modules_that_contain_themselves(tmp_path: Path, save_as_ultralytics: Save) -> None:
    loop = torch.nn.Sequential(torch.nn.Linear(1, 1))
    loop._modules["again"] = loop
    torch.save({"model": loop}, tmp_path / "loop.pt")
    with pytest.raises(InputError, match="nest too deep"):
        load_model(tmp_path / "loop.pt")


def test_unknown_names_and_no_classes() -> None:
    with pytest.raises(InputError) as caught:
        build("yolov8n-sge")
    assert "yolov8n-seg" in caught.value.hint
    with pytest.raises(InputError, match="at least one class"):
        build("yolov8n", nc=0)
