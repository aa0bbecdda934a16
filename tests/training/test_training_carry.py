"""Learned ranges find their tensors by what they hold, whatever a converter calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeai.artifacts import FileRef, Ranges, TensorRange
from edgeai.models import build
from edgeai.models.weights import save_weights
from edgeai.training import carry as carry_module
from edgeai.training.carry import activations, carry
from edgeai.training.fakequant import FakeQuantizer, quantize_weight
from edgeai.training.learned import LearnedRange, LearnedRanges


def test_tensors_are_recognised_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, spec = build("yolov8n-seg", nc=3)
    weights = tmp_path / "m.safetensors"
    save_weights(network.state_dict(), spec, weights)
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    produced = activations(network, image)
    modules = ["model.0.bn", "model.2.join", "model.22.cv3.1.2", "model.4.m.0"]
    values = {10 + i: produced[name] * (1 + 1e-6) for i, name in enumerate(modules)}
    values[20] = np.zeros((1, 5, 5, 3), np.float32)
    monkeypatch.setattr(carry_module, "tensor_values", lambda tflite, tensors, picture: values)
    ref = FileRef("m", "", 0)
    observed = Ranges(ref, "", "least squares", tuple(TensorRange(i, str(i), -1.0, 1.0) for i in values))
    learned = tuple(LearnedRange(name, -2.0 - i, 3.0 + i) for i, name in enumerate(modules))
    found = carry(observed, LearnedRanges(ref, "per-tensor", learned), weights, tmp_path / "m.tflite", image)
    assert found.observer == "least squares, 4 learned"
    ranges = [(entry.minimum, entry.maximum) for entry in found.tensors]
    assert ranges == [(-2.0, 3.0), (-3.0, 4.0), (-4.0, 5.0), (-5.0, 6.0), (-1.0, 1.0)]


def test_a_range_learns_from_rounding_and_clipping() -> None:
    quantizer = FakeQuantizer()
    quantizer.set_range(-1.0, 1.0)
    low, high = quantizer.range()
    assert (low, high) == pytest.approx((-1.0, 1.0), abs=0.01)
    x = torch.tensor([-3.0, -0.5, 0.0, 0.25, 4.0], requires_grad=True)
    y = quantizer(x)
    assert float(y[2].detach()) == 0
    assert torch.allclose(y.detach(), torch.tensor([low, -0.5, 0.0, 0.25, high]), atol=(high - low) / 255)
    y[4].backward()  # a smaller loss would need a smaller value: the clipped end moves
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0, 0, 0]
    assert float(quantizer.growth.grad) > 0  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_have_one_scale_for_each_output_channel(axis: int) -> None:
    weight = torch.randn(4, 5, 3, 3)
    rounded = quantize_weight(weight, per_channel=True, axis=axis)
    largest = weight.abs().amax([dim for dim in range(4) if dim != axis], keepdim=True)
    steps = rounded / largest * 127
    assert float((steps - steps.round()).abs().max()) < 1e-4
    assert float((rounded - weight).abs().max()) <= float(largest.max()) / 254 + 1e-6
