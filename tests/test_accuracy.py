"""The accuracy that is promised, on COCO val images that nothing was tuned on (see docs/accuracy.md).

Limits in points of AP at 256 px: what each layout may lose against fp32. ST's own int8 file runs under the same
protocol, on the same images, and each of ours must beat it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import edgeai

from edgeai.artifacts import RunRecord, from_json

# layout, granularity -> mask and box points against fp32
LIMITS = {
    ("raw", "per-channel"): (0.7, 1.0),
    ("raw", "per-tensor"): (1.4, 1.8),
    ("split", "per-channel"): (1.6, 2.6),
    ("split", "per-tensor"): (1.9, 3.0),
    ("concat", "per-channel"): (1.6, 2.7),
    ("concat", "per-tensor"): (1.9, 3.1),
}


@pytest.mark.slow
def test_our_files_against_fp32_and_st(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEAI_CACHE", str(tmp_path / "cache"))
    done = edgeai(
        capsys, "run", kit / "weights/yolov8n-seg.pt", "--all", "--imgsz", 256, "--json", "--out", tmp_path / "run",
        "--calibration", kit / "coco/calibration/images", "--board", "stm32n6", "--max-drop", 4,
        "--images", kit / "coco/val/images", "--annotations", kit / "coco/val/instances.json",
        "--compare", kit / "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = from_json(RunRecord, done.out)
    fp32, *ours, st = record.results
    # the kit's own figures for the float network and for ST's file, from an independent implementation
    assert (fp32.metric("box_ap"), fp32.metric("mask_ap")) == pytest.approx((30.3, 23.6), abs=0.1)
    assert (st.metric("box_ap"), st.metric("mask_ap")) == pytest.approx((25.0, 21.7), abs=0.3)
    by_kind = {(r.layout, r.granularity): r for r in ours}
    assert len(by_kind) == 6
    for result in ours:
        assert result.metric("box_ap") > st.metric("box_ap"), result.name
        assert result.metric("mask_ap") > st.metric("mask_ap"), result.name
    for kind, (mask, box) in LIMITS.items():
        assert fp32.metric("mask_ap") - by_kind[kind].metric("mask_ap") <= mask, kind
        assert fp32.metric("box_ap") - by_kind[kind].metric("box_ap") <= box, kind
    for grain in ("per-channel", "per-tensor"):
        split, concat = by_kind["split", grain], by_kind["concat", grain]
        assert split.metric("mask_ap") - concat.metric("mask_ap") <= 1.0
        assert split.metric("box_ap") - concat.metric("box_ap") <= 1.0
