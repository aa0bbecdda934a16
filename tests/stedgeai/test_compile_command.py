"""`edgeai compile` and `edgeai footprint --compare`, on the tool as a process."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from pathlib import Path

import pytest
from helpers import edgeai, refused

from edgeai.artifacts import CompiledModel, from_json
from edgeai.board import load_board
from edgeai.errors import ToolError
from edgeai.footprint.estimate import estimate
from edgeai.graph import load_graph
from edgeai.stedgeai.compile import check_nbg, footprint
from edgeai.stedgeai.locate import Installation
from edgeai.stedgeai.mpool import read_pool_file
from edgeai.stedgeai.read import read_compiled

Capsys = pytest.CaptureFixture[str]
VERSIONS = ["2.1.0", "2.2.0", "3.0.0", "4.0.0", "4.0.1"]


def compiled(capsys: Capsys, *args: object) -> CompiledModel:
    outcome = edgeai(capsys, "compile", *args, "--json")
    assert outcome.code == 0, outcome.err
    return from_json(CompiledModel, outcome.out)


def constants(model: Path) -> int:
    graph = load_graph(model)
    return sum(t.nbytes for t in graph.tensors if t.is_constant and graph.consumers(t.index))


@pytest.mark.parametrize("version", VERSIONS)
def test_compile_for_the_n6_in_every_version(
    capsys: Capsys, standin: Path, model: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("EDGEAI_STANDIN_VERSION", version)
    made = compiled(capsys, model, "--board", "stm32n6", "--stedgeai", standin)
    assert (made.toolchain, made.version, made.target) == ("stand-in", version, "stm32n6npu")
    assert made.weights_bytes == constants(model) and made.gaps == ()
    assert sum(pool.activations for pool in made.pools) == made.activations_bytes
    graph = load_graph(model)
    assert made.macs == sum(graph.macs(op) for op in graph.ops) and made.epochs is not None
    assert made.epochs.total == len(graph.ops) and made.inputs[0].shape == (1, 96, 96, 3)
    assert {"network.c", "network_c_info.json"} <= {file.name for file in made.files}


def test_the_text_alone_gives_the_figures_of_the_c_info(capsys: Capsys, core: Installation, segmenter: Path) -> None:
    both = compiled(capsys, segmenter, "--board", "stm32n6", "--stedgeai", core.executable)
    (folder,) = Path("runs/compile").iterdir()
    text = read_compiled([folder / "output" / "network_generate_report.txt"])
    log = read_compiled([folder / "stedgeai-generate.log"])
    info = read_compiled([folder / "output" / "network_c_info.json"])
    for field in ("weights_bytes", "activations_bytes", "macs"):
        values = {getattr(found, field) for found in (both, text, log, info)} - {None}
        assert len(values) == 1, field
    assert {p.name: p.used for p in text.pools if p.used} == {p.name: p.used for p in info.pools if p.used}
    assert {found.toolchain for found in (both, text, log, info)} == {core.toolchain}


@pytest.mark.parametrize("board", ["stm32h7", "b-u585i-iot02a"])
def test_compile_for_mcu_targets(capsys: Capsys, core: Installation, model: Path, board: str) -> None:
    made = compiled(capsys, model, "--board", board, "--stedgeai", core.executable)
    assert made.epochs is None and made.nodes and made.weights_bytes
    if core.toolchain == "stand-in":
        assert made.weights_bytes == constants(model) and not made.gaps
    found = footprint(made, load_board(board))
    assert found.fits and found.source == f"{core.toolchain} {core.version}"
    assert found.pools and all(pool.capacity for pool in found.pools)


def test_the_epoch_controller_runs_ranges_of_epochs(capsys: Capsys, core: Installation, segmenter: Path) -> None:
    made = compiled(capsys, segmenter, "--board", "stm32n6", "--stedgeai", core.executable, "--epoch-controller")
    found = made.epochs
    assert found is not None and found.controller_blobs and found.hardware is not None and found.software is not None
    assert found.hardware + found.software + (found.hybrid or 0) == found.total
    assert any(row.kind == "EC" and row.last > row.first for row in found.rows)
    assert "network_ecblobs.h" in {file.name for file in made.files}


def test_same_inputs_same_bytes(capsys: Capsys, standin: Path, model: Path) -> None:
    first = edgeai(capsys, "compile", model, "--board", "stm32h7", "--stedgeai", standin, "--json").out
    assert edgeai(capsys, "compile", model, "--board", "stm32h7", "--stedgeai", standin, "--json").out == first
    assert len(list(Path("runs/compile").iterdir())) == 1


def test_nothing_is_written_into_the_current_directory(capsys: Capsys, core: Installation, model: Path) -> None:
    before = {path.name for path in Path().iterdir()}
    compiled(capsys, model, "--board", "stm32n6", "--stedgeai", core.executable, "-o", "elsewhere")
    assert {path.name for path in Path().iterdir()} - before == {"elsewhere"}


def test_dry_run_prints_what_is_run(
    capsys: Capsys, standin: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, but for the folder: an ASCII one is worked in directly."""
    monkeypatch.setenv("EDGEAI_STANDIN_LOG", str(tmp_path / "calls"))
    options = ["compile", model, "--board", "stm32n6", "--stedgeai", standin, "-O", "2", "-o", tmp_path / "runs"]
    planned = json.loads(edgeai(capsys, *options, "--dry-run", "--json").out)
    assert not (tmp_path / "runs").exists()
    assert edgeai(capsys, *options).code == 0
    called = [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert planned["commands"][0][1:] == called[-1]
    for file in planned["files"]:
        assert Path(file["name"]).read_text() == file["value"]
    assert "--optimization 2" in planned["files"][1]["value"]


def test_dry_run_needs_no_installation(
    capsys: Capsys, standin: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    outcome = edgeai(capsys, "compile", model, "--board", "stm32h7", "--dry-run")
    assert outcome.code == 0 and outcome.out.startswith("stedgeai generate --model ")
    refused(edgeai(capsys, "compile", model, "--board", "stm32h7"), 5, "was not found", "STEDGEAI_CORE_DIR")


def test_analyze_reports_without_code(capsys: Capsys, core: Installation, model: Path) -> None:
    made = compiled(capsys, model, "--board", "stm32h7", "--stedgeai", core.executable, "--analyze")
    assert made.weights_bytes and made.activations_bytes and list(Path("runs").rglob("network_analyze_report.txt"))
    options = ["--stedgeai", core.executable, "--analyze", "--allow-requantize"]
    refused(edgeai(capsys, "compile", model, "--board", "stm32mp25", *options), 2, "cannot analyze")


def test_own_profile(capsys: Capsys, core: Installation, model: Path, kit: Path, tmp_path: Path) -> None:
    source = kit / "stedgeai/STMicroelectronics__STM32N6-GettingStarted-ObjectDetection/Model/my_mpools"
    shutil.copytree(source, tmp_path / "my_mpools")
    profile = kit / "stedgeai/STMicroelectronics__STM32N6-GettingStarted-ImageClassification/Model"
    shutil.copyfile(profile / "user_neuralart_STM32N6570-DK.json", tmp_path / "own.json")
    made = compiled(capsys, model, "--board", "stm32n6", "--stedgeai", core.executable, "--profile", "default@own.json")
    flash = next(pool for pool in made.pools if pool.kind == "flash")
    assert (flash.address, flash.capacity) == (0x70380000, 61 << 20)
    options = ["compile", model, "--board", "stm32n6", "--stedgeai", core.executable]
    wrong = edgeai(capsys, *options, "--profile", "x@own.json")
    refused(wrong, 2, "no profile 'x'", "default")


@pytest.mark.parametrize("board", ["stm32n6", "stm32h7", "stm32mp257f-ev1"])
def test_blanks_and_other_letters_in_every_path(
    capsys: Capsys, core: Installation, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str
) -> None:
    """The N6's compiler reads ASCII only: the stand-in refuses other paths as it does."""
    place = tmp_path / "modèles für 東京 и всё"
    place.mkdir()
    shutil.copyfile(segmenter, place / "mein größtes Netz.tflite")
    monkeypatch.chdir(place)
    made = compiled(capsys, "mein größtes Netz.tflite", "--board", board, "--stedgeai", core.executable)
    (folder,) = (place / "runs" / "compile").iterdir()
    assert (folder / "compiled.json").is_file() and list(folder.glob("output/*")) and made.model is not None
    assert made.model.name == "mein größtes Netz.tflite"


FAULTS = [
    ("does-not-fit", 3, "3,211,264 bytes found no place"),
    ("crash", 5, "compiler crashed (signal 11)"),
    ("garbage", 5, "did not write network_c_info.json"),
    ("disk-full", 5, "the disk is full"),
    ("truncated-json", 5, "is not JSON"),
    ("missing-files", 5, "without an error, but did not write"),
    ("no-report", 5, "did not write network_generate_report.txt"),
    ("float-fallback", 5, "fell back to float"),
    ("killed", 5, "was killed (SIGKILL"),
    ("unsupported", 5, "Unkonwn layer format for layer Input_72"),
    ("internal", 5, "shape inference fails"),
    ("unsupported-silent", 5, "Unkonwn layer format for layer Input_72"),
    ("wrong-target", 5, "does not know the target stm32mp25"),
    ("flood", 5, "the compiler failed"),
]


@pytest.mark.parametrize(("fault", "code", "words"), FAULTS)
def test_failures_are_one_line_and_the_path_of_the_log(
    capsys: Capsys, standin: Path, model: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: int, words: str
) -> None:
    monkeypatch.setenv("EDGEAI_STANDIN_FAULT", fault)
    outcome = edgeai(capsys, "compile", model, "--board", "stm32n6", "--stedgeai", standin)
    refused(outcome, code, words, "stedgeai-generate.log")
    assert len([line for line in outcome.err.splitlines() if line.startswith("edgeai:")]) == 1
    (log,) = Path("runs/compile").glob("*/stedgeai-generate.log")
    assert log.stat().st_size > 0 and not list(Path("runs/compile").glob("*/compiled.json"))


def test_a_hang_ends_at_the_timeout(
    capsys: Capsys, standin: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAI_STANDIN_FAULT", "hang")
    begin = time.monotonic()
    outcome = edgeai(capsys, "compile", model, "--board", "stm32n6", "--stedgeai", standin, "--timeout", "2")
    refused(outcome, 5, "did not end within 2 s", "stedgeai-generate.log")
    assert time.monotonic() - begin < 15


def test_a_slow_run_is_waited_for(capsys: Capsys, standin: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEAI_STANDIN_FAULT", "slow")
    assert edgeai(capsys, "compile", model, "--board", "stm32n6", "--stedgeai", standin).code == 0


def test_a_model_too_large_for_the_chip(capsys: Capsys, standin: Path, segmenter: Path) -> None:
    """640 KiB of RAM, one memory pool without a file: the tool does not know the limit, the profile does."""
    outcome = edgeai(capsys, "compile", segmenter, "--board", "stm32l4r9i-disco", "--stedgeai", standin)
    assert outcome.code == 3, outcome.err


def test_mp2_file_is_checked(capsys: Capsys, core: Installation, segmenter: Path) -> None:
    made = compiled(capsys, segmenter, "--board", "STM32MP257F-EV1", "--stedgeai", core.executable)
    (graph,) = [file for file in made.files if file.name.endswith(".nb")]
    path = next(Path("runs").rglob("*.nb"))
    head = path.read_bytes()[:100]
    assert head.startswith(b"VPMN") and (b"stand-in" in head) == (core.toolchain == "stand-in")
    assert graph.bytes == path.stat().st_size and made.activations_bytes is None and made.gaps


def test_mp2_files_that_are_none(
    capsys: Capsys, standin: Path, segmenter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault, words in (("bad-nb", "no network binary graph"), ("missing-files", "did not write a .nb file")):
        monkeypatch.setenv("EDGEAI_STANDIN_FAULT", fault)
        refused(edgeai(capsys, "compile", segmenter, "--board", "STM32MP257F-EV1", "--stedgeai", standin), 5, words)


def test_a_per_channel_file_for_the_mp2_needs_a_permission(capsys: Capsys, core: Installation, model: Path) -> None:
    options = ["compile", model, "--board", "STM32MP257F-EV1", "--stedgeai", core.executable]
    outcome = edgeai(capsys, *options)
    refused(outcome, 2, "per-channel", "--allow-requantize")
    assert not Path("runs").exists()
    allowed = edgeai(capsys, *options, "--allow-requantize")
    assert allowed.code == 0 and "per-channel" in allowed.out


@pytest.mark.parametrize("head", [b"", b"VPM", b"TFL3" + bytes(40), b"VPMN\x20\x00\x01\x00\x15\x00\x00\x00"])
def test_files_that_are_no_graph(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.nb").write_bytes(head)
    with pytest.raises(ToolError):
        check_nbg(tmp_path / "a.nb")


def test_compare_prints_estimate_compiler_and_difference(capsys: Capsys, core: Installation, segmenter: Path) -> None:
    nothing = edgeai(capsys, "footprint", segmenter, "--board", "stm32n6", "--compare")
    refused(nothing, 2, "no compile result", "edgeai compile")
    made = compiled(capsys, segmenter, "--board", "stm32n6", "--stedgeai", core.executable)
    outcome = edgeai(capsys, "footprint", segmenter, "--board", "stm32n6", "--compare", "--json")
    assert outcome.code == 0, outcome.err
    body = json.loads(outcome.out)
    rows = {row["name"]: row for row in body["quantities"]}
    assert body["toolchain"] == core.toolchain and rows["weights"]["compiler"] == made.weights_bytes
    expected = estimate(segmenter, load_board("stm32n6"))
    assert expected.memory is not None and made.weights_bytes is not None
    assert rows["weights"]["estimate"] == expected.memory.weights.point
    ratio = 100 * (expected.memory.weights.point - made.weights_bytes) / made.weights_bytes
    assert rows["weights"]["difference"] == pytest.approx(ratio)
    shown = edgeai(capsys, "footprint", segmenter, "--board", "stm32n6", "--compare").out
    assert "estimate" in shown and "compiler" in shown and "difference" in shown and " %" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_compare_with_a_report_of_st(capsys: Capsys, kit: Path) -> None:
    """ST's compiler on this very network: 3,300,769 bytes of weights, 644,032 + 497,664 of RAM."""
    model = kit / "tflite" / "yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
    report = kit / "stedgeai" / "n6_reports" / "fallguard_pe_yolov8n_256_pose_n6_v2.1.0.txt"
    outcome = edgeai(capsys, "footprint", model, "--board", "stm32n6", "--compare", "--compiled", report, "--json")
    rows = {row["name"]: row for row in json.loads(outcome.out)["quantities"]}
    assert rows["weights"]["compiler"] == 3300769 and rows["RAM on chip"]["compiler"] == 644032 + 497664
    assert rows["epochs"]["compiler"] == 148 and rows["in software"]["compiler"] == 18


def test_results_made_elsewhere_are_read(capsys: Capsys, kit: Path) -> None:
    report = kit / "stedgeai" / "n6_reports" / "svogl_od_n6.txt"
    outcome = edgeai(capsys, "compile", "--board", "stm32n6", "--from", report)
    assert outcome.code == 0 and "ST Edge AI Core 3.0.0" in outcome.out and "stand-in" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100
    refused(edgeai(capsys, "compile", "--board", "stm32n6"), 2, "no model given")


# --- for ST's applications --------------------------------------------------------------------------


def planned(capsys: Capsys, *words: object) -> tuple[list[str], dict[str, str]]:
    """The command of a dry run, and the files it needs by name."""
    outcome = edgeai(capsys, "compile", *words, "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    body = json.loads(outcome.out)
    return body["commands"][0], {Path(file["name"]).name: file["value"] for file in body["files"]}


@pytest.mark.parametrize("board", ["stm32n6", "nucleo-n657x0-q"])
def test_for_st_s_applications(capsys: Capsys, kit: Path, tmp_path: Path, model: Path, board: str) -> None:
    """Every pool lies in that of the pool file that ST's application brings; input and controller are its own."""
    command, files = planned(capsys, model, "--board", board, "--for-application")
    assert command[command.index("--input-data-type") + 1] == "uint8"
    assert "--enable-epoch-controller" in files["neural_art.json"] and "--Oalt-sched" in files["neural_art.json"]
    (tmp_path / "ours.mpool").write_text(files["board.mpool"])
    folder = kit / "stedgeai/STMicroelectronics__STM32N6-GettingStarted-ObjectDetection/Model/my_mpools"
    name = load_board(board).name
    theirs = {pool.name: pool for pool in read_pool_file(folder / f"stm32n6-app2_{name}.mpool")}
    ours = {pool.name: pool for pool in read_pool_file(tmp_path / "ours.mpool") if pool.size}
    for pool in ours.values():
        assert (pool.address, pool.size, pool.rights) == (
            theirs[pool.name].address, theirs[pool.name].size, theirs[pool.name].rights,
        )  # fmt: skip
    assert ours["octoFlash"].address == 0x70380000
    assert "hyperRAM" not in ours or ours["hyperRAM"].address + ours["hyperRAM"].size <= 0x91000000


def test_data_types(capsys: Capsys, model: Path) -> None:
    words = (model, "--board", "stm32h7", "--input-data-type", "uint8", "--output-data-type", "float32")
    command, _ = planned(capsys, *words)
    assert command[command.index("--input-data-type") + 1] == "uint8"
    assert command[command.index("--output-data-type") + 1] == "float32"
    command, files = planned(capsys, model, "--board", "stm32n6")
    assert "--input-data-type" not in command and "0x71000000" in files["board.mpool"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--board", "stm32h7", "--for-application"), "--for-application is for the STM32N6"),
        (("--board", "stm32n6", "--for-application", "--input-data-type", "int8"), "feed uint8, not int8"),
        (("--board", "stm32mp2", "--input-data-type", "uint8"), "takes the types of the file"),
    ],
)
def test_what_does_not_go_together(capsys: Capsys, model: Path, words: tuple[str, ...], said: str) -> None:
    outcome = edgeai(capsys, "compile", model, *words, "--dry-run")
    assert outcome.code == 2 and said in outcome.err


def test_the_blobs_that_the_application_compiles(capsys: Capsys, core: Installation, model: Path) -> None:
    words = ("compile", model, "--board", "stm32n6", "--for-application", "--stedgeai", core.executable, "--json")
    outcome = edgeai(capsys, *words)
    assert outcome.code == 0, outcome.err
    made = from_json(CompiledModel, outcome.out)
    assert "network_ecblobs.h" in {file.name for file in made.files}
    flash = next(pool for pool in made.pools if pool.kind == "flash" and pool.used)
    assert flash.address == 0x70380000
