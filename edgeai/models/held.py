"""What has no weights, held against the network that is built: one check per kind of module.

Names and shapes of weights do not tell a ReLU from a SiLU, a stride from a dilation or a network with a residual sum
from one without. The file says all of it, in the attributes of its modules. Activation functions and the eps of batch
norms are taken from it (`edgeai.models.activations`); anything else must be as it is built here, or the file is
refused.

An attribute that the file does not have is taken to be as published: classes of older releases lack what came later,
and computed then what the default of later releases computes (`SPPF.n`, `SPPF.add`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeai.artifacts import Activation, ModelSpec, Variant
from edgeai.errors import InputError
from edgeai.models.activations import CLASSES, Function, convolutions, variants_of
from edgeai.models.inert import Tree, class_of, plain, state_of
from edgeai.models.layers import (
    C3,
    SPPF,
    AnchorFreeHead,
    AnchorHead,
    Bottleneck,
    C2f,
    Classify,
    Concat,
    ConvBnAct,
    Proto,
)
from edgeai.models.network import PREVIOUS, Network
from edgeai.models.unpickle import Placeholder, printable

HINT = "export it to ONNX with its own tools and pass the .onnx file"
ACTIVATION_HINT = "edgeai builds SiLU, ReLU, ReLU6, LeakyReLU, Hardswish, Mish and Identity; or pass an ONNX file of it"
TENSOR = Callable[[object, str], Tensor]

# our class -> what a file calls it
_CALLED: dict[type[nn.Module], tuple[str, ...]] = {
    ConvBnAct: ("Conv",),
    Bottleneck: ("Bottleneck",),
    C2f: ("C2f",),
    C3: ("C3",),
    SPPF: ("SPPF",),
    Proto: ("Proto",),
    Concat: ("Concat",),
    Classify: ("Classify",),
    AnchorFreeHead: ("Detect", "Segment"),
    AnchorHead: ("Detect", "Segment"),
    nn.BatchNorm2d: ("BatchNorm2d", "SyncBatchNorm"),
}
# torch's classes -> the attributes that decide what they compute
_DECIDE: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.ConvTranspose2d: ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups", "padding_mode"),
    nn.BatchNorm2d: ("affine", "track_running_stats"),
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    nn.Upsample: ("size", "scale_factor", "mode"),
    nn.AdaptiveAvgPool2d: ("output_size",),
}
_PAIRS = frozenset(
    {"kernel_size", "stride", "padding", "output_padding", "dilation", "scale_factor", "output_size"}
)
# forwards of a class that compute what its usual one does, given other weights or less speed
_FORWARDS = frozenset({"forward", "forward_fuse", "forward_split"})
_DO_NOTHING = frozenset({"Identity", "Dropout", "Dropout2d"})  # when not training


def held(tree: Tree, network: Network, spec: ModelSpec, tensor: TENSOR, name: str) -> tuple[Variant, ...]:
    """How the network of a file differs from the published `network`, which is built from `spec`.

    `tensor` reads a tensor of the file. Raises InputError naming the layer and both values where they differ in
    anything but activation functions and eps.
    """
    check = _Check(tree, spec, tensor, name)
    ours = dict(network.named_modules())
    functions = {layer: check.function(layer) for layer in convolutions(network)}
    eps = {layer: check.eps(layer, module.bn.eps) for layer, module in convolutions(network).items()}
    inner = {f"{layer}.act" for layer in functions}
    for layer, module in ours.items():
        if layer and layer not in inner:
            check.module(layer, module)
    check.sources(network)
    check.nothing_else({*ours, *inner})
    return variants_of(network, functions, eps)


class _Check:
    """The modules of one file; every method raises InputError where one is not as it is built here."""

    def __init__(self, tree: Tree, spec: ModelSpec, tensor: TENSOR, name: str) -> None:
        self.tree, self.spec, self.tensor, self.name = tree, spec, tensor, name

    def function(self, layer: str) -> Function:
        """The activation function of a convolution."""
        node = self.tree.modules.get(f"{layer}.act")
        if node is None:
            raise InputError(f"{self.name}: {layer} does not say which activation function it has", ACTIVATION_HINT)
        kind, state = class_of(node), state_of(node)
        known: Activation | None = next((key for key, c in CLASSES.items() if c.__name__ == kind), None)
        if known is None or not node.origin.startswith("torch.nn."):
            raise InputError(f"{self.name}: {layer} has the activation function {printable(kind)}", ACTIVATION_HINT)
        if known == "relu6":
            self._same(f"{layer}.act", "the limits", (state.get("min_val", 0), state.get("max_val", 6)), (0, 6))
        slope = plain(state.get("negative_slope", 0.01)) if known == "leaky_relu" else 0.0
        if not isinstance(slope, int | float) or not abs(slope) < 1e3:
            raise InputError(f"{self.name}: {layer} has a LeakyReLU without a slope", ACTIVATION_HINT)
        return Function(known, float(slope))

    def eps(self, layer: str, published: float) -> float:
        """The eps of the batch norm of a convolution; the published one where it was folded away."""
        node = self.tree.modules.get(f"{layer}.bn")
        eps = plain(state_of(node).get("eps", published)) if node is not None else published
        if not isinstance(eps, float) or not 0 < eps < 1:
            raise InputError(f"{self.name}: {layer}.bn has the eps {printable(eps)}, not a number within 0..1", HINT)
        return eps

    def module(self, layer: str, ours: nn.Module) -> None:
        """One module against ours of the same name."""
        node = self.tree.modules.get(layer)
        if node is None:
            if isinstance(ours, nn.BatchNorm2d):  # folded away: its weights say so
                return
            raise InputError(f"{self.name} is not a {self.spec.name}: {layer} is missing", HINT)
        called = _CALLED.get(type(ours), (type(ours).__name__,))
        from_torch = type(ours).__module__.startswith("torch.")
        if class_of(node) not in called or node.origin.startswith("torch.") != from_torch:
            raise self._refusal(layer, "the class", class_of(node), called[0])
        self._forward(layer, node)
        state = state_of(node)
        for attribute in _DECIDE.get(type(ours), ()):
            if attribute in state:
                self._same(layer, attribute, state[attribute], getattr(ours, attribute))
        for attribute, published in self._own(ours):
            if attribute in state:
                self._same(layer, attribute, state[attribute], published)
        if isinstance(ours, AnchorFreeHead | AnchorHead):
            self._head(layer, state)

    def sources(self, network: Network) -> None:
        """The layers that every layer reads, as the file numbers them."""
        for index, ours in enumerate(network.sources):
            state = state_of(self.tree.modules.get(f"model.{index}"))
            if "f" not in state:
                continue
            found = plain(state["f"])
            given = found if isinstance(found, list | tuple) else [found]
            absolute = tuple(_absolute(plain(i), index) for i in given)
            if absolute != tuple(_absolute(i, index) for i in ours):
                theirs = list(ours) if len(ours) > 1 else ours[0]
                raise self._refusal(f"model.{index}", "the sources (f)", found, theirs)

    def nothing_else(self, known: set[str]) -> None:
        """No module beyond ours, but for those that do nothing and the constant kernel of the decode."""
        for layer, node in self.tree.modules.items():
            if layer in known or (class_of(node) in _DO_NOTHING and node.origin.startswith("torch.nn.")):
                continue
            parent, _, own = layer.rpartition(".")
            if class_of(node) == "DFL" or (own == "conv" and parent.endswith(".dfl")):
                continue
            if any(weight.startswith(f"{layer}.") for weight in self.tree.weights):
                continue  # weights that are left over are told with their names
            raise InputError(
                f"{self.name} is not a {self.spec.name}: {layer} ({printable(class_of(node))}) is left over", HINT
            )

    def _own(self, ours: nn.Module) -> Iterator[tuple[str, object]]:
        """The attributes that the blocks of a checkpoint have and ours are built with."""
        if isinstance(ours, Bottleneck):
            yield "add", ours.shortcut
        elif isinstance(ours, SPPF):
            yield from (("n", SPPF.POOLS), ("add", False))
        elif isinstance(ours, Concat):
            yield "d", 1
        elif isinstance(ours, AnchorFreeHead | AnchorHead):
            yield from (("nc", self.spec.nc), ("nl", len(self.spec.strides)), ("end2end", False))
            if isinstance(ours, AnchorFreeHead):
                yield "reg_max", self.spec.reg_max
            if ours.has_masks:
                yield "nm", self.spec.num_coefs

    def _head(self, layer: str, state: dict[Any, Any]) -> None:
        """The strides of the levels, and the kernel that turns box distributions into distances."""
        if isinstance(state.get("stride"), Placeholder):
            strides = self.tensor(state["stride"], f"{layer}.stride").flatten().tolist()
            if any(strides):  # they are 0 until a network has run once
                self._same(layer, "the strides", tuple(strides), self.spec.strides)
        kernel = f"{layer}.dfl.conv.weight"
        if self.spec.reg_max and kernel in self.tree.weights:
            found = self.tensor(self.tree.weights[kernel], kernel).flatten().float()
            bins = torch.arange(self.spec.reg_max, dtype=torch.float32)
            if found.shape != bins.shape or not bool((found == bins).all()):
                short = ", ".join(f"{value:g}" for value in found[:20].tolist())
                raise self._refusal(kernel, "the values", f"[{short}]", f"0 to {self.spec.reg_max - 1}")

    def _forward(self, layer: str, node: Placeholder) -> None:
        """Neither another forward than that of the class nor a hook that changes what goes in or comes out."""
        state = state_of(node)
        if state.get("_forward_hooks") or state.get("_forward_pre_hooks"):
            hint = "after pruning, torch.nn.utils.prune.remove(module, 'weight') makes it plain again"
            raise InputError(f"{self.name}: {layer} has a hook that changes what it computes", hint)
        forward = state.get("forward")
        bound = forward.args[-1] if isinstance(forward, Placeholder) and forward.args else None
        if forward is not None and bound not in _FORWARDS:
            raise InputError(f"{self.name}: {layer} has a forward of its own ({printable(bound)})", HINT)

    def _same(self, layer: str, attribute: str, found: object, published: object) -> None:
        if _comparable(attribute, found) != _comparable(attribute, published):
            raise self._refusal(layer, attribute, found, published)

    def _refusal(self, layer: str, attribute: str, found: object, published: object) -> InputError:
        both = f"{_shown(found)}, not {_shown(published)}"
        return InputError(f"{self.name} is not a {self.spec.name}: {layer} has {attribute} {both}", HINT)


def _absolute(source: object, index: int) -> object:
    """The number of a source layer: negative ones count back from the layer that reads them."""
    return index + source if isinstance(source, int) and source <= PREVIOUS else source


def _comparable(attribute: str, value: object) -> object:
    """`value` in one form: numbers of height and width as a pair, sequences as tuples, numpy's numbers as Python's."""
    value = plain(value)
    if isinstance(value, Placeholder) and value.origin == "torch.Size" and value.args:
        value = value.args[0]
    if isinstance(value, list | tuple):
        value = tuple(plain(item) for item in value)
    elif attribute in _PAIRS and isinstance(value, int | float):
        value = (value, value)
    return value


def _shown(value: object) -> str:
    value = plain(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return printable(list(value) if isinstance(value, list) else tuple(value))
    return printable(class_of(value) if isinstance(value, Placeholder) else value)
