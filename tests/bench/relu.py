"""What int8 leaves of a YOLOv8n-seg with ReLU, beside the same network with SiLU: SQNR of every output.

    python tests/bench/relu.py start relu.safetensors
    edgeai synth runs/relu/set --train 400 --val 0 --calibration 0 --seed 1
    edgeai train relu.safetensors --data runs/relu/set/train --epochs 4 --lr 0.001 --warmup-epochs 0.3 \\
      --accumulate 1 --mosaic 0 -o tuned.safetensors
    python tests/bench/relu.py report tuned.safetensors --out runs/relu

`start` writes the bundled weights with ReLU in the place of SiLU. `report` quantises both networks (raw, 256 px, 100
pictures of seed 101) as `edgeai quantize` does, the one with ReLU without equalisation as well, and holds what LiteRT
gives against the float TFLite inside the photos of 60 pictures of seed 102. The exponents of the equalisation were
chosen on pictures of seed 77: none of those is used here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeai.artifacts import Granularity, Variant
from edgeai.cache import StageCache
from edgeai.cli.listener import TerminalListener
from edgeai.cli.render import markdown_table
from edgeai.evaluate.backends import open_runner
from edgeai.files import write_text
from edgeai.imaging.images import letterbox, normalised, read_image
from edgeai.models.bundled import BUNDLED, bundled_model
from edgeai.models.weights import load_weights, save_weights
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.quantize.improve.judge import inside, share
from edgeai.quantize.ranges.calibration import CalibrationSource, open_calibration
from edgeai.quantize.recipe import Method
from edgeai.synthetic.write import generate

SIZE = 256
CALIBRATION, REPORT = (100, 101), (60, 102)  # pictures, seed
GRAINS: tuple[Granularity, ...] = ("per-channel", "per-tensor")
HEADER = ("file", "box", "logits", "coefficients", "prototypes", "mean of all outputs")
KINDS = ("dfl", "logits", "coefs", "proto")


def silu() -> Path:
    bundled = bundled_model(BUNDLED[0])
    assert bundled is not None
    return bundled


def start(out: Path) -> None:
    network, spec = load_weights(silu())
    save_weights(network.state_dict(), replace(spec, variants=(Variant("*", "relu"),)), out)


def outputs(path: Path, pixels: list[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
    """Every output over all pictures."""
    with open_runner(path, threads=2) as runner:
        each = [[out.real().astype(np.float64) for out in runner.infer(picture)] for picture in pixels]
    return [np.concatenate(values) for values in zip(*each, strict=True)]


def row(
    name: str, weights: Path, grain: Granularity, method: Method, stages: Stages, photos: CalibrationSource,
    pixels: list[NDArray[np.uint8]],
) -> tuple[str, ...]:  # fmt: skip
    """SQNR in dB inside the photos, level by level, of one int8 file."""
    recipe = Recipe(grain, imgsz=SIZE, method=method)
    int8, made, _ = stages.quantized(weights, recipe, photos)
    plain = replace(recipe, method=replace(method, equalise=False))
    _, floats, converted = stages.float_tflite(weights, plain, photos)
    contract = converted.contract
    taken = np.stack([normalised(picture, contract.mean, contract.std) for picture in pixels])
    photo = inside(torch.from_numpy(taken), contract)
    levels: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for role, exact, coded in zip(contract.roles, outputs(floats, pixels), outputs(int8, pixels), strict=True):
        counts = share(torch.from_numpy(exact), photo, contract).numpy()
        ratio = (exact**2 * counts).sum() / ((coded - exact) ** 2 * counts).sum()
        levels[role.kind].append(10 * np.log10(ratio))
    chosen = next((str(f.value) for f in made.provenance.options if f.name == "tuning_chosen"), "")
    mean = np.mean([value for values in levels.values() for value in values])
    cells = (", ".join(f"{value:.1f}" for value in values) for values in levels.values())
    return (f"{name} {grain} ({chosen})", *cells, f"{mean:.1f}")


def report(weights: Path, out: Path) -> None:
    photos, pictures = (
        open_calibration(generate_once(out / f"seed{seed}", count, seed)) for count, seed in (CALIBRATION, REPORT)
    )
    pixels = [letterbox(read_image(path), SIZE)[0] for path in pictures.paths]
    stages = Stages(StageCache(out / "cache"), TerminalListener())
    asked = [("ReLU, not equalised,", weights, Method(equalise=False)), ("ReLU", weights, Method())]
    rows = [
        row(name, network, grain, method, stages, photos, pixels)
        for name, network, method in (*asked, ("SiLU", silu(), Method()))
        for grain in GRAINS
    ]
    text = markdown_table(HEADER, rows) + "\n"
    write_text(out / "relu.md", text)
    print(text)


def generate_once(folder: Path, count: int, seed: int) -> Path:
    if not folder.exists():
        generate(folder, "val", count, seed)
    return folder / "val" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["start", "report"])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/relu"))
    options = parser.parse_args()
    options.out = options.out.resolve()  # what a stage caches is asked for by absolute paths
    options.out.mkdir(parents=True, exist_ok=True)
    if options.step == "start":
        start(options.weights)
    else:
        report(options.weights, options.out)


if __name__ == "__main__":
    main()
