"""The main job on the real checkpoint and real photos: every file is what it claims to be."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import edgeai, process, refused

from edgeai.artifacts import AuditReport, EvalResult, ExportedModel, QuantizedModel, RunRecord, from_json

SIZE = 128  # half the usual size: the same graph in a quarter of the time
PHOTOS = 8

# Blocks every connection that leaves the machine, in every process that Python starts.
OFFLINE = """
import socket
def refuse(self, address, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError("offline: " + repr(address))
    return real(self, address, *rest)
real = socket.socket.connect
socket.socket.connect = refuse
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the module, so that stages are shared."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("EDGEAI_CACHE")
    os.environ["EDGEAI_CACHE"] = str(folder)
    yield folder
    os.environ.pop("EDGEAI_CACHE") if before is None else os.environ.update(EDGEAI_CACHE=before)


def options(kit: Path, *more: object) -> list[object]:
    return ["--imgsz", SIZE, "--calibration", kit / "coco/calibration/images", "--limit", PHOTOS, *more]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("layout", "granularity", "outputs", "transposes"),
    [("raw", "per-channel", 10, 0), ("split", "per-tensor", 4, 0), ("concat", "per-channel", 2, 1)],
)
def test_quantize_and_audit(
    layout: str, granularity: str, outputs: int, transposes: int,
    kit: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "m.tflite"
    choice = options(kit, f"--{granularity}", "--layout", layout, "-o", out, "--json")
    done = edgeai(capsys, "quantize", kit / "weights/yolov8n-seg.pt", *choice)
    assert done.code == 0, done.err
    made = from_json(QuantizedModel, done.out)
    assert made.file.sha256 == sha(out)
    inspected = from_json(AuditReport, edgeai(capsys, "inspect", out, "--json").out)
    assert inspected.granularity == granularity
    assert (inspected.weights_per_channel > 70) == (granularity == "per-channel")
    assert inspected.float_tensors == 0
    assert {t.dtype for t in (*inspected.inputs, *inspected.outputs)} == {"int8"}
    assert len(inspected.outputs) == outputs
    assert inspected.layout == layout
    assert sum(c.count for c in inspected.operators if c.name == "TRANSPOSE") == transposes
    assert made.contract.spec.names[:2] == ("person", "bicycle")
    assert made.contract.spec.licence.startswith("AGPL")
    assert {p.step for p in made.parity} == {"torch -> onnx", "onnx -> tflite"}
    assert min(p.cosine for p in made.parity) > 0.999999
    assert len(made.calibration.images) == PHOTOS
    assert {f.name for f in made.provenance.options} >= {"granularity", "layout", "imgsz", "seed", "observer"}
    if layout == "concat":
        assert made.contract.coef_divisor >= 4
        assert inspected.box_step_px < 0.01 * SIZE  # ST's file: 0.02
        assert inspected.shared_output_scale


@pytest.mark.parametrize(("given", "found"), [("uint8", "uint8"), ("float32", "float32")])
def test_input_and_output_types(
    given: str, found: str, kit: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.tflite"
    choice = options(kit, "--input-type", given, "--output-type", "float32", "-o", out)
    assert edgeai(capsys, "quantize", kit / "weights/yolov8n-seg.pt", *choice).code == 0
    audit = from_json(AuditReport, edgeai(capsys, "inspect", out, "--json").out)
    assert [t.dtype for t in audit.inputs] == [found]
    assert {t.dtype for t in audit.outputs} == {"float32"}
    assert audit.granularity == "per-channel"


def test_export_a_checkpoint_of_our_own(
    kit: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, onnx = tmp_path / "w.safetensors", tmp_path / "m.onnx"
    assert edgeai(capsys, "import", kit / "weights/yolov8n-seg.pt", "-o", weights).code == 0
    done = edgeai(capsys, "export", weights, "-o", onnx, "--imgsz", 96, "--layout", "split", "--json")
    exported = from_json(ExportedModel, done.out)
    assert exported.file.sha256 == sha(onnx)
    assert {r.kind for r in exported.contract.roles} == {"boxes", "scores", "coefs", "proto"}
    audit = from_json(AuditReport, edgeai(capsys, "inspect", onnx, "--json").out)
    assert (audit.granularity, audit.layout, audit.inputs[0].shape) == ("float", "split", (1, 3, 96, 96))


def test_project_file_second_run_and_gate(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ["--images", kit / "coco/val/images", "--annotations", kit / "coco/val/instances.json"]
    photos = kit / "coco/calibration/images"
    first = edgeai(capsys, "init", "--model", kit / "weights/yolov8n-seg.pt", "--calibration", photos, *paths)
    assert first.code == 0, first.err
    file = tmp_path / "edgeai.toml"
    text = file.read_text().replace("imgsz = 256", f"imgsz = {SIZE}").replace("limit = 128", f"limit = {PHOTOS}")
    file.write_text(text.replace("limit = 0 ", "limit = 6 ").replace("max_drop = 1.0", "max_drop = 100.0"))
    done = edgeai(capsys, "run", "--json")
    assert done.code == 0, done.err
    record = from_json(RunRecord, done.out)
    assert [r.precision for r in record.results] == ["fp32", "int8"]
    assert record.results[0].protocol.num_images == 6
    assert record.verdicts[0].passed
    assert (tmp_path / "runs/yolov8n-seg/run.json").read_text() == done.out
    again = edgeai(capsys, "run")
    assert again.code == 0
    assert len(re.findall("unchanged, re-used", again.err)) == len(re.findall(r": (?:done|unchanged)", again.err))
    assert again.out.splitlines()[-2].startswith("gate passed")
    bare = edgeai(capsys, "footprint", "--board", "stm32n6", "--json")
    assert bare.code == 0
    assert json.loads(bare.out)["model"]["sha256"] == record.quantized[0].file.sha256
    results = sorted((tmp_path / "runs/yolov8n-seg").glob("*.eval.json"))
    worse, better = sorted(results, key=lambda r: from_json(EvalResult, r.read_text()).metric("mask_ap"))
    lost = ["gate", "--baseline", better, "--candidate", worse, "--metric", "mask_ap", "--max-drop"]
    assert edgeai(capsys, *lost, 0).code == 4
    assert edgeai(capsys, *lost, 100).code == 0


def test_works_offline_and_without_a_terminal(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(OFFLINE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "EDGEAI_CACHE": str(tmp_path / "cache")}
    model = kit / "weights/yolov8n-seg.pt"
    run = process("quantize", model, *options(kit, "-o", "m.tflite"), cwd=tmp_path, env=environment)
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert "\x1b" not in out + err
    left = {p.name for p in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"cache", "m.tflite", "sitecustomize.py"}


def test_killed_in_the_middle_then_the_same_bytes(kit: Path, tmp_path: Path, cache: Path) -> None:
    """SIGKILL at several moments; the run after that ends in the bytes of an undisturbed one."""
    arguments = ["quantize", kit / "weights/yolov8n-seg.pt", *options(kit, "--per-tensor", "-o", "m.tflite")]
    calm = process(*arguments, cwd=tmp_path, env={**os.environ, "EDGEAI_CACHE": str(tmp_path / "calm")})
    assert calm.wait(timeout=200) == 0
    undisturbed = sha(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").unlink()
    environment = {**os.environ, "EDGEAI_CACHE": str(tmp_path / "killed")}
    for stage in ("export", "convert", "calibrate", "quantize"):
        run = process(*arguments, cwd=tmp_path, env=environment)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "killed").glob(f"{stage}/*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert not (tmp_path / "m.tflite").exists()
    last = process(*arguments, cwd=tmp_path, env=environment)
    assert last.wait(timeout=200) == 0
    assert sha(tmp_path / "m.tflite") == undisturbed
    assert not list((tmp_path / "killed").rglob("*.part"))


def test_ctrl_c_leaves_nothing_half_written(kit: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEAI_CACHE": str(tmp_path / "cache")}
    model = kit / "weights/yolov8n-seg.pt"
    run = process("quantize", model, *options(kit, "-o", "m.tflite"), cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("export/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert not (tmp_path / "m.tflite").exists()
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_bad_input(kit: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, photos = kit / "weights/yolov8n-seg.pt", kit / "coco/calibration/images"
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a checkpoint")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"not a photo")
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out.tflite"
    cases = [
        ((model, "-o", out), "no calibration images"),
        ((model, "--calibration", photos, "--imgsz", 250, "-o", out), "multiple of 32"),
        ((tmp_path / "missing.pt", "--calibration", photos, "-o", out), "does not exist"),
        ((tmp_path, "--calibration", photos, "-o", out), "folder"),
        ((broken, "--calibration", photos, "-o", out), "broken.pt"),
        ((kit / "weights/hostile.pt", "--calibration", photos, "-o", out), "posix.system"),
        ((kit / "weights/yolov8n-seg-truncated.pt", "--calibration", photos, "-o", out), "cut short"),
        ((model, "--calibration", tmp_path / "photos", "--imgsz", SIZE, "-o", out), "a.jpg"),
        ((model, "--calibration", photos, "--layout", "banana", "-o", out), "banana"),
        (("-o", out, "--calibration", photos), "no model given"),
    ]
    for arguments, words in cases:
        refused(edgeai(capsys, "quantize", *arguments), 2, words)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images(kit: Path, cache: Path, tmp_path: Path) -> None:
    """Observing 48 photos takes no more memory than observing 6."""
    script = """
import resource, sys
from pathlib import Path
from edgeai.artifacts import ExportedModel, from_json
from edgeai.quantize.ranges.calibration import batches, open_calibration
from edgeai.quantize.ranges.observe import observe
made = from_json(ExportedModel, Path(sys.argv[2]).read_text())
photos = open_calibration(Path(sys.argv[3]), limit=int(sys.argv[4]))
observe(Path(sys.argv[1]), made.contract, photos.set, batches(photos.paths, made.contract))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    model = sorted(cache.glob("convert/*/model.tflite"))[0]
    peaks = []
    for count in (6, 48):
        photos = kit / "coco/calibration/images"
        import subprocess

        done = subprocess.run(
            [sys.executable, "-c", script, model, model.with_name("exported.json"), photos, str(count)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 30
