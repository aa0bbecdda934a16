"""Networks with fresh weights, by name or by spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeai.artifacts import ModelSpec
from edgeai.errors import InputError, need

if TYPE_CHECKING:
    from edgeai.models.network import Network


def build(name: str, nc: int = 80, names: tuple[str, ...] | None = None) -> tuple[Network, ModelSpec]:
    """A network of the registry with fresh weights, in training mode, and its spec.

    `names` are the class names and set `nc`; without them the classes are called class0, class1, ...
    Raises InputError for an unknown name or no class, ToolError without torch.
    """
    from edgeai.models.registry import find, spec_of

    classes = tuple(names) if names is not None else tuple(f"class{i}" for i in range(nc))
    if not classes:
        raise InputError(f"{name} needs at least one class", "pass nc >= 1 or the class names")
    spec = spec_of(find(name), classes)
    return build_spec(spec), spec


def build_spec(spec: ModelSpec) -> Network:
    """The network of a spec with fresh weights, with the activation functions and norms of its variants.

    Raises InputError for an unknown name or layer, ToolError without torch.
    """
    from edgeai.models.registry import find

    entry = find(spec.name)
    require_torch()
    from edgeai.models.activations import apply_variants
    from edgeai.models.yolov5 import yolov5
    from edgeai.models.yolov8 import yolov8

    if entry.family == "yolov8":
        network = yolov8(entry.scale, entry.task, spec.nc)
    else:
        network = yolov5(entry.scale, entry.task, spec.nc, p6=entry.p6, anchor_free=entry.family == "yolov5u")
    apply_variants(network, spec.variants)
    return network


def require_torch() -> None:
    """ToolError with the command that installs it where torch is absent."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise need("torch", "convert") from None
