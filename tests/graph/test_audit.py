"""The audit against the kit's index, which was counted from the files by other means, and ST's two seg files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edgeai.artifacts import AuditReport, from_json, to_json
from edgeai.recognise.audit import audit

SEG256 = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def rows(kit: Path) -> list[dict[str, str]]:
    with (kit / "tflite" / "INDEX.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def shared_biases(path: Path) -> int:
    """Bytes that the index counts again: converters merge equal constants, and biases of zeros lie in one buffer."""
    if path.suffix != ".tflite":
        return 0
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    graph, kinds = model.subgraphs[0], schema.BuiltinOperator
    biased = (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.FULLY_CONNECTED)
    ops = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode in biased]
    tensors = {int(op.inputs[2]) for op in ops if len(op.inputs) > 2 and op.inputs[2] >= 0}
    buffers = [graph.tensors[t].buffer for t in tensors]
    return sum(len(model.buffers[b].data) for b in buffers) - sum(len(model.buffers[b].data) for b in set(buffers))


def test_every_file_of_the_index(kit: Path) -> None:
    checked = 0
    for row in rows(kit):
        report = audit(kit / "tflite" / row["file"])
        total = report.weights_per_channel + report.weights_per_tensor + report.weights_float
        assert f"{report.weights_per_channel}/{total}" == row["per_channel_weighted_ops"], row["file"]
        assert report.file.sha256 == row["sha256"]
        if not row["ops"]:  # the pose file's row holds a published MAC figure and nothing else
            assert report.macs == pytest.approx(int(row["macs"]), rel=1e-4)
            continue
        assert {c.name: c.count for c in report.operators} == json.loads(row["ops"]), row["file"]
        assert report.weights_bytes == int(row["weights_bytes"]), row["file"]
        assert report.bias_bytes == int(row["bias_bytes"]) - shared_biases(kit / "tflite" / row["file"]), row["file"]
        assert report.macs == int(row["macs"]), row["file"]
        checked += 1
    assert checked == 21


@pytest.mark.parametrize(("size", "step"), [(256, 5.1), (320, 6.5)])
def test_st_segmentation_files(kit: Path, size: int, step: float) -> None:
    report = audit(kit / "tflite" / SEG256.replace("256", str(size)))
    assert report.granularity == "per-tensor" and report.weights_per_channel == 0
    assert report.layout == "concat" and report.shared_output_scale
    assert report.outputs[0].scale == pytest.approx(0.0202, abs=2.5e-4)
    assert report.box_step_px == pytest.approx(step, abs=0.05)
    assert report.score_step_percent == pytest.approx(2.0, abs=0.05)
    assert report.float_tensors == 0
    text = "\n".join(report.findings)
    assert "the file name says per-channel, the weights are per-tensor" in text
    assert "share one scale of 0.020" in text
    assert "7 TRANSPOSE" in text
    assert [t.kind for t in report.outputs] == ["pred", "proto"]


def test_a_true_pair(kit: Path) -> None:
    per_channel = audit(kit / "tflite" / "yolov8n_320_quant_pc_uf_od_coco-person-st.tflite")
    per_tensor = audit(kit / "tflite" / "yolov8n_320_quant_pt_uf_od_coco-person-st.tflite")
    assert (per_channel.granularity, per_tensor.granularity) == ("per-channel", "per-tensor")
    assert per_channel.layout == per_tensor.layout == "detect"
    assert not any("file name says" in finding for finding in per_channel.findings + per_tensor.findings)


def test_a_detector_that_calls_itself_seg(kit: Path) -> None:
    report = audit(kit / "tflite" / "yolo11n_256_quant_pc_ii_seg_coco80-st.tflite")
    assert report.layout == "detect"
    assert any("holds no masks" in finding for finding in report.findings)


def test_pose_is_no_detector(kit: Path) -> None:
    report = audit(kit / "tflite" / "yolov8n_256_quant_pc_uf_pose_coco-st.tflite")
    assert report.layout == "" and report.granularity == "per-channel"


def test_float_onnx(kit: Path) -> None:
    report = audit(kit / "weights" / "yolov5n-seg.onnx")
    assert report.granularity == "float" and report.weights_float == 63
    assert any("open dimensions" in finding for finding in report.findings)


def test_json_round_trip(kit: Path) -> None:
    report = audit(kit / "tflite" / SEG256)
    assert from_json(AuditReport, to_json(report)) == report
