"""Checkpoints of several releases against their own networks: what is imported computes the same, or is refused.

    python tests/bench/variants.py --peer /envs/8.4.190/bin/python --peer /envs/yolov5/bin/python --out runs/variants

Every --peer is the Python of an environment of its own that has a release of Ultralytics, or PyPI's yolov5, and torch;
nothing of them is imported here. `variants_peer.py` makes the checkpoints there. Compared are, on two images: boxes in
pixels, scores, mask coefficients and prototypes, decoded alike from the raw tensors of both, which are computed in
double precision. Writes variants.md, exits with 1 where a difference is beyond the limits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeai.artifacts import ModelSpec
from edgeai.errors import InputError
from edgeai.models import load_model
from edgeai.models.load import import_model

Arrays = NDArray[np.float64]
BOX_LIMIT, OTHER_LIMIT = 1e-3, 1e-4  # pixels; scores, coefficients, prototypes, logits


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint: the largest differences, or why it was refused."""

    version: str
    model: str
    variant: str
    state: str
    box: float = 0.0
    other: float = 0.0
    refused: str = ""

    @property
    def good(self) -> bool:
        return bool(self.refused) or (self.box <= BOX_LIMIT and self.other <= OTHER_LIMIT)


def decoded(raw: list[Arrays], spec: ModelSpec) -> tuple[Arrays, list[Arrays]]:
    """Boxes [N,4] in pixels, and everything else, from the raw tensors [B,C,h,w] of a network in the order of ours."""
    step = (2 if spec.task == "detect" else 3) if not spec.anchors else 1
    boxes, others = [], raw[len(spec.strides) * step :]
    for level, stride in enumerate(spec.strides):
        first, *rest = raw[level * step : (level + 1) * step]
        tensor = torch.from_numpy(first).double()
        if spec.anchors:
            batch, _, height, width = tensor.shape
            cells = tensor.view(batch, 3, -1, height, width).permute(0, 1, 3, 4, 2)
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            centre = (cells[..., :2].sigmoid() * 2 - 0.5 + torch.stack([x, y], -1)) * stride
            size = (cells[..., 2:4].sigmoid() * 2) ** 2 * torch.tensor(spec.anchors[level]).view(3, 1, 1, 2)
            boxes.append(torch.cat([centre, size], -1).reshape(-1, 4))
            others += [cells[..., 4 : 5 + spec.nc].sigmoid().numpy(), cells[..., 5 + spec.nc :].numpy()]
        else:
            bins = tensor.unflatten(1, (4, -1)).softmax(2)
            sides = (bins * torch.arange(bins.shape[2]).view(1, 1, -1, 1, 1)).sum(2)
            boxes.append((sides * stride).movedim(1, -1).reshape(-1, 4))
            others += [torch.from_numpy(rest[0]).double().sigmoid().numpy(), *rest[1:]]
    return (torch.cat(boxes).numpy() if boxes else np.zeros((1, 4))), others


def compared(folder: Path, entry: dict[str, str], version: str) -> Row:
    """One checkpoint, imported into our own file and read back."""
    described = (version, entry["model"], entry["variant"], entry["state"])
    work = folder / "imported.safetensors"
    try:
        import_model(folder / f"{entry['file']}.pt", work)
    except InputError as error:
        return Row(*described, refused=error.message.removeprefix(f"{entry['file']}.pt"))
    network, spec = load_model(work)
    reference = np.load(folder / f"{entry['file']}.npz")
    with torch.no_grad():
        ours = [output.numpy() for output in network.double()(torch.from_numpy(reference["x"]).double())]
    levels = range(len(spec.strides))
    kinds = ["m"] if spec.anchors else ["cv2", "cv3", *(["cv4"] if spec.task == "segment" else [])]
    names = [f"{kind}.{level}" for level in levels for kind in kinds]
    names = ["logits"] if spec.task == "classify" else names + ["proto"] * (spec.task == "segment")
    theirs = [reference[name] for name in names]
    (box, other), (wanted_box, wanted) = decoded(ours, spec), decoded(theirs, spec)
    worst = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(other, wanted, strict=True))
    return Row(*described, box=float(np.abs(box - wanted_box).max()), other=worst)


def made_by(python: str, folder: Path) -> tuple[str, list[dict[str, str]]]:
    """The checkpoints of one peer in `folder`, and which release it is."""
    script = Path(__file__).with_name("variants_peer.py")
    command = [python, "-E", str(script), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} {script.name} failed:\n{done.stderr[-2000:]}")
    described: dict[str, Any] = json.loads((folder / "made.json").read_text())
    return described["version"], described["made"]


def table(rows: list[Row]) -> str:
    """A line for each variant of a network; releases and states that behave alike share it, with the largest."""
    lines = ["| network | variant | states | releases | boxes, px | others | |", "|---|---|---|---|---|---|---|"]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.variant, row.refused), []).append(row)
    for (model, variant, refused), group in groups.items():
        states = ", ".join(dict.fromkeys(row.state for row in group))
        versions = ", ".join(dict.fromkeys(row.version for row in group))
        box, other = (f"{max(figures):.1e}" for figures in zip(*((row.box, row.other) for row in group), strict=True))
        verdict = "equal" if all(row.good for row in group) else "**differs**"
        shown = ("", "", f"refused: {refused.strip(': ')}") if refused else (box, other, verdict)
        lines.append(f"| {model} | {variant} | {states} | {versions} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", required=True, metavar="PYTHON")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for python in options.peer:
        with tempfile.TemporaryDirectory() as folder:
            version, made = made_by(python, Path(folder))
            rows += [compared(Path(folder), entry, version) for entry in made]
        (options.out / "variants.md").write_text(table(rows))
        print(version, sum(row.good for row in rows if row.version == version), "of", len(made), flush=True)
    sys.exit(0 if all(row.good for row in rows) else 1)


if __name__ == "__main__":
    main()
