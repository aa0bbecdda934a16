"""The layer debugger: its figures against direct computation, its verdict on sound and on broken networks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

from breaking import SIZE, Pair, convolutions, pixel_boxes, quantized, scaled_weights

from edgeai.artifacts import DebugReport, Ranges, from_json, to_json
from edgeai.graph import load_graph
from edgeai.graph.flat import add_buffer, pack, read_tree
from edgeai.imaging.images import letterbox, normalised, read_image
from edgeai.quantize.debug import debug
from edgeai.quantize.debug.measure import decode, encode
from edgeai.quantize.debug.picture import picture
from edgeai.quantize.debug.tally import Tally
from edgeai.quantize.ranges.calibration import batches, open_calibration
from edgeai.quantize.ranges.observe import box_limits, observe


@pytest.fixture(scope="module")
def sound(concat_pair: Pair) -> DebugReport:
    return debug(concat_pair.int8, concat_pair.floats, concat_pair.photos)


def ranges_of(model: Path, pair: Pair) -> Ranges:
    photos = open_calibration(pair.photos[0].parent)
    return observe(model, pair.contract, photos.set, batches(photos.paths, pair.contract))


def outputs(model: bytes, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The outputs of a TFLite file, as real numbers, on reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    runner.allocate_tensors()
    given = runner.get_input_details()[0]
    scale, zero = given["quantization"]
    image = np.rint(image / scale + zero).clip(-128, 127).astype(np.int8) if scale else image
    runner.set_tensor(given["index"], image)
    runner.invoke()
    result = []
    for entry in runner.get_output_details():
        scale, zero = entry["quantization"]
        values = runner.get_tensor(entry["index"]).astype(np.float32)
        result.append((values - zero) * np.float32(scale) if scale else values)
    return result


# --- figures ------------------------------------------------------------------------------------


def test_cumulative_figures_are_those_of_the_two_files_run_directly(sound: DebugReport, concat_pair: Pair) -> None:
    signal, noise = np.zeros(2), np.zeros(2)
    limits = box_limits(concat_pair.contract)
    for path in concat_pair.photos:
        image = normalised(letterbox(read_image(path), SIZE)[0], (), ())[None]
        pairs = zip(
            outputs(concat_pair.floats.read_bytes(), image), outputs(concat_pair.int8.read_bytes(), image), strict=True
        )
        for place, (exact, coded) in enumerate(pairs):
            ends = limits.get(place, (-np.inf, np.inf))  # a box beyond the image's edge means nothing
            real, found = exact.astype(np.float64).clip(*ends), coded.astype(np.float64).clip(*ends)
            signal[place] += np.sum(real**2)
            noise[place] += np.sum((real - found) ** 2)
    wanted = 10 * np.log10(signal / noise)
    graph = load_graph(concat_pair.int8)
    by_name = {layer.name: layer for layer in sound.layers}
    shown = [by_name[graph.tensors[t].name].cumulative.sqnr_db for t in graph.outputs]
    assert shown == pytest.approx(wanted, abs=0.02)


def test_a_layer_that_reads_the_input_alone_is_the_same_stepwise_and_cumulative(sound: DebugReport) -> None:
    first, later = sound.layers[:2], sound.layers[20:]
    assert all(layer.stepwise == layer.cumulative for layer in first)
    # rounding adds up: in the network nearly every layer is worse than alone
    assert sum(layer.cumulative.sqnr_db < layer.stepwise.sqnr_db for layer in later) > 0.9 * len(later)


def test_every_operator_is_compared(sound: DebugReport, concat_pair: Pair) -> None:
    assert not sound.unmatched and sound.against == "float model" and sound.kernels == "reference"
    assert {layer.index for layer in sound.layers} == set(range(len(load_graph(concat_pair.int8).ops)))
    for layer in sound.layers:
        assert -1 <= layer.cumulative.cosine <= 1 and layer.cumulative.kl >= 0 and 0 <= layer.saturated <= 1


def test_tally_against_numpy() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(0, 1, (7, 900)).astype(np.float32)
    step = 8 / 255
    coded = (np.rint(exact / step) * step).astype(np.float32)
    tally = Tally(float(exact.min()), float(exact.max()), step)
    for a, b in zip(exact, coded, strict=True):
        tally.add(a, b)
    found = tally.divergence()
    assert found.sqnr_db == pytest.approx(10 * np.log10(np.sum(exact**2) / np.sum((exact - coded) ** 2)), abs=1e-3)
    # uniform rounding: SQNR = variance / (step^2 / 12)
    assert found.sqnr_db == pytest.approx(10 * np.log10(12 / step**2), abs=0.3)
    cosine = np.sum(exact * coded) / np.linalg.norm(exact) / np.linalg.norm(coded)
    assert found.cosine == pytest.approx(cosine, abs=1e-5)
    assert found.kl < 0.03
    coarse = Tally(-4.0, 4.0, 2.0)
    coarse.add(exact.ravel(), (np.rint(exact / 2) * 2).ravel())
    assert coarse.divergence().kl > 10 * found.kl


def test_encode_and_decode_are_inverse_on_the_grid(concat_pair: Pair) -> None:
    tensor = next(t for t in load_graph(concat_pair.int8).tensors if t.quantized and not t.is_constant)
    codes = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(encode(decode(codes, tensor), tensor), codes)
    assert encode(np.array([1e6, -1e6], np.float32), tensor).tolist() == [127, -128]


# --- the verdict --------------------------------------------------------------------------------


@pytest.mark.parametrize("with_float", [True, False])
def test_a_sound_network_has_no_bad_layer(with_float: bool, sound: DebugReport, concat_pair: Pair) -> None:
    report = sound if with_float else debug(concat_pair.int8, None, concat_pair.photos)
    assert report.first_bad is None
    assert report.against == ("float model" if with_float else "own simulation")


@pytest.mark.parametrize("with_float", [True, False])
def test_pixel_boxes_blame_the_concatenation(with_float: bool, concat_pair: Pair, tmp_path: Path) -> None:
    floats = pixel_boxes(concat_pair.floats, tmp_path / "float.tflite", SIZE)
    int8 = quantized(floats, tmp_path / "int8.tflite", concat_pair.contract, ranges_of(floats, concat_pair))
    report = debug(int8, floats if with_float else None, concat_pair.photos)
    graph = load_graph(int8)
    culprit = report.first_bad
    assert culprit is not None and culprit.kind == "CONCATENATION"
    # it is the one that makes the tensor of boxes, scores and coefficients: as wide as the output
    assert max(graph.tensors[graph.ops[culprit.index].outputs[0]].shape[1:]) >= 4 + 4 + 32
    assert "one scale" in culprit.reason
    spread = report.concats[0]
    assert spread.index == culprit.index and spread.ratio > 20
    assert max(one.maximum for one in spread.inputs) > SIZE / 4


# of the backbone and the neck; the boxes' expectation and two levels of coefficients, whose gain is usual elsewhere
@pytest.mark.parametrize("place", [3, 33, 48, 54, 74])
def test_weights_scaled_before_quantisation_blame_their_layer(place: int, concat_pair: Pair, tmp_path: Path) -> None:
    broken = convolutions(concat_pair.floats)[place]
    floats = scaled_weights(concat_pair.floats, tmp_path / "float.tflite", broken, 50)
    int8 = quantized(floats, tmp_path / "int8.tflite", concat_pair.contract, ranges_of(floats, concat_pair))
    wanted = convolutions(int8)[place]
    for reference in (concat_pair.floats, floats, None):  # the network as it was; the broken one; none at all
        report = debug(int8, reference, concat_pair.photos[:1])
        assert report.first_bad is not None, reference
        assert (report.first_bad.kind, report.first_bad.index) == ("CONV_2D", wanted.index), reference


def test_a_wrong_scale_in_the_int8_file_blames_its_layer_and_no_other(
    sound: DebugReport, concat_pair: Pair, tmp_path: Path
) -> None:
    graph, tree = read_tree(concat_pair.int8)
    op = convolutions(concat_pair.int8)[25]
    weights = graph.weights(op)
    assert weights is not None
    parameters = tree.subgraphs[0].tensors[weights.index].quantization
    parameters.scale = [50 * scale for scale in weights.scales]
    bias = graph.bias(op)
    assert bias is not None
    tree.subgraphs[0].tensors[bias.index].quantization.scale = [50 * scale for scale in bias.scales]
    file = tmp_path / "wrong.tflite"
    file.write_bytes(pack(tree))
    report = debug(file, concat_pair.floats, concat_pair.photos)
    assert report.first_bad is not None and report.first_bad.index == op.index
    assert "%" in report.first_bad.reason or "weights" in report.first_bad.reason
    # stepwise, every other layer is as good as before: it was fed with float tensors
    others = [(a, b) for a, b in zip(report.layers, sound.layers, strict=True) if a.index != op.index]
    assert all(a.stepwise == b.stepwise for a, b in others)
    assert any(a.cumulative.sqnr_db < b.cumulative.sqnr_db - 10 for a, b in others)


def test_saturation_is_counted(concat_pair: Pair, tmp_path: Path) -> None:
    import dataclasses

    op = convolutions(concat_pair.floats)[12]
    narrow = tuple(
        dataclasses.replace(r, minimum=r.minimum / 8, maximum=r.maximum / 8) if r.tensor == op.outputs[0] else r
        for r in concat_pair.ranges.tensors
    )
    ranges = dataclasses.replace(concat_pair.ranges, tensors=narrow)
    int8 = quantized(concat_pair.floats, tmp_path / "int8.tflite", concat_pair.contract, ranges)
    report = debug(int8, concat_pair.floats, concat_pair.photos)
    layer = next(e for e in report.layers if e.index == convolutions(int8)[12].index)
    assert layer.saturated > 0.1 and layer.range_use > 4
    assert any("saturate" in finding for finding in report.findings)


def test_another_network_s_float_file_is_not_believed(concat_pair: Pair, tmp_path: Path) -> None:
    graph, tree = read_tree(concat_pair.floats)
    main = tree.subgraphs[0]
    main.operators = main.operators[:30]
    main.outputs = [graph.ops[29].outputs[0]]
    other = tmp_path / "other.tflite"
    other.write_bytes(pack(tree))
    report = debug(concat_pair.int8, other, concat_pair.photos[:1])
    assert report.against == "own simulation" and "do not match" in report.findings[0]


def test_foreign_files_of_the_kit(kit: Path, concat_pair: Pair) -> None:
    file = kit / "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    report = debug(file, None, concat_pair.photos[:1])
    assert report.first_bad is None and len(report.layers) == len(load_graph(file).ops)
    plain = kit / "tflite/mobilenet_v1_0.25_96_fft_int8.tflite"  # no contract, input -1..1
    assert debug(plain, None, concat_pair.photos[:1]).layers[0].minimum < -0.5


# --- what the user sees -------------------------------------------------------------------------


def test_picture_and_json(sound: DebugReport, concat_pair: Pair) -> None:
    text = picture(sound)
    assert text == picture(debug(concat_pair.int8, concat_pair.floats, concat_pair.photos))
    circles = [e for e in ET.fromstring(text).iter() if e.tag.endswith("circle")]
    assert len(circles) == len(sound.layers)
    assert from_json(DebugReport, to_json(sound)) == sound


def test_command(concat_pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    floats = pixel_boxes(concat_pair.floats, tmp_path / "float.tflite", SIZE)
    int8 = quantized(floats, tmp_path / "int8.tflite", concat_pair.contract, ranges_of(floats, concat_pair))
    photos = concat_pair.photos[0].parent
    common = ["debug", int8, "--float", floats, "--images", photos, "--limit", 2]
    done = edgeai(capsys, *common, "--svg", tmp_path / "p.svg", "-o", tmp_path / "r.json")
    assert done.code == 0, done.err
    assert "first bad layer: CONCATENATION #" in done.out and "joins ranges that differ" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    report = from_json(DebugReport, (tmp_path / "r.json").read_text())
    assert report.reference is not None and report.reference.name == "float.tflite" and len(report.images) == 2
    every = edgeai(capsys, *common, "--layers", 0).out
    assert all(f"\n{layer.index:>3}  {layer.kind[:5]}" in every for layer in report.layers[100:110])


def test_command_refuses(concat_pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = concat_pair.photos[0].parent
    refused(edgeai(capsys, "debug", concat_pair.floats, "--images", photos), 2, "not quantised")
    itself = concat_pair.int8
    refused(edgeai(capsys, "debug", itself, "--float", itself, "--images", photos), 2, "not a float")
    refused(edgeai(capsys, "debug", tmp_path / "none.tflite", "--images", photos), 2, "none.tflite")
    refused(edgeai(capsys, "debug", concat_pair.int8, "--float", tmp_path / "n.pt", "--images", photos), 2, "n.pt")
    broken = tmp_path / "half.tflite"
    broken.write_bytes(concat_pair.int8.read_bytes()[:9999])
    refused(edgeai(capsys, "debug", broken, "--images", photos), 2, "damaged")


def test_a_constant_behind_the_flatbuffer_is_pulled_in(concat_pair: Pair, tmp_path: Path) -> None:
    """What some tools write: the buffer's bytes lie behind the tree, which only names their place."""
    _, tree = read_tree(concat_pair.int8)
    number = next(i for i, buffer in enumerate(tree.buffers) if buffer.data is not None and len(buffer.data) > 1000)
    values = np.array(tree.buffers[number].data, np.uint8)
    tree.buffers[number].data, tree.buffers[number].size = None, len(values)
    tree.buffers[number].offset = 1 << 30  # of full width, so that the place can be filled in without moving anything
    start = (len(pack(tree)) + 15) // 16 * 16
    tree.buffers[number].offset = start
    outside = tmp_path / "outside.tflite"
    outside.write_bytes(pack(tree).ljust(start, b"\0") + values.tobytes())
    again = read_tree(outside)[1]
    assert np.array_equal(again.buffers[number].data, values)
    assert add_buffer(again, values) == len(again.buffers) - 1
