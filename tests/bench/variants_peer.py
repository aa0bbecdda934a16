"""Checkpoints as a release of Ultralytics or of PyPI's yolov5 writes them, and what their own networks compute.

Run by `variants.py` with the Python of an environment that has the release, never by edgeai's own:

    PYTHON tests/bench/variants_peer.py --out DIR

Weights are drawn, batch norms measured on drawn images. Every NAME.pt in DIR has a NAME.npz beside it: `x`
[2,3,96,96] in 0..1 and the raw tensors of the head, `cv2.i`, `cv3.i`, `cv4.i` or `m.i` by level, `proto`, `logits`,
computed in double precision: what rounding does to a drawn network is not what is compared.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {
    "SiLU": None,
    "ReLU": "torch.nn.ReLU()",
    "ReLU6": "torch.nn.ReLU6()",
    "LeakyReLU": "torch.nn.LeakyReLU(0.1)",
    "Hardswish": "torch.nn.Hardswish()",
    "Mish": "torch.nn.Mish()",
}
STATES = ("trained", "fused", "not stripped")
SIZE = 96


class Ultralytics:
    """YOLOv8 and YOLOv5u with Ultralytics' classes."""

    name = "yolov8n-seg"
    others = ("yolov8n", "yolov8n-cls", "yolov5nu")

    def __init__(self) -> None:
        self.package = importlib.import_module("ultralytics")
        self.tasks = importlib.import_module("ultralytics.nn.tasks")
        self.conv = importlib.import_module("ultralytics.nn.modules.conv").Conv

    @property
    def version(self) -> str:
        return str(self.package.__version__)

    def build(self, name: str, activation: str | None) -> nn.Module:
        self.conv.default_act = nn.SiLU()  # a class attribute: a table's activation would stay for the next network
        table = self.tasks.yaml_model_load(f"{name.removesuffix('u')}.yaml")
        if activation:
            table["activation"] = activation
        kind = "Classification" if "-cls" in name else "Segmentation" if "-seg" in name else "Detection"
        network: nn.Module = getattr(self.tasks, f"{kind}Model")(table, nc=3, verbose=False)
        return network


class Yolov5:
    """YOLOv5 with the classes of PyPI's package."""

    name = "yolov5n-seg"
    others = ("yolov5n", "yolov5n-cls")

    def __init__(self) -> None:
        self.package = importlib.import_module("yolov5")
        self.yolo = importlib.import_module("yolov5.models.yolo")
        self.conv = importlib.import_module("yolov5.models.common").Conv

    @property
    def version(self) -> str:
        return f"yolov5 {self.package.__version__}"

    def build(self, name: str, activation: str | None) -> nn.Module:
        import yaml

        self.conv.default_act = nn.SiLU()
        folder = Path(self.package.__file__).parent / "models"
        segments = name.endswith("-seg")
        path = folder / "segment/yolov5n-seg.yaml" if segments else folder / "yolov5n.yaml"
        table = yaml.safe_load(path.read_text())
        if activation:
            table["activation"] = activation
        network: nn.Module = (self.yolo.SegmentationModel if segments else self.yolo.DetectionModel)(table, nc=3)
        if name.endswith("-cls"):
            network = self.yolo.ClassificationModel(model=network, nc=3, cutoff=10)
        return network


def settle(network: nn.Module) -> nn.Module:
    """Batch norms with the statistics of drawn images, drawn gains and shifts, so that folding is exercised."""
    draw = torch.Generator().manual_seed(1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.weight.data.uniform_(0.7, 1.3, generator=draw)
        norm.bias.data.normal_(0, 0.2, generator=draw)
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.rand(8, 3, SIZE, SIZE, generator=draw))
    for norm in norms:
        norm.momentum = 0.03
    return network.eval()


def heads(network: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """The raw tensors of the head on two drawn images, from the layers that compute them."""
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    found: dict[str, np.ndarray[Any, Any]] = {"x": x.numpy()}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: found.__setitem__(name, output.detach().numpy().copy())

    inside = network
    while hasattr(inside, "_orig_mod") or isinstance(inside, nn.DataParallel):
        inside = inside._orig_mod if hasattr(inside, "_orig_mod") else inside.module
    head = inside.model[-1]
    hooks = []
    for kind in ("cv2", "cv3", "cv4", "m"):
        branches = getattr(head, kind, None)
        if isinstance(branches, nn.ModuleList):
            hooks += [branch.register_forward_hook(keep(f"{kind}.{i}")) for i, branch in enumerate(branches)]
    for kind, name in (("proto", "proto"), ("linear", "logits")):
        if hasattr(head, kind):
            hooks.append(getattr(head, kind).register_forward_hook(keep(name)))
    with torch.no_grad():
        inside.float().eval().double()(x.double())
    for hook in hooks:
        hook.remove()
    return found


def content(network: nn.Module, state: str) -> dict[str, Any]:
    """What training writes: stripped and halved, or as it is in the middle of a run."""
    arguments = {"imgsz": SIZE, "task": "segment"}
    if state != "not stripped":
        return {"epoch": -1, "model": network.half(), "ema": None, "optimizer": None, "train_args": arguments}
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    if hasattr(network, "init_criterion"):
        network.args = importlib.import_module("types").SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, overlap_mask=True)
        try:
            network.criterion = network.init_criterion()
        except Exception as error:
            print("no loss object:", error)
    started = copy.deepcopy(network)
    with torch.no_grad():
        started.model[0].conv.weight.zero_()  # the EMA counts, not this one
    return {"epoch": 3, "model": started, "ema": network.half(), "updates": 9, "optimizer": optimizer.state_dict(),
            "train_args": arguments}  # fmt: skip


def shortcut(network: nn.Module) -> None:
    network.model[2].m[0].add = not network.model[2].m[0].add


def pool(network: nn.Module) -> None:
    network.model[9].m = nn.MaxPool2d(3, 1, 1)


def bilinear(network: nn.Module) -> None:
    next(m for m in network.modules() if isinstance(m, nn.Upsample)).mode = "bilinear"


def swapped(network: nn.Module) -> None:
    concat = next(m for m in network.model if type(m).__name__ == "Concat")
    concat.f = concat.f[::-1]


def eps(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-2


def one_eps(network: nn.Module) -> None:
    network.model[1].bn.eps = 0.1


def dfl(network: nn.Module) -> None:
    kernel = network.model[-1].dfl.conv.weight
    kernel.data[:, kernel.shape[1] // 2 :] = 0


def dilation(network: nn.Module) -> None:
    network.model[1].conv.dilation, network.model[1].conv.padding = (2, 2), (2, 2)


def mixed(network: nn.Module) -> None:
    network.model[2].cv1.act = nn.LeakyReLU(0.3)
    network.model[9].cv1.act = nn.Identity()


def gelu(network: nn.Module) -> None:
    network.model[1].act = nn.GELU()


CHANGES: dict[str, Callable[[nn.Module], None]] = {
    "shortcut changed": shortcut,
    "SPPF kernel 3": pool,
    "bilinear upsampling": bilinear,
    "Concat sources swapped": swapped,
    "eps 1e-2": eps,
    "eps 0.1 in one layer": one_eps,
    "DFL kernel pruned": dfl,
    "dilation 2": dilation,
    "LeakyReLU(0.3) and Identity in one layer each": mixed,
    "GELU in one layer": gelu,
}
WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {"DataParallel": nn.DataParallel, "torch.compile": torch.compile}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    peer: Any = Yolov5() if importlib.util.find_spec("yolov5") else Ultralytics()
    made: list[dict[str, str]] = []

    def write(
        model: str, variant: str, state: str, network: nn.Module, wrap: Callable[[nn.Module], Any] | None = None
    ) -> None:
        name = f"{len(made):03d}"
        saved = content(network, state)
        if wrap is not None:
            saved["model"] = wrap(saved["model"])
        torch.save(saved, out / f"{name}.pt")
        loaded = torch.load(out / f"{name}.pt", map_location="cpu", weights_only=False)
        np.savez(out / f"{name}.npz", **heads(loaded.get("ema") or loaded["model"]))
        made.append({"file": name, "model": model, "variant": variant, "state": state})

    def fresh(model: str, activation: str | None) -> nn.Module:
        torch.manual_seed(0)
        network = settle(peer.build(model, activation))
        network.names = {0: "bolt", 1: "nut", 2: "washer"}
        return network

    for label, activation in ACTIVATIONS.items():
        for state in STATES:
            network = fresh(peer.name, activation)
            write(peer.name, label, state, network.fuse() if state == "fused" else network)
    for model in peer.others:
        for label in ("SiLU", "ReLU"):
            for state in STATES[:2]:
                network = fresh(model, ACTIVATIONS[label])
                write(model, label, state, network.fuse() if state == "fused" else network)
    for label, change in CHANGES.items():
        network = fresh(peer.name, None)
        if label.startswith("DFL") and not hasattr(network.model[-1], "dfl"):
            continue
        change(network)
        write(peer.name, label, "trained", network)
    for label, wrap in WRAPPERS.items():
        write(peer.name, label, "trained", fresh(peer.name, None), wrap)
    (out / "made.json").write_text(json.dumps({"version": peer.version, "made": made}, indent=2))


if __name__ == "__main__":
    main()
