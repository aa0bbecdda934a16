"""Mish leaves as operators that int8 has, and computes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgeai.artifacts import Variant  # noqa: E402
from edgeai.export.mish import MishOfNegative  # noqa: E402
from edgeai.export.to_onnx import export_onnx  # noqa: E402
from edgeai.models import build  # noqa: E402
from edgeai.models.activations import apply_variants  # noqa: E402
from edgeai.models.weights import save_weights  # noqa: E402


def test_it_is_torchs_mish_of_the_other_sign() -> None:
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64)
    assert float((MishOfNegative()(-x) - torch.nn.functional.mish(x)).abs().max()) < 1e-12
    ends = torch.tensor([-80.0, 80.0])
    assert torch.allclose(MishOfNegative()(-ends), torch.nn.functional.mish(ends), atol=1e-30)


def test_a_mish_network_is_exported_without_exponentials(tmp_path: Path) -> None:
    """Every output is held against torch by the export itself."""
    torch.manual_seed(0)
    network, spec = build("yolov8n", 3)
    variants = (Variant("*", "mish"),)
    apply_variants(network, variants)
    save_weights(network.state_dict(), replace(spec, variants=variants), tmp_path / "m.safetensors")
    made = export_onnx(tmp_path / "m.safetensors", "raw", 32, 1.0, (), "resize", tmp_path / "m.onnx")
    assert min(entry.cosine for entry in made.parity) > 0.9999
    assert made.contract.spec.variants == variants
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"Sigmoid", "Log", "Tanh", "Mul"} <= kinds and not kinds & {"Exp", "Softplus", "Mish", "Neg"}
