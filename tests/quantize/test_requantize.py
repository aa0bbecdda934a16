"""Per-channel files made per-tensor: what the weights, biases and the file become, and what accuracy follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import edgeai, refused

pytest.importorskip("tensorflow")

from breaking import Pair

from edgeai.artifacts import EvalResult, RequantizedModel, from_json
from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.graph import load_graph
from edgeai.graph.contract import read_contract
from edgeai.graph.flat import real
from edgeai.graph.types import Graph
from edgeai.quantize.debug import debug
from edgeai.quantize.requantize import SIMULATION, as_on, entropy_range, requantize, weight_scale
from edgeai.recognise.audit import audit


def written(pair: Pair, folder: Path, method: str = "entropy") -> Path:
    out = folder / f"{method}.tflite"
    out.write_bytes(requantize(pair.int8, "max" if method == "max" else "entropy").data)
    return out


@pytest.fixture(scope="module")
def files(concat_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("requantized")
    return {method: written(concat_pair, folder, method) for method in ("entropy", "max")}


def weights(graph: Graph) -> list[np.ndarray]:
    return [real(tensor) for op in graph.ops if (tensor := graph.weights(op)) is not None]


def biases(graph: Graph) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for op in graph.ops:
        tensor = graph.bias(op) if graph.weights(op) is not None else None
        if tensor is not None:
            found.append((real(tensor), np.asarray(tensor.scales)))
    return found


@pytest.mark.parametrize("method", ["entropy", "max"])
def test_the_result_is_per_tensor_and_otherwise_the_same(
    method: str, files: dict[str, Path], concat_pair: Pair
) -> None:
    before, after = audit(concat_pair.int8), audit(files[method])
    assert before.granularity == "per-channel" and before.weights_per_channel > 70
    assert (after.granularity, after.weights_per_channel) == ("per-tensor", 0)
    assert (after.operators, after.inputs, after.outputs) == (before.operators, before.inputs, before.outputs)
    old, new = load_graph(concat_pair.int8), load_graph(files[method])
    assert read_contract(new) == read_contract(old)
    assert b"simulation" in (new.lookup(SIMULATION) or b"")
    activations = [(t.scales, t.zero_points) for t in old.tensors if not t.is_constant]
    assert activations == [(t.scales, t.zero_points) for t in new.tensors if not t.is_constant]
    assert files[method].stat().st_size < concat_pair.int8.stat().st_size


def test_weights_and_biases_keep_their_values_up_to_a_step(files: dict[str, Path], concat_pair: Pair) -> None:
    old, new = load_graph(concat_pair.int8), load_graph(files["max"])
    for a, b in zip(weights(old), weights(new), strict=True):
        step = np.abs(a).max() / 127
        assert np.abs(a - b).max() <= 0.5001 * step
    for (a, _), (b, step) in zip(biases(old), biases(new), strict=True):
        assert np.abs(a - b).max() <= 0.5001 * step.max() and step.size == 1
    # the bias's step is input scale times weight scale: what the kernels take for granted
    for op in new.ops:
        tensor, bias = new.weights(op), new.bias(op)
        data = new.operand(op, 2 if op.kind == "TRANSPOSE_CONV" else 0)
        if tensor is not None and bias is not None and data is not None:
            assert bias.scale == pytest.approx(data.scale * tensor.scale, rel=1e-5)


def test_entropy_clips_outliers_and_leaves_a_full_range_alone() -> None:
    rng = np.random.default_rng(1)
    body = rng.normal(0, 1, 20000)
    with_outlier = np.append(body, 40.0)
    assert 2.0 < entropy_range(with_outlier) < 20.0
    assert entropy_range(rng.uniform(-1, 1, 20000)) > 0.9
    assert weight_scale(with_outlier, "max") == pytest.approx(40 / 127)
    assert weight_scale(np.zeros(5), "entropy") == 1.0


def test_it_costs_accuracy_and_the_debugger_sees_it(files: dict[str, Path], concat_pair: Pair) -> None:
    """Coarser weights: every output is further from the float network than that of the per-channel file."""

    def outputs(file: Path) -> dict[str, float]:
        graph, report = load_graph(file), debug(file, concat_pair.floats, concat_pair.photos[:2])
        assert report.against == "float model"
        names = {graph.tensors[t].name for t in graph.outputs}
        return {layer.name: layer.cumulative.sqnr_db for layer in report.layers if layer.name in names}

    fine = outputs(concat_pair.int8)
    for method, floor in (("entropy", 1.0), ("max", 5.0)):
        coarse = outputs(files[method])
        assert all(floor < coarse[name] < fine[name] for name in fine), (method, coarse, fine)


def test_same_file_same_bytes_and_nothing_to_do_twice(files: dict[str, Path], concat_pair: Pair) -> None:
    assert requantize(concat_pair.int8).data == files["entropy"].read_bytes()
    again = requantize(files["entropy"])
    assert again.tensors == 0 and again.data == files["entropy"].read_bytes()
    with pytest.raises(InputError, match="no quantised weights"):
        requantize(concat_pair.floats)


def test_what_which_board_runs(concat_pair: Pair, files: dict[str, Path], tmp_path: Path) -> None:
    mp2 = as_on(concat_pair.int8, load_board("STM32MP257F-EV1"), tmp_path)
    assert mp2.path.read_bytes() == files["entropy"].read_bytes() and "simulation" in mp2.note
    assert as_on(concat_pair.int8, load_board("stm32n6"), tmp_path).path == concat_pair.int8
    assert as_on(files["max"], load_board("stm32mp2"), tmp_path).path == files["max"]


def test_st_s_own_per_channel_file(kit: Path, tmp_path: Path) -> None:
    source = kit / "tflite/yolov8n_320_quant_pc_uf_od_coco-person-st.tflite"
    out = tmp_path / "m.tflite"
    out.write_bytes(requantize(source).data)
    assert (audit(source).weights_per_channel, audit(out).weights_per_channel) == (60, 0)


def test_commands(concat_pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.tflite"
    done = edgeai(capsys, "requantize", concat_pair.int8, "-o", out, "--json")
    made = from_json(RequantizedModel, done.out)
    assert made.audit.granularity == "per-tensor" and made.tensors > 70 and out.is_file()
    shown = edgeai(capsys, "requantize", concat_pair.int8, "-o", out).out
    assert "simulation" in shown and max(map(len, shown.splitlines())) <= 80 + len(str(out))
    refused(edgeai(capsys, "requantize", out), 2, "nothing to convert")
    refused(edgeai(capsys, "requantize", concat_pair.int8, "-o", concat_pair.int8), 2, "is the file to convert")
    refused(edgeai(capsys, "requantize", concat_pair.floats), 2, "no quantised weights")


def test_evaluate_as_on(concat_pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = concat_pair.photos[0].parent.parent
    common = ["evaluate", concat_pair.int8, "--images", data / "images", "--annotations", data / "instances.json"]
    results = []
    for board in ("STM32MP257F-EV1", "STM32N6570-DK"):
        done = edgeai(capsys, *common, "--as-on", board, "--json", tmp_path / f"{board}.json")
        assert done.code == 0, done.err
        assert f"{board}:" in done.out
        results.append(from_json(EvalResult, (tmp_path / f"{board}.json").read_text()))
    plain = edgeai(capsys, *common, "--json", tmp_path / "plain.json")
    assert plain.code == 0 and "as on" not in plain.out
    itself = from_json(EvalResult, (tmp_path / "plain.json").read_text())
    mp2, n6 = results
    assert [entry.metric for entry in mp2.matches] == ["box_ap", "mask_ap"]
    assert mp2.granularity == "per-tensor" and mp2.name.endswith("as on STM32MP257F-EV1")
    assert any(fact.name == "as_on" and "simulation" in fact.value for fact in mp2.provenance.options)
    assert n6.metrics == itself.metrics and n6.granularity == "per-channel"
    assert mp2.model == n6.model == itself.model and mp2.protocol == itself.protocol
    refused(edgeai(capsys, *common, "--as-on", "nowhere"), 2, "no board")


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_refused_or_read_never_a_traceback(seed: int, kit: Path, tmp_path: Path) -> None:
    import random

    from edgeai.errors import EdgeAIError
    from edgeai.graph.flat import read_tree
    from edgeai.quantize.debug.surgery import cut, simulation

    chance = random.Random(seed)
    data = bytearray((kit / "tflite/mobilenet_v1_0.25_96_fft_int8.tflite").read_bytes())
    for _ in range(chance.choice((1, 3, 20))):
        data[chance.randrange(len(data) - 30_000, len(data))] = chance.randrange(256)  # where the tables are
    file = tmp_path / "damaged.tflite"
    file.write_bytes(data[: chance.randrange(len(data))] if seed % 6 == 5 else data)
    try:
        graph, tree = read_tree(file)
        written = simulation(graph, tree), cut(graph, tree).data, requantize(file, "max").data
        assert {data[4:8] for data in written} == {b"TFL3"}
    except EdgeAIError as error:
        assert "\n" not in error.message
