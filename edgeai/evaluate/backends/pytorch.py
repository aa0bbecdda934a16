"""Torch modules: the fp32 network that every other result is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, FileRef, ModelSpec, OutputRole
from edgeai.errors import InputError, need
from edgeai.evaluate.backends.base import Runner, package_version
from edgeai.evaluate.decode import Output
from edgeai.files import file_ref

if TYPE_CHECKING:
    import torch


class TorchRunner(Runner):
    """A module in eval mode that maps [1, 3, S, S] float RGB / 255 to the flat tuple of raw heads in NCHW.

    `contract` defaults to `raw_contract(spec, imgsz)`. Raises InputError for a classifier, ToolError without torch.
    """

    any_shape = True

    def __init__(
        self, module: torch.nn.Module, spec: ModelSpec, model: FileRef, imgsz: int, contract: Contract | None = None
    ) -> None:
        try:
            import torch
        except ImportError:
            raise need("torch", "train") from None
        self._torch = torch
        self.contract = contract if contract is not None else raw_contract(spec, imgsz)
        self.model = model
        self.name = Path(model.name).stem
        self.versions = (package_version("torch"),)
        parameter = next(module.parameters(), None)
        self._device = parameter.device if parameter is not None else torch.device("cpu")
        self.backend = f"torch/{self._device.type}"
        self._module = module.eval()

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
            raw = self._module(pixels.to(self._device).float() / 255)
        tensors = (raw,) if isinstance(raw, torch.Tensor) else raw
        return tuple(Output(tensor.float().cpu().numpy()) for tensor in tensors)


def open_checkpoint(path: Path, imgsz: int | None = None) -> TorchRunner:
    """A runner of a `.pt` or `.safetensors` file at `imgsz`, by default the size it was trained at."""
    from edgeai.models import load_model

    module, spec = load_model(path)
    return TorchRunner(module, spec, file_ref(path), imgsz or spec.imgsz)


def raw_contract(spec: ModelSpec, imgsz: int) -> Contract:
    """The contract of a network's own outputs: level by level dfl, logits and coefficients, then the prototypes.

    YOLOv5's heads are one tensor per level. Raises InputError for a classifier and where `imgsz` does not fit.
    """
    if spec.task == "classify":
        raise InputError(f"{spec.name} is a classifier", "box and mask AP are of detection and segmentation networks")
    if imgsz <= 0 or imgsz % max(spec.strides):
        raise InputError(f"imgsz {imgsz} is not a multiple of {max(spec.strides)}", "256, 320 and 640 are usual")
    kinds = ["anchors"] if spec.anchors else ["dfl", "logits", *(["coefs"] if spec.task == "segment" else [])]
    names = [(kind, stride) for stride in spec.strides for kind in kinds]
    names += [("proto", 0)] if spec.task == "segment" else []
    roles = tuple(OutputRole(index=i, kind=kind, stride=stride) for i, (kind, stride) in enumerate(names))
    return Contract(spec=spec, layout="raw", imgsz=imgsz, roles=roles, box_unit=1.0)
