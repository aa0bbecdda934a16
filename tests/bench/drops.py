"""What our int8 files lose: every layout and granularity, mean over input sizes, with paired-bootstrap intervals.

    python tests/bench/drops.py [--imgsz 256 320] [--weights auto learned] [--layout raw split concat] [--out FOLDER]

`auto` is the default recipe, `learned` is `weights = "learned"`. One network, one calibration set, one protocol; the
interval is of the mean drop, all sizes sharing every draw. "With mirrors" is the mean with the same images mirrored as
well, a draw taking an image and its mirror image together. The evaluated images choose nothing. Writes drops.json and
drops.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror import mirrored

from edgeai.artifacts import DropInterval, EvalProtocol, Matches, Provenance, to_json
from edgeai.cache import StageCache, default_root
from edgeai.cli.listener import TerminalListener
from edgeai.cli.render import markdown_table
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.bootstrap import mean_drop_interval
from edgeai.evaluate.coco import detect, evaluate, match
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.postprocess import Thresholds
from edgeai.files import write_text
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.provenance import CONVERT_TOOLS, provenance
from edgeai.quantize.ranges.calibration import open_calibration
from edgeai.quantize.recipe import Method

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
LAYOUTS, GRAINS = ("raw", "split", "concat"), ("per-channel", "per-tensor")


@dataclass(frozen=True, slots=True)
class Metric:
    plain: DropInterval
    with_mirrors: DropInterval
    each: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Drops in AP points: mean over the sizes, that with the mirror images as well, then size by size, the images as
    they are before their mirror images. `seconds`: to the int8 file, per size, less the stages that another row had
    run; 0.0 where the file was there."""

    layout: str
    granularity: str
    weights: str
    mask: Metric
    box: Metric
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Drops:
    protocol: EvalProtocol
    sizes: tuple[int, ...]
    calibration_images: int
    rows: tuple[Row, ...]
    provenance: Provenance


def matches(path: Path, dataset: Dataset, imgsz: int | None = None) -> tuple[Matches, ...]:
    """Of boxes, then of masks."""
    with open_runner(path, imgsz=imgsz, threads=2) as runner:
        return match(dataset, detect(runner, dataset, Thresholds()), runner.contract.spec.names, True)


def compared(floats: Sequence[tuple[Matches, ...]], ours: Sequence[tuple[Matches, ...]], kind: int) -> Metric:
    """The drops of boxes (0) or masks (1); the first half of the settings is without mirrors."""
    pairs = [(before[kind], after[kind]) for before, after in zip(floats, ours, strict=True)]
    each = tuple(mean_drop_interval([pair], resamples=1).drop for pair in pairs)
    return Metric(mean_drop_interval(pairs[: len(pairs) // 2]), mean_drop_interval(pairs), each)


def _interval(drop: DropInterval) -> str:
    return f"{drop.drop:.2f} [{drop.low:.2f}, {drop.high:.2f}]"


def markdown(found: Drops) -> str:
    sizes = " and ".join(map(str, found.sizes))
    head = (
        f"YOLOv8n-seg, {found.protocol.num_images} images of {found.protocol.dataset}, {found.calibration_images} "
        f"calibration images; AP points lost against fp32, mean of {sizes} px with its 95 % paired-bootstrap interval, "
        "then with the mirror images of the same photos as well, then size by size, mirrored ones last.\n"
    )
    body = []
    for row in found.rows:
        cells = [row.layout, row.granularity, row.weights]
        for metric in (row.mask, row.box):
            each = " / ".join(f"{v:.2f}" for v in metric.each)
            cells += [_interval(metric.plain), _interval(metric.with_mirrors), each]
        body.append((*cells, " / ".join(f"{s:.0f}" if s else "–" for s in row.seconds)))
    metrics = [cell for name in ("mask", "box") for cell in (name, f"{name}, with mirrors", "each")]
    header = ("layout", "granularity", "weights", *metrics, "s")
    return head + "\n" + markdown_table(header, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--imgsz", type=int, nargs="+", default=[256, 320])
    parser.add_argument("--weights", nargs="+", choices=("auto", "nearest", "learned"), default=["auto"])
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--granularity", nargs="+", choices=GRAINS, default=GRAINS)
    parser.add_argument("--images", default="val", help="folder of the kit's coco/ that is evaluated")
    parser.add_argument("--out", type=Path, default=Path("runs/drops"))
    options = parser.parse_args()
    model = options.kit / "weights/yolov8n-seg.pt"
    coco = options.kit / "coco"
    photos = open_calibration(coco / "calibration/images")
    dataset = read_dataset(coco / options.images / "images", coco / options.images / "instances.json")
    stages = Stages(StageCache(default_root()), TerminalListener())
    options.out.mkdir(parents=True, exist_ok=True)
    sets = (dataset, mirrored(dataset, options.out / "mirrored"))
    floats = [matches(model, images, size) for images in sets for size in options.imgsz]
    with open_runner(model, imgsz=options.imgsz[0], threads=2) as runner:
        protocol = evaluate(runner, dataset).protocol
    inputs = provenance("drops", [], [("method", Method().describe()), *sorted(vars(options).items())], CONVERT_TOOLS)
    rows: list[Row] = []
    for weights, layout, grain in itertools.product(options.weights, options.layout, options.granularity):
        files, seconds = [], []
        for size in options.imgsz:
            recipe = Recipe(grain, layout, size, method=Method(weights=weights))
            begin = time.monotonic()
            path, _, output = stages.quantized(model, recipe, photos)
            seconds.append(0.0 if output.reused else time.monotonic() - begin)
            files.append(path)
        ours = [matches(path, images) for images in sets for path in files]
        rows.append(Row(layout, grain, weights, compared(floats, ours, 1), compared(floats, ours, 0), tuple(seconds)))
        found = Drops(protocol, tuple(options.imgsz), len(photos.paths), tuple(rows), inputs)
        write_text(options.out / "drops.json", to_json(found))
        write_text(options.out / "drops.md", markdown(found))
        print(markdown(found).splitlines()[-1], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
