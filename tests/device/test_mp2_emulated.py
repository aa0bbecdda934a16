"""The emulated MP2 board: a real Linux that boots, a real network that runs, a cable that is pulled."""

from __future__ import annotations

import os
import re
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.linux_board import Cable, Habits

from edgeai.board import Board, load_board
from edgeai.device.emulated.guest import program, run_guest
from edgeai.device.emulated.initramfs import initramfs
from edgeai.device.emulated.linux import EmulatedLinux, find_qemu, guest_files
from edgeai.device.host import HostModel
from edgeai.device.linux.bench import Mp2Options, bench_mp2
from edgeai.device.linux.console import Console
from edgeai.device.stm32msg.faults import LineLost
from edgeai.device.stm32msg.transport import Address, open_transport
from edgeai.errors import EdgeAIError, ToolError
from edgeai.files import sha256_file
from edgeai.firmware.blob import make_blob

SMALL = "mobilenet_v1_0.25_96_fft_int8.tflite"
SEGMENTATION = "yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
MACS = 7_000_000  # of the small network, ST's model zoo
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def emulator() -> None:
    try:
        find_qemu()
        guest_files()
        program()
    except ToolError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.fixture
def board() -> Board:
    return load_board("emulated-mp2")


@pytest.fixture(scope="module")
def running(emulator: None) -> Iterator[EmulatedLinux]:
    with EmulatedLinux() as machine:
        yield machine


def cable(machine: EmulatedLinux, habits: Habits) -> Cable:
    end = os.open(machine.port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(end)
    return Cable(end, habits)


def test_a_real_network_gives_the_bits_of_the_host(emulator: None, board: Board, kit: Path) -> None:
    result = bench_mp2(board, kit / "tflite" / SMALL, Mp2Options(runs=3, warmup=1))
    assert [same.bit_equal for same in result.agreement] == [1.0]
    assert result.kernels == "litert/reference"
    assert (result.protocol.unit, result.protocol.emulated, result.time.per_second) == ("ticks", True, None)
    assert len(result.time.values) == 3
    # the same work takes the same instructions, but for the interrupts that fall into it
    assert result.time.minimum is not None and result.time.maximum is not None
    assert MACS / 2 < result.time.minimum <= result.time.maximum < 1.02 * result.time.minimum
    assert sum(layer.share for layer in result.layers) == pytest.approx(100)
    assert {"DEPTHWISE_CONV_2D", "CONV_2D"} <= {layer.kind for layer in result.layers}


@pytest.mark.slow
def test_segmentation_network_on_a_photo(emulator: None, board: Board, kit: Path) -> None:
    """3.5 MB over the console, its hash verified there, a real image, both outputs to the bit."""
    photo = sorted((kit / "coco" / "val" / "images").glob("*.jpg"))[0]
    sent: list[tuple[int, int]] = []

    def hear(what: str, done: int, total: int) -> None:
        if what.startswith("sending"):
            sent.append((done, total))

    result = bench_mp2(board, kit / "tflite" / SEGMENTATION, Mp2Options(runs=1, warmup=0, images=(photo,)), hear)
    assert sent[-1][0] == sent[-1][1] > 3_500_000
    assert [same.bit_equal for same in result.agreement] == [1.0, 1.0]
    assert [image.name for image in result.images] == [photo.name]
    assert result.time.minimum is not None and result.time.minimum > 960e6 / 4  # MAC, four or so in an instruction


def test_cable_pulled_at_three_points_and_the_next_run_works(running: EmulatedLinux, kit: Path) -> None:
    host = HostModel(kit / "tflite" / SMALL, "reference")
    (inputs,) = host.random_inputs(1)
    (expected,) = host.run(inputs)
    blob = make_blob(kit / "tflite" / SMALL).data

    def session(line: Cable, pulled: str) -> None:
        with Console(open_transport(Address(line.port))) as console:
            # The cut counts from here on: what the board said before anybody listened is on the line already.
            if pulled == "in the login":
                line.habits = Habits(cut_to_host=line._received + 30)
            elif pulled == "in the transfer":
                line.habits = Habits(cut_to_board=line.sent + 40_000)
            console.login()
            folder = console.folder("cable")
            if pulled == "in the output":
                line.habits = Habits(cut_to_host=line._received + 1500)
                console.run("cat /proc/kallsyms")
            report = run_guest(console, folder, blob, inputs[0].tobytes(), 1, 0, 120)
            assert report.outputs == expected.tobytes()
            console.run(f"rm -rf {folder}")

    for pulled in ("in the login", "in the transfer", "in the output"):
        with cable(running, Habits()) as line, pytest.raises(LineLost) as caught:
            session(line, pulled)
        assert caught.value.exit_code == 6
        assert re.search("cable", caught.value.hint)
    with cable(running, Habits()) as line:
        session(line, "not at all")


def test_pulled_plug(emulator: None) -> None:
    with EmulatedLinux() as machine, Console(open_transport(Address(machine.port))) as console:
        console.login()
        assert console.run("uname -m").output == "aarch64"
        assert console.run("grep -c 0xd04 /proc/cpuinfo").output == "1"  # a Cortex-A35
        machine.kill()
        with pytest.raises(LineLost):
            console.run("true")


def test_guest_files_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEAI_MP2", str(tmp_path))
    with pytest.raises(ToolError, match="vmlinuz") as caught:
        guest_files()
    assert "make emulated-mp2" in caught.value.hint


@pytest.mark.parametrize("name", ["missing.tflite", "model.nb"])
def test_what_the_emulated_board_does_not_run(name: str, board: Board, tmp_path: Path) -> None:
    (tmp_path / "model.nb").write_bytes(b"VPMN")
    with pytest.raises(EdgeAIError) as caught:
        bench_mp2(board, tmp_path / name, Mp2Options())
    assert caught.value.exit_code == 2


def test_file_system_is_the_same_every_time() -> None:
    archive = initramfs(b"busybox")
    assert archive == initramfs(b"busybox")
    assert archive.startswith(b"070701") and b"TRAILER!!!" in archive
    assert len(archive) % 4 == 0


def test_committed_program_is_the_one_whose_hash_is_committed() -> None:
    folder = ROOT / "firmware_stubs" / "prebuilt"
    digest, name = (folder / "edgeai-mp2-bench.sha256").read_text().split()
    assert sha256_file(folder / name) == digest
