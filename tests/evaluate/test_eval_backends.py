"""Back-ends: input quantisation, contracts, and files that cannot be run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeai.artifacts import Contract, FileRef, ModelSpec, OutputRole, to_json
from edgeai.errors import EdgeAIError, InputError
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.backends.base import input_table
from edgeai.evaluate.backends.litert import LiteRtRunner
from edgeai.evaluate.backends.onnxrt import OnnxRunner
from edgeai.evaluate.backends.pytorch import TorchRunner, raw_contract
from edgeai.evaluate.blas import _openblas, one_blas_thread
from edgeai.evaluate.decode import decode
from edgeai.imaging.images import letterbox, read_image

SPEC = ModelSpec("tiny", "yolov8", "segment", "n", tuple(f"c{i}" for i in range(80)), imgsz=256)
ST = Contract(SPEC, "concat", 256, (OutputRole(0, "pred"), OutputRole(1, "proto")), 256.0)
ST_FILE = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "first", "last"),
    [
        (np.int8, 1 / 255, -128, -128, 127),
        (np.uint8, 1 / 255, 0, 0, 255),
        (np.int8, 1 / 127, 0, 0, 127),
        (np.int8, 0.001, -128, -128, 127),  # saturates
        (np.float32, 0.0, 0, 0.0, 1.0),
    ],
)
def test_input_table(dtype: type, scale: float, zero_point: int, first: float, last: float) -> None:
    table = input_table(np.dtype(dtype), scale, zero_point)
    assert (len(table), table.dtype, table[0], table[-1]) == (256, dtype, first, last)
    assert (np.diff(table.astype(float)) >= 0).all()


def test_a_float_scale_of_a_255th_maps_every_value_to_its_own_level() -> None:
    table = input_table(np.dtype(np.int8), float(np.float32(1 / 255)), -128)
    np.testing.assert_array_equal(table, np.arange(-128, 128))


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
def test_litert_runs_and_says_what_it_is(kit: Path, kernels: str, capfd: pytest.CaptureFixture[str]) -> None:
    image = np.full((256, 256, 3), 114, np.uint8)
    with LiteRtRunner(kit / "tflite" / ST_FILE, ST, kernels) as runner:  # type: ignore[arg-type]
        outputs = runner.infer(image)
        assert runner.backend == f"litert/{kernels}"
    assert [(o.array.shape, o.zero_point) for o in outputs] == [((1, 116, 1344), 25), ((1, 64, 64, 32), -115)]
    assert capfd.readouterr().err == ""


def test_a_published_file_needs_no_contract(kit: Path) -> None:
    with open_runner(kit / "tflite" / ST_FILE) as runner:
        contract = runner.contract
    assert (contract.layout, contract.imgsz, contract.box_unit, contract.spec.nc) == ("concat", 256, 256.0, 80)
    with pytest.raises(InputError, match="256 pixels, not 320"):
        open_runner(kit / "tflite" / ST_FILE, imgsz=320)
    with open_runner(kit / "tflite" / "mobilenet_v1_0.5_224_int8.tflite") as runner:
        contract = runner.contract
    assert (contract.spec.task, contract.spec.nc, contract.logits) == ("classify", 5, False)
    assert contract.mean == contract.std == (0.5, 0.5, 0.5)  # uint8 on a scale of 1/127.5


def test_blas_gets_its_threads_back() -> None:
    found = _openblas()
    if found is None:
        pytest.skip("numpy has another BLAS")
    before = found[0]()
    with one_blas_thread():
        assert found[0]() == 1
    assert found[0]() == before


@pytest.mark.parametrize("keep", [0, 20, 5000, 1_000_000, 3_400_000])
def test_truncated_tflite(kit: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((kit / "tflite" / ST_FILE).read_bytes()[:keep])
    with pytest.raises(InputError, match="cut"):
        LiteRtRunner(path, ST)


@pytest.mark.parametrize("keep", [0, 20, 5000, 7_900_000])
def test_truncated_onnx(kit: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes((kit / "weights" / "yolov5n-seg.onnx").read_bytes()[:keep])
    with pytest.raises(InputError, match="cut"):
        open_runner(path)


@pytest.mark.parametrize("name", ["yolov8n-seg-truncated.pt", "hostile.pt"])
def test_bad_checkpoints(kit: Path, name: str) -> None:
    with pytest.raises(EdgeAIError):
        open_runner(kit / "weights" / name)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="not a model"):
        open_runner(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="does not exist"):
        open_runner(tmp_path / "none.tflite")


def test_yolov5_onnx_finds_what_is_in_the_image(kit: Path) -> None:
    pytest.importorskip("onnxruntime")
    canvas, _ = letterbox(read_image(kit / "coco" / "val" / "images" / "000000000139.jpg"), 320)
    with open_runner(kit / "weights" / "yolov5n-seg.onnx", imgsz=320) as runner:
        assert (runner.contract.layout, runner.contract.spec.nc, runner.input_size) == ("raw", 80, 320)
        assert (runner.precision, runner.granularity) == ("fp32", "float")
        found = decode(runner.infer(canvas), runner.contract, 0.4)
    assert {56, 62} <= set(found.classes.tolist())  # chairs and a television
    assert found.proto is not None and found.proto.shape == (80, 80, 32)


def onnx_file(path: Path, shapes: list[list[int]], metadata: dict[str, str], side: int = 64) -> Path:
    """A network whose outputs are constants of the given shapes plus nothing of its image."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0)]
    values = []
    for i, shape in enumerate(shapes):
        values.append(numpy_helper.from_array(np.full(shape, 0.5, np.float32), f"c{i}"))
        nodes.append(helper.make_node("Add", [f"c{i}", "mean"], [f"out{i}"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


def test_onnx_contract_from_its_metadata(tmp_path: Path) -> None:
    spec = replace(SPEC, names=("a", "b"), num_coefs=4)
    stored = Contract(spec, "split", 64, (OutputRole(1, "boxes"), OutputRole(0, "scores")), 64.0)
    path = onnx_file(tmp_path / "m.onnx", [[1, 84, 2], [1, 84, 4]], {"edgeai.contract": to_json(stored)})
    with OnnxRunner(path) as runner:
        assert runner.contract == stored
        found = decode(runner.infer(np.zeros((64, 64, 3), np.uint8)), runner.contract, 0.3)
    assert found.scores.tolist() == [0.5] * 168


def test_onnx_contract_from_its_shapes(tmp_path: Path) -> None:
    names = {"names": "{0: 'cat', 1: 'dog', 2: 'bird'}"}
    segment = OnnxRunner(onnx_file(tmp_path / "s.onnx", [[1, 39, 84], [1, 32, 16, 16]], names)).contract
    assert (segment.layout, segment.box_unit, segment.spec.task) == ("concat", 0.0, "segment")
    assert segment.spec.names == ("cat", "dog", "bird")
    detect = OnnxRunner(onnx_file(tmp_path / "d.onnx", [[1, 7, 84]], names)).contract
    assert (detect.spec.task, detect.spec.names) == ("detect", ("cat", "dog", "bird"))
    with pytest.raises(InputError, match="1x39x84 fit only a pose network"):
        OnnxRunner(onnx_file(tmp_path / "d.onnx", [[1, 39, 84]], names))


@pytest.mark.parametrize(
    ("shapes", "metadata", "message"),
    [
        ([[1, 2, 3, 4, 5]], {}, "no head that edgeai knows"),
        ([[1, 8, 8, 8], [1, 8, 4, 4]], {}, "no head that edgeai knows"),
        ([[1, 84, 2]], {"edgeai.contract": "{}"}, "contract inside"),
    ],
)
def test_onnx_without_a_usable_contract(
    tmp_path: Path, shapes: list[list[int]], metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        OnnxRunner(onnx_file(tmp_path / "m.onnx", shapes, metadata))
    with pytest.raises(InputError, match="64 pixels, not 96"):
        OnnxRunner(tmp_path / "m.onnx", imgsz=96)


def test_torch_outputs_are_read_as_raw_heads() -> None:
    torch = pytest.importorskip("torch")

    class Heads(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: object) -> tuple[object, ...]:
            shapes = [(c, 64 // s) for s in (8, 16, 32) for c in (64, 80, 32)] + [(32, 16)]
            return tuple(torch.full((1, c, side, side), float(x.mean())) for c, side in shapes)  # type: ignore[attr-defined]

    runner = TorchRunner(Heads(), SPEC, FileRef("tiny.pt", "", 0), 64)
    found = decode(runner.infer(np.full((64, 64, 3), 255, np.uint8)), runner.contract, 0.7)
    assert len(found.boxes) == 84 and len(found.rows) == 84 * 80
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-1)), rtol=1e-6)


def test_raw_contract() -> None:
    roles = raw_contract(SPEC, 256).roles
    assert [(r.kind, r.stride) for r in roles[:4]] == [("dfl", 8), ("logits", 8), ("coefs", 8), ("dfl", 16)]
    assert [r.index for r in roles] == list(range(10)) and roles[-1].kind == "proto"
    detect = raw_contract(replace(SPEC, task="detect", num_coefs=0), 256)
    assert {r.kind for r in detect.roles} == {"dfl", "logits"}
    for spec, imgsz in ((SPEC, 250), (SPEC, 0), (replace(SPEC, task="classify", strides=()), 224)):
        with pytest.raises(InputError):
            raw_contract(spec, imgsz)


def test_where_xnnpack_is_wrong_another_kernel_runs(tmp_path: Path) -> None:
    """A mean over all of a picture: XNNPACK adds 12,288 codes of a row in 16 bits, and wraps around."""
    import sys

    sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))
    from tiny_models import Model

    from edgeai.kernels.interpreter import open_mixed
    from edgeai.kernels.plan import choose

    model = Model()
    x, y = (model.tensor(shape, scale=1 / 255, zero=-128) for shape in ((1, 12288), (1,)))
    axis = model.tensor((1,), "int32", data=np.array([1]))
    model.op("MEAN", [x, axis], [y], "ReducerOptions", 2)
    path = tmp_path / "mean.tflite"
    path.write_bytes(model.pack([x], [y]))
    flat = np.full((1, 12288), -128, np.int8)
    assert int(open_mixed(path, "xnnpack").run([flat])[0][0]) != -128
    mixed = open_mixed(path)
    assert choose(mixed.graph, "xnnpack") == ("reference",)
    assert int(mixed.run([flat])[0][0]) == -128


def test_another_litert_than_the_measured_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from edgeai.kernels.table import other_version

    assert other_version() == ""  # constraints.txt has the version that was measured
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    assert other_version().startswith("the kernels of ai-edge-litert 9.9 are taken to be those of 2.")


def test_all_tensors_can_be_read_whatever_the_kernels(tmp_path: Path) -> None:
    """XNNPACK keeps what it fuses to itself, so every tensor is made an output."""
    import sys

    sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))
    from tiny_models import Model

    from edgeai.kernels.interpreter import open_mixed

    model = Model()
    x, y, z = (model.tensor((1, 4, 4, 8), scale=0.1) for _ in range(3))
    options = {"fusedActivationFunction": 0}
    model.op("ADD", [x, x], [y], "AddOptions", 2, **options)
    model.op("MUL", [y, x], [z], "MulOptions", 2, **options)
    path = tmp_path / "two.tflite"
    path.write_bytes(model.pack([x], [z]))
    values = np.arange(128, dtype=np.int8).reshape(1, 4, 4, 8)
    seen = []
    for kernels in ("reference", "xnnpack"):
        interpreter = open_mixed(path, kernels, keep_all=True)  # type: ignore[arg-type]
        interpreter.run([values])
        seen.append(interpreter.read(y).copy())
    assert np.array_equal(*seen) and len(np.unique(seen[0])) > 30
