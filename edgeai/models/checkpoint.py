"""From the inert object tree of an Ultralytics checkpoint to a network with its weights and its spec.

Which network it is follows from the weights' names and shapes, not from what the file says of itself: every weight
is checked against the network built, and none may be missing or left over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeai.artifacts import ModelSpec
from edgeai.errors import InputError
from edgeai.models.network import Network
from edgeai.models.recognise import recognise
from edgeai.models.registry import spec_of
from edgeai.models.unpickle import Checkpoint, Placeholder, printable
from edgeai.models.weights import fill

if TYPE_CHECKING:
    from torch import Tensor

MAX_MODULE_DEPTH = 32
MAX_WEIGHTS = 20_000  # the largest published network has under 2000
MAX_CLASSES = 100_000
RETRAIN_HINT = "pass the .pt that training wrote (best.pt), or an ONNX file of the network"

# Constants of the decode and counters of the training: no weights of the network.
_NOT_WEIGHTS = re.compile(r"(\.num_batches_tracked|\.dfl\.conv\.weight|\.anchor_grid|\.strides?)$")
_NAME = re.compile("[A-Za-z0-9_]{1,64}")
_ANCHORS = re.compile(r"^model\.\d+\.anchors$")


@dataclass(frozen=True, slots=True)
class _Model:
    """The model object of a checkpoint, still inert, and what the file says around it."""

    node: Placeholder
    licence: str
    imgsz: int | None


def load_checkpoint(path: Path) -> tuple[Network, ModelSpec]:
    """The network of a `.pt` file, in eval mode and fp32, and its spec.

    Raises InputError where the file is hostile or damaged, of a network edgeai does not build, or where a weight
    does not fit.
    """
    with Checkpoint(path) as checkpoint:
        model = _find_model(checkpoint)
        nodes = _weight_nodes(model.node, checkpoint.name)
        anchors = _anchors(checkpoint, nodes)
        weights = {
            name: _float_weight(checkpoint, node, name)
            for name, node in nodes.items()
            if not _NOT_WEIGHTS.search(name) and not _ANCHORS.match(name)
        }
        described = _describe(model.node)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    entry, nc = recognise(shapes, path.name, described)
    spec = spec_of(entry, _class_names(model.node, nc, path.name))
    spec = replace(spec, licence=model.licence, imgsz=model.imgsz or spec.imgsz, anchors=anchors or spec.anchors)
    return fill(spec, weights, path.name), spec


def _find_model(checkpoint: Checkpoint) -> _Model:
    """`ema` where it is there, else `model`: the EMA is what training evaluates and keeps."""
    tree = checkpoint.tree
    if isinstance(tree, Placeholder):
        return _Model(tree, licence="unknown", imgsz=None)
    if not isinstance(tree, dict):
        raise InputError(f"{checkpoint.name} holds no model", RETRAIN_HINT)
    node = tree.get("ema") or tree.get("model")
    if not isinstance(node, Placeholder):
        raise InputError(f"{checkpoint.name} holds weights without their model, or something else", RETRAIN_HINT)
    licence = tree.get("license")
    return _Model(
        node=node,
        licence=printable(licence) if isinstance(licence, str) and licence else "unknown",
        imgsz=_imgsz(tree.get("train_args")) or _imgsz(tree.get("opt")) or _imgsz(_state(node).get("args")),
    )


def _weight_nodes(model: Placeholder, name: str) -> dict[str, object]:
    """Every parameter and buffer under its dotted name, in the order of the file."""
    found: dict[str, object] = {}

    def walk(node: object, prefix: str, depth: int) -> None:
        # a shared or cyclic module would be walked over and over: both limits end it
        if depth > MAX_MODULE_DEPTH or len(found) > MAX_WEIGHTS:
            raise InputError(f"{name} is not a checkpoint: its modules nest too deep or are too many")
        state = _state(node)
        for kind in ("_parameters", "_buffers"):
            for key, value in _named(state.get(kind)):
                if value is not None:
                    found[f"{prefix}{key}"] = value
        for key, child in _named(state.get("_modules")):
            if child is not None:
                walk(child, f"{prefix}{key}.", depth + 1)

    walk(model, "", 0)
    if not found:
        raise InputError(f"{name} holds no weights", RETRAIN_HINT)
    return found


def _state(node: object) -> dict[Any, Any]:
    """The attributes a placeholder was given, empty where there are none."""
    state = node.state if isinstance(node, Placeholder) else None
    return state if isinstance(state, dict) else {}


def _named(value: object) -> list[tuple[str, object]]:
    """The items of a dictionary of a module that have usable names."""
    if not isinstance(value, dict):
        return []
    return [(key, item) for key, item in value.items() if isinstance(key, str) and _NAME.fullmatch(key)]


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


def _class_names(model: Placeholder, nc: int, name: str) -> tuple[str, ...]:
    """The class names {index: name} or [name] of the model; class0, class1, ... where it has none."""
    names = _state(model).get("names")
    if isinstance(names, dict) and names and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not names:
        return tuple(f"class{i}" for i in range(nc))
    if not isinstance(names, list) or len(names) > MAX_CLASSES or not all(isinstance(n, str | int) for n in names):
        raise InputError(f"{name} has class names that are not a list of names")
    if len(names) != nc:
        raise InputError(f"{name} names {len(names)} classes, but its head has {nc} scores", RETRAIN_HINT)
    return tuple(str(n) if str(n).isprintable() else printable(n) for n in names)


def _imgsz(arguments: object) -> int | None:
    """The image size in the training arguments: an integer or the larger of [height, width]."""
    values = arguments if isinstance(arguments, dict) else _state(arguments)
    size = values.get("imgsz")
    if isinstance(size, list | tuple) and size and all(isinstance(n, int) for n in size):
        size = max(size)
    return size if isinstance(size, int) and not isinstance(size, bool) and 32 <= size <= 8192 else None


def _describe(model: Placeholder) -> str:
    """What the file calls itself, for the error where it is not recognised: its class and layer table."""
    state = _state(model)
    table = state.get("yaml")
    file = (table.get("yaml_file") if isinstance(table, dict) else None) or state.get("yaml_file")
    kind = model.origin.rpartition(".")[2]
    return f"{kind} of {printable(file)}" if isinstance(file, str) else kind
