"""The observer that weighs errors by their effect: against errors really made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from breaking import Pair

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.quantize.ranges.calibration import batches, open_calibration  # noqa: E402
from edgeai.quantize.ranges.effect import effect_histograms  # noqa: E402
from edgeai.quantize.ranges.observe import observe  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.simulate.program import Program  # noqa: E402

NOISE = 1e-3
DRAWS = 8


def measured_effect(program: Program, images: list[np.ndarray], tensor: int) -> float:
    """Relative squared error of all outputs for an error of variance one in `tensor`, added up over the images."""
    generator = torch.Generator().manual_seed(5)
    total = 0.0
    with torch.inference_mode():
        for image in images:
            exact = program(torch.from_numpy(image))
            for _ in range(DRAWS):
                values = program.start(torch.from_numpy(image))
                for node, outputs in program.walk(values):
                    if tensor in node.outputs:
                        values[tensor] = outputs[0] + NOISE * torch.randn(outputs[0].shape, generator=generator)
                found = [values[i] for i in program.outputs]
                total += sum(float(((f - e) ** 2).sum() / (e**2).sum()) for f, e in zip(found, exact, strict=True))
    return total / NOISE**2 / DRAWS


def test_the_weight_of_a_tensor_is_what_an_error_in_it_does_to_the_outputs(concat_pair: Pair) -> None:
    images = [image.copy() for image in batches(concat_pair.photos, concat_pair.contract)]
    program = Program(concat_pair.floats.read_bytes())
    found = effect_histograms(concat_pair.floats, concat_pair.contract, images)
    convolutions = [node.outputs[0] for node in program.nodes if node.kind == "CONV_2D"]
    for tensor in (convolutions[0], convolutions[20], convolutions[50]):
        weight = float(found[tensor].counts.sum())
        stride = -(-int(np.prod(program.shapes[tensor])) // (1 << 16))  # a histogram looks at a sample
        assert weight * stride == pytest.approx(measured_effect(program, images, tensor), rel=0.5)


def test_only_the_tensors_that_ask_for_it_get_other_ranges(concat_pair: Pair) -> None:
    source = open_calibration(Path(concat_pair.photos[0]).parent)

    def ranges(method: Method) -> dict[str, tuple[float, float]]:
        images = batches(source.paths, concat_pair.contract)
        found = observe(concat_pair.floats, concat_pair.contract, source.set, images, method)
        return {entry.name: (entry.minimum, entry.maximum) for entry in found.tensors}

    plain, weighted = ranges(Method()), ranges(Method(observer="effect"))
    changed = [name for name in plain if plain[name] != weighted[name]]
    assert len(changed) > 50
    narrower = [weighted[n][1] - weighted[n][0] < plain[n][1] - plain[n][0] for n in changed]
    assert np.mean(narrower) > 0.6  # the tails of a SiLU's input matter little
