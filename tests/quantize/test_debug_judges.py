"""`debug` accuses a layer only where the right kernels and float arithmetic agree that it is bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Silent

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")
nnf = torch.nn.functional

from edgeai.cache import StageCache  # noqa: E402
from edgeai.graph import load_graph  # noqa: E402
from edgeai.pipeline.stages import Stages  # noqa: E402
from edgeai.quantize.debug import debug  # noqa: E402
from edgeai.quantize.ptq import quantize  # noqa: E402
from edgeai.quantize.ranges.calibration import open_calibration  # noqa: E402
from edgeai.recognise import Asked  # noqa: E402

SIZE = 64


class Heads(torch.nn.Module):  # type: ignore[misc]
    """A trunk, and ten heads of operators that LiteRT's kernel sets compute differently, each behind a convolution."""

    def __init__(self, seed: int, tile: bool) -> None:
        super().__init__()
        self.tile = tile
        torch.manual_seed(seed)
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.SiLU(), torch.nn.Conv2d(8, 8, 3, 2, 1))
        self.parts = torch.nn.ModuleList(torch.nn.Conv2d(8, 6, 1) for _ in range(10))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b, c, d, e, f, g, h, i, j = (part(self.stem(x)) for part in self.parts)
        return (
            a.sum(dim=(2, 3), keepdim=True),
            b.sum(dim=1, keepdim=True),
            c.mean(dim=(2, 3), keepdim=True),
            d.mean(dim=1, keepdim=True),
            nnf.interpolate(e, size=(44, 44), mode="bilinear", align_corners=False),
            nnf.interpolate(f, size=(37, 32), mode="bilinear", align_corners=False),
            g.repeat(1, 1, 2, 3) if self.tile else g,
            torch.sigmoid(h),
            torch.sigmoid(i).sum(dim=1, keepdim=True),
            nnf.interpolate(j.mean(dim=1, keepdim=True), size=(27, 27), mode="bilinear", align_corners=False),
        )


def network(folder: Path, seed: int, tile: bool) -> tuple[Path, list[Path]]:
    """A sound int8 file of `Heads`, and photos."""
    import cv2

    photos, rng = [], np.random.default_rng(seed)
    for number in range(6):
        small = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        photos.append(folder / "photos" / f"{number}.png")
        photos[-1].parent.mkdir(exist_ok=True)
        cv2.imwrite(str(photos[-1]), cv2.resize(small, (SIZE, SIZE)))
    model = Heads(seed, tile).eval()
    torch.onnx.export(model, (torch.rand(1, 3, SIZE, SIZE),), str(folder / "m.onnx"), dynamo=False)
    stages = Stages(StageCache(folder / "cache"), Silent())
    onnx_file, exported = stages.imported_onnx(folder / "m.onnx", Asked(imgsz=SIZE))
    tflite, converted = stages.converted(onnx_file, exported.contract)
    ranges = stages.ranges(tflite, converted.contract, open_calibration(folder / "photos"))
    int8 = folder / "int8.tflite"
    int8.write_bytes(quantize(tflite.read_bytes(), ranges, True, "int8", "int8"))
    return int8, photos


@pytest.mark.parametrize("seed", [3, 4])
def test_sound_networks_are_not_accused(tmp_path: Path, seed: int) -> None:
    int8, photos = network(tmp_path, seed, tile=True)
    kinds = {op.kind for op in load_graph(int8).ops}
    assert kinds >= {"SUM", "MEAN", "RESIZE_BILINEAR", "TILE", "LOGISTIC"}
    report = debug(int8, None, photos[:3])
    assert report.first_bad is None, report.first_bad
    assert not any("at fault" in finding for finding in report.findings)
    assert min(layer.stepwise.sqnr_db for layer in report.layers) > 20


def test_a_wrong_kernel_is_named_and_no_layer(tmp_path: Path) -> None:
    """The reference kernels' SUM is off by over 100 steps, and their bilinear resize drifts; they have no TILE of
    version 3."""
    int8, photos = network(tmp_path, 5, tile=False)
    report = debug(int8, None, photos[:3], kernels="reference")
    assert min(layer.stepwise.sqnr_db for layer in report.layers if layer.kind == "SUM") < 10
    assert report.first_bad is None, report.first_bad
    named = [finding for finding in report.findings if "the kernel is at fault" in finding]
    assert any(finding.startswith("SUM") for finding in named)
    assert not any(finding.startswith(("CONV_2D", "MEAN", "LOGISTIC", "TILE")) for finding in named)


def test_without_float_kernels_the_int8_ones_judge_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeai.errors import InputError
    from edgeai.quantize.debug import measure

    class Absent(measure._Floats):
        def __init__(self, data: bytes) -> None:
            if self.made:
                raise InputError("no float kernel")
            type(self).made = True
            super().__init__(data)

        made = False

    monkeypatch.setattr(measure, "_Floats", Absent)  # the first is the float network, the second its layers
    int8, photos = network(tmp_path, 3, tile=True)
    report = debug(int8, None, photos[:1])
    assert report.first_bad is None
    assert {layer.float_sqnr_db for layer in report.layers} == {None}
