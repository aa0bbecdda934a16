"""ST's published int8 models, bit for bit: in the host build, and on the emulated board."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import serial
from firmware_tools import Infer, need
from tiny_models import Answer, random_inputs, reference_of
from wire import CONST_VALUE, NETWORK_INFO, PERF, SYNC, Host

from edgeai.device.emulated.m55 import BLOB_SLOTS, EmulatedM55
from edgeai.errors import InputError
from edgeai.firmware.blob import make_blob

SEED_MODEL = "yolov8n_256_quant_pc_ii_seg_coco-st"
MODELS = (
    "gmp_wl_24_int8", "miniresnetv2_1stacks_64x50_tl_int8", "mobilenet_v1_0.25_96_fft_int8",
    "mobilenet_v1_0.5_224_int8",
    "mobilenet_v2_0.35_224_fft_int8__flowers", "mobilenet_v2_0.35_224_fft_int8__food-101",
    "osnet_a025_256_128_tfs_int8", "resnet_v1_8_32_tfs_int8", "squeezenet_v1.1_224_int8",
    "ssd_mobilenet_v2_fpnlite_035_256_int8", "st_movenet_lightning_heatmaps_192_int8_pc",
    "st_ssd_mobilenet_v1_025_224_int8", "stmnist_v1_int8", "yamnet_256_64x96_tl_int8",
    "yolo11n_256_quant_pc_ii_seg_coco80-st", "yolov8n_256_quant_pc_uf_od_coco-person",
    "yolov8n_256_quant_pc_uf_pose_coco-st", "yolov8n_320_quant_pc_uf_od_coco-person-st",
    "yolov8n_320_quant_pt_uf_od_coco-person-st", "yolov8n_320_quant_pc_ii_seg_coco-st",
)  # fmt: skip
# On the emulated board an inference takes about ten times as long as here, and each byte of a tensor its time on the
# line: the smaller ones, which with the segmentation network use every operator that any of the files uses.
ON_BOARD = (
    "gmp_wl_24_int8", "miniresnetv2_1stacks_64x50_tl_int8", "mobilenet_v1_0.25_96_fft_int8",
    "mobilenet_v1_0.5_224_int8", "mobilenet_v2_0.35_224_fft_int8__flowers", "osnet_a025_256_128_tfs_int8",
    "resnet_v1_8_32_tfs_int8", "st_movenet_lightning_heatmaps_192_int8_pc", "st_ssd_mobilenet_v1_025_224_int8",
    "stmnist_v1_int8", "yamnet_256_64x96_tl_int8", "yolo11n_256_quant_pc_ii_seg_coco80-st",
)  # fmt: skip


@pytest.fixture(scope="session")
def blobs(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where each model's blob is made once."""
    return tmp_path_factory.mktemp("blobs")


def blob_of(kit: Path, blobs: Path, name: str) -> Path:
    path = blobs / f"{name}.blob"
    if not path.exists():
        path.write_bytes(make_blob(kit / "tflite" / f"{name}.tflite").data)
    return path


@functools.cache
def noise_through(path: Path) -> Answer:
    """Random inputs and what the reference kernels make of them: slow, and asked for twice."""
    reference = reference_of(path)
    return reference.run(random_inputs(reference.inputs, 1))


@pytest.mark.parametrize("name", MODELS)
def test_on_this_computer(name: str, kit: Path, blobs: Path, infer: Infer) -> None:
    answer = noise_through(kit / "tflite" / f"{name}.tflite")
    assert infer(blob_of(kit, blobs, name), answer.inputs) == b"".join(answer.outputs)


def connect(board: EmulatedM55) -> tuple[Host, serial.Serial]:
    line = serial.Serial(board.port, timeout=30, exclusive=True)

    def read(n: int) -> bytes:
        data = line.read(n)
        assert len(data) == n, f"{len(data)} of {n} bytes within 30 s"
        return data

    host = Host(line.write, read)
    assert host.ask(SYNC).kind == "sync"
    return host, line


def photo(path: Path) -> np.ndarray:
    """An image as the int8 input of the seed model: scale 1/255, zero point -128."""
    picture = cv2.cvtColor(cv2.resize(cv2.imread(str(path)), (256, 256)), cv2.COLOR_BGR2RGB)
    return (picture.astype(np.int16) - 128).astype(np.int8)[None]


def test_segmentation_on_the_emulated_board(kit: Path, blobs: Path) -> None:
    """Three photos and two random inputs to the bit, and 960 MMAC within 8 s of this computer's time: the best of the
    five, for other programs may take their share."""
    need("qemu-system-arm")
    reference = reference_of(kit / "tflite" / f"{SEED_MODEL}.tflite")
    photos = sorted((kit / "coco" / "val" / "images").glob("*.jpg"))[:3]
    images = [photo(path) for path in photos] + [random_inputs(reference.inputs, seed)[0] for seed in range(2)]
    seconds = []
    with EmulatedM55([blob_of(kit, blobs, SEED_MODEL)]) as board:
        host, line = connect(board)
        with line:
            for image in images:
                answer = reference.run([image])
                run = host.run(SEED_MODEL, answer.inputs)
                assert run.outputs == answer.outputs
                assert len(set(run.outputs[0])) > 20  # not a constant
                seconds.append(run.ticks / 32e6)
    assert min(seconds) < 8.0, seconds


@pytest.mark.parametrize("names", [ON_BOARD[:BLOB_SLOTS], ON_BOARD[BLOB_SLOTS:]], ids=["first", "second"])
def test_on_the_emulated_board(names: tuple[str, ...], kit: Path, blobs: Path) -> None:
    need("qemu-system-arm")
    with EmulatedM55([blob_of(kit, blobs, name) for name in names]) as board:
        host, line = connect(board)
        with line:
            for i, name in enumerate(names):
                assert host.ask(NETWORK_INFO, i).text(1) == name
                answer = noise_through(kit / "tflite" / f"{name}.tflite")
                assert host.run(name, answer.inputs).outputs == answer.outputs, name


def test_instruction_counts_repeat(kit: Path, blobs: Path) -> None:
    """With -icount a run costs the same number of ticks, in the same process and in another: 1.024 per instruction."""
    need("qemu-system-arm")
    name, ticks = "stmnist_v1_int8", []
    for _ in range(2):
        with EmulatedM55([blob_of(kit, blobs, name)], icount=True) as board:
            host, line = connect(board)
            with line:
                ticks += [host.run(name, [b"\5"], PERF | CONST_VALUE).ticks for _ in range(3)]
    assert max(ticks) - min(ticks) <= 1e-4 * max(ticks), ticks
    per_mac = ticks[0] / 1.024 / 1_076_384
    assert 1.5 < per_mac < 10, per_mac


def test_unsupported_operators_are_named(kit: Path, tmp_path: Path) -> None:
    from tiny_models import Model

    model = Model()
    x, y, z = (model.tensor((1, 8), scale=0.1) for _ in range(3))
    model.op("L2_NORMALIZATION", [x], [y], "L2NormOptions")
    model.op("SIN", [y], [z])
    path = tmp_path / "odd.tflite"
    path.write_bytes(model.pack([x], [z]))
    with pytest.raises(InputError, match=r"L2_NORMALIZATION #0 \(no kernel\), SIN #1 \(no kernel\)"):
        make_blob(path)
