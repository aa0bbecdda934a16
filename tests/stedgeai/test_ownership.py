"""Figures of another network, chip or board are refused, and taken only with a word of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from firmware.tiny_models import Model
from helpers import Outcome, edgeai

from edgeai.artifacts import CompiledModel, from_json, to_json
from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.stedgeai.ownership import over_board, own
from edgeai.stedgeai.read import read_compiled

Capsys = pytest.CaptureFixture[str]

REPORT = """ST Edge AI Core v2.2.0-20266 2adc00962
Created date          : 2026-11-30 13:00:00
Parameters            : generate --model {file} --target {target} --output out

Exec/report summary (generate)
---------------------------------------------------------------------
model file         :   {file}
type               :   tflite
c_name             :   network
target/series      :   {target}
model_name         :   {stem}
{hash}macc               :   147,456
weights (ro)       :   {weights:,} B (36.00 KiB) (1 segment)
activations (rw)   :   {activations:,} B (8.00 KiB) (1 segment) *
ram (total)        :   {activations:,} B (8.00 KiB) = {activations:,} + 0 + 0
---------------------------------------------------------------------
(*) 'input'/'output' buffers can be used from the activations buffer
"""
WEIGHTS = 36864 + 256


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = Model()
    x, y = (made.tensor((1, 4, 4, 64), "int8", 0.1) for _ in range(2))
    w = made.tensor((64, 3, 3, 64), "int8", 0.01, data=np.ones((64, 3, 3, 64)))
    b = made.tensor((64,), "int32", 0.001, data=np.ones(64))
    made.op("CONV_2D", [x, w, b], [y], "Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    path = tmp_path / "my net.tflite"
    path.write_bytes(made.pack([x], [y]))
    return path


def report(
    folder: Path, file: str = "/home/me/my net.tflite", target: str = "stm32h7", digest: str = "",
    weights: int = WEIGHTS, activations: int = 8192,
) -> Path:  # fmt: skip
    folder.mkdir(exist_ok=True)
    line = f"model_hash         :   0x{digest}\n" if digest else ""
    text = REPORT.format(
        file=file, stem=Path(file).stem, target=target, hash=line, weights=weights, activations=activations
    )
    (folder / "network_generate_report.txt").write_text(text)
    return folder


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def compiled(capsys: Capsys, model: Path, board: str, source: Path, *more: str) -> Outcome:
    return edgeai(capsys, "compile", model, "--board", board, "--from", source, *more)


def test_its_own_report_is_taken(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    for source in (report(tmp_path / "a"), report(tmp_path / "b", "C:\\tmp\\other.tflite", digest=md5(model))):
        outcome = compiled(capsys, model, "stm32h7", source)
        assert outcome.code == 0 and "fits STM32H747I-DISCO" in outcome.out
    assert "told by its name" in compiled(capsys, model, "stm32h7", tmp_path / "a").out
    # a copy under a name that the tool can read
    assert compiled(capsys, model, "stm32h7", report(tmp_path / "c", "/work/my_net.tflite")).code == 0


def test_what_says_nothing_of_its_model_and_chip_may_be_anybodys(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    """A report whose lines hold what edgeai cannot take off leaves no name, no target and no size to hold against."""
    lines = (report(tmp_path / "a") / "network_generate_report.txt").read_text().splitlines()
    source = tmp_path / "quoted.txt"
    source.write_text("\n".join(f"> {line}" for line in lines))
    outcome = compiled(capsys, model, "stm32h7", source)
    assert outcome.code == 2 and "does not say of which model or chip it is" in outcome.err
    source.write_text("\n".join(f"INFO: {line}" for line in lines))
    assert compiled(capsys, model, "stm32h7", source).code == 0
    assert compiled(capsys, model, "stm32n6", source).code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": "/home/me/other_network.tflite"}, "it is of other_network.tflite, not of my net.tflite"),
        ({"file": "/home/me/my net.h5"}, "it is of my net.h5"),
        ({"digest": "0" * 32}, "(MD5 00000000…)"),
        ({"weights": 9_471_328}, "9,471,328 bytes of weights, my net.tflite 37,120"),
        ({"weights": 1000}, "1,000 bytes of weights"),
        ({"target": "stm32f4"}, "it is of stm32f4, STM32H747I-DISCO is stm32h7"),
        ({"target": "stm32n6npu"}, "it is of stm32n6npu"),
    ],
)
def test_others_are_refused_and_taken_with_a_word(
    capsys: Capsys, model: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    source = report(tmp_path / "out", **change)  # type: ignore[arg-type]
    outcome = compiled(capsys, model, "stm32h7", source)
    assert outcome.code == 2 and words in outcome.err and "--anyway" in outcome.err
    taken = compiled(capsys, model, "stm32h7", source, "--anyway", "--json")
    assert taken.code == 0 and any(words in mismatch for mismatch in json.loads(taken.out)["mismatches"])
    shown = " ".join(compiled(capsys, model, "stm32h7", source, "--anyway").out.split())
    assert "taken with --anyway" in shown and words in shown
    compare = ("footprint", model, "--board", "stm32h7", "--compare", "--compiled", source)
    assert edgeai(capsys, *compare).code == 2
    assert any(words in note for note in json.loads(edgeai(capsys, *compare, "--anyway", "--json").out)["notes"])


def test_the_gate_says_so(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    source = report(tmp_path / "out", target="stm32f4")
    (tmp_path / "made.json").write_text(compiled(capsys, model, "stm32h7", source, "--anyway", "--json").out)
    outcome = edgeai(capsys, "gate", "--footprint", tmp_path / "made.json", "--json", tmp_path / "verdict.json")
    assert outcome.code == 0
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert any("taken with --anyway: it is of stm32f4" in note for note in verdict["notes"])
    assert "taken with --anyway" in outcome.out
    own_one = compiled(capsys, model, "stm32h7", report(tmp_path / "own"), "--json").out
    (tmp_path / "own.json").write_text(own_one)
    edgeai(capsys, "gate", "--footprint", tmp_path / "own.json", "--json", tmp_path / "verdict.json")
    assert not json.loads((tmp_path / "verdict.json").read_text())["notes"]


@pytest.mark.parametrize("with_model", [True, False])
def test_what_does_not_fit_is_a_verdict(capsys: Capsys, model: Path, tmp_path: Path, with_model: bool) -> None:
    """4802 KiB of activations on a board with 640 KiB: whether a model is named or not."""
    source = report(tmp_path / "out", target="stm32l4", activations=4_917_696)
    words = ["compile", *([model] if with_model else []), "--board", "stm32l4r9i-disco", "--from", source]
    outcome = edgeai(capsys, *words)
    assert outcome.code == 3 and "DOES NOT FIT" in outcome.out and "4,802.4 KiB needed" in outcome.out
    source = report(tmp_path / "small", target="stm32l0", weights=300_000)
    small = edgeai(capsys, "compile", "--board", "nucleo-l073rz", "--from", source)
    assert small.code == 3 and "flash is over by" in small.out


@pytest.mark.parametrize("board", ["stm32h7", "nucleo-h743zi2", "stm32l4r9i-disco"])
def test_the_verdict_is_the_same_from_every_file(kit: Path, board: str) -> None:
    """The report and the c_info of one public compile for an H7, and of one for an F4 of 4802 KiB."""
    h7 = kit / "stedgeai" / "hajimi-yzy__YOLO-Human-Detection-Project-Based-on-STM32H750"
    f4 = kit / "stedgeai" / "MichelePoli__stm32-ai-workflow" / "analisiAI" / "report_analyze"
    pairs = (
        (h7 / "X-CUBE-AI/App/network_generate_report.txt", h7 / ".ai/network_nanov4_96_full_int8.tflite_c_info.json"),
        (f4 / "network_analyze_report.txt", f4 / "network_c_info.json"),
    )
    profile = load_board(board)
    for text, info in pairs:
        verdicts = [bool(over_board(read_compiled([file]), profile)) for file in (text, info)]
        assert verdicts[0] == verdicts[1]
    assert over_board(read_compiled([pairs[1][0]]), load_board("stm32l4r9i-disco"))
    assert not over_board(read_compiled([pairs[0][0]]), load_board("stm32h7"))


def test_a_report_and_a_c_info_of_two_networks(kit: Path) -> None:
    graefe = kit / "stedgeai" / "AlexGraefe__STM32N6Example" / "st_ai_output" / "network_c_info.json"
    other = kit / "stedgeai" / "n6_reports" / "svogl_od_n6.txt"
    with pytest.raises(InputError, match="different networks"):
        read_compiled([graefe, other])


def test_memories_that_a_board_has_not(kit: Path) -> None:
    """A network that spills into hyperRAM was not compiled for the Nucleo, which has none."""
    file = kit / "stedgeai" / "n6_reports" / "svogl_od_n6.txt"
    made = read_compiled([file])
    assert not own(made, None, load_board("nucleo-n657x0-q"), False).mismatches
    pools = tuple(
        dataclasses.replace(pool, used=4096, activations=4096) if pool.name == "hyperRAM" else pool
        for pool in made.pools
    )
    spilling = dataclasses.replace(made, pools=pools)
    assert not own(spilling, None, load_board("stm32n6"), False).mismatches
    with pytest.raises(InputError, match="it uses hyperRAM at 0x90000000"):
        own(spilling, None, load_board("nucleo-n657x0-q"), False)


def test_a_report_without_the_npu(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    outcome = compiled(capsys, model, "stm32n6", report(tmp_path / "out", target="stm32n6"))
    assert outcome.code == 2 and "without the NPU" in outcome.err


def test_validations_belong_to_a_model_and_a_chip(capsys: Capsys, kit: Path, model: Path) -> None:
    folder = kit / "stedgeai2" / "core40_depthwise_3x3"
    for source in (folder / "network_validate_report.txt", folder / "network_c_info.json", folder):
        assert edgeai(capsys, "validate", "--board", "stm32n6", "--from", source).code == 0
        outcome = edgeai(capsys, "validate", "--board", "stm32h7", "--from", source)
        assert outcome.code == 2 and "does not belong here" in outcome.err
        outcome = edgeai(capsys, "validate", model, "--board", "stm32n6", "--from", source)
        assert outcome.code == 2 and "baseline_depthwise_3x3_int8.tflite" in outcome.err
        taken = edgeai(capsys, "validate", model, "--board", "stm32n6", "--from", source, "--anyway", "--json")
        assert taken.code == 0 and json.loads(taken.out)["mismatches"]


def test_a_compile_result_of_another_board(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    made = compiled(capsys, model, "stm32h7", report(tmp_path / "out"), "--json").out
    (tmp_path / "compiled.json").write_text(made)
    words = ("footprint", model, "--compare", "--compiled", tmp_path / "compiled.json")
    assert edgeai(capsys, *words, "--board", "stm32h7").code == 0
    outcome = edgeai(capsys, *words, "--board", "stm32n6")
    assert outcome.code == 2 and "for STM32H747I-DISCO, not for STM32N6570-DK" in outcome.err


def test_results_of_before_are_read(kit: Path) -> None:
    """Compile results without the fields that came later."""
    made = read_compiled([kit / "stedgeai" / "n6_reports" / "svogl_od_n6.txt"])
    body = json.loads(to_json(made))
    for field in ("source_model", "source_hash", "source_board", "mismatches"):
        del body[field]
    assert from_json(CompiledModel, json.dumps(body)).weights_bytes == made.weights_bytes
