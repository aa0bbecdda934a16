"""Cross-layer equalisation: the same function, and channels that had been scaled apart are brought back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from breaking import Pair
from helpers import Silent, edgeai
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
zoo = pytest.importorskip("zoo")
pytest.importorskip("tensorflow")

from edgeai.artifacts import Contract, DebugReport, Variant, from_json  # noqa: E402
from edgeai.cache import StageCache  # noqa: E402
from edgeai.evaluate.backends.litert import LiteRtRunner  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.imaging.images import canvas, read_image  # noqa: E402
from edgeai.models import build  # noqa: E402
from edgeai.models.activations import apply_variants  # noqa: E402
from edgeai.models.weights import save_weights  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize.improve.bias import LAYOUTS  # noqa: E402
from edgeai.quantize.improve.channels import Channels, channels_of  # noqa: E402
from edgeai.quantize.improve.equalise import as_quantized, equalise  # noqa: E402
from edgeai.quantize.ranges.calibration import batches, open_calibration  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.simulate.program import Program  # noqa: E402
from edgeai.synthetic.write import generate  # noqa: E402

SIZE = 64
PLAIN = Method(ranges="observed", biases="analytic", scores="left")


def scaled_apart() -> torch.nn.Module:
    """A ResNet-18 in which the first convolution of every block has channels from 1/16 to 16 times what they were, and
    the second takes it back: the same function."""
    network = zoo.seeded(zoo.ResNet(18, 4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in (entry for entry in network.modules() if isinstance(entry, zoo.Block)):
            (_, norm), _, (convolution, _) = block.body
            factor = 2.0 ** (8 * torch.rand(norm.weight.shape, generator=generator) - 4)
            norm.weight *= factor
            norm.bias *= factor
            convolution.weight /= factor[None, :, None, None]
    return network


def outputs(model: Path, contract: Contract, photos: Sequence[Path]) -> NDArray[np.float64]:
    """The first output for every photo."""
    with LiteRtRunner(model, contract) as runner:
        images = [canvas(read_image(path), contract) for path in photos]
        return np.stack([runner.infer(image)[0].real().astype(np.float64) for image in images])


def was_equalised(quantized: Path, floats: Path) -> bool:
    return as_quantized(floats.read_bytes(), load_graph(quantized))[1] > 0


def test_channels_scaled_apart_are_brought_back(tmp_path: Path) -> None:
    generate(tmp_path, "val", 48, 3)  # over 12 images chance alone is worth 2 dB, and the processor decides it
    photos = open_calibration(tmp_path / "val/images")
    stages = Stages(StageCache(tmp_path / "cache"), Silent())

    def noise_db(source: Path, equalised: bool) -> float:
        recipe = Recipe("per-tensor", imgsz=0, method=replace(PLAIN, equalise=equalised))
        onnx, exported = stages.float_onnx(source, recipe, photos)
        floats, converted = stages.converted(onnx, exported.contract)
        path, _, _ = stages.quantized(source, recipe, photos)
        assert was_equalised(path, floats) == equalised
        exact, coded = (outputs(file, converted.contract, photos.paths) for file in (floats, path))
        return float(10 * np.log10((exact**2).sum() / ((exact - coded) ** 2).sum()))

    straight = zoo.export(zoo.seeded(zoo.ResNet(18, 4)), tmp_path / "straight.onnx", SIZE)
    apart = zoo.export(scaled_apart(), tmp_path / "apart.onnx", SIZE)
    healthy, broken, mended = noise_db(straight, False), noise_db(apart, False), noise_db(apart, True)
    assert broken < healthy - 6, (healthy, broken)
    assert mended > healthy - 2, (healthy, broken, mended)


def test_a_judge_takes_the_form_that_loses_less(tmp_path: Path) -> None:
    """Without a word in the recipe: channels scaled apart are levelled, and the provenance says so."""
    generate(tmp_path, "val", 8, 3)
    photos = open_calibration(tmp_path / "val/images")
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    source = zoo.export(scaled_apart(), tmp_path / "apart.onnx", SIZE)
    recipe = Recipe("per-tensor", imgsz=0, method=PLAIN)
    assert PLAIN.equalise is None
    onnx, exported = stages.float_onnx(source, recipe, photos)
    floats, _ = stages.converted(onnx, exported.contract)
    path, made, _ = stages.quantized(source, recipe, photos)
    assert was_equalised(path, floats)
    assert ("tuning_chosen", "equalised") in {(fact.name, fact.value) for fact in made.provenance.options}


def test_the_function_stays_and_silu_stands_in_the_way(concat_pair: Pair, tmp_path: Path) -> None:
    model = concat_pair.floats.read_bytes()
    found = channels_of(Program(model))
    assert [node.kind for node in found.writers] == ["TRANSPOSE_CONV"]
    assert [node.kind for node in found.readers] == ["CONV_2D"]
    pictures = list(tensors(concat_pair.photos, concat_pair.contract))
    levelled, count = equalise(model, pictures, per_channel=True)
    assert count == len(found.of[found.writers[0].outputs[0]])
    assert equalise(model, pictures, per_channel=True) == (levelled, count)
    (tmp_path / "levelled.tflite").write_bytes(levelled)
    exact, same = (
        outputs(path, concat_pair.contract, concat_pair.photos)
        for path in (concat_pair.floats, tmp_path / "levelled.tflite")
    )
    assert levelled != model
    np.testing.assert_allclose(same, exact, atol=1e-4 * np.abs(exact).max())


def tensors(photos: Sequence[Path], contract: Contract) -> Iterator[torch.Tensor]:
    yield from map(torch.from_numpy, batches(tuple(photos), contract))


def relu_network(folder: Path) -> Path:
    """A YOLOv8n with ReLU whose channels differ in size, as trained ones do."""
    torch.manual_seed(0)
    network, spec = build("yolov8n", 3)
    spec = replace(spec, variants=(Variant("*", "relu"),))
    apply_variants(network, spec.variants)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight *= 2.0 ** (4 * torch.rand(module.weight.shape) - 2)
                module.momentum = None
        network.train()(torch.rand(4, 3, SIZE, SIZE))  # statistics that keep the values in bounds
    save_weights(network.state_dict(), spec, folder / "relu.safetensors")
    return folder / "relu.safetensors"


def spread(model: bytes, found: Channels, photos: Sequence[Path], contract: Contract) -> float:
    """How far the largest values of the channels of one activation lie apart: the deviation of their logarithms."""
    program = Program(model)
    written = {node.outputs for node in found.writers}
    most: dict[int, NDArray[np.float32]] = {}
    for image in tensors(photos, contract):
        for node, out in program.walk(program.start(image)):
            if node.outputs in written:
                largest = out[0].amax(dim=(0, 1, 2)).numpy()
                most[node.outputs[0]] = np.maximum(most.get(node.outputs[0], largest), largest)
    return float(np.mean([np.log(values[values > 0]).std() for values in most.values()]))


@pytest.mark.parametrize("per_channel", [True, False])
def test_channels_of_a_relu_network_flow_through_slices_sums_and_concatenations(
    per_channel: bool, tmp_path: Path
) -> None:
    """YOLOv8's blocks with ReLU: all but what the head gives away takes a factor, the function stays, and the int8 file
    tells the factors."""
    generate(tmp_path, "val", 4, 3)
    photos = open_calibration(tmp_path / "val/images")
    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    weights = relu_network(tmp_path)
    recipe = Recipe("per-channel" if per_channel else "per-tensor", imgsz=SIZE, method=replace(PLAIN, equalise=True))
    onnx, exported = stages.float_onnx(weights, recipe, photos)
    floats, converted = stages.converted(onnx, exported.contract)
    program = Program(floats.read_bytes())
    found = channels_of(program)
    weighted = [node for node in program.nodes if node.kind in LAYOUTS]
    heads = [node for node in weighted if node not in found.writers]
    assert [program.shapes[n.outputs[0]] for n in heads if n.options.fusedActivationFunction] == []
    tied = [node for node in program.nodes if node.kind == "ADD"]
    assert tied
    for node in tied:
        np.testing.assert_array_equal(found.of[node.inputs[0]], found.of[node.inputs[1]])
        assert found.of[node.inputs[0]].all()
    path, _, _ = stages.quantized(weights, recipe, photos)
    levelled, count = as_quantized(floats.read_bytes(), load_graph(path))
    assert count == len(found.free)
    (tmp_path / "levelled.tflite").write_bytes(levelled)
    exact, same = (outputs(file, converted.contract, photos.paths) for file in (floats, tmp_path / "levelled.tflite"))
    np.testing.assert_allclose(same, exact, atol=1e-3 * np.abs(exact).max())
    after, before = (spread(file, found, photos.paths, converted.contract) for file in (levelled, floats.read_bytes()))
    assert after < before / 2


def test_debug_compares_an_equalised_file_with_the_network_it_was_made_from(
    concat_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEAI_CACHE", str(tmp_path / "cache"))
    apart, photos = zoo.export(scaled_apart(), tmp_path / "apart.onnx", SIZE), concat_pair.photos[0].parent
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('ranges = "observed"\nscores = "left"\nequalise = true\n')
    int8 = tmp_path / "int8.tflite"
    choice = ("--imgsz", SIZE, "--recipe", recipe, "--calibration", photos, "-o", int8)
    assert edgeai(capsys, "quantize", apart, "--per-tensor", *choice).code == 0
    done = edgeai(capsys, "debug", int8, "--float", apart, "--images", photos, "--json")
    assert done.code == 0, done.err
    report = from_json(DebugReport, done.out)
    assert min(layer.stepwise.sqnr_db for layer in report.layers) > 10
