"""What an error of a given size costs whatever made it: the float network with random weights added to its own.

    python tests/bench/chance.py [--imgsz 256 320] [--sqnr 36 32 28] [--draws 4] [--images val] [--out FOLDER]

Every weight gets Gaussian noise in proportion to its tensor's standard deviation, as much as brings the outputs to the
SQNR asked for; then AP is measured as that of an int8 file is. What a quantised file of that SQNR loses beyond this
table is its own doing; what it loses within it, these images make of any error. Images and their mirror images, mean
over the sizes. Writes chance.json and chance.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drops import matches
from mirror import mirrored
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Provenance, to_json
from edgeai.cache import StageCache, default_root
from edgeai.cli.listener import TerminalListener
from edgeai.cli.render import markdown_table
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.bootstrap import mean_drop_interval
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.files import file_ref, write_text
from edgeai.graph.flat import add_buffer, constant, pack, tree_of
from edgeai.graph.tflite import read_tflite
from edgeai.imaging.images import letterbox, read_image
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.provenance import CONVERT_TOOLS, provenance
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.quantize.ptq import with_contract
from edgeai.quantize.ranges.calibration import open_calibration

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
SQNR_IMAGES = 24
SEARCH = 4  # corrections of the noise; SQNR falls by 20 dB where it grows tenfold
START = 0.01

Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Row:
    """AP points lost at one SQNR, a value a draw: on the images, and with their mirror images as well. `reached_db`:
    the SQNR that every draw came to, size by size."""

    sqnr_db: float
    reached_db: tuple[tuple[float, ...], ...]
    mask: tuple[float, ...]
    mask_with_mirrors: tuple[float, ...]
    box: tuple[float, ...]
    box_with_mirrors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chance:
    dataset: str
    images: int
    sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    provenance: Provenance


class Network:
    """A float TFLite, and what it computes for some images."""

    def __init__(self, path: Path, contract: Contract, photos: Sequence[Path], folder: Path) -> None:
        self.data, self.contract, self.folder = path.read_bytes(), contract, folder
        self.pixels = [letterbox(read_image(photo), contract.imgsz)[0] for photo in photos]
        self.exact = self._outputs(self._written("exact", self.data))

    def disturbed(self, sqnr: float, seed: int) -> tuple[Path, float]:
        """A file whose outputs are `sqnr` dB above their error, and how far they are."""
        level = START
        for _ in range(SEARCH):
            path = self._written(f"{sqnr:g}_{seed}", noisy(self.data, level, seed))
            reached = self.sqnr(path)
            level *= 10 ** ((reached - sqnr) / 20)
        return path, reached

    def sqnr(self, path: Path) -> float:
        """Mean over the outputs, dB."""
        pairs = zip(self.exact, self._outputs(path), strict=True)
        return float(np.mean([10 * np.log10((w**2).sum() / ((w - f) ** 2).sum()) for w, f in pairs]))

    def _written(self, name: str, data: bytes) -> Path:
        path = self.folder / f"{self.contract.imgsz}_{name}.tflite"
        path.write_bytes(with_contract(data, self.contract))
        return path

    def _outputs(self, path: Path) -> Outputs:
        with open_runner(path, threads=2) as runner:
            every = [[output.array for output in runner.infer(image)] for image in self.pixels]
        return [np.stack(arrays) for arrays in zip(*every, strict=True)]


def noisy(model: bytes, level: float, seed: int) -> bytes:
    """A float TFLite with noise of `level` standard deviations on the weights of every tensor."""
    generator = np.random.default_rng(seed)
    graph, tree = read_tflite(model), tree_of(model)
    weights = {op.inputs[LAYOUTS[op.kind].weights] for op in graph.ops if op.kind in LAYOUTS}
    for index in sorted(weights):
        values = constant(graph.tensors[index])
        added = generator.standard_normal(values.shape).astype(np.float32) * level * values.std()
        tree.subgraphs[0].tensors[index].buffer = add_buffer(tree, values + added)
    return pack(tree)


def markdown(found: Chance) -> str:
    sizes = " and ".join(map(str, found.sizes))
    head = (
        f"YOLOv8n-seg, fp32 with random noise on its weights, {found.images} images of {found.dataset}, mean of "
        f"{sizes} px; AP points lost: mean ± standard deviation of {len(found.rows[0].mask)} draws.\n"
    )
    header = ("SQNR dB", "mask", "mask, with mirrors", "box", "box, with mirrors")
    body = [
        (f"{row.sqnr_db:.0f}", *map(_spread, (row.mask, row.mask_with_mirrors, row.box, row.box_with_mirrors)))
        for row in found.rows
    ]
    return head + "\n" + markdown_table(header, body)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--imgsz", type=int, nargs="+", default=[256, 320])
    parser.add_argument("--sqnr", type=float, nargs="+", default=[36, 32, 28])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--images", default="val", help="folder of the kit's coco/ that is evaluated")
    parser.add_argument("--out", type=Path, default=Path("runs/chance"))
    options = parser.parse_args()
    model, coco = options.kit / "weights/yolov8n-seg.pt", options.kit / "coco"
    photos = open_calibration(coco / "calibration/images")
    dataset = read_dataset(coco / options.images / "images", coco / options.images / "instances.json")
    stages = Stages(StageCache(default_root()), TerminalListener())
    options.out.mkdir(parents=True, exist_ok=True)
    sets = (dataset, mirrored(dataset, options.out / "mirrored"))
    networks = []
    for size in options.imgsz:
        _, path, made = stages.float_tflite(model, Recipe("per-channel", "raw", size), photos)
        networks.append(Network(path, made.contract, photos.paths[:SQNR_IMAGES], options.out))
    floats = [matches(model, images, size) for images in sets for size in options.imgsz]
    inputs = provenance("chance", [file_ref(model), dataset.annotations], sorted(vars(options).items()), CONVERT_TOOLS)
    rows: list[Row] = []
    for sqnr in options.sqnr:
        draws, every = [], []
        for seed in range(options.draws):
            files, reached = zip(*(network.disturbed(sqnr, seed) for network in networks), strict=True)
            every.append(reached)
            found = [matches(path, images) for images in sets for path in files]
            each = [
                [mean_drop_interval([(before[kind], after[kind])], resamples=1).drop for kind in (1, 0)]
                for before, after in zip(floats, found, strict=True)
            ]
            draws.append([*np.mean(each[: len(files)], axis=0), *np.mean(each, axis=0)])
        mask, box, mask_mirrors, box_mirrors = (tuple(map(float, column)) for column in zip(*draws, strict=True))
        rows.append(Row(sqnr, tuple(every), mask, mask_mirrors, box, box_mirrors))
        result = Chance(dataset.name, len(dataset.images), tuple(options.imgsz), tuple(rows), inputs)
        write_text(options.out / "chance.json", to_json(result))
        write_text(options.out / "chance.md", markdown(result))
        print(markdown(result).splitlines()[-1], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
