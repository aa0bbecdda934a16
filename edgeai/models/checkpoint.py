"""From the inert object tree of an Ultralytics checkpoint to a network with its weights and its spec.

Which network it is follows from the weights' names and shapes, not from what the file says of itself: every weight
is checked against the network built, and none may be missing or left over. What has no weights is checked as well
(`edgeai.models.held`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import ModelSpec
from edgeai.errors import InputError
from edgeai.models.about import Licence, class_names, image_size, licence_of
from edgeai.models.inert import RETRAIN_HINT, Tree, class_of, plain, state_of, tree_of, unwrapped
from edgeai.models.recognise import recognise
from edgeai.models.registry import spec_of
from edgeai.models.unpickle import Checkpoint, Placeholder, printable
from edgeai.models.weights import fill

if TYPE_CHECKING:
    from torch import Tensor

    from edgeai.models.network import Network

# Constants of the decode, counters of the training and of a profiler: no weights of the network.
_NOT_WEIGHTS = re.compile(
    r"(\.num_batches_tracked|\.dfl\.conv\.weight|\.anchor_grid|\.strides?|(^|\.)total_(ops|params))$"
)
_ANCHORS = re.compile(r"^model\.\d+\.anchors$")


@dataclass(frozen=True, slots=True)
class _Model:
    """The model object of a checkpoint, still inert, and what the file says around it."""

    node: Placeholder
    licence: Licence
    imgsz: object


def load_checkpoint(path: Path) -> tuple[Network, ModelSpec]:
    """The network of a `.pt` file, in eval mode and fp32, and its spec.

    Raises InputError where the file is hostile or damaged, of a network edgeai does not build, or where a weight
    or what has no weights does not fit.
    """
    from edgeai.models.activations import apply_variants
    from edgeai.models.held import held

    with Checkpoint(path) as checkpoint:
        model = _find_model(checkpoint)
        tree = tree_of(model.node, checkpoint.name)
        anchors = _anchors(checkpoint, tree.weights)
        weights = {
            name: _float_weight(checkpoint, node, name)
            for name, node in tree.weights.items()
            if not _NOT_WEIGHTS.search(name) and not _ANCHORS.match(name)
        }
        weights |= _norms_of_fused(tree, weights)
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        entry, nc = recognise(shapes, path.name, _describe(model.node))
        names, notes = class_names(state_of(model.node).get("names"), nc, path.name)
        spec = spec_of(entry, names)
        size, about_size = image_size(model.imgsz, max(spec.strides, default=32))
        spec = replace(
            spec,
            licence=model.licence.name,
            licence_source=model.licence.source,
            imgsz=size or spec.imgsz,
            anchors=anchors or spec.anchors,
            notes=(*notes, *about_size),
        )
        network = fill(spec, weights, path.name)
        variants = held(tree, network, spec, checkpoint.tensor, path.name)
    apply_variants(network, variants)
    return network, replace(spec, variants=variants)


def stated_licence(path: Path) -> Licence:
    """The licence of the weights of a `.pt` file, without building its network. Raises InputError, needs no torch."""
    with Checkpoint(path) as checkpoint:
        return _find_model(checkpoint).licence


def _find_model(checkpoint: Checkpoint) -> _Model:
    """`ema` where it is there, else `model`: the EMA is what training evaluates and keeps."""
    tree = checkpoint.tree
    content = tree if isinstance(tree, dict) else {"model": tree}
    node = content.get("ema") or content.get("model")
    if not isinstance(node, Placeholder):
        what = "holds weights without their model, or something else" if isinstance(tree, dict) else "holds no model"
        raise InputError(f"{checkpoint.name} {what}", RETRAIN_HINT)
    node = unwrapped(node)
    arguments = (content.get("train_args"), content.get("opt"), state_of(node).get("args"))
    sizes = (_argument(values, "imgsz") for values in arguments)
    return _Model(
        node=node,
        licence=licence_of(content.get("license"), node),
        imgsz=next((size for size in sizes if size is not None), None),
    )


def _norms_of_fused(tree: Tree, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms that do nothing but add the bias, for convolutions whose norm was folded into them; their bias is
    taken out of `weights`."""
    import torch

    from edgeai.models.layers import BN_EPS

    weight, variance = _unit_norm(BN_EPS)
    norms: dict[str, Tensor] = {}
    for layer, node in tree.modules.items():
        key = f"{layer}.conv.bias"
        if class_of(node) == "Conv" and f"{layer}.bn.weight" not in weights and key in weights:
            bias = weights.pop(key)
            norms |= {
                f"{layer}.bn.weight": torch.full_like(bias, weight),
                f"{layer}.bn.bias": bias,
                f"{layer}.bn.running_mean": torch.zeros_like(bias),
                f"{layer}.bn.running_var": torch.full_like(bias, variance),
            }
    return norms


def _unit_norm(eps: float) -> tuple[float, float]:
    """Weight and variance near 1 of a batch norm that multiplies by 1: exactly so in fp32, nearly so beyond.

    1 - eps is no fp32 number, and what it is rounded to would scale every layer a little. Of the thousands of fp32
    weights just above 1 one has a square that is.
    """
    import numpy as np

    step = np.finfo(np.float32).eps
    weights = np.float32(1) + step * np.arange(int(eps / 2 / step), dtype=np.float32)
    variances = (weights.astype(np.float64) ** 2 - eps).astype(np.float32)
    gains = weights * (1 / np.sqrt(variances + np.float32(eps)))  # as torch computes them
    error = np.abs(weights.astype(np.float64) / np.sqrt(variances.astype(np.float64) + eps) - 1)
    best = np.where(gains == 1, error, 1).argmin()
    return float(weights[best]), float(variances[best])


def _float_weight(checkpoint: Checkpoint, node: object, name: str) -> Tensor:
    weight = checkpoint.tensor(node, name)
    if not weight.is_floating_point():
        raise InputError(f"{checkpoint.name}: {name} holds {weight.dtype}, not floating point", RETRAIN_HINT)
    weight = weight.float()
    if not bool(weight.isfinite().all()):
        raise InputError(f"{checkpoint.name}: {name} holds a value that is not a number or infinite", RETRAIN_HINT)
    return weight


def _anchors(checkpoint: Checkpoint, nodes: dict[str, object]) -> tuple[tuple[float, ...], ...]:
    """The anchors of a YOLOv5 in pixels, which fine-tuning may have changed; empty where there are none.

    The buffer [levels, 3, 2] is in cells of its level, and level i has a stride of 8 * 2**i.
    """
    names = [name for name in nodes if _ANCHORS.match(name)]
    if not names:
        return ()
    cells = checkpoint.tensor(nodes[names[0]], names[0]).double()
    levels = cells.shape[0] if cells.ndim == 3 else 0
    if levels not in (3, 4) or tuple(cells.shape[1:]) != (3, 2) or not bool(cells.isfinite().all()):
        raise InputError(f"{checkpoint.name}: {names[0]} has the shape {list(cells.shape)}, not [levels, 3, 2]")
    return tuple(tuple(float(v) * 8 * 2**i for v in level.flatten()) for i, level in enumerate(cells))


def _argument(arguments: object, key: str) -> object:
    """A training argument, kept as a dictionary or as the attributes of a namespace."""
    values = arguments if isinstance(arguments, dict) else state_of(arguments)
    return plain(values.get(key))


def _describe(model: Placeholder) -> str:
    """What the file calls itself, for the error where it is not recognised: its class and layer table."""
    state = state_of(model)
    table = state.get("yaml")
    file = (table.get("yaml_file") if isinstance(table, dict) else None) or state.get("yaml_file")
    kind = class_of(model)
    return f"{kind} of {printable(file)}" if isinstance(file, str) else kind
