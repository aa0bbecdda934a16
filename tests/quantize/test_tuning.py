"""Tuning on a real conversion: LiteRT runs the files, the float network is the oracle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from helpers import Silent
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from edgeai.artifacts import Contract, Ranges  # noqa: E402
from edgeai.cache import StageCache  # noqa: E402
from edgeai.pipeline.stages import Recipe, Stages  # noqa: E402
from edgeai.quantize import ptq  # noqa: E402
from edgeai.quantize.improve.compensate import Compensation, compensated, compensation, rounded_codes  # noqa: E402
from edgeai.quantize.improve.judge import Judge, inside, share  # noqa: E402
from edgeai.quantize.improve.learn import learn  # noqa: E402
from edgeai.quantize.improve.tune import Trial, grid_of, planned, tune  # noqa: E402
from edgeai.quantize.ranges.calibration import CalibrationSource, batches, open_calibration  # noqa: E402
from edgeai.quantize.recipe import Method  # noqa: E402
from edgeai.recognise import Asked  # noqa: E402
from edgeai.simulate.program import Program  # noqa: E402

SIZE = 64
Images = list[NDArray[np.float32]]


class SiluNet(torch.nn.Module):  # type: ignore[misc]
    """Convolutions with SiLU, a branch, an upsampling and a concatenation, with weights that spread the channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = torch.nn.Conv2d(3, 16, 3, 2, 1)
        self.down = torch.nn.Conv2d(16, 24, 3, 2, 1)
        self.deep = torch.nn.Conv2d(24, 24, 3, 1, 1)
        self.join = torch.nn.Conv2d(40, 16, 1)
        self.last = torch.nn.Conv2d(16, 8, 1)
        with torch.no_grad():
            for layer in (self.stem, self.down, self.deep, self.join):
                layer.weight *= 6 * torch.logspace(-1, 0, layer.weight.shape[0]).reshape(-1, 1, 1, 1)
                layer.bias -= 1.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        act = torch.nn.functional.silu
        near = act(self.stem(x))
        far = act(self.deep(act(self.down(near))))
        both = torch.cat([torch.nn.functional.interpolate(far, scale_factor=2, mode="nearest"), near], dim=1)
        return self.last(act(self.join(both)))


@dataclass(frozen=True)
class Made:
    model: bytes
    ranges: Ranges
    contract: Contract
    calibration: Images
    others: Images

    @property
    def batch(self) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(self.calibration[:8]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    import cv2

    folder = tmp_path_factory.mktemp("tuning")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(2)
    for i in range(24):  # wide pictures: their letterbox borders are flat
        small = rng.integers(0, 255, (4, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{i:02}.png"), cv2.resize(small, (SIZE, SIZE * 2 // 3)))
    torch.onnx.export(SiluNet().eval(), (torch.rand(1, 3, SIZE, SIZE),), str(folder / "m.onnx"), dynamo=False)
    stages = Stages(StageCache(folder / "cache"), Silent())
    photos = open_calibration(folder / "photos")
    onnx, exported = stages.imported_onnx(folder / "m.onnx", Asked(imgsz=SIZE))
    tflite, converted = stages.converted(onnx, exported.contract)
    ranges = stages.ranges(tflite, converted.contract, photos)
    images = list(batches(photos.paths, converted.contract))
    return Made(Path(tflite).read_bytes(), ranges, converted.contract, images[:16], images[16:])


def run(model: bytes, images: Images) -> list[NDArray[np.float64]]:
    """The real values that LiteRT's built-in kernels give."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    runner.allocate_tensors()
    given, result = runner.get_input_details()[0], runner.get_output_details()[0]
    found = []
    for image in images:
        runner.set_tensor(given["index"], image)
        runner.invoke()
        found.append(runner.get_tensor(result["index"]).astype(np.float64))
    return found


def sqnr(wanted: list[NDArray[np.float64]], found: list[NDArray[np.float64]]) -> float:
    signal = sum(float((w**2).sum()) for w in wanted)
    return 10 * np.log10(signal / sum(float(((w - f) ** 2).sum()) for w, f in zip(wanted, found, strict=True)))


def kinds(model: bytes) -> Counter[str]:
    return Counter(node.kind for node in Program(model).nodes)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_simulation_is_what_the_kernels_compute(made: Made, per_channel: bool) -> None:
    quantized = ptq.quantize(made.model, made.ranges, per_channel, "float32", "float32")
    step = Program(quantized).grids[Program(quantized).nodes[-1].inputs[0]].scale
    with torch.inference_mode():
        floats = [Program(made.model)(torch.from_numpy(i))[0].numpy() for i in made.others]
        coded = [Program(quantized)(torch.from_numpy(i))[0].numpy() for i in made.others]
    assert sqnr(run(made.model, made.others), floats) > 90
    away = np.abs(np.stack(run(quantized, made.others)) - np.stack(coded)) / step
    assert away.max() < 3.5
    assert np.mean(away > 1.5) < 0.005  # the kernels' sigmoid is an approximation, and the layers behind add it up


def test_tuning_brings_a_real_network_nearer_and_adds_no_operator(kit: Path, tmp_path: Path) -> None:
    """YOLOv8n-seg per tensor on letterboxed photos; judged on photos that it was not tuned on."""
    from edgeai.evaluate.backends.litert import LiteRtRunner
    from edgeai.imaging.images import letterbox, read_image

    stages = Stages(StageCache(tmp_path / "cache"), Silent())
    photos = open_calibration(kit / "coco/calibration/images", limit=12)
    more = open_calibration(kit / "coco/calibration/images", limit=32)
    images = [letterbox(read_image(path), 128)[0] for path in sorted((kit / "coco/train_extra/images").iterdir())[:8]]

    onnx, exported = stages.exported(kit / "weights/yolov8n-seg.pt", "raw", 128, None)
    floats, described = stages.converted(onnx, exported.contract)

    def outputs(path: Path) -> list[list[NDArray[np.float64]]]:
        with LiteRtRunner(path, described.contract) as runner:
            each = [[out.real().astype(np.float64) for out in runner.infer(image)] for image in images]
        return [list(values) for values in zip(*each, strict=True)]

    def made_by(method: Method, photos: CalibrationSource = photos) -> tuple[Path, int]:
        recipe = Recipe(granularity="per-tensor", imgsz=128, method=method)
        path, model, _ = stages.quantized(kit / "weights/yolov8n-seg.pt", recipe, photos)
        return path, sum(entry.count for entry in model.audit.operators)

    plain, operators = made_by(Method(ranges="observed", biases="analytic"))
    tuned, same = made_by(Method(ranges="tuned", biases="tuned"))
    wanted = outputs(floats)
    before = [sqnr(w, f) for w, f in zip(wanted, outputs(plain), strict=True)]
    after = [sqnr(w, f) for w, f in zip(wanted, outputs(tuned), strict=True)]
    assert operators == same
    assert np.mean(after) > np.mean(before) + 1.0, (before, after)

    nearest, _ = made_by(Method(weights="nearest"), more)
    after = [sqnr(w, f) for w, f in zip(wanted, outputs(nearest), strict=True)]
    for method in (Method(), Method(weights="learned", steps=150)):  # the default compensates
        better, same = made_by(method, more)
        best = [sqnr(w, f) for w, f in zip(wanted, outputs(better), strict=True)]
        assert operators == same
        assert np.mean(best) > np.mean(after) + 0.3, (method.weights, after, best)


def test_the_same_inputs_give_the_same_bytes(made: Made) -> None:
    plain = ptq.quantize(made.model, made.ranges, True, "float32", "float32")
    tuned = tune(plain, made.model, made.batch)
    assert tune(plain, made.model, made.batch) == tuned != plain
    found, again = (compensation(plain, made.model, made.batch) for _ in range(2))
    rounded = compensated(tuned, found)
    assert compensated(tuned, again) == rounded != tuned
    assert kinds(rounded) == kinds(tuned) == kinds(plain)


def test_a_silu_ends_where_its_input_does_if_only_weighted_operators_read_it(made: Made) -> None:
    plain = ptq.quantize(made.model, made.ranges, True, "float32", "float32")
    program, followed = Program(plain), Program(tune(plain, made.model, made.batch, biases=False, follow=True))
    entries = {node.inputs[0]: node for node in program.nodes if node.kind == "LOGISTIC"}
    moved = kept = 0
    for node in followed.nodes:
        if node.kind != "MUL" or not entries.keys() & set(node.inputs):
            continue
        end, out = (followed.grids[i] for i in (node.inputs[0], node.outputs[0]))
        readers = {n.kind for n in followed.nodes if node.outputs[0] in n.inputs}
        before = program.grids[node.outputs[0]]
        if readers != {"CONV_2D"} or node.outputs[0] in followed.outputs:
            assert out == before
            kept += 1
            continue
        x = torch.arange(-128, 128) - end.zero_point
        most = float(torch.nn.functional.silu(x * end.scale).max())
        reach = out.scale * (127 - out.zero_point)
        assert reach <= max(most, 0.0) + out.scale  # a step more, for a zero that is exact
        assert reach <= before.scale * (127 - before.zero_point) + before.scale
        moved += out != before
    assert moved and kept


def test_learning_changes_codes_by_a_step_or_two_and_nothing_else(made: Made) -> None:
    tuned = tune(ptq.quantize(made.model, made.ranges, True, "float32", "float32"), made.model, made.batch)
    images = torch.from_numpy(np.concatenate(made.calibration))
    ticks: list[tuple[int, int]] = []
    learned = learn(tuned, made.model, images, 60, lambda *tick: ticks.append(tick))
    assert ticks == [(step, 60) for step in range(1, 61)]
    wanted = run(made.model, made.others)
    assert sqnr(wanted, run(learned, made.others)) > sqnr(wanted, run(tuned, made.others)) - 0.2
    assert kinds(learned) == kinds(tuned)
    before, after = Program(tuned), Program(learned)
    assert before.grids == after.grids
    moved = [
        ((after.constants[index] - before.constants[index]) / scale).abs().max()
        for index, scale in before.weight_scales.items()
        if before.constants[index].dim() == 4
    ]
    assert 0.5 < float(max(moved)) < 2.5
    assert learn(tuned, made.model, images, 60) == learned


def test_a_trial_that_does_harm_is_not_taken(made: Made, tmp_path: Path) -> None:
    """Tuned on images without any content, a network is worse on real ones: the file stays as it was."""
    import cv2

    plain = ptq.quantize(made.model, made.ranges, True, "float32", "float32")
    harmed = tune(plain, made.model, torch.full_like(made.batch, 114 / 255), biases=True)
    wanted = run(made.model, made.calibration)
    assert sqnr(wanted, run(harmed, made.calibration)) < sqnr(wanted, run(plain, made.calibration)) - 1
    grey = tuple(tmp_path / f"grey{i}.png" for i in range(8))
    for path in grey:
        cv2.imwrite(str(path), np.full((SIZE, SIZE, 3), 114, np.uint8))
    method = Method(biases="tuned", weights="nearest", scores="left", trials=1).settled("per-channel")
    photos = grey + coloured(tmp_path, 16)
    assert ptq.tuned(plain, made.model, made.contract, method, photos) == (plain, "untuned")


def test_trials_have_images_of_their_own_where_there_are_enough() -> None:
    first = Trial(0, 8, follow=False)
    assert planned(128, 8, 1, ranges=True) == [first]
    assert planned(128, 8, 3, ranges=True) == [first, Trial(8, 16, follow=True), Trial(16, 24, follow=False)]
    assert planned(16, 8, 4, ranges=True) == [first, Trial(0, 8, follow=True)]
    assert planned(22, 8, 2, ranges=True) == [first, Trial(8, 16, follow=True)]
    assert planned(5, 8, 2, ranges=True) == [Trial(0, 5, follow=False), Trial(0, 5, follow=True)]
    assert planned(128, 8, 2, ranges=False) == [first, Trial(8, 16, follow=False)]


def test_untouched_where_nothing_is_asked_for(made: Made) -> None:
    plain = ptq.quantize(made.model, made.ranges, True, "float32", "float32")
    same = tune(plain, made.model, made.batch, ranges=False, biases=False)
    for one, other in zip(run(plain, made.others), run(same, made.others), strict=True):
        assert np.array_equal(one, other)


def test_compensated_rounding_errs_less_on_its_inputs_than_nearest() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(40, 40)
    inputs, weights = torch.randn(2000, 40) @ mixing, torch.randn(12, 40)
    scale = weights.abs().amax(dim=1, keepdim=True) / 7  # a coarse grid, so that rounding matters
    nearest = (weights / scale).round()
    ours = rounded_codes(weights, scale, inputs.T @ inputs / len(inputs))
    assert torch.equal(ours, ours.round())

    def error(codes: torch.Tensor) -> float:
        return float(((inputs @ (codes * scale - weights).T) ** 2).sum())

    assert error(ours) < 0.5 * error(nearest)


def test_a_judge_looks_inside_the_photos_alone(made: Made) -> None:
    """Its figure is that of the rows inside, worked out from what LiteRT gives, and not that of all rows."""
    judge = Judge(made.model, made.contract, made.batch)
    photo = inside(made.batch, made.contract)
    assert photo[0, SIZE // 2].eq(1).all() and photo[0, :8].eq(0).all()
    assert float(photo.mean()) == pytest.approx(2 / 3, abs=0.02)
    grey = torch.full_like(made.batch, 114 / 255)
    plain = ptq.quantize(made.model, made.ranges, True, "float32", "float32")
    file = tune(plain, made.model, grey, biases=True)  # near where it is grey, and nowhere else
    wanted, found = run(made.model, made.calibration[:8]), run(file, made.calibration[:8])
    # the photos are rows 11 to 52 of 64; a row of the output is two of them
    share = np.array([0.0] * 5 + [0.5] + [1.0] * 20 + [0.5] + [0.0] * 5).reshape(1, -1, 1, 1) ** 0.5
    direct = sqnr([w * share for w in wanted], [f * share for f in found])
    assert -10 * judge.noise(file) / np.log(10) == pytest.approx(direct, abs=0.1)  # as far as the simulation goes
    assert abs(sqnr(wanted, found) - direct) > 0.2


def test_places_listed_level_by_level_count_like_those_of_maps(made: Made) -> None:
    contract = replace(made.contract, spec=replace(made.contract.spec, strides=(8, 16, 32)))
    photo = torch.zeros(1, SIZE, SIZE)
    photo[:, :, : SIZE // 2] = 1  # the left half
    rows = [[1.0] * (side // 2) + [0.0] * (side // 2) for side in (8, 4, 2)]  # strides 8, 16, 32
    wanted = [value for row in rows for value in row * len(row)]
    for shape in ((1, 84, 6), (1, 6, 84)):
        found = share(torch.zeros(shape), photo, contract)
        assert found.broadcast_to(shape).shape == shape and found.flatten().tolist() == wanted
    assert share(torch.zeros(1, 8, 8, 3), photo, contract).flatten().tolist() == rows[0] * 8
    assert share(torch.zeros(1, 10), photo, contract).item() == 1


def coloured(folder: Path, count: int) -> tuple[Path, ...]:
    """Pictures of coloured patches."""
    import cv2

    paths = tuple(folder / f"{i}.png" for i in range(count))
    for i, path in enumerate(paths):
        colours = np.random.default_rng(i).integers(0, 255, (4, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.resize(colours, (SIZE, SIZE)))
    return paths


@pytest.mark.parametrize("count", [2, 12])  # two photos are too few to compensate by
def test_progress_goes_from_nothing_to_all_once(made: Made, tmp_path: Path, count: int) -> None:
    plain = ptq.quantize(made.model, made.ranges, False, "float32", "float32")
    method = Method(weights="learned", steps=6, scores="left").settled("per-tensor")
    told: list[tuple[int, int]] = []
    photos = coloured(tmp_path, count)
    ptq.tuned(plain, made.model, made.contract, method, photos, lambda done, total: told.append((done, total)))
    done = [100 * part // total for part, total in told]
    assert done == sorted(done) and done[0] < 10 and done[-1] == 100
    assert all(any(lower < part <= lower + 34 for part in done) for lower in ((0, 33, 66) if count > 2 else (0, 66)))


def test_few_photos_are_not_learnt_by_heart(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six calibration images, all of them tuned on: nothing could tell whether compensation helps."""
    plain = ptq.quantize(made.model, made.ranges, False, "float32", "float32")
    photos = coloured(tmp_path, 6)
    method = Method(weights="compensated", scores="left").settled("per-tensor")
    asked: list[int] = []

    def spy(quantized: bytes, model: bytes, images: torch.Tensor, progress: object) -> Compensation:
        asked.append(len(images))
        return Compensation({}, {})

    monkeypatch.setattr("edgeai.quantize.improve.compensate.compensation", spy)
    ptq.tuned(plain, made.model, made.contract, method, photos)
    assert not asked
    ptq.tuned(plain, made.model, made.contract, method, photos * 2)
    assert asked == [9]  # of twelve; the other three judge


def test_grids_hold_zero_exactly() -> None:
    for low, high in ((-3.0, 5.0), (0.0, 1.0), (-7.5, 0.0), (0.1, 2.0)):
        grid = grid_of(low, high)
        assert float(grid.rounded(torch.zeros(1))) == 0
        ends = grid.rounded(torch.tensor([min(low, 0.0), max(high, 0.0)]))
        assert float((ends - torch.tensor([min(low, 0.0), max(high, 0.0)])).abs().max()) <= grid.scale
