"""Activation ranges of a float TFLite over a calibration set.

TensorFlow's own calibrator takes the representative dataset through a second conversion and keeps the absolute
extremes, so that one outlier among a hundred images costs every other value its precision. Here the float model runs
once over the images, every tensor keeps a histogram, and its range is the one that loses least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeai.artifacts import CalibrationSet, ChannelMean, Contract, Ranges, TensorRange
from edgeai.errors import InputError
from edgeai.files import file_ref
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.quantize.recipe import DEFAULT, Method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeai.quantize.ranges.histogram import Histogram

# TFLite's int8 LOGISTIC has the output scale 1/256: here its result is a quarter of a step from the last one, 0 or 1.
# Not half a step, where it turns: the end of a range moves by up to half of its own step to bring zero onto the grid,
# and with the end on the wrong side the whole background scores 1/256.
SIGMOID_SATURATION = math.log(4 * 256 - 1)
# TFLite's int8 TANH has the output scale 1/128: here its result is a quarter of a step from the last one.
TANH_SATURATION = math.atanh(1 - 1 / (4 * 128))
# A score of 0.03 % is below every threshold, evaluation's 0.1 % included: what training need not represent.
LOWEST_LOGIT = -8.0
# Of the image, what an int8 box can say. Junk anchors report widths of 1.5 images, and every real box would pay for
# them: rounding the boxes of the fp32 network loses 0.67 box AP with such extremes, 0.03 with this end (211 images of
# train2017 at 256 px, 2026-11-21).
BOX_REACH = 1.05
BOX_REACH_OF_JUNK = 1.25  # a network that is sure of wider boxes than this means them
EFFECT_IMAGES = 8  # of the calibration set, which one backward pass each weighs
# What that kernel and SOFTMAX's leave: codes -128..127 on the scale 1/256, whatever the range says
FIXED = frozenset({"LOGISTIC", "SOFTMAX"})
FIXED_RANGE = (0.0, 255 / 256)
# operators that move values without changing them: TFLite's kernels want one scale on both sides
MOVES = frozenset({"CONCATENATION", "RESHAPE", "TRANSPOSE", "STRIDED_SLICE", "SLICE", "RESIZE_NEAREST_NEIGHBOR"})


@dataclass(frozen=True, slots=True)
class _Activation:
    """A float tensor of the graph and what its range may leave out without loss."""

    index: int
    name: str
    floor: float = -math.inf
    ceiling: float = math.inf
    exact: bool = False  # its extremes are answers, not outliers
    source: int = -1  # the tensor whose values count, where its own hold the lowest float as padding
    boxes: bool = False
    channels: int = 0  # of a tensor that feeds weights: its channel means are wanted for bias correction


def observe(
    model: Path,
    contract: Contract,
    calibration: CalibrationSet,
    images: Iterable[NDArray[np.float32]],
    method: Method = DEFAULT,
) -> Ranges:
    """The range of every float activation of `model` over `images` [1,S,S,3] in 0..1.

    Outputs and logits keep their extremes; other tensors get the range of the method's observer; all leave out what the
    operator behind them cannot tell apart. One image is in memory at a time. Raises InputError where a tensor is not
    finite.
    """
    import numpy as np

    from edgeai.quantize.ranges.advice import BoxReach, SeenClasses, Widths, check_of
    from edgeai.quantize.ranges.histogram import Histogram
    from edgeai.quantize.ranges.observers import range_of

    interpreter = _interpreter(model)
    tensors = _activations(interpreter, box_limits(contract))
    halves = [(Histogram(), Histogram()) for _ in tensors]  # of the images in turn
    seen, reach = SeenClasses(contract), BoxReach(contract)
    place = interpreter.get_input_details()[0]["index"]
    sums: dict[int, NDArray[np.float64]] = {tensor.index: np.zeros(()) for tensor in tensors if tensor.channels}
    count = 0
    kept: list[NDArray[np.float32]] = []
    views = [interpreter.tensor(tensor.source) for tensor in tensors]
    for image in images:
        interpreter.set_tensor(place, image)
        interpreter.invoke()
        for tensor, pair, view in zip(tensors, halves, views, strict=True):
            pair[count % 2].add(view())
            if tensor.channels:
                sums[tensor.index] = sums[tensor.index] + view().reshape(-1, tensor.channels).mean(axis=0)
        outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
        seen.add(outputs)
        reach.add(outputs)
        count += 1
        if method.weighs_effect and len(kept) < EFFECT_IMAGES:
            kept.append(image)
    weighted = _weighted(model, contract, kept)
    ranges, widths = [], []
    for tensor, (even, odd) in zip(tensors, halves, strict=True):
        histogram = even.merged(odd)
        if not math.isfinite(histogram.high - histogram.low):
            raise InputError(f"{tensor.name} is not finite on the calibration images", "check the checkpoint")
        chosen = method.observer_of(tensor.name)
        if chosen == "effect" and tensor.source in weighted:
            histogram = weighted[tensor.source].between(histogram.low, histogram.high)
        low, high = range_of(histogram, "min-max" if tensor.exact and not method.exceptions else chosen)
        ceiling = math.inf if reach.images > BOX_REACH_OF_JUNK and tensor.boxes else tensor.ceiling
        ranges.append(TensorRange(tensor.index, tensor.name, max(low, tensor.floor), min(high, ceiling)))
        widths.append(Widths(tensor.name, high - low, *(b - a for a, b in (range_of(h, chosen) for h in (even, odd)))))
    operators = interpreter._get_ops_details()
    ranges = with_fixed(ranges, operators)
    if method.joint_scales:
        ranges = joined(ranges, operators)
    means = tuple(ChannelMean(index, tuple((total / count).tolist())) for index, total in sums.items())
    check = check_of(widths, seen) if count > 1 else None
    return Ranges(file_ref(model), calibration.sha256, method.observer, tuple(ranges), means, check)


def _weighted(model: Path, contract: Contract, images: list[NDArray[np.float32]]) -> dict[int, Histogram]:
    """The histograms that the observer "effect" reads, by tensor; none without `images`."""
    if not images:
        return {}
    from edgeai.quantize.ranges.effect import effect_histograms

    return effect_histograms(model, contract, images)


def with_fixed(ranges: list[TensorRange], operators: Any) -> list[TensorRange]:
    """What only moves the values of sigmoids and softmaxes gets their fixed scale, so that nothing is rescaled."""
    fixed: set[int] = set()
    for operator in operators:
        data = [int(i) for i in operator["inputs"] if any(entry.tensor == int(i) for entry in ranges)]
        kind = str(operator["op_name"])
        if kind in FIXED or (kind in MOVES and data and fixed.issuperset(data)):
            fixed.update(int(i) for i in operator["outputs"])
    low, high = FIXED_RANGE
    return [replace(entry, minimum=low, maximum=high) if entry.tensor in fixed else entry for entry in ranges]


def joined(ranges: list[TensorRange], operators: Any) -> list[TensorRange]:
    """One range for all tensors between which values only move, the union of theirs: no concatenation rescales."""
    known = {entry.tensor: entry for entry in ranges}
    group = {tensor: tensor for tensor in known}

    def root(tensor: int) -> int:
        while group[tensor] != tensor:
            tensor = group[tensor]
        return tensor

    fixed = {int(i) for operator in operators if operator["op_name"] in FIXED for i in operator["outputs"]}
    for operator in operators:
        if operator["op_name"] in MOVES:
            place = int(operator["outputs"][0])
            for tensor in map(int, operator["inputs"]):
                if tensor in known and place in known and tensor not in fixed:
                    group[root(tensor)] = root(place)
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    for entry in ranges:
        place = root(entry.tensor)
        low[place] = min(low.get(place, 0.0), entry.minimum)
        high[place] = max(high.get(place, 0.0), entry.maximum)
    return [replace(e, minimum=low[root(e.tensor)], maximum=high[root(e.tensor)]) for e in ranges]


def _interpreter(model: Path) -> Any:
    """All intermediate tensors kept; built-in kernels, because a delegate would keep its own to itself."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(model),
        num_threads=2,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def box_limits(contract: Contract) -> dict[int, tuple[float, float]]:
    """The outputs that hold boxes, by their number, and the ends beyond which a box means nothing."""
    reach = BOX_REACH * contract.imgsz / contract.box_unit
    lows = {"boxes": 0.0, "pred": -math.inf}  # pred holds mask coefficients, too
    return {role.index: (lows[role.kind], reach) for role in contract.roles if role.kind in lows}


def _activations(interpreter: Any, limits: dict[int, tuple[float, float]]) -> list[_Activation]:
    """Every float tensor that an operator writes or that is the input; `limits` are those of outputs, by number."""
    import numpy as np

    operators = interpreter._get_ops_details()
    inputs = {int(tensor["index"]) for tensor in interpreter.get_input_details()}
    outputs = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    readers: dict[int, set[str]] = {}
    for operator in operators:
        for index in operator["inputs"]:
            readers.setdefault(int(index), set()).add(str(operator["op_name"]))
    logits = logit_tensors(operators)
    written = inputs | {int(index) for operator in operators for index in operator["outputs"]}
    details = interpreter.get_tensor_details()
    channels = _fed_channels(operators, {int(t["index"]): tuple(map(int, t["shape"])) for t in details})
    # PADV2 before a max pooling fills with the lowest float there is: that is no value of the network's
    padded = {int(op["outputs"][0]): int(op["inputs"][0]) for op in operators if op["op_name"] == "PADV2"}
    found = []
    for tensor in details:
        index, name = int(tensor["index"]), str(tensor["name"])
        if index not in written or tensor["dtype"] != np.float32:
            continue
        floor, ceiling = -math.inf, math.inf
        if readers.get(index) == {"LOGISTIC"}:
            floor, ceiling = -SIGMOID_SATURATION, SIGMOID_SATURATION
        elif readers.get(index) == {"TANH"}:
            floor, ceiling = -TANH_SATURATION, TANH_SATURATION
        if index in outputs:
            floor, ceiling = limits.get(outputs.index(index), (floor, ceiling))
        found.append(
            _Activation(
                index,
                name,
                floor=floor,
                ceiling=ceiling,
                exact=index in outputs or index in inputs or index in logits,
                source=padded.get(index, index),
                boxes=index in outputs and outputs.index(index) in limits,
                channels=channels.get(index, 0),
            )
        )
    return found


def logit_tensors(operators: Any) -> set[int]:
    """What only sigmoids and softmaxes read, at once or after values were moved.

    The highest are what the network is surest of. With least squares, which takes the few for outliers, the scores of
    one level ended at 0.5, and rounding the logits of the box distances alone lost 0.22 box AP, with extremes 0.00
    (YOLOv8n-seg, 211 images of train2017 and their mirror images at 256 px, 2026-11-21).
    """
    readers: dict[int, list[Any]] = {}
    for operator in operators:
        for index in operator["inputs"]:
            readers.setdefault(int(index), []).append(operator)
    found: set[int] = set()
    for operator in reversed(operators):
        index = int(operator["outputs"][0])
        behind = [(o["op_name"], int(o["outputs"][0])) for o in readers.get(index, [])]
        if behind and all(kind in FIXED or (kind in MOVES and result in found) for kind, result in behind):
            found.add(index)
    return found


def _fed_channels(operators: Any, shapes: dict[int, tuple[int, ...]]) -> dict[int, int]:
    """For every tensor that feeds a weighted operator its number of channels; a matrix product flattens its input."""
    found = {}
    for operator in operators:
        layout = LAYOUTS.get(str(operator["op_name"]))
        if layout is not None:
            data = int(operator["inputs"][layout.data])
            flat = operator["op_name"] == "FULLY_CONNECTED"
            found[data] = shapes[int(operator["inputs"][layout.weights])][1] if flat else shapes[data][-1]
    return found
