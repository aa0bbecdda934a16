"""Learned activation ranges onto the tensors of the float TFLite that was converted from the trained network.

Converters rename, fold and reorder, so a tensor is recognised by what it holds: both networks see one picture, and a
tensor of the file gets the range of the module whose output it equals.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeai.artifacts import Contract, Ranges, from_json
from edgeai.files import file_ref
from edgeai.models import load_model
from edgeai.models.layers import C3, SPPF, Bottleneck, C2f, Concat, ConvBnAct
from edgeai.quantize.ranges.calibration import batches
from edgeai.training.learned import LearnedRanges, ranges_path

TOLERANCE = 1e-3  # of the tensor's largest magnitude

Floats = NDArray[np.float32]


def read_learned(weights: Path) -> LearnedRanges | None:
    """The learned ranges beside a weight file; None where there are none or they belong to other weights."""
    path = ranges_path(weights)
    if not path.is_file() or not weights.is_file():
        return None
    learned = from_json(LearnedRanges, path.read_text(encoding="utf-8"), path.name)
    return learned if learned.weights.sha256 == file_ref(weights).sha256 else None


def carry_file(observed: Ranges, weights: Path, tflite: Path, contract: Contract, photo: Path) -> Ranges:
    """`carry` with the ranges beside `weights`, on one calibration photo; `observed` where they are of others."""
    learned = read_learned(weights)
    if learned is None:
        return observed
    image = next(batches((photo,), contract))
    return carry(observed, learned, weights, tflite, image)


def carry(observed: Ranges, learned: LearnedRanges, weights: Path, tflite: Path, image: Floats) -> Ranges:
    """`observed` with the learned range on every tensor of `tflite` that is recognised on `image` [1, S, S, 3].

    `weights` is the trained network that `tflite` was converted from. Tensors that are not recognised, slices and
    reshapes among them, keep what was observed; the observer's name says how many were carried.
    """
    network, _ = load_model(weights)
    wanted = {entry.module: (entry.minimum, entry.maximum) for entry in learned.ranges}
    produced = {name: value for name, value in activations(network, image).items() if name in wanted}
    values = tensor_values(tflite, [entry.tensor for entry in observed.tensors], image)
    entries, carried = [], 0
    for entry in observed.tensors:
        module = _recognise(values.get(entry.tensor), produced)
        if module in wanted:
            low, high = wanted[module]
            entry = replace(entry, minimum=low, maximum=high)  # noqa: PLW2901
            carried += 1
        entries.append(entry)
    return replace(observed, observer=f"{observed.observer}, {carried} learned", tensors=tuple(entries))


def _recognise(value: Floats | None, produced: dict[str, Floats]) -> str:
    """The module whose output `value` [1, h, w, c] is; empty where there is none."""
    if value is None or value.ndim not in (2, 4):
        return ""
    for name, output in produced.items():
        if output.shape == value.shape:
            limit = TOLERANCE * max(float(np.abs(output).max()), 1e-6)
            if float(np.abs(output - value).max()) <= limit:
                return name
    return ""


@torch.inference_mode()
def activations(network: nn.Module, image: Floats) -> dict[str, Floats]:
    """The output of every module that fake quantisation rounds, channels last, under its name in `LearnedRanges`."""
    found: dict[str, Floats] = {}

    def keep(name: str, take_input: bool) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            value = arguments[0] if take_input else output
            found[name] = _channels_last(value)

        return hook

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, ConvBnAct | nn.BatchNorm2d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear | Concat) or (
            isinstance(module, Bottleneck) and module.shortcut
        ):
            handles.append(module.register_forward_hook(keep(name, take_input=False)))
        elif isinstance(module, C2f | C3 | SPPF):
            last = module.cv3 if isinstance(module, C3) else module.cv2
            handles.append(last.register_forward_hook(keep(f"{name}.join", take_input=True)))
    network.eval()(torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2))))
    for handle in handles:
        handle.remove()
    return found


def _channels_last(value: Tensor) -> Floats:
    array: Floats = value.detach().clone().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def tensor_values(tflite: Path, tensors: list[int], image: Floats) -> dict[int, Floats]:
    """The values of activation tensors of a float TFLite on one image."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(tflite),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return {index: np.array(interpreter.get_tensor(index)) for index in tensors}
