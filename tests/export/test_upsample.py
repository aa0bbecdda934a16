"""Upsampling by a transposed convolution: the same network with fewer operators, none of them in software."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Silent, edgeai, refused

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.artifacts import Upsample  # noqa: E402
from edgeai.cache import StageCache  # noqa: E402
from edgeai.evaluate.backends.litert import LiteRtRunner  # noqa: E402
from edgeai.footprint.support import placements  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.imaging.images import letterbox, read_image  # noqa: E402
from edgeai.models.bundled import BUNDLED, bundled_model  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize.ptq import with_contract  # noqa: E402
from edgeai.quantize.ranges.calibration import open_calibration  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.synthetic.write import generate  # noqa: E402

SIZE = 128


def outputs(path: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """Every output over all images."""
    with LiteRtRunner(path, threads=2) as runner:
        each = [[out.real() for out in runner.infer(image)] for image in images]
    return [np.stack(values) for values in zip(*each, strict=True)]


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_int8_is_as_near_to_the_float_network_as_with_resizing(granularity: str, tmp_path: Path) -> None:
    generate(tmp_path, "val", 24, 3)
    photos = open_calibration(tmp_path / "val/images")
    weights = bundled_model(BUNDLED[0])
    assert weights is not None
    stages = Stages(StageCache(tmp_path / "cache"), Silent())

    def made(upsample: Upsample) -> Path:
        method = Method(ranges="observed", upsample=upsample)
        return stages.quantized(weights, Recipe(granularity, imgsz=SIZE, method=method), photos)[0]

    resized, transposed = made("resize"), made("transposed")
    kinds = [op.kind for op in load_graph(transposed).ops]
    assert len(kinds) <= len(load_graph(resized).ops) - 2  # the convolution rescales for the concatenation itself
    assert kinds.count("TRANSPOSE_CONV") == 3  # two, and the prototypes' own
    assert "RESIZE_NEAREST_NEIGHBOR" not in kinds
    units = [{placement.unit for placement in placements(load_graph(path), "n6")} for path in (resized, transposed)]
    assert units == [{"npu", "hybrid"}, {"npu"}]
    onnx, exported = stages.exported(weights, "raw", SIZE, None)
    converted, with_roles = stages.converted(onnx, exported.contract)
    floats = tmp_path / "floats.tflite"
    floats.write_bytes(with_contract(converted.read_bytes(), with_roles.contract))
    images = [letterbox(read_image(photo), SIZE)[0] for photo in photos.paths]
    wanted = outputs(floats, images)
    before, after = (
        [np.sqrt(((f - w) ** 2).mean()) for f, w in zip(outputs(path, images), wanted, strict=True)]
        for path in (resized, transposed)
    )
    np.testing.assert_allclose(after, before, rtol=0.1)


def test_export_has_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    weights, out = bundled_model(BUNDLED[0]), tmp_path / "t.onnx"
    assert edgeai(capsys, "export", weights, "--imgsz", SIZE, "--upsample", "transposed", "-o", out).code == 0
    kinds = [node.op_type for node in onnx.load(str(out)).graph.node]
    assert "Resize" not in kinds
    assert kinds.count("ConvTranspose") == 3


def test_an_onnx_file_upsamples_as_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.onnx.export(torch.nn.Conv2d(3, 4, 3), (torch.rand(1, 3, 32, 32),), str(tmp_path / "m.onnx"), dynamo=False)
    (tmp_path / "npu.toml").write_text('upsample = "transposed"\n')
    generate(tmp_path, "val", 2, 3)
    outcome = edgeai(
        capsys, "quantize", tmp_path / "m.onnx", "--recipe", tmp_path / "npu.toml",
        "--calibration", tmp_path / "val/images", "-o", tmp_path / "m.tflite",
    )  # fmt: skip
    refused(outcome, 2, "upsample")
    assert not (tmp_path / "m.tflite").exists()
    refused(edgeai(capsys, "export", tmp_path / "m.onnx", "--upsample", "transposed"), 2, "upsample")
