"""`edgeai postprocess`: what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from check_program import build_host
from helpers import edgeai, refused

from edgeai.evaluate.backends.base import input_table
from edgeai.firmware.postprocess import CONFIG, NETWORK, write_postprocess
from edgeai.firmware.postprocess_text import Limits
from edgeai.graph import load_graph
from edgeai.quantize.ptq import with_contract
from edgeai.recognise.know import know_file

ST = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


@pytest.fixture
def model(kit: Path) -> Path:
    return kit / "tflite" / ST


def test_the_command_says_what_it_wrote(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = edgeai(capsys, "postprocess", model, "-o", tmp_path, "--max-det", 20)
    assert shown.code == 0, shown.err
    assert max(map(len, shown.out.replace(str(tmp_path), "").splitlines())) <= 80
    made = json.loads(edgeai(capsys, "postprocess", model, "-o", tmp_path, "--max-det", 20, "--json").out)
    assert made["max_detections"] == 20
    assert {file["name"] for file in made["files"]} == {path.name for path in tmp_path.iterdir()}
    build_host(tmp_path)


def test_same_file_same_bytes(model: Path, tmp_path: Path) -> None:
    first = write_postprocess(model, tmp_path / "a", Limits())
    assert first == write_postprocess(model, tmp_path / "b", Limits())


def test_names_of_classes_cannot_become_code(model: Path, tmp_path: Path) -> None:
    """A model file is somebody else's: its strings stay strings."""
    contract = know_file(model).contract
    names = ('"; int evil; "', "*/ #error", "back\\slash", "??/", "new\nline", "käfer\0", "1234")
    spec = replace(contract.spec, names=(names * 12)[: contract.spec.nc])
    odd = tmp_path / "odd\n * evil;.tflite"
    odd.write_bytes(with_contract(model.read_bytes(), replace(contract, spec=spec)))
    write_postprocess(odd, tmp_path / "c", Limits())
    build_host(tmp_path / "c")
    for name in (CONFIG, NETWORK):
        assert not any("evil;" in line for line in (tmp_path / "c" / name).read_text().splitlines())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mobilenet_v1_0.5_224_int8.tflite", ("C post-processing does not read", "classifier")),
        ("yolov8n_256_quant_pc_uf_od_coco-person.tflite", ("float32", "--output-type int8")),
        ("absent.tflite", ("does not exist",)),
    ],
)
def test_other_files_are_refused(
    name: str, words: tuple[str, ...], kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(edgeai(capsys, "postprocess", kit / "tflite" / name, "-o", tmp_path / "out"), 2, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [("--conf", 1), ("--iou", 0), ("--max-det", 0), ("--max-det", 600), ("--max-det", 70000)],
)
def test_limits_that_do_not_fit_are_refused(
    options: tuple[str, object], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(edgeai(capsys, "postprocess", model, "-o", tmp_path / "out", *options), 2, "hint")


def test_no_number_is_no_limit(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(edgeai(capsys, "postprocess", model, "-o", tmp_path / "out", "--conf", "nan"), 2, "no number to compare")


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.5,) * 3, (0.5,) * 3), IMAGENET])
def test_the_input_is_described_as_the_host_fills_it(
    mean: tuple[float, ...], std: tuple[float, ...], model: Path, tmp_path: Path
) -> None:
    contract = replace(know_file(model).contract, mean=mean, std=std)
    changed = tmp_path / "m.tflite"
    changed.write_bytes(with_contract(model.read_bytes(), contract))
    write_postprocess(changed, tmp_path / "c", Limits())
    text = (tmp_path / "c" / CONFIG).read_text()
    found = [re.search(rf"PIXEL_{name} {{(.*)}}", text) for name in ("FACTOR", "OFFSET")]
    factor, offset = (np.array([float(v.rstrip("f")) for v in m.group(1).split(", ")]) for m in found if m)
    graph = load_graph(model)
    image = graph.tensors[graph.inputs[0]]
    table = input_table(np.dtype(image.dtype), image.scale, image.zero_point, mean, std)
    codes = np.clip(np.rint(np.arange(256)[:, None] * factor + offset), -128, 127)
    difference = np.abs(codes - (table if table.ndim == 2 else table[:, None]))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01  # a tie in float32 may fall the other way
