"""What the figures of the layers mean: which layer is the first bad one, and why."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import replace
from statistics import median

from edgeai.artifacts.debug import ConcatInput, ConcatSpread, Culprit, LayerError
from edgeai.graph.types import QUANTIZERS, Graph, Op
from edgeai.quantize.debug.measure import FIXED_GRID, Observed, concatenated
from edgeai.quantize.debug.surgery import is_coded

THRESHOLD_DB = 10.0  # stepwise; the worst layers of sound networks have about 20
SPREAD = 4.0  # ranges of a concatenation's inputs that differ by more are named
FITTING_USE = 1 / 8  # of the grid: with fewer than 32 of its 256 steps in use, the scale is wrong
ONE_STEP = 1.5  # rms error, in steps: what 8 bits cost a sparse tensor whose grid fits
OWN_LOSS_DB = 6.0  # below the SQNR of its worst input: more than twice the error
KERNEL_DB, KERNEL_BELOW_DB = 6.0, 40.0  # a kernel with twice the error of float arithmetic, where that shows
FAMILY = 3  # layers of one shape, for instance a head's on three levels
ODD_GAIN, ALONE = 8.0, 1.5  # times the median gain, and times the next largest (sound networks: 5 and 1.2)
# operators whose int8 inputs and outputs must share scale and zero point
SAME_SCALE = frozenset(
    "CONCATENATION RESHAPE TRANSPOSE PAD PADV2 MAX_POOL_2D STRIDED_SLICE SLICE SPLIT SPLIT_V GATHER SQUEEZE "
    "EXPAND_DIMS RESIZE_NEAREST_NEIGHBOR RESIZE_BILINEAR PACK UNPACK TILE DEPTH_TO_SPACE SPACE_TO_DEPTH".split()
)


def first_bad(
    graph: Graph,
    layers: tuple[LayerError, ...],
    concats: tuple[ConcatSpread, ...],
    threshold: float,
    logits: Container[int],
) -> Culprit | None:
    """The layer to look at first; None where every layer does what 8 bits can do.

    A layer is bad where its stepwise SQNR is below `threshold` dB and a better scale could help. One that float
    arithmetic computes well is not: its kernel is. One whose scale a concatenation imposes on it is not to blame. That
    concatenation is, unless a layer before it is wrong by itself, or amplifies far more than all others and so widened
    what is joined: weights are suspect then. The latter is named also where no layer is bad. `logits` are tensors whose
    size matters little; what makes them may amplify much.
    """
    shares = probabilities(graph)
    layers = tuple(_fair(layer) for layer in layers)
    # what reads probabilities may amplify: the expectation of 16 bins does
    plain = tuple(layer for layer in layers if not any(t in shares for t in graph.ops[layer.index].inputs))
    hidden = tuple(layer for layer in plain if not any(t in logits for t in graph.ops[layer.index].outputs))
    odd = _odd_gain(hidden) or _odd_gain(plain) or _odd_sibling(graph, layers)
    bad = [layer for layer in layers if _is_bad(graph, layer, threshold, shares)]
    if not bad:
        return odd
    join = _imposing(graph, graph.ops[bad[0].index])
    horizon = bad[0].index if join is None else join.index
    quality = {t: layer.stepwise.sqnr_db for layer in layers for t in graph.ops[layer.index].outputs}
    wrong = next((layer for layer in bad if layer.index <= horizon and _is_wrong(graph, layer, quality)), None)
    if wrong is not None:
        return _by_itself(wrong)
    if odd is not None and odd.index < horizon:
        return odd
    return _by_itself(bad[0]) if join is None else _joined(graph, join, bad[0], concats)


def _fair(layer: LayerError) -> LayerError:
    """A layer with the better of what its kernel gives and what float arithmetic does: both must find it bad."""
    if layer.float_sqnr_db is None or layer.float_sqnr_db <= layer.stepwise.sqnr_db:
        return layer
    return replace(layer, stepwise=replace(layer.stepwise, sqnr_db=layer.float_sqnr_db))


def kernels_at_fault(layers: tuple[LayerError, ...], kernels: str) -> list[str]:
    """Findings on layers whose kernel loses what float arithmetic does not."""
    found = []
    for layer in layers:
        good, got = layer.float_sqnr_db, layer.stepwise.sqnr_db
        if good is not None and layer.kind != "CONCATENATION" and got < min(good - KERNEL_DB, KERNEL_BELOW_DB):
            found.append(
                f"{layer.kind} #{layer.index}: the kernel is at fault, not the file: {got:.1f} dB on {kernels}, "
                f"{good:.1f} dB in float arithmetic"
            )
    return found


def _is_wrong(graph: Graph, layer: LayerError, quality: dict[int, float]) -> bool:
    """Whether a layer with weights errs by more than its steps explain, and by more than its inputs brought along."""
    op = graph.ops[layer.index]
    if graph.weights(op) is None or _noise_steps(layer) <= ONE_STEP:
        return False
    return layer.stepwise.sqnr_db < min((quality.get(t, math.inf) for t in op.inputs), default=math.inf) - OWN_LOSS_DB


def _is_bad(graph: Graph, layer: LayerError, threshold: float, shares: set[int]) -> bool:
    if layer.stepwise.sqnr_db >= threshold or concatenated(graph, graph.ops[layer.index]):
        return False  # a concatenation only copies: what it imposes shows in what it joins
    use = layer.range_use
    if layer.scale and shares & set(graph.ops[layer.index].outputs):
        use = max(use, 1 / (255 * layer.scale))  # a probability's range is 0..1, even where no image reaches it
    fits = use >= FITTING_USE and layer.saturated <= 0.01
    return not (fits and _noise_steps(layer) <= ONE_STEP)


def probabilities(graph: Graph) -> set[int]:
    """The tensors that hold results of a sigmoid or a softmax, moved about or requantised."""
    found: set[int] = set()
    for op in graph.ops:
        sources = [t for t in op.inputs if t >= 0 and not graph.tensors[t].is_constant]
        moved = op.kind in SAME_SCALE | QUANTIZERS and sources and found >= set(sources)
        if op.kind in FIXED_GRID or moved:
            found.update(op.outputs)
    return found


def _noise_steps(layer: LayerError) -> float:
    if not layer.scale:
        return math.inf
    return layer.rms * 10 ** (-layer.stepwise.sqnr_db / 20) / layer.scale


def _by_itself(bad: LayerError) -> Culprit:
    sqnr = f"stepwise SQNR {bad.stepwise.sqnr_db:.1f} dB"
    if bad.saturated > 0.01:
        reason = f"{sqnr}: {100 * bad.saturated:.0f} % of its values lie beyond its int8 range"
    elif bad.range_use < FITTING_USE:
        reason = f"{sqnr}: its values take {100 * bad.range_use:.1f} % of its int8 range"
    else:
        reason = f"{sqnr} though its range fits: its weights or its bias are not those of the float layer"
    return Culprit(bad.index, bad.kind, bad.name, reason)


def _joined(graph: Graph, join: Op, bad: LayerError, concats: tuple[ConcatSpread, ...]) -> Culprit:
    name = graph.tensors[join.outputs[0]].name
    spread = next((entry for entry in concats if entry.index == join.index), None)
    reason = f"one scale of {graph.tensors[join.outputs[0]].scale:.4g} for all its inputs"
    if spread is not None:
        widest = max(spread.inputs, key=_width)
        reason += f": {widest.producer} reaches {widest.minimum:.3g}..{widest.maximum:.3g}"
    reason += (
        f"; {bad.kind} #{bad.index} needs {bad.minimum:.3g}..{bad.maximum:.3g}, is left {100 * bad.range_use:.1f} % of "
        f"the steps and falls to {bad.stepwise.sqnr_db:.1f} dB"
    )
    return Culprit(join.index, join.kind, name, reason)


def _odd_gain(layers: tuple[LayerError, ...]) -> Culprit | None:
    ranked = sorted((layer for layer in layers if layer.gain > 0), key=lambda layer: layer.gain)
    if len(ranked) < 8:
        return None
    usual, largest = median(layer.gain for layer in ranked), ranked[-1]
    if largest.gain < ODD_GAIN * usual or largest.gain < ALONE * ranked[-2].gain:
        return None
    return _amplifies(largest, f"the median layer does {usual:.1f} times")


def _odd_sibling(graph: Graph, layers: tuple[LayerError, ...]) -> Culprit | None:
    """A layer of a head that amplifies far more than its siblings on other levels: same kernel and outputs, no SiLU.

    What divides or rounds behind it differs between the parts of a head, so its gain may be usual for the network.
    """
    families: dict[tuple[str, tuple[int, ...]], list[LayerError]] = {}
    for layer in layers:
        op = graph.ops[layer.index]
        weights = graph.weights(op)
        if weights is not None and layer.gain > 0 and not any(r.kind == "MUL" for r in graph.consumers(op.outputs[0])):
            families.setdefault((op.kind, weights.shape[:3]), []).append(layer)
    for family in families.values():
        if len(family) < FAMILY:
            continue
        *_, second, largest = sorted(family, key=lambda layer: layer.gain)
        usual = median(layer.gain for layer in family)
        if largest.gain >= ODD_GAIN * usual and largest.gain >= ALONE * second.gain:
            return _amplifies(largest, f"its siblings do {usual:.2g} times")
    return None


def _amplifies(layer: LayerError, usual: str) -> Culprit:
    gain = f"{layer.gain:.0f}" if layer.gain >= 10 else f"{layer.gain:.2g}"
    reason = f"it amplifies {gain} times where {usual}: look at its weights"
    return Culprit(layer.index, layer.kind, layer.name, reason)


def _imposing(graph: Graph, op: Op) -> Op | None:
    """The last concatenation down the line that shares this operator's output scale: the one that imposes it."""
    found, reached = None, {t for t in op.outputs if is_coded(graph.tensors[t])}
    scales = {(graph.tensors[t].scale, graph.tensors[t].zero_point) for t in reached}
    for later in graph.ops[op.index :]:
        inside = later is op or bool(reached & set(later.inputs))
        if not inside or later.kind not in SAME_SCALE:
            continue
        result = graph.tensors[later.outputs[0]]
        if (result.scale, result.zero_point) not in scales:
            continue
        reached.update(later.outputs)
        if len(concatenated(graph, later)) > 1:
            found = later
    return found


# --- concatenations -----------------------------------------------------------------------------


def spreads(
    graph: Graph, found: dict[int, Observed], extremes: dict[int, tuple[float, float]]
) -> tuple[ConcatSpread, ...]:
    """The concatenations whose inputs differ more than SPREAD times in range, widest difference first."""
    result, shares = [], probabilities(graph)
    for op in graph.ops:
        joined = concatenated(graph, op)
        entry = found.get(op.outputs[0]) if joined else None
        if entry is None or any(t not in extremes for t in joined):
            continue
        inputs = tuple(
            ConcatInput(producer(graph, t), graph.tensors[t].name, *extremes[t], round(tally.sqnr_db, 2))
            for t, tally in zip(joined, entry.slices, strict=True)
        )
        widths = [max(_width(one), float(t in shares)) for t, one in zip(joined, inputs, strict=True)]
        if min(widths) > 0 and max(widths) > SPREAD * min(widths):
            ratio = round(max(widths) / min(widths), 2)
            result.append(ConcatSpread(op.index, graph.tensors[op.outputs[0]].name, ratio, inputs))
    return tuple(sorted(result, key=lambda spread: -spread.ratio))


def producer(graph: Graph, tensor: int) -> str:
    """The operator that made the numbers of a tensor, past those that only move them: `CONV_2D #12`."""
    op = graph.producer(tensor)
    while op is not None and op.kind in SAME_SCALE | {"QUANTIZE"} and op.kind != "CONCATENATION":
        earlier = graph.producer(op.inputs[0])
        if earlier is None:
            break
        op = earlier
    return "the input" if op is None else f"{op.kind} #{op.index}"


def _width(one: ConcatInput) -> float:
    """The larger of the two ends: what the shared scale has to reach."""
    return max(-one.minimum, one.maximum)
