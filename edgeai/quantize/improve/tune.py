"""Ranges and biases tuned in the order of the graph, on what rounding does there and not on what it should do.

A range that is best for its own tensor is not best for the network. Flat regions, grey borders of letterboxed images
above all, give a channel the same value everywhere: rounding moves all of it the same way, and the next convolution
adds up what it would average out if it were noise. A low end that clips what SiLU nearly silences moves the mean of
many channels by the same amount. So the int8 network runs beside the float one over a few images; where a convolution
feeds a SiLU, every candidate range is tried and judged by the error some operators further on, and every convolution's
bias takes back the mean error that reached it (empirical bias correction, Nagel et al., Data-Free Quantization, 2019,
section 4.2, here one operator after the other, each seeing the corrections before it).

What this finds still depends on the few images: one flat region more or less and another grid is best; and corrected
biases follow the share of such regions, so they are not corrected by default. Images that no trial saw decide
(`edgeai.quantize.improve.judge`) between the trials and no tuning at all.

Nothing is added to the graph: scales, zero points and biases change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeai.errors import ToolError
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.quantize.patch import patched
from edgeai.simulate.program import INT8_HIGH, INT8_LOW, Grid, Node, Program, Values

LOOK_AHEAD = 8  # operators: the SiLU, what it feeds, and that one's SiLU
LOW_ENDS = (-3.2, -4.2, -6.3, -8.5)  # of a SiLU's input, besides the calibrated one
HIGH_ENDS = (1.0, 0.9, 1.1, 0.8)  # of the calibrated high end
SILU_LEAST = -0.27847  # the least value of x * sigmoid(x), at x = -1.2785


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator of the int8 program and its twin in the float program; None where the quantiser inserted it."""

    ours: Node
    theirs: Node | None


def tune(
    quantized: bytes,
    model: bytes,
    images: Tensor,
    *,
    ranges: bool = True,
    biases: bool = True,
    follow: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> bytes:
    """`quantized` with tuned `ranges` and corrected `biases`, each where asked for; `model` is the float TFLite that it
    was made from. With `follow` the output of a SiLU ends where its tuned input does, if nothing but weighted operators
    reads it.

    `images` [N,S,S,3] as the network takes them. Deterministic. Raises NotSimulatedError for operators that cannot be
    simulated, ToolError where the two files do not belong together.
    """
    ours, theirs = Program(quantized), Program(model)
    with torch.inference_mode():
        _Walk(ours, theirs, images, ranges, biases, follow).run(progress)
    return patched(quantized, ours)


@dataclass(frozen=True, slots=True)
class Trial:
    """One tuning of several: the images `start` to `stop` that it looks at, and whether outputs of SiLUs follow."""

    start: int
    stop: int
    follow: bool

    def __str__(self) -> str:
        return f"images {self.start + 1} to {self.stop}" + ", SiLUs ending with their inputs" * self.follow


def planned(images: int, per_trial: int, trials: int, *, ranges: bool) -> list[Trial]:
    """Trials, each on images of its own, or on the first again where that would leave less than a quarter to judge by;
    every second one follows, where `ranges` are tuned at all."""
    found = []
    for number in range(trials):
        start = number * per_trial if (number + 1) * per_trial <= images - images // 4 else 0
        found.append(Trial(start, min(start + per_trial, images), follow=ranges and number % 2 == 1))
    return list(dict.fromkeys(found))


def paired(ours: Program, theirs: Program) -> list[_Step]:
    """The operators of an int8 file with those of its float file: the quantiser keeps their order and adds QUANTIZE.

    Raises ToolError where they do not pair.
    """
    twins = iter(theirs.nodes)
    steps = []
    for node in ours.nodes:
        twin = None if node.kind in ("QUANTIZE", "DEQUANTIZE") else next(twins, None)
        if node.kind not in ("QUANTIZE", "DEQUANTIZE") and (twin is None or twin.kind != node.kind):
            raise ToolError(f"{node.kind} of the int8 file has no partner in the float file", "quantise without tuning")
        steps.append(_Step(node, twin))
    return steps


class _Walk:
    """The float and the int8 program side by side, operator by operator, over one batch."""

    def __init__(
        self, ours: Program, theirs: Program, images: Tensor, ranges: bool, biases: bool, follow: bool
    ) -> None:
        self.ours, self.theirs, self.biases = ours, theirs, biases
        self.steps = paired(ours, theirs)
        self.real, self.coded = theirs.start(images), ours.start(images)
        self.tuned = _silu_inputs(ours) if ranges else frozenset()
        self.followers = _followers(ours, self.tuned) if follow else {}

    def run(self, progress: Callable[[int, int], object]) -> None:
        place = 0
        for number, step in enumerate(self.steps):
            outputs = self.ours.compute(step.ours, self.coded)
            if step.theirs is not None:
                self.real.update(zip(step.theirs.outputs, self.theirs.compute(step.theirs, self.real), strict=True))
                outputs = self._corrected(step, outputs)
                if step.ours.outputs[0] in self.tuned:
                    self._choose(number, outputs[0])
            self.coded.update(zip(step.ours.outputs, self.ours.rounded(step.ours, outputs), strict=True))
            self.ours.drop(self.coded, number)
            if step.theirs is not None:
                self.theirs.drop(self.real, place)
                place += 1
            progress(number + 1, len(self.steps))

    def _corrected(self, step: _Step, outputs: list[Tensor]) -> list[Tensor]:
        """The outputs of a weighted operator without their mean error per channel, which its bias takes over."""
        layout = LAYOUTS.get(step.ours.kind)
        if not self.biases or layout is None or len(step.ours.inputs) <= layout.bias:
            return outputs
        bias = step.ours.inputs[layout.bias]
        if bias < 0 or step.theirs is None or step.ours.options.fusedActivationFunction:
            return outputs
        error = _mean(outputs[0] - self.real[step.theirs.outputs[0]])
        self.ours.constants[bias] = self.ours.constants[bias] - error
        return [outputs[0] - error]

    def _choose(self, number: int, value: Tensor) -> None:
        """Give the output of this operator, a SiLU's input, the grid of least error further on; with it the SiLU's
        output, where that follows."""
        index = self.steps[number].ours.outputs[0]
        ahead = self.steps[number + 1 : number + 1 + LOOK_AHEAD]
        real = dict(self.real)
        for step in ahead:
            if step.theirs is not None:
                real.update(zip(step.theirs.outputs, self.theirs.compute(step.theirs, real), strict=True))
        before = self.ours.grids
        follower = self.followers.get(index)
        best = (float("inf"), before)
        for grid in _candidates(before[index]):
            self.ours.grids = {**before, index: grid}
            if follower is not None:
                self.ours.grids[follower] = _silu_grid(grid, before[follower])
            error = self._error_ahead(ahead, {**self.coded, index: grid.rounded(value)}, real)
            best = min(best, (error, self.ours.grids), key=lambda entry: entry[0])
        self.ours.grids = best[1]

    def _error_ahead(self, ahead: Sequence[_Step], coded: Values, real: Values) -> float:
        """Relative squared error of what `ahead` leaves behind, means corrected on the way where biases will be."""
        for step in ahead:
            outputs = self.ours.compute(step.ours, coded)
            if self.biases and step.theirs is not None and step.ours.kind in LAYOUTS:
                outputs = [outputs[0] - _mean(outputs[0] - real[step.theirs.outputs[0]])]
            coded.update(zip(step.ours.outputs, self.ours.rounded(step.ours, outputs), strict=True))
        read = {index for step in ahead for index in step.ours.inputs}
        error = 0.0
        for step in ahead:
            if step.theirs is not None and step.ours.outputs[0] not in read:
                wanted = real[step.theirs.outputs[0]]
                miss = ((wanted - coded[step.ours.outputs[0]]) ** 2).mean()
                error += float(miss / (wanted.var() + 1e-12))
        return error


def _mean(x: Tensor) -> Tensor:
    """Mean per channel, the last axis."""
    return x.reshape(-1, x.shape[-1]).mean(dim=0)


def _silu_inputs(program: Program) -> frozenset[int]:
    """Quantised outputs of weighted operators that only x * sigmoid(x) reads."""
    readers: dict[int, list[Node]] = {}
    for node in program.nodes:
        for index in node.inputs:
            readers.setdefault(index, []).append(node)
    found = []
    for node in program.nodes:
        index = node.outputs[0]
        behind = {reader.kind: reader for reader in readers.get(index, [])}
        if node.kind in LAYOUTS and sorted(behind) == ["LOGISTIC", "MUL"] and index in program.grids:
            gate = behind["LOGISTIC"].outputs[0]
            if len(readers[index]) == 2 and gate in behind["MUL"].inputs:  # Mish puts more between them
                found.append(index)
    return frozenset(found)


def _followers(program: Program, inputs: frozenset[int]) -> dict[int, int]:
    """The outputs of the SiLUs of these `inputs`, by input, where each may have a grid of its own: only weighted
    operators read it."""
    products = {index: n.outputs[0] for n in program.nodes if n.kind == "MUL" for index in n.inputs if index in inputs}
    shared = {i for node in program.nodes if node.kind not in LAYOUTS for i in node.inputs} | {*program.outputs}
    return {index: out for index, out in products.items() if out not in shared}


def _silu_grid(entry: Grid, calibrated: Grid) -> Grid:
    """The grid of a SiLU's output that holds what its input's grid `entry` lets through, within that `calibrated`."""
    high = entry.scale * (INT8_HIGH - entry.zero_point)
    low, most = (calibrated.scale * (code - calibrated.zero_point) for code in (INT8_LOW, INT8_HIGH))
    return grid_of(max(low, SILU_LEAST), min(most, high / (1.0 + math.exp(-high))))


def _candidates(calibrated: Grid) -> list[Grid]:
    """The calibrated grid first, then the others; a lower end than calibrated is none."""
    low = calibrated.scale * (INT8_LOW - calibrated.zero_point)
    high = calibrated.scale * (INT8_HIGH - calibrated.zero_point)
    lows = [low, *(end for end in LOW_ENDS if end > low)]
    grids = [calibrated]
    for share in HIGH_ENDS:
        grids += [grid for end in lows if (grid := grid_of(end, high * share)) not in grids]
    return grids


def grid_of(low: float, high: float) -> Grid:
    """The int8 grid of a range that holds zero, as TFLite lays it: an exact zero, low end at code -128."""
    scale = (max(high, 0.0) - min(low, 0.0)) / (INT8_HIGH - INT8_LOW) or 1.0
    return Grid(scale, max(INT8_LOW, min(INT8_HIGH, round(INT8_LOW - min(low, 0.0) / scale))))
