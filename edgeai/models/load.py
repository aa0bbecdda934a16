"""Checkpoints and our own safetensors files, read; and the one turned into the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import FloatModel, ModelSpec
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref
from edgeai.models.build import require_torch

if TYPE_CHECKING:
    import torch


def load_model(path: Path) -> tuple[torch.nn.Module, ModelSpec]:
    """The network of a `.pt` checkpoint or of an edgeai `.safetensors` file, in eval mode and fp32, and its spec.

    Raises InputError where the file is missing, of another kind, corrupt, hostile or of an unknown network.
    """
    existing_file(path, "a .pt or .safetensors file")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        raise InputError(f"{path.name} is an ONNX file and needs no import", "pass it to quantize or evaluate as it is")
    if suffix not in (".pt", ".pth", ".safetensors"):
        raise InputError(f"{path.name} is not a checkpoint edgeai reads", "pass a .pt or .safetensors file")
    require_torch()
    if suffix == ".safetensors":
        from edgeai.models.weights import load_weights

        return load_weights(path)
    from edgeai.models.checkpoint import load_checkpoint

    return load_checkpoint(path)


def import_model(source: Path, out: Path, half: bool = False) -> FloatModel:
    """Read a checkpoint and write it as an edgeai safetensors file; with `half`, in fp16.

    Equal inputs give equal bytes, and `out` is replaced in one step. Raises InputError as `load_model` does, and where
    a weight does not fit into fp16.
    """
    from edgeai.models.weights import save_weights

    existing_file(source, "a .pt or .safetensors file")
    if out.suffix.lower() != ".safetensors":
        raise InputError(f"{out.name} does not end in .safetensors", "the imported model is a safetensors file")
    network, spec = load_model(source)
    save_weights(network.state_dict(), spec, out, half)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return FloatModel(spec=spec, weights=file_ref(out), source=file_ref(source), parameters=parameters)
