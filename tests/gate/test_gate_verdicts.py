"""The gate's policy, its writers and its command."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgeai.artifacts import EvalProtocol, EvalResult, FileRef, GateVerdict, Metric, Provenance, from_json, to_json
from edgeai.cli import main
from edgeai.errors import InputError
from edgeai.gate.policy import judge
from edgeai.gate.writers import junit, markdown, sentence

PROTOCOL = EvalProtocol(
    dataset="val", annotations_sha256="a" * 64, images_sha256="b" * 64, num_images=171, imgsz=256, letterbox="114",
    confidence=0.001, nms_iou=0.7, max_detections=300, multi_label=True, metric_tool="pycocotools 2.0.11",
)  # fmt: skip


def result(name: str, *, protocol: EvalProtocol = PROTOCOL, **metrics: float) -> EvalResult:
    return EvalResult(
        model=FileRef(name=name, sha256="c" * 64, bytes=1),
        name=name,
        backend="litert",
        precision="int8",
        granularity="per-channel",
        layout="raw",
        protocol=protocol,
        metrics=tuple(Metric(key, value) for key, value in metrics.items()),
        per_class=(),
        detections=1,
        provenance=Provenance(stage="evaluate", licence="AGPL-3.0"),
    )


FP32 = result("fp32", box_ap=30.3, mask_ap=23.6)


@pytest.fixture(autouse=True)
def outside_of_any_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.mark.parametrize(
    ("mask", "limit", "passed"),
    [(23.6, 0.0, True), (22.6, 1.0, True), (22.6 - 1e-6, 1.0, False), (25.0, 0.0, True), (20.0, 3.5, False)],
)
def test_the_limit_itself_passes(mask: float, limit: float, passed: bool) -> None:
    verdict = judge(FP32, result("int8", box_ap=30.3, mask_ap=mask), limit)
    assert [check.name for check in verdict.checks] == ["box_ap", "mask_ap"]
    assert verdict.passed is passed and verdict.checks[1].passed is passed and verdict.checks[0].passed
    assert (verdict.baseline, verdict.candidate, verdict.protocol) == ("fp32", "int8", PROTOCOL)
    assert verdict.provenance.licence == "AGPL-3.0"


def test_float_noise_is_no_drop() -> None:
    assert 32.2 - 31.2 > 1.0  # what the rounding is for
    assert judge(result("fp32", box_ap=32.2), result("int8", box_ap=31.2), 1.0).passed


def test_which_metrics() -> None:
    detect = result("int8", box_ap=30.0)
    assert [c.name for c in judge(FP32, detect, 1.0).checks] == ["box_ap"]
    chosen = judge(FP32, result("int8", box_ap=1.0, mask_ap=23.0), 1.0, ("mask_ap", "mask_ap"))
    assert chosen.passed and [c.name for c in chosen.checks] == ["mask_ap"]
    with pytest.raises(InputError, match="no metric 'mask_ap' in the result of int8"):
        judge(FP32, detect, 1.0, ("mask_ap",))
    with pytest.raises(InputError, match="share none"):
        judge(FP32, result("int8", box_ap50=1.0), 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, -100.0, 100.1])
def test_figures_that_are_no_percentages(value: float) -> None:
    with pytest.raises(InputError, match="not a percentage"):
        judge(FP32, result("int8", box_ap=value), 1.0)
    with pytest.raises(InputError, match="not a percentage"):
        judge(result("fp32", box_ap=value), result("int8", box_ap=1.0), 1.0)


@pytest.mark.parametrize("limit", [-0.1, float("nan"), float("inf")])
def test_limits_that_make_no_sense(limit: float) -> None:
    with pytest.raises(InputError, match="largest drop"):
        judge(FP32, FP32, limit)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EvalProtocol)])
def test_other_protocols_are_refused(field: str) -> None:
    value = getattr(PROTOCOL, field)
    if isinstance(value, bool):
        other: object = not value
    else:
        other = f"d{value}" if isinstance(value, str) else value * 2
    protocol = dataclasses.replace(PROTOCOL, **{field: other})
    with pytest.raises(InputError) as caught:
        judge(FP32, result("int8", protocol=protocol, box_ap=30.0), 1.0)
    shown = [str(v)[:12] for v in (value, other)]
    assert f"{field} {shown[0]}" in caught.value.message and shown[1] in caught.value.message
    assert "\n" not in caught.value.message


def test_all_differences_are_named() -> None:
    protocol = dataclasses.replace(PROTOCOL, imgsz=320, confidence=0.25)
    with pytest.raises(InputError, match=r"imgsz 256 and 320; confidence 0\.001 and 0\.25"):
        judge(FP32, result("int8", protocol=protocol, box_ap=30.0), 1.0)


NASTY = 'int8 <&">|`\x00\x1b[31m\n# x'


def test_junit_is_valid_whatever_the_name() -> None:
    verdict = judge(FP32, result(NASTY, box_ap=30.0, mask_ap=20.0), 1.0)
    text = junit(verdict)
    suite = ET.fromstring(text).find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["box_ap", "mask_ap"]
    assert cases[0].find("failure") is None
    failure = cases[1].find("failure")
    assert failure is not None and failure.get("message") == sentence(verdict.checks[1])
    assert "dropped by 3.60 points, from 23.60 to 20.00; at most 1 allowed" in failure.get("message", "")
    assert '<&">|`' in (cases[0].get("classname") or "")
    assert text == junit(verdict) and "imgsz" in text


def test_markdown_is_a_table_whatever_the_name() -> None:
    text = markdown(judge(FP32, result(NASTY, box_ap=30.0, mask_ap=20.0), 1.0))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("### Gate: FAILED\n") and len(rows) == 4
    assert rows[3] == "| mask_ap | 23.60 | 20.00 | 3.60 | 1 | **too far** |"
    assert "<&" not in text and "\x1b" not in text
    assert markdown(judge(FP32, FP32, 1.0)).startswith("### Gate: passed\n")


def test_a_drop_just_over_the_limit_shows_as_such() -> None:
    verdict = judge(FP32, result("int8", mask_ap=22.5999), 1.0, ("mask_ap",))
    assert not verdict.passed and "1.0001" in markdown(verdict)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["gate", *arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """The paths of a baseline, a candidate that is near it, and one that is not."""
    paths = []
    for name, box, mask in (("fp32", 30.3, 23.6), ("good", 29.9, 23.2), ("bad", 28.0, 20.0)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(to_json(result(name, box_ap=box, mask_ap=mask)))
    return str(paths[0]), str(paths[1]), str(paths[2])


def test_command_passes(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--baseline", files[0], "--candidate", files[1], "--max-drop", "1.0") == 0
    out = capsys.readouterr().out
    assert "gate passed: good against fp32" in out and "171 images at 256 px" in out


def test_command_fails_with_4_and_writes_everything(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out = tmp_path / "out"
    assert run("--baseline", files[0], "--candidate", files[2], "--json", str(out / "v.json"), "--junit",
               str(out / "v.xml"), "--markdown", str(out / "v.md")) == 4  # fmt: skip
    captured = capsys.readouterr()
    assert "FAILED" in captured.out and not captured.err
    verdict = from_json(GateVerdict, (out / "v.json").read_text())
    assert not verdict.passed and verdict.checks[1].drop == pytest.approx(3.6)
    assert (out / "v.xml").read_text() == junit(verdict)
    assert (out / "v.md").read_text() == markdown(verdict)
    assert summary.read_text() == "before\n" + markdown(verdict)


def test_command_prints_json(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--baseline", files[0], "--candidate", files[2], "--metric", "box_ap", "--max-drop", "3", "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["artifact"] == "GateVerdict" and body["passed"] and len(body["checks"]) == 1


def test_command_takes_limits_from_the_project(files: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "edgeai.toml").write_text('[gate]\nmax_drop = 2.5\nmetrics = ["box_ap"]\n')
    assert run("--baseline", files[0], "--candidate", files[2]) == 0
    assert run("--baseline", files[0], "--candidate", files[2], "--metric", "mask_ap") == 4
    assert run("--baseline", files[0], "--candidate", files[2], "--max-drop", "2") == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is not a EvalResult"),
        (b'{"artifact": "Footprint"}', "holds a Footprint"),
        (b'{"artifact": "EvalResult"}', "lacks"),
    ],
)
def test_command_refuses_other_files(
    content: bytes, says: str, files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "other.json"
    bad.write_bytes(content)
    assert run("--baseline", files[0], "--candidate", str(bad), "--junit", str(tmp_path / "v.xml")) == 2
    captured = capsys.readouterr()
    assert says in captured.err and not captured.out and not (tmp_path / "v.xml").exists()


def test_command_refuses_other_protocols_and_missing_files(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(to_json(result("other", protocol=dataclasses.replace(PROTOCOL, nms_iou=0.5), box_ap=30.0)))
    assert run("--baseline", files[0], "--candidate", str(other)) == 2
    assert "nms_iou 0.7 and 0.5" in capsys.readouterr().err
    assert run("--baseline", files[0], "--candidate", str(tmp_path / "none.json")) == 2
    assert "does not exist" in capsys.readouterr().err
    assert run("--candidate", files[0]) == 2
    assert "--baseline" in capsys.readouterr().err
