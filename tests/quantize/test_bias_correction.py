"""Bias correction on real operators: the mean of every output channel comes back to that of the float network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Silent
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.artifacts import Ranges  # noqa: E402
from edgeai.cache import StageCache  # noqa: E402
from edgeai.pipeline.stages import Stages  # noqa: E402
from edgeai.quantize import ptq  # noqa: E402
from edgeai.quantize.ranges.calibration import batches, open_calibration  # noqa: E402
from edgeai.recognise import Asked  # noqa: E402

SIZE = 64


class Mixed(torch.nn.Module):  # type: ignore[misc]
    """Every weighted operator once; channels of very different weight, so that per-tensor rounding hurts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = torch.nn.ModuleList(
            [
                torch.nn.Conv2d(3, 16, 3, 2, 1),
                torch.nn.Conv2d(16, 16, 3, padding=1, groups=16),
                torch.nn.Conv2d(16, 24, 1),
                torch.nn.ConvTranspose2d(24, 8, 2, 2),
            ]
        )
        self.fc = torch.nn.Linear(8 * 4 * 4, 10)
        with torch.no_grad():
            self.fc.weight *= 10
            for layer in self.layers[:3]:
                layer.weight *= 3 * torch.logspace(-1, 0, layer.weight.shape[0]).reshape(-1, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        x = torch.nn.functional.avg_pool2d(x, 16)
        return self.fc(x.flatten(1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Ranges, list[NDArray[np.float32]]]:
    import cv2

    folder = tmp_path_factory.mktemp("bias")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(2)
    for i in range(24):
        small = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{i}.png"), cv2.resize(small, (SIZE, SIZE)))
    torch.onnx.export(Mixed().eval(), (torch.rand(1, 3, SIZE, SIZE),), str(folder / "m.onnx"), dynamo=False)
    stages = Stages(StageCache(folder / "cache"), Silent())
    photos = open_calibration(folder / "photos")
    onnx, exported = stages.imported_onnx(folder / "m.onnx", Asked(imgsz=SIZE))
    tflite, converted = stages.converted(onnx, exported.contract)
    ranges = stages.ranges(tflite, converted.contract, photos)
    return Path(tflite).read_bytes(), ranges, list(batches(photos.paths, converted.contract))


def mean_output(model: bytes, images: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    runner.allocate_tensors()
    given, result = runner.get_input_details()[0], runner.get_output_details()[0]
    total = np.zeros(result["shape"][-1])
    for image in images:
        runner.set_tensor(given["index"], image)
        runner.invoke()
        total += runner.get_tensor(result["index"]).ravel()
    return total / len(images)


def test_means_come_back(
    made: tuple[bytes, Ranges, list[NDArray[np.float32]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ranges, images = made
    wanted = mean_output(model, images)
    corrected = ptq.quantize(model, ranges, False, "float32", "float32")
    monkeypatch.setattr(ptq, "with_corrected_biases", lambda quantized, model, ranges: quantized)
    plain = ptq.quantize(model, ranges, False, "float32", "float32")
    before = np.abs(mean_output(plain, images) - wanted).max()
    after = np.abs(mean_output(corrected, images) - wanted).max()
    assert before > 0.002 * np.abs(wanted).max()
    assert after < 0.5 * before


def test_every_weighted_operator_is_corrected(made: tuple[bytes, Ranges, list[NDArray[np.float32]]]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from edgeai.quantize.improve.bias import correct_biases

    model, ranges, _ = made
    quantized = schema.ModelT.InitFromPackedBuf(ptq.quantize(model, ranges, True, "int8", "int8"), 0)
    assert correct_biases(quantized, schema.ModelT.InitFromPackedBuf(model, 0), ranges.means) == 5
