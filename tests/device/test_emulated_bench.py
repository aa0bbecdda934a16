"""`edgeai bench` and `edgeai evaluate --on`: on the emulated board with published models, and on a scripted one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.board import FakeBoard, Script
from helpers import edgeai, refused

from edgeai.artifacts import BenchProtocol, BenchResult, EvalResult, from_json, to_json
from edgeai.board import all_boards, load_board
from edgeai.cli.bench import render
from edgeai.cli.render import width
from edgeai.device.baseline import with_estimate, with_limits, with_published
from edgeai.device.connect import connected
from edgeai.device.host import HostModel
from edgeai.errors import InputError
from edgeai.stedgeai.host import host_tensors

SMALL = "resnet_v1_8_32_tfs_int8.tflite"
NAME_ROOM = 63  # the protocol's names are cut to this
SEED = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")


@pytest.fixture(autouse=True)
def outside_of_any_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEAI_CACHE", str(tmp_path / "cache"))


# --- emulated ---------------------------------------------------------------------------------------


@needs_qemu
def test_an_emulated_bench_is_bit_exact_and_repeats(
    kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model, out = kit / "tflite" / SMALL, tmp_path / "b.json"
    shown = edgeai(capsys, "bench", model, "--board", "emulated-n6", "--random", 3, "-o", out)
    assert shown.code == 0, shown.err
    result = from_json(BenchResult, out.read_text())
    assert result.protocol.unit == "ticks" and result.protocol.emulated and result.time.per_second is None
    assert result.time.minimum is not None and result.time.maximum is not None
    assert result.time.maximum / result.time.minimum - 1 < 1e-6  # instructions are counted, not time
    assert [entry.bit_equal for entry in result.agreement] == [1.0] and result.kernels == "litert/reference"
    assert len(result.layers) == 17 and sum(layer.share for layer in result.layers) == pytest.approx(100)
    assert {layer.kind for layer in result.layers} >= {"CONV_2D", "ADD"}
    assert not result.faults and not result.comparisons
    assert "ms" not in shown.out.split() and "inferences per second" not in shown.out
    again = edgeai(
        capsys, "bench", model, "--board", "emulated-m55", "--no-layers", "--baseline", out, "--max-regression", 0.1
    )
    assert again.code == 0 and "regression ok" in again.out
    faster = replace(result, time=replace(result.time, mean=result.time.mean * 0.9))
    out.write_text(to_json(faster))
    worse = edgeai(
        capsys, "bench", model, "--board", "emulated-n6", "--no-layers", "--baseline", out, "--max-regression", 5
    )
    assert worse.code == 3 and "OVER ITS LIMIT" in worse.out


@needs_qemu
def test_a_file_that_this_computer_cannot_run_is_benched_without_a_comparison(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """PACK between scales: LiteRT refuses it on every kernel set, the firmware copies codes as TFLite Micro does."""
    import sys

    sys.path.append(str(Path(__file__).resolve().parent.parent / "firmware"))
    from tiny_models import Model

    model, path, out = Model(), tmp_path / "pack.tflite", tmp_path / "b.json"
    x, y = model.tensor((1, 4), scale=0.1), model.tensor((1, 4), scale=0.2)
    z = model.tensor((2, 1, 4), scale=0.1)
    model.op("PACK", [x, y], [z], "PackOptions", 2, valuesCount=2, axis=0)
    path.write_bytes(model.pack([x, y], [z]))
    shown = edgeai(capsys, "bench", path, "--board", "emulated-n6", "--random", 2, "-o", out)
    assert shown.code == 0, shown.err
    assert shown.err.index("outputs are not compared") < shown.err.index("connect")
    result = from_json(BenchResult, out.read_text())
    assert result.agreement == () and result.kernels == "" and result.time.mean
    assert any("outputs are not compared: LiteRT's" in note for note in result.notes)


@needs_qemu
def test_an_operator_that_fails_on_this_computer_does_not_end_the_bench(
    kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeai.errors import ToolError

    def fail(*_: object) -> None:
        raise ToolError("LiteRT failed on it")

    monkeypatch.setattr(HostModel, "run", fail)
    out = tmp_path / "b.json"
    shown = edgeai(capsys, "bench", kit / "tflite" / SMALL, "--board", "emulated-n6", "--no-layers", "-o", out)
    assert shown.code == 0, shown.err
    assert "outputs are not compared: LiteRT failed on it" in from_json(BenchResult, out.read_text()).notes


@needs_qemu
def test_every_layer_on_the_board_is_that_of_the_host(kit: Path) -> None:
    model = kit / "tflite" / SMALL
    inputs = next(iter(HostModel(model, "reference").random_inputs(1)))
    expected = {tensor.name[-NAME_ROOM:]: tensor.values.tobytes() for tensor in host_tensors(model, inputs[0])}
    with connected(load_board("emulated-n6"), model, counting=False) as session:
        record = session.layers(session.models[0], [inputs[0].tobytes()])
    tensors = [tensor for layer in record.layers for tensor in layer.tensors]
    assert len(tensors) == 17
    assert all(expected[tensor.desc.name] == tensor.data.datas for tensor in tensors)


@needs_qemu
@pytest.mark.slow
def test_detections_on_the_board_are_those_of_the_host(
    kit: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    val = kit / "coco" / "val"
    data = ("--images", val / "images", "--annotations", val / "instances.json", "--limit", 1)
    model = kit / "tflite" / SEED
    board = edgeai(capsys, "evaluate", model, "--on", "emulated-n6", *data, "--json", tmp_path / "board.json")
    assert board.code == 0, board.err
    kept = sorted((tmp_path / "cache" / "on-board").rglob("*.bin"))
    assert len(kept) == 1
    host = edgeai(capsys, "evaluate", model, "--kernels", "reference", *data, "--json", tmp_path / "host.json")
    assert host.code == 0
    first, second = (from_json(EvalResult, (tmp_path / name).read_text()) for name in ("board.json", "host.json"))
    assert (first.metrics, first.per_class, first.detections) == (second.metrics, second.per_class, second.detections)
    assert first.protocol == second.protocol and first.backend == "emulated-n6/0x155"
    # a run that was stopped goes on: what is kept is not asked for again, what is damaged is
    stamps = [kept[0].stat().st_mtime_ns]
    for damage in (False, True):
        if damage:
            kept[0].write_bytes(kept[0].read_bytes()[:-1])
        edgeai(capsys, "evaluate", model, "--on", "emulated-n6", *data, "--json", tmp_path / "again.json")
        assert (tmp_path / "again.json").read_text() == (tmp_path / "board.json").read_text()
        stamps.append(kept[0].stat().st_mtime_ns)
    assert stamps[0] == stamps[1] != stamps[2]


def test_emulated_boards_are_no_advice() -> None:
    names = {board.name for board in all_boards()}
    assert "STM32N6570-DK" in names and not any(name.startswith("emulated") for name in names)
    assert load_board("emulated-n6").emulator is not None


# --- scripted board ---------------------------------------------------------------------------------


def test_a_board_without_its_model_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeBoard(script=Script(at_run={2: "reset"})) as board:
        told = edgeai(
            capsys, "bench", "--board", "STM32N6570-DK", "--port", board.port, "--runs", 4, "--timeout", 0.3, "--json"
        )
    assert told.code == 0, told.err
    result = from_json(BenchResult, told.out)
    assert result.model.name == "tiny" and len(result.time.values) == 4 and len(result.layers) == 3
    assert [(entry.name, entry.count) for entry in result.faults] == [("reset", 1)]
    assert "reset" in told.err and result.memory.activations == 4096


def test_another_model_on_the_board_is_refused(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeBoard() as board:
        outcome = edgeai(
            capsys, "bench", kit / "tflite" / SMALL, "--board", "stm32n6", "--port", board.port, "--random", 1
        )
    refused(outcome, 6, "'tiny' is another one")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--board", "emulated-n6"), 2, "pass a .tflite file"),
        (("--board", "emulated-n6", "--max-latency", 5), 2, "counts ticks"),
        (("--board", "stm32n6", "--max-regression", 5), 2, "go together"),
        (("none.tflite", "--board", "emulated-n6"), 2, "none.tflite does not exist"),
        (("--board", "stm32n6", "--images", "none"), 2, "none does not exist"),
        (("--board", "nosuchboard"), 2, "nosuchboard"),
        (("--board", "stm32n6", "--port", "/dev/ttyNONE"), 6, "/dev/ttyNONE"),
    ],
)
def test_mistakes_are_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], code: int, word: str
) -> None:
    refused(edgeai(capsys, "bench", *arguments), code, word)


# --- comparison and limits --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(kit: Path) -> BenchResult:
    """A bench of the seed file as an N6 would report it: 33.4 ms, 34.4 ms, ..."""
    with FakeBoard() as board:
        from click.testing import CliRunner

        from edgeai.cli.bench import command

        told = CliRunner().invoke(command, ["--board", "STM32N6570-DK", "--port", board.port, "--json"])
    found = from_json(BenchResult, told.stdout)
    protocol = BenchProtocol("STM32N6570-DK", False, "ms", "stm32msg 3.1", "ATONN", "perf", 1, 3)
    time = replace(found.time, mean=33.4, values=(33.0, 33.4, 33.8), per_second=1000 / 33.4)
    model = replace(found.model, name=SEED)
    memory = replace(found.memory, activations=855 * 1024, weights=None)
    return replace(found, model=model, protocol=protocol, time=time, memory=memory)


def test_beside_the_published_row(kit: Path, measured: BenchResult) -> None:
    found = with_published(measured, kit / "published" / "n6.csv").comparisons
    assert [(entry.figure, entry.reference, entry.unit) for entry in found] == [
        ("latency", 32.16, "ms"), ("activations", 855 * 1024, "bytes")
    ]  # fmt: skip
    assert found[0].ratio == pytest.approx(33.4 / 32.16) and "N6M001" in found[0].source
    named = with_published(measured, kit / "published" / "n6.csv", "N6T002").comparisons[0]
    assert named.reference == 42.61
    with pytest.raises(InputError, match="has no row X"):
        with_published(measured, kit / "published" / "n6.csv", "X")
    with pytest.raises(InputError, match="no column"):
        with_published(measured, kit / "coco" / "val" / "index.tsv")
    with pytest.raises(InputError, match="ticks"):
        with_published(replace(measured, protocol=replace(measured.protocol, emulated=True)), kit)


def test_beside_the_estimate(kit: Path, measured: BenchResult) -> None:
    entry = with_estimate(measured, kit / "tflite" / SEED, load_board("stm32n6")).comparisons[0]
    assert entry.source.startswith("edgeai estimate") and "interval" in entry.note and entry.measured == 33.4


def test_limits(measured: BenchResult) -> None:
    slower = replace(measured, time=replace(measured.time, mean=measured.time.mean * 1.04))
    checks = with_limits(slower, 34.0, measured, 5.0).checks
    assert [(c.name, c.passed) for c in checks] == [("latency", False), ("regression", True)]
    assert checks[1].measured == pytest.approx(4.0)
    assert not with_limits(slower, None, measured, 3.9).checks[0].passed
    other = replace(measured, protocol=replace(measured.protocol, board="NUCLEO-N657X0-Q"))
    with pytest.raises(InputError, match="measured differently: board"):
        with_limits(slower, None, other, 5.0)


def test_the_text_fits_80_columns(kit: Path, measured: BenchResult) -> None:
    text = render(with_limits(with_published(measured, kit / "published" / "n6.csv"), 30.0, None, None))
    assert all(width(line) <= 80 for line in text.splitlines()), text
    assert "29.9 inferences per second" in text and "OVER ITS LIMIT" in text
    assert json.loads(to_json(measured))["artifact"] == "BenchResult"
