"""What has no weights: built as a checkpoint has it, or refused with the layer and both values."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from checkpoints import dressed  # noqa: E402
from helpers import edgeai  # noqa: E402
from torch import nn  # noqa: E402

from edgeai.artifacts import Variant  # noqa: E402
from edgeai.errors import InputError  # noqa: E402
from edgeai.models import build, build_spec, load_model  # noqa: E402
from edgeai.models.activations import describe  # noqa: E402
from edgeai.models.layers import ConvBnAct  # noqa: E402
from edgeai.models.load import import_model  # noqa: E402

Save = Callable[[Path, dict[str, Any]], Path]


def made(name: str = "yolov8n-seg", nc: int = 3) -> Any:
    """A network with drawn norms and the attributes that checkpoints have, in eval mode."""
    torch.manual_seed(0)
    network, _ = build(name, nc)
    with torch.no_grad():
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return dressed(network.eval(), nc)


def agree(network: Any, loaded: Any, size: int = 32) -> None:
    """Both compute the same, to rounding."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    network.eval()
    with torch.no_grad():
        for theirs, ours in zip(network(image), loaded(image), strict=True):
            assert float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


def activations(network: Any, function: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, ConvBnAct):
            module.act = function


FUNCTIONS = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.1),
    "hardswish": nn.Hardswish(),
    "mish": nn.Mish(),
    "identity": nn.Identity(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("model", ["yolov8n-seg", "yolov5n", "yolov5nu", "yolov8n-cls"])
def test_activations_are_built_as_found(
    name: str, model: str, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network = made(model)
    activations(network, FUNCTIONS[name])
    loaded, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert spec.variants == (Variant("*", name, 0.1 if name == "leaky_relu" else 0.0),)  # type: ignore[arg-type]
    agree(network, loaded)


def test_what_differs_travels_in_the_weight_file(tmp_path: Path, save_as_ultralytics: Save) -> None:
    """Mostly ReLU, one LeakyReLU, one SiLU, SPPF without; one norm with another eps: in and out of .safetensors."""
    network = made()
    activations(network, nn.ReLU(inplace=True))
    network.model[2].cv1.act = nn.LeakyReLU(0.3)
    network.model[9].cv1.act = nn.Identity()
    network.model[22].proto.cv2.act = nn.SiLU()
    network.model[4].cv2.bn.eps = 1e-2
    source = save_as_ultralytics(tmp_path / "best.pt", {"model": network})
    imported = import_model(source, tmp_path / "best.safetensors")
    loaded, spec = load_model(tmp_path / "best.safetensors")
    assert spec.variants == imported.spec.variants == (
        Variant("*", "relu"),
        Variant("model.2.cv1", "leaky_relu", 0.3),
        Variant("model.4.cv2", eps=1e-2),
        Variant("model.9.cv1", "identity"),
        Variant("model.22.proto.cv2", "silu"),
    )
    assert describe(spec.variants) == (
        "ReLU, but LeakyReLU(0.3) in model.2.cv1, Identity in model.9.cv1, SiLU in model.22.proto.cv2"
    )
    agree(network, loaded)
    rebuilt = build_spec(spec).eval()  # as training, export and quantisation-aware training do
    rebuilt.load_state_dict(loaded.state_dict())
    agree(network, rebuilt)


def test_a_file_without_variants_is_the_published_network(tmp_path: Path, save_as_ultralytics: Save) -> None:
    network = made()
    _, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert spec.variants == () and describe(()) == "SiLU" and spec.notes == ()


def test_eps_of_every_norm(tmp_path: Path, save_as_ultralytics: Save) -> None:
    network = made("yolov8n-cls")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    loaded, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert spec.variants == (Variant("*", eps=1e-5),)
    agree(network, loaded)


def no_shortcut(network: Any) -> None:
    network.model[2].m[0].add = False


def shortcut_in_the_neck(network: Any) -> None:
    network.model[12].m[0].add = True


def bilinear(network: Any) -> None:
    network.model[10].mode = "bilinear"


def upsample_size(network: Any) -> None:
    network.model[13].scale_factor = 4.0


def fixed_size(network: Any) -> None:
    network.model[13].size = (8, 8)


def pool(network: Any) -> None:
    network.model[9].m = nn.MaxPool2d(3, 1, 1)


def pool_ceil(network: Any) -> None:
    network.model[9].m.ceil_mode = True


def pools(network: Any) -> None:
    network.model[9].n = 4


def pool_sum(network: Any) -> None:
    network.model[9].add = True


def swapped(network: Any) -> None:
    network.model[11].f = [6, -1]


def other_layer(network: Any) -> None:
    network.model[14].f = [-1, 2]


def other_level(network: Any) -> None:
    network.model[22].f = [15, 21, 18]


def skipping(network: Any) -> None:
    network.model[16].f = 14


def stride(network: Any) -> None:
    network.model[3].conv.stride = (1, 1)


def dilation(network: Any) -> None:
    network.model[3].conv.dilation = (2, 2)


def padding(network: Any) -> None:
    network.model[3].conv.padding = (0, 0)


def reflecting(network: Any) -> None:
    network.model[3].conv.padding_mode = "reflect"


def groups(network: Any) -> None:
    network.model[22].cv2[0][0].conv.groups = 2


def transposed(network: Any) -> None:
    network.model[22].proto.upsample.output_padding = (1, 1)


def kernel(network: Any) -> None:
    network.model[22].dfl.conv.weight.data[0, 3] = 0


def strides(network: Any) -> None:
    network.model[22].stride = torch.tensor([4.0, 8.0, 16.0])


def classes(network: Any) -> None:
    network.model[22].nc = 2


def concat_axis(network: Any) -> None:
    network.model[11].d = 2


def batch_statistics(network: Any) -> None:
    network.model[0].bn.track_running_stats = False


def gelu(network: Any) -> None:
    network.model[5].act = nn.GELU()


def relu6_limits(network: Any) -> None:
    network.model[5].act = nn.ReLU6()
    network.model[5].act.max_val = 4.0


def another_module(network: Any) -> None:
    network.model[22].cv3[1].append(nn.Sigmoid())


def wrong_class(network: Any) -> None:
    network.model[10] = nn.UpsamplingBilinear2d(scale_factor=2)


def without_a_layer(network: Any) -> None:
    del network.model[9].m


def zero_eps(network: Any) -> None:
    network.model[0].bn.eps = -1.0


def hooked(network: Any) -> None:
    network.model[1]._forward_pre_hooks[0] = None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_shortcut, "model.2.m.0 has add False, not True"),
        (shortcut_in_the_neck, "model.12.m.0 has add True, not False"),
        (bilinear, "model.10 has mode bilinear, not nearest"),
        (upsample_size, "model.13 has scale_factor 4.0, not 2.0"),
        (fixed_size, r"model.13 has size \(8, 8\), not None"),
        (pool, "model.9.m has kernel_size 3, not 5"),
        (pool_ceil, "model.9.m has ceil_mode True, not False"),
        (pools, "model.9 has n 4, not 3"),
        (pool_sum, "model.9 has add True, not False"),
        (swapped, r"model.11 has the sources \(f\) \[6, -1\], not \[-1, 6\]"),
        (other_layer, r"model.14 has the sources \(f\) \[-1, 2\], not \[-1, 4\]"),
        (other_level, r"model.22 has the sources \(f\) \[15, 21, 18\], not \[15, 18, 21\]"),
        (skipping, r"model.16 has the sources \(f\) 14, not -1"),
        (stride, r"model.3.conv has stride \(1, 1\), not \(2, 2\)"),
        (dilation, r"model.3.conv has dilation \(2, 2\), not \(1, 1\)"),
        (padding, r"model.3.conv has padding \(0, 0\), not \(1, 1\)"),
        (reflecting, "model.3.conv has padding_mode reflect, not zeros"),
        (groups, "model.22.cv2.0.0.conv has groups 2, not 1"),
        (transposed, r"model.22.proto.upsample has output_padding \(1, 1\), not \(0, 0\)"),
        (kernel, r"dfl.conv.weight has the values \[0, 1, 2, 0, 4, .*, not 0 to 15"),
        (strides, r"model.22 has the strides \(4.0, 8.0, 16.0\), not \(8, 16, 32\)"),
        (classes, "model.22 has nc 2, not 3"),
        (concat_axis, "model.11 has d 2, not 1"),
        (batch_statistics, "model.0.bn has track_running_stats False, not True"),
        (gelu, "model.5 has the activation function GELU"),
        (relu6_limits, r"model.5.act has the limits \(0.0, 4.0\), not \(0, 6\)"),
        (another_module, r"model.22.cv3.1.3 \(Sigmoid\) is left over"),
        (wrong_class, "model.10 has the class UpsamplingBilinear2d, not Upsample"),
        (without_a_layer, "model.9.m is missing"),
        (zero_eps, r"model.0.bn has the eps -1.0"),
        (hooked, "model.1 has a hook"),
    ],
)
def test_anything_else_is_refused(
    change: Callable[[Any], None], says: str, tmp_path: Path, save_as_ultralytics: Save
) -> None:
    network = made()
    change(network)
    with pytest.raises(InputError, match=says) as caught:
        load_model(save_as_ultralytics(tmp_path / "odd.pt", {"model": network}))
    assert caught.value.hint


@pytest.mark.parametrize("harmless", [nn.Identity(), nn.Dropout(0.3)])
def test_what_does_nothing_does_no_harm(harmless: nn.Module, tmp_path: Path, save_as_ultralytics: Save) -> None:
    network = made()
    network.model[22].cv3[1].append(harmless)
    loaded, _ = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    agree(network, loaded)


def test_a_fused_checkpoint(tmp_path: Path, save_as_ultralytics: Save) -> None:
    """Norms folded into the convolutions, as `fuse` leaves it: no `bn`, a bias instead."""
    network = made()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = network(image)
        for module in network.modules():
            if isinstance(module, ConvBnAct):
                gain = module.bn.weight / (module.bn.running_var + module.bn.eps).sqrt()
                module.conv.weight.data *= gain[:, None, None, None]
                module.conv.bias = nn.Parameter(module.bn.bias - module.bn.running_mean * gain)
                del module.bn
    loaded, _ = load_model(save_as_ultralytics(tmp_path / "fused.pt", {"model": network}))
    with torch.no_grad():
        for ours, theirs in zip(loaded(image), before, strict=True):
            assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())


class Loss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bce = nn.BCEWithLogitsLoss()
        self.register_buffer("proj", torch.arange(16.0))


def test_wrappers_and_what_training_leaves(
    tmp_path: Path, save_as_ultralytics: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DataParallel, torch.compile, a loss object: the network inside is the same."""
    import checkpoints

    monkeypatch.setitem(checkpoints.DISGUISE, Loss, "ultralytics.utils.loss.BCEDiceLoss")
    network = made()
    network.criterion = Loss()
    for wrapped in (network, nn.DataParallel(network), torch.compile(network)):
        loaded, spec = load_model(save_as_ultralytics(tmp_path / "last.pt", {"model": wrapped, "ema": None}))
        assert spec.names == ("thing0", "thing1", "thing2")
        agree(network, loaded)


def test_yolov5_as_its_package_names_it(
    tmp_path: Path, save_as_ultralytics: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    import checkpoints

    for kind, origin in list(checkpoints.DISGUISE.items()):
        name = origin.rpartition(".")[2]
        module = "yolo" if name in ("SegmentationModel", "Segment") else "common"
        monkeypatch.setitem(checkpoints.DISGUISE, kind, f"yolov5.models.{module}.{name}")
    network = made("yolov5n")
    loaded, spec = load_model(save_as_ultralytics(tmp_path / "best.pt", {"model": network}))
    assert (spec.name, spec.licence) == ("yolov5n", "AGPL-3.0")
    agree(network, loaded)


# --- Ultralytics' own outputs, beside the files ---------------------------------------------------


def unpacked(kit: Path, name: str, folder: Path) -> Path:
    path = folder / Path(name).name.removesuffix(".xz")
    path.write_bytes(lzma.decompress((kit / "weights2" / name).read_bytes()))
    return path


@pytest.mark.kit
@pytest.mark.parametrize("variant", ["relu", "hardswish", "sppf-identity"])
def test_variants_equal_their_own_outputs(variant: str, kit: Path, tmp_path: Path) -> None:
    network, _ = load_model(unpacked(kit, f"variants/yolov8n-seg-{variant}.pt.xz", tmp_path))
    reference = np.load(kit / "weights2" / "variants" / f"yolov8n-seg-{variant}_96.npz")
    with torch.no_grad():
        outputs = [o.numpy() for o in network(torch.from_numpy(reference["x"]).float() / 255)]
    names = [f"{kind}.{level}" for level in range(3) for kind in ("cv2", "cv3", "cv4")] + ["proto"]
    for name, ours in zip(names, outputs, strict=True):
        theirs = reference[name]
        assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max(), name


@pytest.mark.kit
def test_a_classifier_equals_its_own_outputs(kit: Path, tmp_path: Path) -> None:
    network, _ = load_model(unpacked(kit, "random/yolov8n-cls-random.pt.xz", tmp_path))
    reference = np.load(kit / "weights2" / "reference" / "yolov8n-cls-random_96.npz")
    with torch.no_grad():
        (logits,) = network(torch.from_numpy(reference["x"]).float() / 255)
    assert np.abs(logits.numpy() - reference["logits"]).max() <= 1e-4
    assert np.abs(logits.softmax(1).numpy() - reference["probs"]).max() <= 1e-6


def test_import_says_the_activation_and_what_was_settled(
    tmp_path: Path, save_as_ultralytics: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    network = made()
    activations(network, nn.ReLU())
    network.names = {0: "bolt", 2: "nut"}
    path = save_as_ultralytics(tmp_path / "best.pt", {"model": network, "train_args": {"imgsz": "500"}})
    outcome = edgeai(capsys, "import", path, "-o", tmp_path / "best.safetensors")
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "activation ReLU" in text and "no name for class 1 in the file: class1" in text
    assert "500, is no multiple of 32: pass --imgsz, 512 for one" in text
    assert "AGPL-3.0 (the file states none; its classes are Ultralytics'" in text
