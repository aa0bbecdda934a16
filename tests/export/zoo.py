"""Classifiers and a detector's backbone in plain torch, as users bring them: ResNet, EfficientNet, Faster R-CNN."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# kernel, stride, expansion, channels, repeats of EfficientNet-B0; width and depth factors of B0 to B3
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
          (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))  # fmt: skip
FACTORS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4))


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out))


class Block(nn.Module):
    """A residual block: basic (two 3x3) or bottleneck (1x1, 3x3, 1x1)."""

    def __init__(self, c_in: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        c_out = 4 * width if bottleneck else width
        if bottleneck:
            layers = [conv(c_in, width, 1), nn.ReLU(), conv(width, width, 3, stride), nn.ReLU(), conv(width, c_out, 1)]
        else:
            layers = [conv(c_in, width, 3, stride), nn.ReLU(), conv(width, width, 3)]
        self.body = nn.Sequential(*layers)
        self.skip = conv(c_in, c_out, 1, stride) if stride > 1 or c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        bottleneck, channels = depth >= 50, 64
        self.stem = nn.Sequential(conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        stages = []
        for i, count in enumerate(RESNETS[depth]):
            blocks = []
            for j in range(count):
                blocks.append(Block(channels, 64 << i, 2 if i and not j else 1, bottleneck))
                channels = (64 << i) * (4 if bottleneck else 1)
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.fc = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x)[-1].mean((2, 3)))


class MBConv(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.expand = nn.Sequential(conv(c_in, wide, 1), nn.SiLU()) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Sequential(conv(wide, wide, kernel, stride, wide), nn.SiLU())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, max(1, c_in // 4), 1), nn.SiLU(),
            nn.Conv2d(max(1, c_in // 4), wide, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.project = conv(wide, c_out, 1)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.squeeze(y))
        return x + y if self.residual else y


class EfficientNet(nn.Module):
    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        width, depth = FACTORS[size]

        def rounded(channels: int) -> int:
            value = max(8, int(channels * width + 4) // 8 * 8)
            return value + 8 if value < 0.9 * channels * width else value

        channels = rounded(32)
        layers: list[nn.Module] = [conv(3, channels, 3, 2), nn.SiLU()]
        for kernel, stride, expansion, c_out, repeats in STAGES:
            for i in range(-int(-repeats * depth // 1)):
                layers.append(MBConv(channels, rounded(c_out), kernel, 1 if i else stride, expansion))
                channels = rounded(c_out)
        top = rounded(1280)
        self.body = nn.Sequential(*layers, conv(channels, top, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(top, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


class PyramidBackbone(nn.Module):
    """ResNet-50, its feature pyramid and the region proposal head, as in Faster R-CNN R50-FPN."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet(50, 2)
        self.lateral = nn.ModuleList(nn.Conv2d(256 << i, 256, 1) for i in range(4))
        self.smooth = nn.ModuleList(nn.Conv2d(256, 256, 3, padding=1) for _ in range(4))
        self.rpn = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())
        self.objectness, self.deltas = nn.Conv2d(256, 3, 1), nn.Conv2d(256, 12, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = [lateral(f) for lateral, f in zip(self.lateral, self.backbone.features(x), strict=True)]
        for i in (2, 1, 0):
            levels[i] = levels[i] + nn.functional.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest")
        pyramid = [smooth(f) for smooth, f in zip(self.smooth, levels, strict=True)]
        hidden = [self.rpn(f) for f in pyramid]
        scores = torch.cat([self.objectness(h).permute(0, 2, 3, 1).reshape(1, -1) for h in hidden], 1)
        boxes = torch.cat([self.deltas(h).permute(0, 2, 3, 1).reshape(1, -1, 4) for h in hidden], 1)
        return (*pyramid, scores, boxes)


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights whose activations neither vanish nor explode: batch norms set to the statistics of noise."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 96, 96)) if not isinstance(network, PyramidBackbone) else network(
                torch.rand(1, 3, 96, 96)
            )
    return network.eval()


def export(network: nn.Module, path: Path, size: int, dynamic: bool = False) -> Path:
    axes = {"image": {0: "batch", 2: "height", 3: "width"}} if dynamic else None
    torch.onnx.export(
        network, (torch.rand(1, 3, size, size),), str(path), input_names=["image"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    return path


def faster_rcnn(path: Path, size: int) -> Path:
    """A Faster R-CNN: pyramid and proposals from torch, then NonMaxSuppression and RoiAlign."""
    export(seeded(PyramidBackbone()), path, size)
    model = onnx.load(str(path))
    graph = model.graph
    finest, scores, boxes = graph.output[0].name, graph.output[4].name, graph.output[5].name
    graph.initializer.extend(
        [
            helper.make_tensor("keep", TensorProto.INT64, [1], [100]),
            helper.make_tensor("overlap", TensorProto.FLOAT, [1], [0.7]),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("column", TensorProto.INT64, [1], [2]),
            helper.make_tensor("batch", TensorProto.INT64, [1], [0]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Unsqueeze", [scores, "axes"], ["class_scores"]),
            helper.make_node("NonMaxSuppression", [boxes, "class_scores", "keep", "overlap"], ["selected"]),
            helper.make_node("Gather", ["selected", "column"], ["picked"], axis=1),
            helper.make_node("Squeeze", ["picked", "axes"], ["rows"]),
            helper.make_node("Gather", [boxes, "rows"], ["chosen"], axis=1),
            helper.make_node("Squeeze", ["chosen", "batch"], ["rois"]),
            helper.make_node("Mul", ["rows", "batch"], ["images"]),
            helper.make_node("RoiAlign", [finest, "rois", "images"], ["pooled"], output_height=7, output_width=7),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("rois", TensorProto.FLOAT, ["k", 4]),
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["k", 256, 7, 7]),
        ]
    )
    onnx.save(model, str(path))
    return path
