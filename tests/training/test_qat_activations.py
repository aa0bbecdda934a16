"""Quantisation-aware training rounds what TFLite rounds for each activation function."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeai.artifacts import Activation, Variant  # noqa: E402
from edgeai.models import build  # noqa: E402
from edgeai.models.activations import apply_variants  # noqa: E402
from edgeai.training.qat import add_fake_quantization, calibrate, learned_ranges  # noqa: E402


def made(activation: Activation) -> Any:
    torch.manual_seed(0)
    network, _ = build("yolov8n", 3)
    apply_variants(network, (Variant("*", activation, 0.1 if activation == "leaky_relu" else 0.0),))
    return network.eval()


@pytest.mark.parametrize(
    ("activation", "stores_before"),
    [("silu", True), ("hardswish", True), ("leaky_relu", True), ("mish", True), ("relu", False), ("relu6", False)],
)
def test_rounded_network_stays_near(activation: Activation, stores_before: bool) -> None:
    network = made(activation)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = network(images)
        add_fake_quantization(network, per_channel=True)
        calibrate(network, [images])
        rounded = network(images)
    for ours, theirs in zip(rounded, exact, strict=True):
        noise = float(((ours - theirs) ** 2).sum() / (theirs**2).sum())
        assert 0 < noise < 0.1
    places = {entry.module for entry in learned_ranges(network)}
    assert "model.0" in places and ("model.0.bn" in places) == stores_before
