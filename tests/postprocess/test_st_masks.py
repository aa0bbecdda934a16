"""Masks of concat files under the rule of ST's applications, stated here on its own: a pixel of the prototypes' grid
belongs to a mask where the de-quantised product of coefficients and prototypes is at least 0.5, without a sigmoid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from helpers import edgeai, refused
from numpy.typing import NDArray

from edgeai.artifacts import AuditReport, Contract, MaskedModel, from_json
from edgeai.evaluate.backends.litert import LiteRtRunner
from edgeai.evaluate.decode import decode
from edgeai.evaluate.nms import nms
from edgeai.graph import load_graph
from edgeai.graph.flat import pack, tree_of
from edgeai.imaging.images import letterbox, read_image
from edgeai.quantize.ptq import with_contract
from edgeai.quantize.st_masks import with_st_masks
from edgeai.recognise.know import know_file

SIZE, IMAGES = 256, 20


def contract_of(path: Path) -> Contract:
    return know_file(path).contract


class Reader:
    """What an application sees: the integers of a file's outputs, their scales and zero points."""

    def __init__(self, path: Path) -> None:
        self.network = Interpreter(model_path=str(path))
        self.network.allocate_tensors()
        self.into = self.network.get_input_details()[0]
        self.out = {len(entry["shape"]): entry for entry in self.network.get_output_details()}

    def outputs(self, pixels: NDArray[np.uint8]) -> dict[int, NDArray[np.generic]]:
        """By number of axes: 3 the predictions, 4 the prototypes."""
        scale, zero = self.into["quantization"]
        codes = np.rint(pixels / 255 / scale) + zero
        self.network.set_tensor(self.into["index"], codes[None].astype(self.into["dtype"]))
        self.network.invoke()
        return {axes: self.network.get_tensor(entry["index"]).copy() for axes, entry in self.out.items()}

    def real(self, axes: int, codes: NDArray[np.generic]) -> NDArray[np.float64]:
        scale, zero = self.out[axes]["quantization"]
        return (codes.astype(np.float64) - zero) * scale if scale else codes.astype(np.float64)


def masks(
    reader: Reader, pixels: NDArray[np.uint8], classes: int, divisor: float, level: float
) -> list[NDArray[np.bool_]]:
    """Inside the boxes of what scores above 0.25, after NMS: the product of the tensors times `divisor` >= `level`."""
    codes = reader.outputs(pixels)
    rows, proto = reader.real(3, codes[3])[0].T, reader.real(4, codes[4])[0]
    scores = rows[:, 4 : 4 + classes]
    kept = np.flatnonzero(scores.max(axis=1) > 0.25)
    centre, half = rows[kept, :2], rows[kept, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    best = scores[kept]
    chosen = nms(boxes, best.max(axis=1).astype(np.float32), best.argmax(axis=1), 0.7, 100, 1000)
    result = []
    for box, coefs in zip(boxes[chosen], rows[kept[chosen], 4 + classes :], strict=True):
        x1, y1, x2, y2 = np.clip(np.rint(box * proto.shape[0]).astype(int), 0, proto.shape[0])
        inside = np.zeros(proto.shape[:2], np.bool_)
        inside[y1:y2, x1:x2] = True
        result.append((proto @ coefs * divisor >= level) & inside)
    return result


def test_masks_of_st_s_rule_are_ours(models: Mapping[str, Path], photos: list[Path]) -> None:
    reader, contract = Reader(models["concat"]), contract_of(models["concat"])
    assert contract.coef_divisor >= 4
    unit = contract.coef_divisor / contract.proto_factor
    assert unit == 1 / 8
    overlaps = []
    for photo in photos[:IMAGES]:
        pixels = letterbox(read_image(photo), SIZE)[0]
        theirs = masks(reader, pixels, 80, 1.0, 0.5)
        ours = masks(reader, pixels, 80, unit, 1e-9)
        for a, b in zip(theirs, ours, strict=True):
            assert a.any()
            overlaps.append((a & b).sum() / (a | b).sum())
    assert len(overlaps) > 2 * IMAGES
    assert np.mean(overlaps) >= 0.97  # 0.905 for ST's own file and rule; 0.002 without the factor
    assert min(overlaps) > 0.85


def test_old_files_are_found_and_mended(
    models: Mapping[str, Path], photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ST's own file, once as it is and once as if its coefficients had been divided by 16."""
    source = models["st"]
    old = tmp_path / "old.tflite"
    divided = dataclasses.replace(contract_of(source), coef_divisor=16.0)
    old.write_bytes(with_contract(source.read_bytes(), divided))
    for path, words in ((source, "masks come out too small"), (old, "masks come out empty in ST's application")):
        report = from_json(AuditReport, edgeai(capsys, "inspect", path, "--json").out)
        assert any(words in finding for finding in report.findings), report.findings
    new = tmp_path / "new.tflite"
    done = edgeai(capsys, "st-masks", old, "-o", new, "--json")
    assert done.code == 0, done.err
    made = from_json(MaskedModel, done.out)
    assert (made.factor, made.logit_before, made.logit_after) == (128.0, 8.0, 0.0625)
    report = from_json(AuditReport, edgeai(capsys, "inspect", new, "--json").out)
    assert not any("masks" in finding for finding in report.findings)
    before, after = Reader(old), Reader(new)
    assert after.out[4]["quantization"][0] == pytest.approx(128 * before.out[4]["quantization"][0], rel=1e-7)
    for photo in photos[:5]:
        pixels = letterbox(read_image(photo), SIZE)[0]
        a, b = before.outputs(pixels), after.outputs(pixels)
        assert np.array_equal(a[3], b[3])
        assert np.array_equal(a[4], b[4])
    with LiteRtRunner(old) as first, LiteRtRunner(new) as second:
        pixels = letterbox(read_image(photos[0]), SIZE)[0]
        one, two = (decode(runner.infer(pixels), runner.contract, 0.25) for runner in (first, second))
    assert one.proto is not None and two.proto is not None
    np.testing.assert_allclose(one.coefs @ one.proto[0].T, two.coefs @ two.proto[0].T, rtol=1e-5, atol=1e-5)
    again = tmp_path / "again.tflite"
    assert "nothing to do" in edgeai(capsys, "st-masks", new, "-o", again).out
    assert again.read_bytes() == new.read_bytes()


def test_float_outputs_keep_their_last_operator(
    models: Mapping[str, Path], photos: list[Path], tmp_path: Path
) -> None:
    """A concat file whose prototypes leave in floating point: the factor goes before the DEQUANTIZE."""
    path = tmp_path / "float_out.tflite"
    path.write_bytes(with_float_prototypes(models["st"]))
    made, told = with_st_masks(path.read_bytes(), contract_of(models["st"]))
    assert told.proto_factor == 8.0
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(made)
    assert [op.kind for op in load_graph(changed).ops][-1] == "DEQUANTIZE"
    pixels = letterbox(read_image(photos[0]), SIZE)[0]
    before, after = Reader(path).outputs(pixels)[4], Reader(changed).outputs(pixels)[4]
    assert before.dtype == np.float32
    assert np.array_equal(8 * before, after)


def with_float_prototypes(source: Path) -> bytes:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    tree = tree_of(source.read_bytes())
    graph = tree.subgraphs[0]
    place = next(i for i, t in enumerate(graph.outputs) if len(graph.tensors[t].shape) == 4)
    old, new = graph.tensors[graph.outputs[place]], schema.TensorT()
    new.shape, new.name, new.type = old.shape, "proto_float", schema.TensorType.FLOAT32
    graph.tensors.append(new)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 2
    tree.operatorCodes.append(code)
    operator.opcodeIndex = len(tree.operatorCodes) - 1
    operator.inputs, operator.outputs = [int(graph.outputs[place])], [len(graph.tensors) - 1]
    graph.operators.append(operator)
    graph.outputs = [len(graph.tensors) - 1 if i == place else int(t) for i, t in enumerate(graph.outputs)]
    tree.signatureDefs = None
    return pack(tree)


def test_other_layouts_are_refused(
    models: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(edgeai(capsys, "st-masks", models["raw"], "-o", tmp_path / "x.tflite"), 2, "layout concat")
    assert not list(tmp_path.iterdir())
