"""Scores of the int8 network beside those of the float one; LiteRT runs the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from breaking import SIZE, Pair
from helpers import Silent

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.cache import StageCache  # noqa: E402
from edgeai.evaluate.backends.litert import LiteRtRunner  # noqa: E402
from edgeai.evaluate.decode import decode  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.imaging.images import letterbox, read_image  # noqa: E402
from edgeai.models.bundled import BUNDLED, bundled_model  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize.improve.scores import match_scores, score_convolutions  # noqa: E402
from edgeai.quantize.patch import patched  # noqa: E402
from edgeai.quantize.ptq import with_contract  # noqa: E402
from edgeai.quantize.ranges.calibration import batches, open_calibration  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.simulate.program import Program  # noqa: E402
from edgeai.synthetic.write import generate  # noqa: E402

COUNTED = 0.1


def certainty(model: Path, photos: list[Path]) -> float:
    """The scores above COUNTED of all photos, added up."""
    with LiteRtRunner(model, threads=2) as runner:
        images = [letterbox(read_image(photo), SIZE)[0] for photo in photos]
        found = [decode(runner.infer(image), runner.contract, COUNTED).scores for image in images]
    return float(sum((scores - COUNTED).sum() for scores in found))


def unsure(model: bytes, by: float) -> bytes:
    """`model` with the logits of its scores lowered, at the convolutions that only a sigmoid reads."""
    program = Program(model)
    readers = {i: [node.kind for node in program.nodes if i in node.inputs] for i in range(len(program.names))}
    lowered = 0
    for node in program.nodes:
        follower = node.outputs[0]
        while readers[follower] == ["RESHAPE"]:
            follower = next(n.outputs[0] for n in program.nodes if follower in n.inputs)
        if node.kind == "CONV_2D" and readers[follower] == ["LOGISTIC"]:
            program.constants[node.inputs[2]] = program.constants[node.inputs[2]] - by
            lowered += 1
    assert lowered == 3
    return patched(model, program)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scores")
    generate(folder, "val", 24, 11)
    return sorted((folder / "val" / "images").iterdir())


def test_a_network_that_became_unsure_is_as_sure_as_before_on_other_photos(
    concat_pair: Pair, photos: list[Path], tmp_path: Path
) -> None:
    aim = certainty(concat_pair.floats, photos[12:])
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(unsure(concat_pair.int8.read_bytes(), 1.0))
    assert certainty(broken, photos[12:]) < 0.9 * aim

    images = torch.from_numpy(np.concatenate(list(batches(photos[:12], concat_pair.contract))))
    mended = tmp_path / "mended.tflite"
    data = match_scores(broken.read_bytes(), concat_pair.floats.read_bytes(), concat_pair.contract, images)
    mended.write_bytes(with_contract(data, concat_pair.contract))
    assert certainty(mended, photos[12:]) == pytest.approx(aim, rel=0.05)
    assert [op.kind for op in load_graph(mended).ops] == [op.kind for op in load_graph(broken).ops]


def test_the_background_scores_nothing(concat_pair: Pair, photos: list[Path]) -> None:
    image, nc = letterbox(read_image(photos[0]), SIZE)[0], concat_pair.contract.spec.nc
    with LiteRtRunner(concat_pair.floats, threads=1) as floats, LiteRtRunner(concat_pair.int8, threads=1) as int8:
        wanted, found = (runner.infer(image)[0].real()[:, 4 : 4 + nc] for runner in (floats, int8))
    background = wanted < 0.001
    assert background.mean() > 0.5
    assert (found[background] == 0).mean() > 0.99


def test_without_objects_nothing_is_shifted(concat_pair: Pair) -> None:
    grey = torch.full((8, SIZE, SIZE, 3), 114 / 255)
    before = Program(concat_pair.int8.read_bytes())
    data = match_scores(concat_pair.int8.read_bytes(), concat_pair.floats.read_bytes(), concat_pair.contract, grey)
    after = Program(data)
    for index, constant in before.constants.items():
        assert torch.equal(constant, after.constants[index])


@pytest.mark.parametrize("layout", ["raw", "split", "concat"])
def test_every_layout_has_three_score_convolutions(layout: str, photos: list[Path], tmp_path: Path) -> None:
    weights = bundled_model(BUNDLED[0])
    assert weights is not None
    stages = Stages(StageCache(tmp_path), Silent())
    calibration = open_calibration(photos[0].parent, limit=2)
    recipe = Recipe(layout=layout, imgsz=SIZE, method=Method(ranges="observed"))
    path, made, _ = stages.quantized(weights, recipe, calibration)
    found = score_convolutions(Program(path.read_bytes()), made.contract)
    program = Program(path.read_bytes())
    assert [program.shapes[node.outputs[0]][-1] for node in found] == [made.contract.spec.nc] * 3


def test_a_gate_inside_a_network_gives_no_scores(concat_pair: Pair) -> None:
    """Every SiLU has a sigmoid; only the three whose results nothing is computed from are scores."""
    program = Program(concat_pair.int8.read_bytes())
    assert sum(node.kind == "LOGISTIC" for node in program.nodes) > 60
    assert len(score_convolutions(program, concat_pair.contract)) == 3
