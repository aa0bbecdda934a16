"""The benchmark of an MP2 board over console and ssh, with stand-ins for the vendor's programs: dialogue and report.

The stand-ins print the documented formats; what they print is no measurement of anything.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.linux_board import Habits, LinuxBoard
from helpers import Outcome, edgeai, refused
from test_mp2_xlinux import BENCHMARK_MODEL, BORDERS, NBG, NBG_FAILED

from edgeai.artifacts import BenchResult, from_json, to_json
from edgeai.board import Board, load_board
from edgeai.device.linux.bench import Mp2Options, bench_mp2, is_network_address
from edgeai.device.linux.ssh import Ssh
from edgeai.device.options import BenchOptions
from edgeai.errors import DeviceError, EdgeAIError, InputError

PER_CHANNEL = "mobilenet_v1_0.25_96_fft_int8.tflite"
PER_TENSOR = "yolov8n_320_quant_pt_uf_od_coco-person-st.tflite"

# parses what matters as ssh does, and runs the command in a shell of this computer
FAKE_SSH = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -oBatchMode=yes) batch=1 ;;
        -o*) ;;
        *) break ;;
    esac
    shift
done
[ -n "$batch" ] || { echo "would ask for a password" >&2; exit 255; }
[ "$1" = root@board.local ] || { echo "ssh: Could not resolve hostname $1: Name or service not known" >&2; exit 255; }
shift
PATH=$FAKE_TOOLS:$PATH exec sh -c "$*"
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def printing(path: Path, text: str, status: int = 0) -> None:
    """A program that notes how it was called, and prints `text`."""
    path.with_suffix(".txt").write_text(text)
    script(path, f'#!/bin/sh\necho "$0 $*" >>{path.parent}/calls\ncat {path.with_suffix(".txt")}\nexit {status}\n')


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    printing(folder / "nbg_benchmark", NBG)
    printing(folder / "benchmark_model", BENCHMARK_MODEL)
    return folder


@pytest.fixture
def board() -> Board:
    return load_board("stm32mp257f-ev1")


@pytest.fixture
def console(tools: Path) -> Iterator[LinuxBoard]:
    with LinuxBoard(Habits(kernel=0.005), tools) as made:
        yield made


@pytest.fixture
def ssh(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder / "ssh", FAKE_SSH)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_TOOLS", str(tools))
    return "root@board.local"


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "model.nb"
    path.write_bytes(b"VPMN" + bytes(range(256)) * 40)
    return path


def leftovers() -> set[Path]:
    return set(Path("/tmp").glob("edgeai-*"))


@pytest.mark.parametrize("link", ["console", "ssh"])
def test_network_binary(
    link: str, board: Board, tools: Path, binary: Path, kit: Path, request: pytest.FixtureRequest
) -> None:
    printing(tools / "x-linux-ai-benchmark", BORDERS)
    address = request.getfixturevalue("console").port if link == "console" else request.getfixturevalue("ssh")
    before = leftovers()
    source = kit / "tflite" / PER_TENSOR
    result = bench_mp2(board, binary, Mp2Options(address, repeats=2, source=source))
    assert from_json(BenchResult, to_json(result), "it") == result
    assert (result.protocol.link, result.protocol.unit, result.protocol.emulated) == (link, "ms", False)
    assert result.time.mean == pytest.approx(19.8417)
    assert result.time.per_second == pytest.approx(50.4, abs=0.01)
    assert result.device.accelerator_hz == 800_000_000
    assert result.memory.peak == 24_612_864
    assert {share.engine: share.percent for share in result.engines}["NPU"] == 92.98
    assert not any("GPU, several times" in note for note in result.notes)
    assert leftovers() == before
    calls = (tools / "calls").read_text().splitlines()
    assert len([call for call in calls if "nbg_benchmark -m" in call]) == 2


def test_per_channel_weights_are_warned_of(
    board: Board, tools: Path, console: LinuxBoard, binary: Path, kit: Path
) -> None:
    source = kit / "tflite" / PER_CHANNEL
    result = bench_mp2(board, binary, Mp2Options(console.port, repeats=1, source=source))
    assert result.granularity == "per-channel"
    assert any("per-channel" in note and "GPU" in note for note in result.notes)
    console.plug(console.habits)
    unknown = bench_mp2(board, binary, Mp2Options(console.port, repeats=1))
    assert any("granularity of model.nb is not known" in note for note in unknown.notes)


def test_tflite_on_the_cpu(board: Board, console: LinuxBoard, tools: Path, kit: Path) -> None:
    """No delegate is installed here, so the model runs on the CPU, and per-channel weights do no harm."""
    done: list[str] = []
    options = Mp2Options(console.port, repeats=1)
    result = bench_mp2(board, kit / "tflite" / PER_CHANNEL, options, lambda what, part, whole: done.append(what))
    assert result.protocol.mode == "CPU"
    assert result.time.median == pytest.approx(1239.807)
    assert not any("GPU, several times" in note for note in result.notes)
    assert {"connecting", f"sending {PER_CHANNEL}", "running benchmark_model"} <= set(done)
    assert "--external_delegate_path" not in (tools / "calls").read_text()


def test_failures_are_told_apart(board: Board, console: LinuxBoard, tools: Path, binary: Path, tmp_path: Path) -> None:
    def run(model: Path, message: str) -> EdgeAIError:
        console.plug(console.habits)
        with pytest.raises(EdgeAIError, match=message) as caught:
            bench_mp2(board, model, Mp2Options(console.port, repeats=1))
        return caught.value

    printing(tools / "nbg_benchmark", NBG_FAILED)
    assert run(binary, "nbg_benchmark did not run the network.*VerifyGraph").exit_code == 6
    (tools / "nbg_benchmark").unlink()
    assert "x-linux-ai -i nbg-benchmark" in run(binary, "nbg_benchmark is not on").hint
    other = tmp_path / "other.nb"
    other.write_bytes(b"not one")
    assert run(other, "no network binary").exit_code == 2
    assert run(tmp_path / "model.pt", "does not exist").exit_code == 2


def test_ssh_errors(ssh: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no address"):
        Ssh("-oProxyCommand=evil")
    with Ssh("root@elsewhere") as remote, pytest.raises(DeviceError, match="Could not resolve hostname"):
        remote.run("true")
    with Ssh(ssh) as remote:
        assert remote.run("echo 'a \"b\" $HOME'; exit 3").status == 3
        assert remote.run("printf '%s' 'it'\"'\"'s'").output == "it's"
        with pytest.raises(DeviceError, match="there is no"):
            remote.pull(str(tmp_path / "absent"))


def test_addresses() -> None:
    network = ["root@192.168.7.1", "192.168.7.1", "ssh:board", "board.local"]
    ports = ["/dev/ttyACM0", "COM3", "socket://localhost:10000", "serial:/dev/ttyACM0:115200"]
    assert [is_network_address(text) for text in network + ports] == [True] * 4 + [False] * 4


def test_the_board_must_be_found(board: Board, binary: Path) -> None:
    with pytest.raises(InputError, match="where is"):
        bench_mp2(board, binary, Mp2Options())
    with pytest.raises(InputError, match=r"runs no \.txt"):
        text = binary.with_suffix(".txt")
        text.write_text("x")
        bench_mp2(replace(board), text, Mp2Options("/dev/null"))


# --- the command -----------------------------------------------------------------------------------


def bench(capsys: pytest.CaptureFixture[str], model: Path, *options: object, board: str = "STM32MP257F-EV1") -> Outcome:
    return edgeai(capsys, "bench", model, "--board", board, *options)


def test_the_command_logs_in_and_chooses_the_engine(
    tools: Path, kit: Path, binary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = kit / "tflite" / PER_CHANNEL
    habits = Habits(password="s3cret-word")
    with LinuxBoard(habits, tools) as console:
        options = ("--port", console.port, "--runs", 5, "--json")
        refused(bench(capsys, network, *options), 6, "asks root for a password", "--password")
        monkeypatch.setenv("EDGEAI_BOARD_PASSWORD", "s3cret-word")
        console.plug(habits)
        made = bench(capsys, network, "--port", console.port, "--runs", 5, "--engine", "cpu", "--json")
        assert made.code == 0, made.err
        result = from_json(BenchResult, made.out)
        assert result.protocol.mode == "CPU" and "s3cret-word" not in made.out + made.err
        assert ("engine", "cpu") in {(fact.name, fact.value) for fact in result.provenance.options}
        console.plug(habits)
        refused(bench(capsys, network, "--port", console.port, "--engine", "npu"), 6, "no NPU delegate")
        console.plug(habits)
        source = kit / "tflite" / PER_TENSOR
        compiled = bench(capsys, binary, "--port", console.port, "--source", source, "--json")
        assert compiled.code == 0, compiled.err
        assert from_json(BenchResult, compiled.out).granularity == "per-tensor"


@pytest.mark.parametrize(
    ("options", "target", "words"),
    [
        (("--engine", "npu"), "stm32n6", ("--engine", "runs none")),
        (("--user", "me"), "emulated-n6", ("--user", "runs none")),
        (("--engine", "npu"), "emulated-mp2", ("no NPU",)),
        (("--password", "--address", "10.0.0.7"), "STM32MP257F-EV1", ("ssh-copy-id",)),
        (("--password", "--port", "/dev/null"), "STM32MP257F-EV1", ("no terminal", "EDGEAI_BOARD_PASSWORD")),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    options: tuple[object, ...], target: str, words: tuple[str, ...],
    binary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO())
    refused(bench(capsys, binary, *options, board=target), 2, *words)


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Mp2Options(password="s3cret")) + repr(BenchOptions(password="s3cret"))
