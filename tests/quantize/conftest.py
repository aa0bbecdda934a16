"""A float YOLOv8n-seg of layout concat and its int8 file, small, from the bundled weights and synthetic photos."""

from __future__ import annotations

import pytest
from breaking import SIZE, Pair, quantized
from helpers import Silent

PHOTOS = 6


@pytest.fixture(scope="session")
def concat_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    from edgeai.cache import StageCache
    from edgeai.models.bundled import BUNDLED, bundled_model
    from edgeai.pipeline.stages import Recipe, Stages
    from edgeai.quantize.ranges.calibration import open_calibration
    from edgeai.synthetic.write import generate

    folder = tmp_path_factory.mktemp("concat")
    generate(folder, "val", PHOTOS, 3)
    photos = open_calibration(folder / "val" / "images")
    stages = Stages(StageCache(folder / "cache"), Silent())
    weights = bundled_model(BUNDLED[0])
    assert weights is not None
    onnx, exported = stages.float_onnx(weights, Recipe("per-channel", "concat", SIZE), photos)
    floats, converted = stages.converted(onnx, exported.contract)
    ranges = stages.ranges(floats, converted.contract, photos)
    int8 = quantized(floats, folder / "int8.tflite", converted.contract, ranges)
    return Pair(floats, int8, converted.contract, ranges, photos.paths[:3])
