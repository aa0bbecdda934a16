"""QDQ ONNX from int8 TFLite: onnxruntime against LiteRT, on every operator that our exports use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Silent
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from edgeai.cache import StageCache  # noqa: E402
from edgeai.evaluate.agreement import agreement  # noqa: E402
from edgeai.evaluate.backends import open_runner  # noqa: E402
from edgeai.export.to_qdq import write_qdq  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize.ptq import quantize  # noqa: E402
from edgeai.quantize.ranges.calibration import batches, open_calibration  # noqa: E402
from edgeai.recognise import Asked  # noqa: E402

SIZE = 64


class Parts(torch.nn.Module):  # type: ignore[misc]
    """Slices, concatenation, pooling, up-sampling, softmax over a reshaped tensor, depthwise and transposed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = torch.nn.Conv2d(3, 16, 3, 2, 1)
        self.deep = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = torch.nn.ConvTranspose2d(24, 8, 2, 2)
        self.last = torch.nn.Conv2d(8, 16, 1)
        self.head = torch.nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        act = torch.nn.functional.silu
        x = act(self.stem(x))
        one, two = x[:, :8], x[:, 8:]
        pooled = torch.nn.functional.max_pool2d(two, 5, 1, 2)
        x = torch.cat([self.deep(one) + one, pooled, two], dim=1)
        x = self.last(torch.relu(self.up(x)))
        _, c, h, w = x.shape
        soft = x.permute(0, 2, 3, 1).reshape(1, h * w * 4, c // 4).softmax(dim=2)
        return self.head(soft.reshape(1, h, w, c).permute(0, 3, 1, 2))


@pytest.mark.parametrize("per_channel", [True, False])
def test_codes_agree_with_the_tflite_file(tmp_path: Path, per_channel: bool) -> None:
    import cv2
    from ai_edge_litert.interpreter import Interpreter

    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(4)
    for i in range(6):
        small = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), cv2.resize(small, (SIZE, SIZE)))
    torch.onnx.export(Parts().eval(), (torch.rand(1, 3, SIZE, SIZE),), str(tmp_path / "m.onnx"), dynamo=False)
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    photos = open_calibration(tmp_path / "photos")
    onnx_file, exported = stages.imported_onnx(tmp_path / "m.onnx", Asked(imgsz=SIZE))
    tflite, converted = stages.converted(onnx_file, exported.contract)
    ranges = stages.ranges(tflite, converted.contract, photos)
    int8 = tmp_path / "int8.tflite"
    int8.write_bytes(quantize(tflite.read_bytes(), ranges, per_channel, "int8", "int8"))
    write_qdq(int8, converted.contract, tmp_path / "qdq.onnx")

    session = onnxruntime.InferenceSession(str(tmp_path / "qdq.onnx"), providers=["CPUExecutionProvider"])
    runner = Interpreter(model_path=str(int8))
    runner.allocate_tensors()
    given, result = runner.get_input_details()[0], runner.get_output_details()[0]
    scale, zero = given["quantization"]
    out_scale, out_zero = result["quantization"]
    for image in batches(photos.paths, converted.contract):
        runner.set_tensor(given["index"], (np.rint(image / scale) + zero).clip(-128, 127).astype(np.int8))
        runner.invoke()
        wanted = (runner.get_tensor(result["index"]).astype(np.float32) - out_zero) * out_scale
        found = _nhwc(session.run(None, {"images": image.transpose(0, 3, 1, 2)})[0])
        assert agreement(wanted, found).cosine > 0.999
        assert np.abs(wanted - found).max() <= 4 * out_scale
        assert np.mean(np.abs(wanted - found) <= 1.01 * out_scale) > 0.99


def _nhwc(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x.transpose(0, 2, 3, 1)


def test_a_network_of_the_kit_is_evaluated_from_its_qdq_file(kit: Path, tmp_path: Path) -> None:
    """The whole way by the public stages; the contract travels, and both files find the same things."""
    from edgeai.imaging.images import letterbox, read_image

    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    photos = open_calibration(kit / "coco/calibration/images", limit=4)
    recipe = Recipe(imgsz=128, layout="split")
    path, made, _ = stages.quantized(kit / "weights/yolov8n-seg.pt", recipe, photos)
    qdq, described = stages.qdq(path, made)
    assert described.audit.format == "onnx"
    assert described.audit.granularity == "per-channel"
    image = letterbox(read_image(photos.paths[0]), 128)[0]
    with open_runner(path) as one, open_runner(qdq) as other:
        assert other.precision == "int8"
        for wanted, found in zip(one.infer(image), other.infer(image), strict=True):
            real = found.real()
            aligned = real.transpose(0, 2, 3, 1) if real.ndim == 4 else real
            assert agreement(wanted.real(), aligned).cosine > 0.98


def quantised(folder: Path, name: str, activations: str) -> Path:
    """Three convolutions with SiLU, as onnxruntime's own tool quantises them, large weights for large sums."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    rng = np.random.default_rng(5)

    class Photos(CalibrationDataReader):  # type: ignore[misc]
        left = 4

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            self.left -= 1
            return {"x": rng.random((1, 3, SIZE, SIZE), np.float32)} if self.left >= 0 else None

    torch.manual_seed(0)
    silu = torch.nn.SiLU
    parts = [
        torch.nn.Conv2d(3, 16, 3, 2, 1),
        silu(),
        torch.nn.Conv2d(16, 32, 3, 2, 1),
        silu(),
        torch.nn.Conv2d(32, 8, 1),
    ]
    source = folder / "float.onnx"
    example = torch.rand(1, 3, SIZE, SIZE)
    torch.onnx.export(torch.nn.Sequential(*parts).eval(), (example,), str(source), dynamo=False, input_names=["x"])
    kind = getattr(QuantType, activations)
    quantize_static(str(source), str(folder / name), Photos(), activation_type=kind, weight_type=QuantType.QInt8)
    return folder / name


def literally(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Q, DQ and float operators one by one, as ONNX defines them."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"x": image})[0]
    return result


@pytest.mark.parametrize("activations", ["QInt8", "QUInt8"])
def test_integer_kernels_run_and_compute_what_the_file_says(tmp_path: Path, activations: str) -> None:
    """No convolution in float, which int8 files get by default; and no sum that saturates, which uint8 files get."""
    from edgeai.evaluate.backends.onnxrt import SETTINGS, codes_of
    from edgeai.graph import load_graph

    path = quantised(tmp_path, "int.onnx", activations)
    settings = SETTINGS["integer"](codes_of(load_graph(path)))
    assert settings is not None
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node]
    assert kinds.count("QLinearConv") == 3 and "Conv" not in kinds
    image = np.random.default_rng(6).random((1, 3, SIZE, SIZE), np.float32)
    same = agreement(literally(path, image), session.run(None, {"x": image})[0], 0.0, 0)
    assert same.sqnr_db is None or same.sqnr_db > 35


def test_kernels_of_an_onnx_file_are_named(kit: Path, tmp_path: Path) -> None:
    """ST's YOLO26: what both sets find is alike, not equal."""
    from edgeai.errors import InputError

    path = kit / "tflite2" / "yolo26_256_qdq_int8_od_coco-person-st.onnx"
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    outputs = {}
    for kernels in ("integer", "float"):
        with open_runner(path, kernels=kernels) as runner:  # type: ignore[arg-type]
            assert runner.backend == f"onnxruntime/{kernels}"
            outputs[kernels] = runner.infer(picture)[0].array
    assert (agreement(outputs["float"], outputs["integer"]).sqnr_db or 300) > 30
    assert not np.array_equal(outputs["float"], outputs["integer"])
    with pytest.raises(InputError, match="no quantised activations"):
        open_runner(kit / "weights" / "yolov5n-seg.onnx", imgsz=320, kernels="integer")


def test_weights_that_pass_q_and_dq_are_no_activations(tmp_path: Path) -> None:
    """Quantisation-aware training leaves weights as floats behind a QuantizeLinear of their own."""
    from edgeai.evaluate.backends.onnxrt import codes_of
    from edgeai.graph import load_graph

    path = quantised(tmp_path, "int.onnx", "QUInt8")
    model = onnx.load(str(path))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored)
    codes, scale, zero = (onnx.numpy_helper.to_array(stored[name]) for name in node.input)
    shape = (-1, *[1] * (codes.ndim - 1)) if scale.ndim else ()
    real = ((codes.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(real, "real_weights"))
    coding = onnx.helper.make_node("QuantizeLinear", ["real_weights", *node.input[1:]], ["coded_weights"], axis=0)
    place = list(model.graph.node).index(node)
    node.input[0] = "coded_weights"
    model.graph.node.insert(place, coding)
    onnx.save(model, str(path))
    assert codes_of(load_graph(path)) == {"uint8"}
