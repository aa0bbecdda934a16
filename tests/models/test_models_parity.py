"""The networks compute what independent implementations of them compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeai.models import build, load_model  # noqa: E402


def decode(outputs: tuple[torch.Tensor, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xywh in pixels, scores and coefficients of a YOLOv8-seg, each [B, channels, anchors]."""
    boxes, scores, coefs = [], [], []
    for index, stride in enumerate((8, 16, 32)):
        dfl, logits, level_coefs = outputs[3 * index : 3 * index + 3]
        batch, _, height, width = dfl.shape
        bins = torch.arange(16, dtype=dfl.dtype).view(1, 1, 16, 1)
        sides = (dfl.view(batch, 4, 16, height * width).softmax(2) * bins).sum(2)
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        centre = torch.stack((x.flatten(), y.flatten()))
        low, high = centre - sides[:, :2], centre + sides[:, 2:]
        boxes.append(torch.cat(((low + high) / 2, high - low), 1) * stride)
        scores.append(logits.flatten(2).sigmoid())
        coefs.append(level_coefs.flatten(2))
    return tuple(torch.cat(parts, 2).numpy() for parts in (boxes, scores, coefs))


@pytest.mark.kit
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_yolov8n_seg_equals_the_recorded_outputs(kit: Path, dtype: torch.dtype) -> None:
    network, spec = load_model(kit / "weights" / "yolov8n-seg.pt")
    assert (spec.name, spec.nc, spec.imgsz, spec.licence) == ("yolov8n-seg", 80, 640, "AGPL-3.0")
    assert spec.names[0] == "person" and spec.names[79] == "toothbrush"
    recorded = np.load(kit / "reference_outputs" / "yolov8n-seg_256.npz")
    images = torch.from_numpy(recorded["images_rgb_u8"]).permute(0, 3, 1, 2).to(dtype) / 255
    with torch.no_grad():
        outputs = network.to(dtype)(images)
    boxes, scores, coefs = decode(outputs)
    reference = recorded["output0"]
    assert np.abs(boxes - reference[:, :4]).max() <= 1e-3
    assert np.abs(scores - reference[:, 4:84]).max() <= 1e-4
    assert np.abs(coefs - reference[:, 84:]).max() <= 1e-4
    assert np.abs(outputs[-1].numpy() - recorded["output1"]).max() <= 1e-4


@pytest.mark.kit
def test_yolov5n_seg_equals_an_onnx_of_another_toolchain(kit: Path) -> None:
    """The weights of an ONNX file, put into our network, give the outputs of that file."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = kit / "weights" / "yolov5n-seg.onnx"
    graph = onnx.load(path).graph
    arrays = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}

    # its tensors are numbered in the order of the original execution, prototypes before the heads
    def number(node) -> int:  # type: ignore[no-untyped-def]
        return int(node.output[0]) if node.output[0].isdigit() else 1 << 30

    convolutions = sorted((node for node in graph.node if node.op_type == "Conv"), key=number)
    network, _ = build("yolov5n-seg", 80)
    network.eval()
    modules = dict(network.named_modules())
    order: list[str] = []
    for name, module in modules.items():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    order.sort(key=lambda name: name.startswith("model.24.m."))
    for name, node in zip(order, convolutions, strict=True):
        weight, bias = (torch.from_numpy(arrays[key].copy()) for key in node.input[1:])
        assert modules[name].weight.shape == weight.shape, name
        modules[name].weight.data = weight
        if modules[name].bias is not None:
            modules[name].bias.data = bias
        else:  # the file's batch norms are folded: ours becomes the identity plus its bias
            norm = modules[name.removesuffix(".conv") + ".bn"]
            norm.weight.data.fill_((1 + norm.eps) ** 0.5)
            norm.bias.data = bias
    image = np.random.default_rng(0).random((1, 3, 128, 96), np.float32)
    expected = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"images": image})
    with torch.no_grad():
        found = network(torch.from_numpy(image))
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours.numpy() - theirs).max() <= 1e-4


@pytest.mark.kit
def test_yolov5n_checkpoint_sees_objects(kit: Path) -> None:
    network, spec = load_model(kit / "weights" / "yolov5n.pt")
    assert (spec.name, spec.family, spec.task, spec.nc) == ("yolov5n", "yolov5", "detect", 80)
    assert spec.anchors[0] == (10.0, 13.0, 16.0, 30.0, 33.0, 23.0)
    assert spec.anchors[2] == (116.0, 90.0, 156.0, 198.0, 373.0, 326.0)
    images = np.load(kit / "reference_outputs" / "yolov8n-seg_256.npz")["images_rgb_u8"]
    with torch.no_grad():
        outputs = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    assert [tuple(level.shape) for level in outputs] == [(2, 255, 32, 32), (2, 255, 16, 16), (2, 255, 8, 8)]
    best = max(
        float((level.view(2, 3, 85, -1)[:, :, 4:5].sigmoid() * level.view(2, 3, 85, -1)[:, :, 5:].sigmoid()).max())
        for level in outputs
    )
    assert best > 0.5


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("yolov8n-seg", 10, (1, 64, 8, 20)),
        ("yolov8n", 6, (1, 64, 8, 20)),
        ("yolov8n-cls", 1, (1, 3)),
        ("yolov5n", 3, (1, 24, 8, 20)),
        ("yolov5n-seg", 4, (1, 120, 8, 20)),
        ("yolov5n-cls", 1, (1, 3)),
        ("yolov5nu", 6, (1, 64, 8, 20)),
        ("yolov5n6", 4, (1, 24, 8, 24)),
        ("yolov5n6u", 8, (1, 64, 8, 24)),
    ],
)
def test_heads_of_every_family(name: str, count: int, first: tuple[int, ...]) -> None:
    network, spec = build(name, nc=3)
    width = 192 if len(spec.strides) == 4 else 160  # a multiple of the largest stride
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(1, 3, 64, width))
    assert len(outputs) == count
    assert tuple(outputs[0].shape) == first
    if spec.num_coefs:
        assert tuple(outputs[-1].shape) == (1, 32, 16, 40)
    if name == "yolov8n-seg":
        assert [t.shape[1] for t in outputs] == [64, 3, 32] * 3 + [32]


def test_the_network_can_be_traced() -> None:
    network, _ = build("yolov8n-seg", nc=2)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        traced = torch.jit.trace(network.eval(), image)
        for ours, theirs in zip(network(image), traced(image), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
