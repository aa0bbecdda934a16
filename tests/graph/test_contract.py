"""Contracts: read from a file's metadata, checked against its outputs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgeai.artifacts import Contract, ModelSpec, OutputRole, to_json
from edgeai.errors import InputError
from edgeai.graph.contract import read_contract
from edgeai.graph.types import Graph, Op, Tensor
from edgeai.recognise.audit import audit
from edgeai.recognise.know import know_file

SPEC = ModelSpec("net", "yolov8", "segment", "n", ("cat", "dog"), imgsz=64)
LEVELS = [(kind, stride) for stride in (8, 16, 32) for kind in ("dfl", "logits", "coefs")]
ROLES = (*(OutputRole(i, *level) for i, level in enumerate(LEVELS)), OutputRole(9, "proto"))
RAW = Contract(SPEC, "raw", 64, ROLES, 1.0)
CONCAT = Contract(SPEC, "concat", 64, (OutputRole(0, "pred"), OutputRole(1, "proto")), 64.0)


def graph_with(shapes: list[tuple[int, ...]], text: bytes | None, scales: tuple[float, ...] = ()) -> Graph:
    """A network of one operator with these outputs."""
    image = Tensor(0, "image", (1, 64, 64, 3), "int8", (1 / 255,), (-128,))
    outputs = [
        Tensor(i + 1, f"out{i}", shape, "int8", scales[i : i + 1], (0,) * len(scales[i : i + 1]))
        for i, shape in enumerate(shapes)
    ]
    indices = tuple(range(1, len(shapes) + 1))
    metadata = () if text is None else (("edgeai.contract", memoryview(text)),)
    return Graph("tflite", (image, *outputs), (Op(0, "CONV_2D", (0,), indices),), (0,), indices, metadata)


def raw_shapes() -> list[tuple[int, ...]]:
    levels: list[tuple[int, ...]] = [(1, 64 // s, 64 // s, c) for s in (8, 16, 32) for c in (64, 2, 32)]
    return [*levels, (1, 16, 16, 32)]


def test_reads_a_sound_contract() -> None:
    assert read_contract(graph_with(raw_shapes(), to_json(RAW).encode())) == RAW
    assert read_contract(graph_with([(1, 38, 84), (1, 16, 16, 32)], to_json(CONCAT).encode() + b"\0\0")) == CONCAT
    assert read_contract(graph_with([(1, 38, 84)], None)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roles": (OutputRole(7, "pred"),)}, "names output 7 of 2"),
        ({"roles": (OutputRole(-1, "pred"),)}, "names output -1 of 2"),
        ({"roles": ()}, "name no output"),
        ({"roles": (OutputRole(0, "pred"), OutputRole(0, "proto"))}, "one twice"),
        ({"roles": (OutputRole(0, "scores"),)}, "has no output 'scores'"),
        ({"roles": (OutputRole(0, "pred"),)}, "6 channels were expected"),
        ({"imgsz": 0}, "imgsz 0"),
        ({"box_unit": 0.0}, "must be positive"),
        ({"coef_divisor": float("nan")}, "must be positive"),
        ({"spec": dataclasses.replace(SPEC, names=())}, "no classes"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, object], message: str) -> None:
    contract = dataclasses.replace(CONCAT, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_contract(graph_with([(1, 38, 84), (1, 16, 16, 32)], to_json(contract).encode()))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff\xfe", b"null", b'{"artifact": "X"}', b"[" * 100_000])
def test_refuses_garbage(text: bytes) -> None:
    with pytest.raises(InputError, match="contract"):
        read_contract(graph_with([(1, 38, 84)], text))


def test_contract_decides_over_inference(kit: Path, tmp_path: Path) -> None:
    """A contract added to a real file names its outputs and layout; nothing is inferred then."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    source = kit / "tflite" / "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    inferred = know_file(source).contract
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
    for text, name in ((to_json(inferred), "good.tflite"), (json.dumps({"layout": "raw"}), "bad.tflite")):
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = list(text.encode())
        entry.name, entry.buffer = "edgeai.contract", len(model.buffers)
        model.buffers, model.metadata = [*model.buffers, buffer], [entry]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        (tmp_path / name).write_bytes(bytes(builder.Output()))
    report = audit(tmp_path / "good.tflite")
    assert report.layout == "concat"
    assert {entry.source for entry in report.evidence} == {"from the contract in the file"}
    with pytest.raises(InputError, match="lacks"):
        audit(tmp_path / "bad.tflite")
