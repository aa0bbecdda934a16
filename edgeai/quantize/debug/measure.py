"""Runs the float network, the int8 network and the int8 layers one by one over images, and compares every tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.errors import InputError, ToolError
from edgeai.graph.types import Graph, Op, Tensor
from edgeai.kernels.interpreter import MixedInterpreter, open_kernels
from edgeai.kernels.plan import choose
from edgeai.kernels.table import Set
from edgeai.quantize.debug.surgery import Cut, is_coded
from edgeai.quantize.debug.tally import Tally

Floats = NDArray[np.float32]
UNBOUNDED = (-np.inf, np.inf)
THREADS = 2
FIXED_GRID = frozenset({"LOGISTIC", "SOFTMAX"})


@dataclass(frozen=True, slots=True)
class Networks:
    """What is compared: the int8 `graph` with its file, its layers cut apart, these in floats, and the float network.

    `counterpart` maps int8 tensors to tensors of the float network, `bounds` some int8 tensors to the range outside of
    which values make no difference to what reads them.
    """

    graph: Graph
    coded: bytes
    layers: Cut
    floats: bytes
    reference: bytes
    counterpart: dict[int, int]
    bounds: dict[int, tuple[float, float]]


@dataclass(slots=True)
class Observed:
    """What was counted of one result: the tallies, and the float values' extremes, squares and clipped share.

    `by_float` is the layer alone in float arithmetic, its result rounded as the file says; None where LiteRT has no
    float kernel for an operator of the file.
    """

    low: float
    high: float
    stepwise: Tally
    cumulative: Tally
    by_float: Tally | None
    slices: tuple[Tally, ...] = ()
    squares: float = 0.0
    count: int = 0
    clipped: int = 0

    @property
    def rms(self) -> float:
        return float((self.squares / self.count) ** 0.5) if self.count else 0.0


def measure(
    networks: Networks,
    images: Sequence[Floats],
    kernels: Set | None = None,
    progress: Callable[[], object] | None = None,
) -> tuple[dict[int, Observed], dict[int, tuple[float, float]], str]:
    """By int8 tensor: what was counted of every result that has a float counterpart, and the float extremes. And the
    kernel sets of the int8 runs.

    `images` are inputs [1, ...] of the float network in real numbers; `progress` is called twice for each. Each
    operator runs on a set that computes it right, or on `kernels`. Raises InputError where an image does not fit the
    network or LiteRT refuses it, ToolError where the runtime fails.
    """
    reference = _Floats(networks.reference)
    extremes = _extremes(networks, reference, images, progress)
    chosen = choose(networks.graph) if kernels is None else (kernels,) * len(networks.graph.ops)
    coded = MixedInterpreter(networks.coded, "the network", chosen, keep_all=True, threads=THREADS)
    layers = MixedInterpreter(networks.layers.data, "its layers", chosen, apart=True, threads=THREADS)
    second = _second(networks)
    found = {t: _observed(networks, t, extremes, second is not None) for t in networks.layers.results if t in extremes}
    for image in images:
        reference.run({networks.counterpart[t]: image for t in networks.graph.inputs})
        exact = {t: reference.read(networks.counterpart[t]) for t in extremes}
        coded.run([encode(exact[t], networks.graph.tensors[t]) for t in networks.graph.inputs])
        given = _given(networks, coded, exact)
        alone = layers.run(list(given.values()))
        if second is not None:
            reals = (_real(networks.graph, t, codes) for t, codes in given.items())
            second.run(dict(zip(second.inputs, reals, strict=True)))
        for t, entry in found.items():
            place = networks.layers.results[t]
            by_float = None
            if second is not None:
                by_float = _rounded(second.read(second.outputs[place]), networks.graph.tensors[t])
            _count(networks, t, entry, exact, alone[place], coded.read(t), by_float)
        if progress is not None:
            progress()
    return found, extremes, coded.kernels


def _second(networks: Networks) -> _Floats | None:
    """The layers in floats; None where an operator has no float kernel, and the int8 kernels alone judge."""
    try:
        return _Floats(networks.floats)
    except InputError:
        return None


def _real(graph: Graph, t: int, codes: NDArray[Any]) -> NDArray[Any]:
    """Numbers as the layers in floats take them: integers that are no codes stay what they are."""
    tensor = graph.tensors[t]
    return decode(codes, tensor) if is_coded(tensor) else codes


def _rounded(values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    return encode(values, tensor) if is_coded(tensor) else values


def _extremes(
    networks: Networks, reference: _Floats, images: Sequence[Floats], progress: Callable[[], object] | None
) -> dict[int, tuple[float, float]]:
    """Smallest and largest float value of every int8 tensor that has a counterpart, zero included."""
    found: dict[int, tuple[float, float]] = {}
    for image in images:
        reference.run({networks.counterpart[t]: image for t in networks.graph.inputs})
        for t, f in networks.counterpart.items():
            values = reference.read(f)
            if values.dtype != np.float32:
                continue
            # padding with the lowest float there is, in front of a max pooling, is no value of the network's
            real = values[values > np.finfo(np.float32).min / 2] if values.size else values
            low, high = found.get(t, (0.0, 0.0))
            floor, ceiling = networks.bounds.get(t, UNBOUNDED)
            found[t] = (
                max(floor, min(low, float(real.min(initial=0.0)))),
                min(ceiling, max(high, float(real.max(initial=0.0)))),
            )
            if not np.isfinite(found[t]).all():
                raise InputError(f"{networks.graph.tensors[t].name} is not finite in the float network")
        if progress is not None:
            progress()
    return found


def _observed(networks: Networks, t: int, extremes: dict[int, tuple[float, float]], by_float: bool) -> Observed:
    tensor = networks.graph.tensors[t]
    low, high = extremes[t]
    joined = concatenated(networks.graph, networks.graph.producer(t))
    return Observed(
        low,
        high,
        Tally(low, high, tensor.scale),
        Tally(low, high, tensor.scale),
        Tally(low, high, tensor.scale) if by_float else None,
        tuple(Tally(*extremes.get(i, extremes[t]), tensor.scale) for i in joined),
    )


def concatenated(graph: Graph, op: Op | None) -> tuple[int, ...]:
    """The activations that a concatenation joins; empty for other operators, and for one with constants."""
    if op is None or op.kind != "CONCATENATION" or any(graph.tensors[t].is_constant for t in op.inputs):
        return ()
    return op.inputs


def _given(networks: Networks, coded: MixedInterpreter, exact: dict[int, Floats]) -> dict[int, NDArray[Any]]:
    """What every layer is fed, in the order of their file's inputs: the float tensors, quantised; what has no float
    counterpart comes from the int8 run."""
    given: dict[int, NDArray[Any]] = {}
    for t in networks.layers.twins:
        tensor = networks.graph.tensors[t]
        known = t in exact and (is_coded(tensor) or tensor.dtype == "float32")
        given[t] = encode(exact[t], tensor) if known else coded.read(t)
    return given


def _count(
    networks: Networks, t: int, entry: Observed, exact: dict[int, Floats], stepwise: NDArray[Any],
    in_net: NDArray[Any], by_float: NDArray[Any] | None,
) -> None:  # fmt: skip
    tensor, op = networks.graph.tensors[t], networks.graph.producer(t)
    # clipped: beyond the extremes lie only padding with the lowest number, and what makes no difference
    ends = np.float32(entry.low), np.float32(entry.high)
    bounded = t in networks.bounds
    values = exact[t].clip(*ends)
    alone, running = decode(stepwise, tensor), decode(in_net, tensor)
    if bounded:
        alone, running = alone.clip(*ends), running.clip(*ends)
    entry.stepwise.add(values, alone)
    entry.cumulative.add(values, running)
    if entry.by_float is not None and by_float is not None:
        floats = decode(by_float, tensor)
        entry.by_float.add(values, floats.clip(*ends) if bounded else floats)
    everything = exact[t].ravel() if bounded else values.ravel()
    entry.squares += float(everything @ everything)
    entry.count += values.size
    if is_coded(tensor):
        low, high = grid(tensor)
        # the int8 grids of sigmoid and softmax are fixed and end one step below 1: a 1 there is no saturation
        slack = tensor.scale * (1.5 if op is not None and op.kind in FIXED_GRID else 0.5)
        entry.clipped += int(np.count_nonzero((values < low - slack) | (values > high + slack)))
    start = 0
    for source, tally in zip(concatenated(networks.graph, op), entry.slices, strict=True):
        assert op is not None
        axis = op.axis % len(tensor.shape)
        stop = start + networks.graph.tensors[source].shape[axis]
        piece = (slice(None),) * axis + (slice(start, stop),)
        tally.add(np.ascontiguousarray(values[piece]), np.ascontiguousarray(alone[piece]))
        start = stop


# --- integers and real numbers ------------------------------------------------------------------


def grid(tensor: Tensor) -> tuple[float, float]:
    """The smallest and the largest real number that a quantised tensor can hold."""
    info = np.iinfo(tensor.dtype)
    return (int(info.min) - tensor.zero_point) * tensor.scale, (int(info.max) - tensor.zero_point) * tensor.scale


def encode(values: Floats, tensor: Tensor) -> NDArray[Any]:
    """Real numbers as a tensor holds them: round(real / scale) + zero point, saturated; unchanged for a float one."""
    if not is_coded(tensor):
        return values.astype(tensor.dtype)
    info = np.iinfo(tensor.dtype)
    with np.errstate(over="ignore"):  # max pooling pads with the lowest float there is
        codes = np.rint(values / np.float32(tensor.scale)) + np.float32(tensor.zero_point)
    return np.asarray(codes.clip(info.min, info.max).astype(tensor.dtype))


def decode(codes: NDArray[Any], tensor: Tensor) -> Floats:
    """scale * (q - zero point), float32."""
    if not is_coded(tensor):
        return codes.astype(np.float32)
    return np.asarray((codes.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale))


class _Floats:
    """A float network with all its tensors kept; `inputs` and `outputs` are tensor numbers in the file's order.

    Floats run on built-in kernels: the reference is eight times slower and no closer.
    """

    def __init__(self, data: bytes) -> None:
        self._interpreter = open_kernels(data, "the network in floats", "builtin", THREADS, keep_all=True)
        self.inputs = [int(entry["index"]) for entry in self._interpreter.get_input_details()]
        self.outputs = [int(entry["index"]) for entry in self._interpreter.get_output_details()]

    def run(self, given: dict[int, NDArray[Any]]) -> None:
        try:
            for index, values in given.items():
                self._interpreter.set_tensor(index, values)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ToolError(f"LiteRT failed: {' '.join(str(error).split())[:160]}") from None

    def read(self, index: int) -> NDArray[Any]:
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return values
