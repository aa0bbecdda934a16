"""How near an int8 network comes to its float network where it counts: at the outputs, inside the photos.

Letterboxed photos have grey borders. Nothing is found there, but rounding moves a flat area all the same way, and half
to three quarters of the squared error at the outputs can lie in that quarter of the places (YOLOv8n-seg at 320 px per
channel, 2026-11-21). Judged with it, a network that is worse inside the photos can look better by 2 dB.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor

from edgeai.artifacts import Contract
from edgeai.quantize.simulate import Program

BATCH = 8


class Judge:
    """Measures int8 files made from one float TFLite on `images` [N,S,S,3], as the network takes them."""

    def __init__(self, model: bytes, contract: Contract, images: Tensor) -> None:
        self._images = images
        with torch.inference_mode():
            self._wanted = [torch.cat(parts) for parts in zip(*self._outputs(Program(model)), strict=True)]
        self._shares = [share(out, inside(images, contract), contract) for out in self._wanted]

    def noise(self, quantized: bytes) -> float:
        """Mean over the outputs of the logarithm of their relative squared error inside the photos."""
        with torch.inference_mode():
            found = [torch.cat(parts) for parts in zip(*self._outputs(Program(quantized)), strict=True)]
        errors = []
        for coded, exact, counts in zip(found, self._wanted, self._shares, strict=True):
            miss, size = (float((x**2 * counts).sum()) for x in (coded - exact, exact))
            errors.append(math.log(miss / (size + 1e-12) + 1e-12))
        return sum(errors) / len(errors)

    def _outputs(self, program: Program) -> list[list[Tensor]]:
        """By batches, then outputs."""
        return [program(self._images[i : i + BATCH]) for i in range(0, len(self._images), BATCH)]


def inside(images: Tensor, contract: Contract) -> Tensor:
    """1 inside the photos, 0 in their borders [N,S,S]; `images` [N,S,S,3] as the network takes them.

    A border is rows or columns that hold the padding's grey from end to end.
    """
    import numpy as np

    from edgeai.images import PAD_VALUE, normalised

    grey = torch.from_numpy(normalised(np.full((1, 1, 3), PAD_VALUE, np.uint8), contract.mean, contract.std))
    padded = (images == grey).all(dim=-1)
    border = padded.all(dim=2, keepdim=True) | padded.all(dim=1, keepdim=True)
    return 1.0 - border.expand(padded.shape).to(images.dtype)


def share(output: Tensor, photo: Tensor, contract: Contract) -> Tensor:
    """How much of every place of an output lies inside the photo, in a shape that multiplies it.

    Outputs are maps [N,h,w,c], or lists of places level by level, [N,places,c] or [N,c,places]; 1 for any other.
    """
    if output.dim() == 4:
        height, width = output.shape[1:3]
        return nnf.adaptive_avg_pool2d(photo[:, None], (height, width))[:, 0, :, :, None]
    sides = [photo.shape[1] // stride for stride in contract.spec.strides]
    if output.dim() == 3 and (count := sum(side**2 for side in sides)) in output.shape[1:]:
        levels = [nnf.adaptive_avg_pool2d(photo[:, None], side).flatten(1) for side in sides]
        places = torch.cat(levels, dim=1)
        return places[:, :, None] if output.shape[1] == count else places[:, None, :]
    return torch.ones(())
