"""What a checkpoint says of itself in every form that people write (names, sizes, licences), and what it may name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from checkpoints import dressed  # noqa: E402

from edgeai.errors import InputError  # noqa: E402
from edgeai.models import build, load_model  # noqa: E402
from edgeai.models.allowlist import ALLOWED  # noqa: E402

Save = Callable[[Path, dict[str, Any]], Path]
Zip = Callable[..., Path]


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    made, _ = build("yolov8n", 3)
    return dressed(made.eval())


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ({0: "bolt", 1: "nut", 2: "washer"}, ("bolt", "nut", "washer")),
        ({2: "washer", 0: "bolt", 1: "nut"}, ("bolt", "nut", "washer")),
        ({"0": "bolt", "1": "nut", "2": "washer"}, ("bolt", "nut", "washer")),
        ({np.int64(0): "bolt", np.int64(1): "nut", np.int64(2): "washer"}, ("bolt", "nut", "washer")),
        ({np.uint8(0): "bolt", 1.0: "nut", np.float32(2): "washer"}, ("bolt", "nut", "washer")),
        ([np.str_("bolt"), "nut", 7], ("bolt", "nut", "7")),
        (("bolt", "nut", "washer"), ("bolt", "nut", "washer")),
        ({0: "bolt", 2: "washer"}, ("bolt", "class1", "washer")),
        ({"2": "washer"}, ("class0", "class1", "washer")),
        ({}, ("class0", "class1", "class2")),
        ({0: "bolt\n", 1: "größe", 2: "螺母"}, ("bolt\\n", "größe", "螺母")),
        (["\x1b[31mré", "nut", "a b"], ("\\x1b[31mré", "nut", "a b")),
    ],
)
def test_class_names(
    names: Any, read: tuple[str, ...], network: Any, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network.names = names
    _, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert spec.names == read


def test_a_missing_number_is_told(network: Any, tmp_path: Path, save_as_ultralytics: Save) -> None:
    network.names = {"2": "washer"}
    _, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert spec.notes == ("no name for the classes 0, 1 in the file: class0 and so on",)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({0: "a", 1: "b"}, "names 2 classes, but its head has 3 scores"),
        ({0: "a", 3: "b"}, "names a class 3, but its head has 3 scores"),
        ({1: "a", 2: "b", 3: "c"}, "names a class 3, but its head has 3 scores"),
        ({0: "a", "0": "b", 2: "c"}, "names class 0 twice"),
        ({0: "a", "one": "b", 2: "c"}, "has a class name under one, not a number"),
        ({0: "a", 1.5: "b", 2: "c"}, "has a class name under 1.5, not a number"),
        ({-1: "a", 1: "b", 2: "c"}, "has a class name under -1, not a number"),
        ({0: "a", 1: None, 2: "c"}, "class 1 has no name but None"),
        ("abc", "has class names that are not a list of names"),
    ],
)
def test_names_of_another_network(
    names: Any, says: str, network: Any, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network.names = names
    with pytest.raises(InputError, match=says) as caught:
        load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("size", "read"),
    [
        (320, 320),
        ("320", 320),
        (320.0, 320),
        ("320.0", 320),
        ([256, 320], 320),
        ((320, 256), 320),
        (["320", 256.0], 320),
        (np.int64(320), 320),
        (np.float64(320), 320),
        ([np.int32(320)], 320),
    ],
)
def test_image_sizes(size: Any, read: int, network: Any, tmp_path: Path, save_as_ultralytics: Save) -> None:
    network.names = {}
    path = save_as_ultralytics(tmp_path / "best.pt", {"model": network, "train_args": {"imgsz": size}})
    _, spec = load_model(path)
    assert (spec.imgsz, spec.notes) == (read, ())


@pytest.mark.parametrize(
    ("size", "read", "says"),
    [
        (500, 500, "the image size in the file, 500, is no multiple of 32: pass --imgsz, 512 for one"),
        ("big", 640, "the image size in the file, big, is none in pixels"),
        (320.5, 640, "the image size in the file, 320.5, is none in pixels"),
        (True, 640, "the image size in the file, True, is none in pixels"),
        (-1, 640, "the image size in the file, -1, is none in pixels"),
        ([320, "?"], 640, r"the image size in the file, [320, '?'], is none in pixels"),
    ],
)
def test_image_sizes_that_cannot_be_used_are_told(
    size: Any, read: int, says: str, network: Any, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network.names = {}
    path = save_as_ultralytics(tmp_path / "best.pt", {"model": network, "train_args": {"imgsz": size}})
    _, spec = load_model(path)
    assert spec.imgsz == read
    assert len(spec.notes) == 1 and spec.notes[0].startswith(says)


def test_a_stated_licence_counts(network: Any, tmp_path: Path, save_as_ultralytics: Save) -> None:
    network.names = {}
    cases = (("Apache-2.0", ("Apache-2.0", False)), (None, ("AGPL-3.0", True)), ("", ("AGPL-3.0", True)))
    for stated, expected in cases:
        path = save_as_ultralytics(tmp_path / "best.pt", {"model": network, "license": stated})
        _, spec = load_model(path)
        assert (spec.licence, "Ultralytics" in spec.licence_source) == expected


# Every name in the pickles of models built and trained with nine releases from 8.0.100 to 8.4.190, and of others.
SEEN = {
    "collections": "OrderedDict",
    "__builtin__": "set getattr",
    "torch": "FloatStorage HalfStorage LongStorage Size device",
    "torch._utils": "_rebuild_parameter _rebuild_tensor_v2",
    "torch.nn.modules.activation": "SiLU Tanh ReLU",
    "torch.nn.modules.batchnorm": "BatchNorm2d",
    "torch.nn.modules.container": "ModuleList Sequential",
    "torch.nn.modules.conv": "Conv2d ConvTranspose2d",
    "torch.nn.modules.dropout": "Dropout",
    "torch.nn.modules.linear": "Linear Identity",
    "torch.nn.modules.loss": "BCEWithLogitsLoss",
    "torch.nn.modules.padding": "ZeroPad2d",
    "torch.nn.modules.pooling": "MaxPool2d AdaptiveAvgPool2d",
    "torch.nn.modules.upsampling": "Upsample",
    "ultralytics.nn.modules.block": (
        "C2f Bottleneck SPPF Proto DFL RepNCSPELAN4 RepCSP RepBottleneck SPPELAN ADown AConv ELAN1 SCDown PSA "
        "Attention CIB C2fCIB RepVGGDW C3k C3k2 C2PSA PSABlock A2C2f ABlock AAttn Proto26 RealNVP C2 C3 C3Ghost "
        "GhostBottleneck ResNetLayer ResNetBlock"
    ),
    "ultralytics.nn.modules.conv": "Conv Concat RepConv DWConv GhostConv",
    "ultralytics.nn.modules.head": (
        "Detect Segment Pose Classify OBB v10Detect Segment26 Pose26 OBB26 Depth SemanticSegment"
    ),
    "ultralytics.nn.tasks": (
        "DetectionModel SegmentationModel PoseModel ClassificationModel OBBModel DepthModel SemanticSegmentationModel"
    ),
    "ultralytics.yolo.utils": "IterableSimpleNamespace",
    "ultralytics.utils": "IterableSimpleNamespace",
    "ultralytics.utils.loss": "v8SegmentationLoss BboxLoss DFLoss BCEDiceLoss MultiChannelDiceLoss",
    "ultralytics.utils.tal": "TaskAlignedAssigner",
    "numpy.core.multiarray": "scalar",
    "numpy": "dtype",
    "_codecs": "encode",
}


def test_the_list_holds_every_name_that_was_seen() -> None:
    assert {f"{module}.{name}" for module, names in SEEN.items() for name in names.split()} <= ALLOWED
    for module in ("models.common", "models.yolo", "models.experimental"):
        mine = {name for name in ALLOWED if name.startswith(f"{module}.")}
        assert mine and {f"yolov5.{name}" for name in mine} <= ALLOWED


def named(origin: str) -> bytes:
    module, _, name = origin.rpartition(".")
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n)\x81."


@pytest.mark.parametrize(
    "origin",
    ["ultralytics.nn.modules.block.C9x", "models.mine.Net", "yolov5.models.common.New", "torch.nn.modules.rnn.LSTM"],
)
def test_an_unknown_network_is_no_attack(origin: str, zip_pickle: Zip) -> None:
    with pytest.raises(InputError, match="a newer or unknown network, which edgeai does not build") as caught:
        load_model(zip_pickle(named(origin)))
    assert origin in caught.value.message and "ONNX" in caught.value.hint


@pytest.mark.parametrize("origin", ["os.system", "modelsx.Net", "torch.hub.load", "builtins.eval", "ultralytics.os"])
def test_other_names_are_refused(origin: str, zip_pickle: Zip) -> None:
    says = "newer or unknown" if origin.startswith("ultralytics.") else "which no checkpoint needs; refused"
    with pytest.raises(InputError, match=says):
        load_model(zip_pickle(named(origin)))
