"""What every choice of a recipe is worth, alone and together, and what every way to export costs on an STM32N6.

    python tests/bench/methods.py methods [--images train_extra] [--imgsz 256] [--out FOLDER]
    python tests/bench/methods.py exports

One network, one calibration set, one protocol. SQNR in dB against the float TFLite on the first 24 evaluated images,
mean of the outputs, whole and inside the photos (letterboxed ones have borders, where nothing is found). "Found":
detections of 25 % and more, of those that the fp32 network makes. Drops of AP with their 95 % paired-bootstrap
intervals. The default of --images is what choices are made by; report on others. Writes NAME.json and NAME.md, row by
row.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from drops import LAYOUTS, matches
from numpy.typing import NDArray

from edgeai.artifacts import Contract, DropInterval, Granularity, Layout, Provenance, to_json
from edgeai.board import load_board
from edgeai.cache import StageCache, default_root
from edgeai.cli.listener import TerminalListener
from edgeai.cli.render import markdown_table
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.bootstrap import drop_interval
from edgeai.evaluate.coco import detect
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Thresholds
from edgeai.files import file_ref, write_text
from edgeai.footprint.support import support
from edgeai.graph import load_graph
from edgeai.imaging.images import letterbox, normalised, read_image
from edgeai.latency.estimate import assess
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.provenance import CONVERT_TOOLS, provenance
from edgeai.quantize.improve.judge import inside, share
from edgeai.quantize.ptq import with_contract
from edgeai.quantize.ranges.calibration import CalibrationSource, open_calibration
from edgeai.quantize.recipe import Method

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
SQNR_IMAGES = 24
SURE = 0.25
BOARD = "STM32N6570-DK"
PLAIN = Method(observer="min-max", ranges="observed", biases="none")
OBSERVED = replace(PLAIN, observer="least-squares")
ANALYTIC = replace(OBSERVED, biases="analytic")
TUNED = Method(ranges="tuned", weights="nearest", scores="left")
METHODS = {
    "extremes as ranges": PLAIN,
    "moving average": replace(PLAIN, observer="moving-average"),
    "percentile": replace(PLAIN, observer="percentile"),
    "entropy": replace(PLAIN, observer="entropy"),
    "least squares": OBSERVED,
    "effect at the outputs": replace(PLAIN, observer="effect"),
    "extremes, analytic biases": replace(PLAIN, biases="analytic"),
    "extremes, compensated weights": replace(PLAIN, weights="compensated", scores="left"),
    "least squares, analytic biases": ANALYTIC,
    "... effect instead of least squares": replace(ANALYTIC, observer="effect"),
    "... scores matched": replace(ANALYTIC, scores="matched"),
    "... compensated weights": replace(ANALYTIC, weights="compensated", scores="left"),
    "... equalised": replace(ANALYTIC, equalise=True),
    "... ranges tuned": TUNED,
    "... ranges and biases tuned": replace(TUNED, biases="tuned"),
    "... ranges tuned, weights compensated": replace(TUNED, weights="compensated"),
    "default: and scores matched": Method(),
    "default, learned weights": Method(weights="learned"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One int8 file. Drops in AP points; `found` in percent; `latency_ms` and the epochs are estimates for BOARD."""

    name: str
    granularity: Granularity
    sqnr_db: float
    inside_db: float
    found: float
    mask: DropInterval
    box: DropInterval
    operators: int
    software_epochs: int
    hybrid_epochs: int
    latency_ms: float
    weights_kib: float


@dataclass(frozen=True, slots=True)
class Rows:
    dataset: str
    images: int
    imgsz: int
    calibration_images: int
    rows: tuple[Row, ...]
    provenance: Provenance


class Bench:
    """Files of one checkpoint against its float network."""

    def __init__(self, model: Path, imgsz: int, dataset: Dataset, photos: CalibrationSource, folder: Path) -> None:
        self.model, self.imgsz, self.dataset, self.photos, self.folder = model, imgsz, dataset, photos, folder
        self.stages = Stages(StageCache(default_root()), TerminalListener())
        self.pixels = [letterbox(read_image(i.path), imgsz)[0] for i in dataset.images[:SQNR_IMAGES]]
        self.floats = matches(model, dataset, imgsz)
        self.sure = self._sure(model)

    def row(self, name: str, grain: Granularity, layout: Layout, method: Method) -> Row:
        recipe = Recipe(grain, layout, self.imgsz, method=method)
        path, made, _ = self.stages.quantized(self.model, recipe, self.photos)
        box, mask = (drop_interval(*pair) for pair in zip(self.floats, matches(path, self.dataset), strict=True))
        whole, inner = self._sqnr(self._float(recipe), path, made.contract)
        epochs = support(load_graph(path), "n6")
        cost = assess(path, load_board(BOARD))
        assert cost.latency is not None
        return Row(
            name=name,
            granularity=grain,
            sqnr_db=whole,
            inside_db=inner,
            found=100 * self._sure(path) / self.sure,
            mask=mask,
            box=box,
            operators=sum(entry.count for entry in made.audit.operators),
            software_epochs=epochs.software_epochs,
            hybrid_epochs=epochs.hybrid_epochs,
            latency_ms=cost.latency.ms.point,
            weights_kib=cost.weights_bytes / 1024,
        )

    def _sure(self, path: Path) -> int:
        """Detections of SURE and more."""
        with open_runner(path, imgsz=self.imgsz if path == self.model else None, threads=2) as runner:
            return sum(len(entry.found.scores) for entry in detect(runner, self.dataset, Thresholds(conf=SURE)))

    def _float(self, recipe: Recipe) -> Path:
        """The float TFLite that this recipe quantises."""
        _, path, converted = self.stages.float_tflite(self.model, recipe, self.photos)
        out = self.folder / f"{recipe.layout}_{recipe.method.upsample}.tflite"
        out.write_bytes(with_contract(path.read_bytes(), converted.contract))
        return out

    def _sqnr(self, model: Path, quantized: Path, contract: Contract) -> tuple[float, float]:
        """Mean over the outputs in dB: whole, and inside the photos."""
        taken = np.stack([normalised(pixels, contract.mean, contract.std) for pixels in self.pixels])
        photo = inside(torch.from_numpy(taken), contract)
        ratios = []
        for exact, coded in zip(self._outputs(model), self._outputs(quantized), strict=True):
            counts = share(torch.from_numpy(exact), photo, contract).numpy()
            size, miss = exact**2, (coded - exact) ** 2
            ratios.append([size.sum() / miss.sum(), (size * counts).sum() / (miss * counts).sum()])
        whole, inner = np.mean(10 * np.log10(ratios), axis=0)
        return float(whole), float(inner)

    def _outputs(self, path: Path) -> list[NDArray[np.float64]]:
        with open_runner(path, threads=2) as runner:
            each = [[out.real().astype(np.float64) for out in runner.infer(pixels)] for pixels in self.pixels]
        return [np.concatenate(values) for values in zip(*each, strict=True)]


def planned(what: str, layouts: Sequence[Layout]) -> Iterator[tuple[str, Granularity, Layout, Method]]:
    grains: tuple[Granularity, ...] = ("per-channel", "per-tensor")
    if what == "methods":
        for (name, method), grain in itertools.product(METHODS.items(), grains):
            yield name, grain, "raw", method
        return
    for layout in layouts:
        yield layout, "per-channel", layout, Method()
        yield f"{layout}, transposed upsampling", "per-channel", layout, Method(upsample="transposed")
        yield f"{layout}, joint scales", "per-channel", layout, Method(joint_scales=True)
        both = Method(upsample="transposed", joint_scales=True)
        yield f"{layout}, both", "per-channel", layout, both


def markdown(found: Rows, what: str) -> str:
    head = (
        f"YOLOv8n-seg, {found.images} images of {found.dataset} at {found.imgsz} px, {found.calibration_images} "
        f"calibration images; AP points lost against fp32 with 95 % paired-bootstrap intervals"
        + (", int8 per channel, estimates for the STM32N6570-DK.\n" if what == "exports" else ".\n")
    )
    body = []
    for row in found.rows:
        drops = [f"{d.drop:.2f} [{d.low:.2f}, {d.high:.2f}]" for d in (row.mask, row.box)]
        quality = [f"{row.sqnr_db:.1f}", f"{row.inside_db:.1f}", f"{row.found:.0f} %", *drops]
        if what == "methods":
            body.append((row.name, row.granularity, *quality))
        else:
            counts = (str(row.operators), str(row.software_epochs), str(row.hybrid_epochs))
            body.append((row.name, *quality, *counts, f"{row.latency_ms:.1f}", f"{row.weights_kib:.0f}"))
    quality_header = ["SQNR dB", "inside the photos", "found", "mask", "box"]
    header = ["method", "weights", *quality_header]
    if what == "exports":
        header = ["export", *quality_header, "operators", "software epochs", "hybrid", "ms", "weights KiB"]
    return head + "\n" + markdown_table(header, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("methods", "exports"))
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--images", default="train_extra", help="folder of the kit's coco/ that is evaluated")
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="of exports")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    options = parser.parse_args()
    coco, model = options.kit / "coco", options.kit / "weights/yolov8n-seg.pt"
    dataset = read_dataset(coco / options.images / "images", coco / options.images / "instances.json")
    photos = open_calibration(coco / "calibration/images")
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(model, options.imgsz, dataset, photos, options.out)
    inputs = provenance(options.what, [file_ref(model)], sorted(vars(options).items()), CONVERT_TOOLS)
    rows: list[Row] = []
    for name, grain, layout, method in planned(options.what, options.layout):
        rows.append(bench.row(name, grain, layout, method))
        found = Rows(options.images, len(dataset.images), options.imgsz, len(photos.paths), tuple(rows), inputs)
        write_text(options.out / f"{options.what}.json", to_json(found))
        write_text(options.out / f"{options.what}.md", markdown(found, options.what))
        print(markdown(found, options.what).splitlines()[-1], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
