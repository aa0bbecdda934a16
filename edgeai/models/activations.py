"""The activation functions that networks are trained with here and elsewhere, and how a network gets others than it was
published with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from torch import nn

from edgeai.artifacts import Activation, Variant
from edgeai.errors import InputError
from edgeai.models.layers import ConvBnAct

T = TypeVar("T")

EVERY = "*"
# the name in a Variant -> the class of torch.nn
CLASSES: dict[Activation, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "mish": nn.Mish,
    "identity": nn.Identity,
}


@dataclass(frozen=True, slots=True)
class Function:
    """An activation function; `slope` is that of leaky_relu left of 0 and 0.0 for every other."""

    name: Activation
    slope: float = 0.0

    def __str__(self) -> str:
        title = CLASSES[self.name].__name__
        return f"{title}({self.slope:g})" if self.name == "leaky_relu" else title


class _Inplace(Protocol):
    def __call__(self, inplace: bool) -> nn.Module: ...


def module_of(function: Function) -> nn.Module:
    """The torch module of a function."""
    if function.name == "identity":
        return nn.Identity()
    if function.name == "leaky_relu":
        return nn.LeakyReLU(function.slope, inplace=True)
    return cast(_Inplace, CLASSES[function.name])(inplace=True)


def function_of(module: nn.Module) -> Function:
    """The function of a torch module that `module_of` made."""
    name = next(name for name, kind in CLASSES.items() if type(module) is kind)
    return Function(name, module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0)


def convolutions(network: nn.Module) -> dict[str, ConvBnAct]:
    """Every convolution with norm and activation, by its dotted name, in the order of the network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ConvBnAct)}


def apply_variants(network: nn.Module, variants: tuple[Variant, ...]) -> None:
    """Give the layers of a published network what `variants` say, in place. Raises InputError for an unknown layer."""
    layers = convolutions(network)
    for variant in variants:
        chosen = list(layers.values()) if variant.layer == EVERY else [layers.get(variant.layer)]
        for layer in chosen:
            if layer is None:
                raise InputError(f"the network has no layer {variant.layer[:80]!r}", "import the checkpoint again")
            if variant.activation:
                layer.act = module_of(Function(variant.activation, variant.slope))
            if variant.eps:
                layer.bn.eps = variant.eps


def variants_of(network: nn.Module, functions: Mapping[str, Function], eps: Mapping[str, float]) -> tuple[Variant, ...]:
    """The shortest variants that give the layers of the published `network` these functions and eps, by layer.

    What most layers have is said once; empty where nothing differs.
    """
    layers = convolutions(network)
    usual = {name: (function_of(layer.act), layer.bn.eps) for name, layer in layers.items()}
    most, common = _most(functions), _most(eps)
    every = Variant(
        EVERY,
        activation="" if all(function == most for function, _ in usual.values()) else most.name,
        slope=most.slope,
        eps=0.0 if all(value == common for _, value in usual.values()) else common,
    )
    found = [every] if every.activation or every.eps else []
    for name in layers:
        function, value = functions[name], eps[name]
        if (function, value) != (most, common):
            own = value if value != common else 0.0
            found.append(
                Variant(name, function.name, function.slope, own)
                if function != most
                else Variant(name, eps=own)
            )
    return tuple(found)


def describe(variants: tuple[Variant, ...]) -> str:
    """The activation of a network in a few words, for people: `SiLU, but Identity in model.9.cv1`."""
    every = next((v for v in variants if v.layer == EVERY and v.activation), Variant(EVERY, "silu"))
    others = [v for v in variants if v.layer != EVERY and v.activation]
    text = _title(every)
    names = [f"{_title(v)} in {v.layer}" for v in others[:3]]
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"{text}, but {', '.join(names)}{more}" if names else text


def _title(variant: Variant) -> str:
    return str(Function(variant.activation, variant.slope)) if variant.activation else ""


def _most(values: Mapping[str, T]) -> T:
    return Counter(values.values()).most_common(1)[0][0]
