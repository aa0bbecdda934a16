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
from edgeai.simulate.program import Program

BATCH = 8


class Judge:
    """Measures int8 files made from one float TFLite on `images` [N,S,S,3], as the network takes them."""

    def __init__(self, model: bytes, contract: Contract, images: Tensor) -> None:
        self._batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        with torch.inference_mode():
            program = Program(model)
            self._wanted = [program(batch) for batch in self._batches]
        self._shares = [
            [share(out, inside(batch, contract), contract) for out in wanted]
            for batch, wanted in zip(self._batches, self._wanted, strict=True)
        ]

    def noise(self, quantized: bytes) -> float:
        """Mean over the outputs of the logarithm of their relative squared error inside the photos."""
        program = Program(quantized)
        misses, sizes = ([0.0] * len(self._wanted[0]) for _ in range(2))
        for batch, wanted, shares in zip(self._batches, self._wanted, self._shares, strict=True):
            with torch.inference_mode():
                found = program(batch)
            for number, (coded, exact, counts) in enumerate(zip(found, wanted, shares, strict=True)):
                misses[number] += float(((coded - exact) ** 2 * counts).sum())
                sizes[number] += float((exact**2 * counts).sum())
        errors = [math.log(miss / (size + 1e-12) + 1e-12) for miss, size in zip(misses, sizes, strict=True)]
        return sum(errors) / len(errors)


def inside(images: Tensor, contract: Contract) -> Tensor:
    """1 inside the photos, 0 in their borders [N,S,S]; `images` [N,S,S,3] as the network takes them.

    A border is rows or columns that hold the padding's grey from end to end.
    """
    import numpy as np

    from edgeai.imaging.images import PAD_VALUE, normalised

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
