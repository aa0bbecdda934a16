"""Licences: told in plain words, told once, and never left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai
from nets import Net, write_tflite
from report_runs import SEED_256, Run

from edgeai.artifacts import LicenceReport, from_json
from edgeai.report.licences import is_copyleft, licence_id, plain_licence


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("AGPL-3.0 License (https://ultralytics.com/license)", "AGPL-3.0"),
        ("AGPL-3.0", "AGPL-3.0"),
        ("Apache-2.0", "Apache-2.0"),
        ("", "unknown"),
        ("Unknown", "unknown"),
        ("(https://example.org)", "(https://example.org)"),
    ],
)
def test_licence_texts_become_names(said: str, meant: str) -> None:
    assert plain_licence(said) == meant


def test_copyleft_is_told_from_what_only_sounds_like_it() -> None:
    assert is_copyleft("AGPL-3.0") and is_copyleft("GPL-3.0-or-later") and is_copyleft("MIT OR (AGPL-3.0)")
    assert not is_copyleft("LGPL-2.1") and not is_copyleft("Apache-2.0") and not is_copyleft("unknown")
    assert licence_id("AGPL-3.0-only") == "agpl-3.0" and licence_id("SLA0044") == "other"


def test_the_trap_is_told_for_a_run_with_agpl_weights(run_folder: Run, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = edgeai(capsys, "licences", run_folder.folder)
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    for word in ("CONFLICT", "AGPL-3.0", "SLA0044", "source", "not legal advice", "calibration images"):
        assert word in text
    assert text.count("only on ST") + text.count("ST's chips only") == 1
    assert all(len(line) <= 80 for line in outcome.out.splitlines())


def test_an_unknown_licence_is_not_silent(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = kit / "tflite" / "yolov8n_256_quant_pc_uf_od_coco-person.tflite"
    report = from_json(LicenceReport, edgeai(capsys, "licences", silent, "--json").out)
    assert report.findings[0].severity == "check" and "SLA0044" in report.findings[0].text
    assert "does not say" in report.findings[0].text
    speaks = edgeai(capsys, "licences", kit / "tflite" / SEED_256, "--json").out
    assert from_json(LicenceReport, speaks).items[0].licence == "AGPL-3.0" and "does not say" not in speaks
    other = kit / "tflite" / "yamnet_1024_64x96_tl_qdq_int8.onnx"
    report = from_json(LicenceReport, edgeai(capsys, "licences", other, "--json").out)
    assert report.findings[0].severity == "check" and "AGPL" not in report.findings[0].text


def test_permissive_weights_leave_the_note_on_sts_software(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = edgeai(capsys, "licences", kit / "tflite" / SEED_256, "--licence", "Apache-2.0", "--json").out
    report = from_json(LicenceReport, answer)
    assert {finding.severity for finding in report.findings} == {"note"}
    assert any("SLA0044" in finding.text for finding in report.findings)
    assert report.items[0].known_from == "stated by the user"


def test_a_file_that_states_a_licence_is_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX properties, and the zip archive behind a TFLite file, of networks that edgeai cannot decode."""
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [ends[0]], [ends[1]]))
    onnx.helper.set_model_props(model, {"license": "AGPL-3.0 License (https://ultralytics.com/license)"})
    onnx.save(model, tmp_path / "odd.onnx")
    net = Net()
    net.outputs = [net.constant(np.zeros((1, 3, 5)))]
    said = {"license": "AGPL-3.0 License"}
    write_tflite(net, tmp_path / "odd.tflite", said, quantised=False, channels_last=True)
    for name in ("odd.onnx", "odd.tflite"):
        report = from_json(LicenceReport, edgeai(capsys, "licences", tmp_path / name, "--json").out)
        assert report.items[0].licence == "AGPL-3.0" and "in the file" in report.items[0].known_from
        assert report.findings[0].severity == "conflict"


def test_a_licence_that_follows_from_the_code_comes_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a checkpoint that states none into the weight file and the ONNX file made of it."""
    torch = pytest.importorskip("torch")
    import checkpoints

    from edgeai.export.to_onnx import export_onnx
    from edgeai.models import build

    torch.manual_seed(0)
    network, _ = build("yolov8n", 3)
    source = checkpoints.save_as_ultralytics(tmp_path / "best.pt", {"model": network})
    assert edgeai(capsys, "import", source, "-o", tmp_path / "best.safetensors").code == 0
    export_onnx(tmp_path / "best.safetensors", "raw", 32, 1.0, (), "resize", tmp_path / "best.onnx")
    for name in ("best.pt", "best.safetensors", "best.onnx"):
        report = from_json(LicenceReport, edgeai(capsys, "licences", tmp_path / name, "--json").out)
        assert report.items[0].licence == "AGPL-3.0"
        assert "its classes are Ultralytics', whose code is AGPL-3.0" in report.items[0].known_from
    text = report.findings[0].text
    assert text.startswith("The weights of best.onnx are under AGPL-3.0 (the file states none; its classes")


def test_card_and_report_carry_the_same_words(
    run_folder: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = from_json(LicenceReport, edgeai(capsys, "licences", run_folder.folder, "--json").out)
    edgeai(capsys, "card", run_folder.folder, "-o", tmp_path / "card.md")
    edgeai(capsys, "report", run_folder.folder, "-o", tmp_path / "report.html")
    card, page = (tmp_path / "card.md").read_text(), (tmp_path / "report.html").read_text()
    for finding in report.findings:
        sentence = finding.text.partition(". ")[0].partition("'")[0]
        assert sentence in card.replace("\\", "") and sentence in page
    assert report.disclaimer in card and report.disclaimer in page
