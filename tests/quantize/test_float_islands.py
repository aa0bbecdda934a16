"""A decode that a recipe leaves in floating point, behind an int8 network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Silent

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.cache import StageCache  # noqa: E402
from edgeai.errors import InputError  # noqa: E402
from edgeai.evaluate.backends.litert import LiteRtRunner  # noqa: E402
from edgeai.footprint.support import support  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.imaging.images import letterbox, read_image  # noqa: E402
from edgeai.models.bundled import BUNDLED, bundled_model  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize.ptq import with_contract  # noqa: E402
from edgeai.quantize.ranges.calibration import open_calibration  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.synthetic.write import generate  # noqa: E402

SIZE = 128


def test_a_float_decode_gives_nearer_boxes_and_the_rest_stays_int8(tmp_path: Path) -> None:
    generate(tmp_path, "val", 10, 3)
    photos = open_calibration(tmp_path / "val/images", limit=6)
    weights = bundled_model(BUNDLED[0])
    assert weights is not None
    stages = Stages(StageCache(tmp_path / "cache"), Silent())

    def made(method: Method) -> Path:
        recipe = Recipe("per-channel", "split", SIZE, output_type="float32", method=method)
        return stages.quantized(weights, recipe, photos)[0]

    onnx, exported = stages.exported(weights, "split", SIZE, None)
    path, converted = stages.converted(onnx, exported.contract)
    floats = tmp_path / "floats.tflite"
    floats.write_bytes(with_contract(path.read_bytes(), converted.contract))
    whole = made(Method(ranges="observed"))
    island = made(Method(ranges="observed", decode="float"))
    graph = load_graph(island)
    kinds = {kind: {graph.tensors[op.outputs[0]].dtype for op in graph.ops if op.kind == kind}
             for kind in ("SOFTMAX", "MUL", "CONV_2D")}  # fmt: skip
    assert kinds == {"SOFTMAX": {"float32"}, "MUL": {"int8"}, "CONV_2D": {"int8", "float32"}}
    floating = [op for op in graph.ops if op.kind == "CONV_2D" and graph.tensors[op.outputs[0]].dtype == "float32"]
    assert [graph.tensors[op.outputs[0]].shape[-1] for op in floating] == [4, 4, 4]
    assert support(graph, "n6").software_epochs >= support(load_graph(whole), "n6").software_epochs

    images = [letterbox(read_image(p), SIZE)[0] for p in sorted((tmp_path / "val/images").iterdir())]
    boxes, sure = [], None
    for model in (floats, whole, island):
        with LiteRtRunner(model, threads=2) as runner:
            place = {role.kind: role.index for role in runner.contract.roles}
            outputs = [runner.infer(image) for image in images]
            boxes.append(np.stack([found[place["boxes"]].real() for found in outputs]))
            if sure is None:
                sure = np.stack([found[place["scores"]].real().max(axis=-1) for found in outputs]) > 0.25
    assert sure.sum() > 30
    error = [float(np.sqrt(((b - boxes[0])[sure] ** 2).mean())) for b in boxes[1:]]
    assert error[1] < 0.9 * error[0], error


def test_without_a_decode_there_is_nothing_to_leave(tmp_path: Path) -> None:
    generate(tmp_path, "val", 2, 3)
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    weights = bundled_model(BUNDLED[0])
    assert weights is not None
    recipe = Recipe("per-channel", "raw", SIZE, method=Method(ranges="observed", decode="float"))
    with pytest.raises(InputError, match="no decode"):
        stages.quantized(weights, recipe, open_calibration(tmp_path / "val/images"))
