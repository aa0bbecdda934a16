"""The TFLite reader on ST's files, and on files that are broken in every way we could think of."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgeai.errors import InputError
from edgeai.graph import load_graph
from edgeai.graph.opcodes import OPERATORS, TENSOR_TYPES
from edgeai.graph.tflite import read_tflite

SEG = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
SMALL = "tflite/gmp_wl_24_int8.tflite"


def test_tables_agree_with_the_schema() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    operators = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    assert dict(enumerate(OPERATORS)) == operators
    assert {i: name for i, (name, _) in enumerate(TENSOR_TYPES)} == types


def test_reads_what_the_generated_reader_reads(kit: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    path = kit / SEG
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    expected = model.subgraphs[0]
    graph = load_graph(path)
    assert graph.inputs == tuple(expected.inputs) and graph.outputs == tuple(expected.outputs)
    for tensor, other in zip(graph.tensors, expected.tensors, strict=True):
        assert tensor.name == other.name.decode()
        assert tensor.shape == tuple(() if other.shape is None else other.shape)
        scales = () if other.quantization is None or other.quantization.scale is None else other.quantization.scale
        assert tensor.scales == tuple(float(s) for s in scales)
        data = model.buffers[other.buffer].data
        assert (tensor.data is None) == (data is None) and (data is None or bytes(tensor.data or b"") == bytes(data))
    for op, other in zip(graph.ops, expected.operators, strict=True):
        assert op.inputs == tuple(other.inputs) and op.outputs == tuple(other.outputs)
        options = other.builtinOptions
        if op.kind == "CONV_2D":
            assert op.stride == (options.strideH, options.strideW)
            assert op.dilation == (options.dilationHFactor, options.dilationWFactor)
            assert op.padding == ("same", "valid")[options.padding]
    assert graph.lookup("min_runtime_version") is not None and graph.lookup("nothing") is None


def test_reads_a_large_model_quickly(kit: Path) -> None:
    data = (kit / SEG).read_bytes()
    best = min(_seconds(data) for _ in range(3))
    assert best < 0.1


def _seconds(data: bytes) -> float:
    start = time.perf_counter()
    read_tflite(data)
    return time.perf_counter() - start


def test_buffers_behind_the_flatbuffer(kit: Path) -> None:
    """Newer files keep large buffers behind the flatbuffer; the schema package writes one."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    plain = (kit / SMALL).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(plain, 0))
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    index = sizes.index(max(sizes))
    moved = bytes(model.buffers[index].data)
    model.buffers[index].data = None

    def packed(offset: int) -> bytes:
        model.buffers[index].offset, model.buffers[index].size = offset, len(moved)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    head = packed(2)
    data = packed(len(head)) + moved
    assert len(data) == len(head) + len(moved)
    views = [bytes(t.data) for t in read_tflite(data).tensors if t.data is not None]
    assert moved in views
    with pytest.raises(InputError, match="beyond its end"):
        read_tflite(data[:-1])


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 64, 1000, 0.5, 0.9, 0.999])
def test_truncated(kit: Path, tmp_path: Path, keep: float) -> None:
    data = (kit / SEG).read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(InputError):
        load_graph(path)


def test_mutations_end_in_a_graph_or_an_input_error(kit: Path) -> None:
    plain = (kit / SMALL).read_bytes()
    rng = random.Random(7)
    start, refused = time.perf_counter(), 0
    for _ in range(600):
        data = bytearray(plain)
        for _ in range(rng.choice((1, 4, 16))):
            at = rng.randrange(len(data) - 4)
            data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32))))
        try:
            read_tflite(bytes(data))
        except InputError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 100
    assert time.perf_counter() - start < 10


def test_shared_vectors_cannot_multiply() -> None:
    """A list of thousands of offsets to one and the same table is small in the file and huge when read."""
    data = _model_with_one_tensor_many_times(tensors=20_000, scales=20_000, shape=[20_000])
    assert len(data) < 200_000
    start = time.perf_counter()
    with pytest.raises(InputError, match="more than its size allows"):
        read_tflite(data)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("shape", [[1] * 40, [2**31 - 1, 2**31 - 1], [70_000, 70_000]])
def test_impossible_shapes_are_refused(shape: list[int]) -> None:
    with pytest.raises(InputError, match=r"dimensions|impossible shape"):
        read_tflite(_model_with_one_tensor_many_times(1, 0, shape))


def _model_with_one_tensor_many_times(tensors: int, scales: int, shape: list[int]) -> bytes:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    builder = flatbuffers.Builder(1024)

    def vector(start: Callable[..., object], put: Callable[[object], None], items: Sequence[object]) -> int:
        start(builder, len(items))
        for item in reversed(items):
            put(item)
        return int(builder.EndVector())

    scale = vector(schema.QuantizationParametersStartScaleVector, builder.PrependFloat32, [1.0] * scales)
    dims = vector(schema.TensorStartShapeVector, builder.PrependInt32, shape)
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddScale(builder, scale)
    quantization = schema.QuantizationParametersEnd(builder)
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, dims)
    if scales:
        schema.TensorAddQuantization(builder, quantization)
    tensor = schema.TensorEnd(builder)
    schema.BufferStart(builder)
    buffer = schema.BufferEnd(builder)
    listed = vector(schema.SubGraphStartTensorsVector, builder.PrependUOffsetTRelative, [tensor] * tensors)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, listed)
    subgraph = schema.SubGraphEnd(builder)
    subgraphs = vector(schema.ModelStartSubgraphsVector, builder.PrependUOffsetTRelative, [subgraph])
    buffers = vector(schema.ModelStartBuffersVector, builder.PrependUOffsetTRelative, [buffer])
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, subgraphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_other_files_are_named(tmp_path: Path) -> None:
    for name, content, message in (
        ("empty.tflite", b"", "is empty"),
        ("text.tflite", b"hello world, I am no model", "neither a TFLite nor an ONNX"),
        ("pointer.tflite", b"version https://git-lfs.github.com/spec/v1\n", "neither"),
        ("garbage.onnx", b"\x08\xff\xff\xff\xff" + bytes(range(256)), "ONNX"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_graph(tmp_path / name)
    with pytest.raises(InputError, match="folder"):
        load_graph(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_graph(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="regular file"):
        load_graph(Path("/dev/null"))
