"""The network that training starts from: fresh, or an imported checkpoint with the head made to fit the classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeai.artifacts import FileRef, ModelSpec
from edgeai.errors import InputError
from edgeai.files import file_ref
from edgeai.models import build_spec, load_model
from edgeai.models.layers import AnchorFreeHead
from edgeai.models.network import Network
from edgeai.models.registry import find, spec_of

PRIOR_OBJECTS = 5.0  # objects expected in an image of 640 pixels, for the class bias
PRIOR_SIZE = 640.0
BOX_BIAS = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """A network in training mode; `source` is the checkpoint it came from and `fresh` the weights that did not."""

    network: Network
    spec: ModelSpec
    source: FileRef | None
    fresh: frozenset[str]


def is_checkpoint(model: str) -> bool:
    """Whether a model is given as a file rather than by its registry name."""
    return Path(model).suffix.lower() in (".pt", ".pth", ".safetensors", ".onnx") or Path(model).is_file()


def start(model: str, names: tuple[str, ...], imgsz: int, seed: int, licence: str = "") -> Start:
    """The network of a checkpoint or a registry name with a head for `names`.

    A head for other classes keeps what can be kept of the old one (`transfer`). Raises InputError.
    """
    torch.manual_seed(seed)
    if not is_checkpoint(model):
        spec = replace(spec_of(find(model), names), imgsz=imgsz, licence=licence or "unknown")
        network = build_spec(_trainable(spec)).train()
        fresh = frozenset(network.state_dict())
        init_biases(network, spec)
        return Start(network, spec, None, fresh)
    loaded, old = load_model(Path(model))
    spec = replace(_trainable(old), names=names, imgsz=imgsz, notes=())
    if licence:
        spec = replace(spec, licence=licence, licence_source="")
    network = build_spec(spec).train()
    init_biases(network, spec)
    fresh = transfer(loaded.state_dict(), network, old.names, names)
    return Start(network, spec, file_ref(Path(model)), fresh)


def _trainable(spec: ModelSpec) -> ModelSpec:
    if spec.anchors:
        raise InputError(
            f"{spec.name} has an anchor-based head, which edgeai runs but does not train",
            f"train {'yolov8' + spec.scale + ('-seg' if spec.task == 'segment' else '')} instead",
        )
    return spec


def transfer(state: dict[str, Tensor], network: nn.Module, old: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    """Load into `network` (classes `names`) what fits of a state with the classes `old`; returns the names of the
    weights that nothing was loaded into. Where the classes differ, the class branch is narrowed to fit."""
    own = network.state_dict()
    same = tuple(old) == tuple(names)
    final = set() if same else _class_outputs(network)
    fitting = {
        name: tensor
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape and name not in final
    }
    if not same:
        fitting |= narrowed_branches(state, network, old, names)
    network.load_state_dict(fitting, strict=False)
    return frozenset(own) - frozenset(fitting)


def _class_outputs(network: nn.Module) -> set[str]:
    """The weights whose rows are classes."""
    names = set()
    for path, module in network.named_modules():
        if isinstance(module, AnchorFreeHead):
            names |= {f"{path}.cv3.{level}.2.{kind}" for level in range(len(module.cv3)) for kind in ("weight", "bias")}
        elif isinstance(module, nn.Linear):
            names |= {f"{path}.weight", f"{path}.bias"}
    return names


def narrowed_branches(
    state: dict[str, Tensor], network: nn.Module, old: Sequence[str], names: Sequence[str]
) -> dict[str, Tensor]:
    """The class branches of a head for other classes, made from those it had.

    The width of a branch follows from the number of classes, so its weights rarely fit. Of its channels those stay
    that weigh most for the classes that stay; rows of classes that the state does not know stay fresh.
    """
    own = network.state_dict()
    rows = [(new, old.index(name)) for new, name in enumerate(names) if name in old]
    result: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        if not isinstance(module, AnchorFreeHead):
            continue
        for level in range(len(module.cv3)):
            prefix = f"{path}.cv3.{level}."
            if own[f"{prefix}2.weight"].shape[1] <= state[f"{prefix}2.weight"].shape[1]:
                result |= _narrowed(state, own, prefix, rows)
    return result


def _narrowed(
    state: dict[str, Tensor], own: dict[str, Tensor], prefix: str, rows: list[tuple[int, int]]
) -> dict[str, Tensor]:
    """One class branch: 3x3, 3x3, 1x1."""
    width = own[f"{prefix}2.weight"].shape[1]
    final, middle = state[f"{prefix}2.weight"], state[f"{prefix}1.conv.weight"]
    used = final[[row for _, row in rows]] if rows else final
    second = used.abs().sum((0, 2, 3)).topk(width).indices.sort().values
    first = middle[second].abs().sum((0, 2, 3)).topk(width).indices.sort().values
    result = {
        f"{prefix}0.conv.weight": state[f"{prefix}0.conv.weight"][first],
        f"{prefix}1.conv.weight": middle[second][:, first],
    }
    for layer, kept in ((0, first), (1, second)):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            result[f"{prefix}{layer}.bn.{kind}"] = state[f"{prefix}{layer}.bn.{kind}"][kept]
    weight, bias = own[f"{prefix}2.weight"].clone(), own[f"{prefix}2.bias"].clone()
    for new, row in rows:
        weight[new], bias[new] = final[row][second], state[f"{prefix}2.bias"][row]
    return {**result, f"{prefix}2.weight": weight, f"{prefix}2.bias": bias}


def init_biases(network: nn.Module, spec: ModelSpec) -> None:
    """Biases of fresh box and class outputs: the class's is the log-odds of a few objects in an image (Lin et al.
    2017), so that the first steps are not spent on learning that most cells are empty."""
    for module in network.modules():
        if isinstance(module, AnchorFreeHead):
            for level, stride in enumerate(spec.strides):
                _bias(module.cv2[level]).data.fill_(BOX_BIAS)
                prior = math.log(PRIOR_OBJECTS / spec.nc / (PRIOR_SIZE / stride) ** 2)
                _bias(module.cv3[level]).data.fill_(prior)


def _bias(branch: nn.Module) -> Tensor:
    bias = list(branch.children())[-1].bias
    assert isinstance(bias, Tensor)
    return bias


def freeze(network: Network, layers: int) -> None:
    """Keep the first `layers` layers as they are. Raises InputError where none would be left to learn."""
    if layers >= len(network.model):
        raise InputError(f"--freeze {layers} leaves nothing to train", f"the network has {len(network.model)} layers")
    for layer in list(network.model)[:layers]:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def training_mode(network: Network, frozen: int) -> None:
    """Train mode, but for frozen layers, whose batch statistics stand still as well."""
    network.train()
    for layer in list(network.model)[:frozen]:
        layer.eval()


# --- checkpoints whose batch norms were folded away ---------------------------------------------


def folded_norms(network: nn.Module, fresh: frozenset[str]) -> dict[str, nn.BatchNorm2d]:
    """The loaded batch norms, where none of them holds statistics (mean 0, variance 1).

    Such a checkpoint was rebuilt from a fused network. In training mode its norms would normalise what they never
    did before, and everything it had learned would be gone at the first step.
    """
    norms = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and f"{name}.running_mean" not in fresh
    }
    empty = all(
        bool((norm.running_mean == 0).all()) and bool(((norm.running_var - 1).abs() < 2 * norm.eps).all())
        for norm in norms.values()
        if norm.running_mean is not None and norm.running_var is not None
    )
    return norms if empty else {}


@torch.no_grad()
def restore_norms(network: nn.Module, norms: dict[str, nn.BatchNorm2d], images: Iterable[Tensor]) -> None:
    """Measure the statistics of `norms` on `images` [B, 3, S, S] and set weight and bias so that the network computes
    in eval mode what it did before."""
    sums = {name: torch.zeros(3, norm.num_features, dtype=torch.float64) for name, norm in norms.items()}

    def watch(name: str) -> object:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            x = arguments[0].detach().double().cpu()
            sums[name] += torch.stack([x.mean((0, 2, 3)), (x * x).mean((0, 2, 3)), torch.ones(x.shape[1])])

        return norms[name].register_forward_pre_hook(hook)

    handles = [watch(name) for name in norms]
    mode = network.training
    network.eval()
    for batch in images:
        network(batch)
    network.train(mode)
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    for name, norm in norms.items():
        total, squares, count = sums[name]
        mean = total / count
        _renormalise(norm, mean, (squares / count - mean * mean).clamp(min=1e-6))


def _renormalise(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """New statistics for a norm, the same map."""
    assert norm.running_mean is not None and norm.running_var is not None
    device, dtype = norm.weight.device, norm.weight.dtype
    gain = norm.weight.double().cpu() / (norm.running_var.double().cpu() + norm.eps).sqrt()
    norm.bias.copy_((norm.bias.double().cpu() + gain * (mean - norm.running_mean.double().cpu())).to(device, dtype))
    norm.weight.copy_((gain * (variance + norm.eps).sqrt()).to(device, dtype))
    norm.running_mean.copy_(mean.to(device, dtype))
    norm.running_var.copy_(variance.to(device, dtype))
