"""Numbers that the outputs and the input are in: boxes in pixels or in 0..1, the range of the input."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.graph.opcodes import BITS
from edgeai.graph.scales import faults
from edgeai.graph.types import QUANTIZERS, Graph, Op, Tensor
from edgeai.recognise.reading import Reading
from edgeai.recognise.trace import (
    CONCATS,
    COPIES,
    PRODUCTS,
    RESHAPES,
    SLICES,
    TRANSPOSES,
    Constant,
    constant_operand,
    pieces,
)  # fmt: skip
from edgeai.recognise.words import Words

UNIT_BELOW = 4.0  # an int8 tensor of boxes in 0..1 reaches little beyond 1; one in pixels reaches the image size
CLOSE = 0.05  # of the span of a range
DEEPEST = 48
# what a first operator must not be for a convention to hold
SHIFTS = frozenset(
    "ADD Add SUB Sub BatchNormalization Clip MINIMUM MAXIMUM Min Max Split SPLIT SPLIT_V Gather GATHER".split()
)
STATED = "mean and deviation"


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it is from; `value` is empty where nothing decides."""

    value: str = ""
    source: str = ""
    proof: str = ""


# --- boxes ----------------------------------------------------------------------------------------


def box_unit(graph: Graph, reading: Reading, imgsz: int) -> Found:
    """`pixels` or `unit`, from the scale of the output, else from the constants of the decode."""
    tensor = graph.tensors[reading.boxes]
    if reading.boxes < 0:
        return Found("pixels", "by definition", "edgeai decodes the convolutions itself")
    scaled = graph.on_grid(tensor)
    numbers = _by_scale(scaled, imgsz)
    constants = _by_constants(graph, reading, imgsz)
    if numbers.value and constants.value and numbers.value != constants.value:
        return Found("", "contradiction", f"{numbers.proof}: {numbers.value}; {constants.proof}: {constants.value}")
    return numbers if numbers.value else constants


def _by_scale(tensor: Tensor, imgsz: int) -> Found:
    if not tensor.quantized or any(faults(tensor)):
        return Found()
    _, high = real_range(tensor)
    proof = f"scale {tensor.scale:.4g}, so at most {high:.4g}"
    if high <= UNIT_BELOW:
        return Found("unit", "from the numbers", proof)
    return Found("pixels", "from the numbers", proof) if high >= imgsz / 4 and high > 2 * UNIT_BELOW else Found()


def real_range(tensor: Tensor) -> tuple[float, float]:
    """The lowest and highest real value that an integer tensor can hold."""
    bits = BITS.get(tensor.dtype, 8)
    lowest = 0 if tensor.dtype.startswith("uint") else -(1 << (bits - 1))
    highest = lowest + (1 << bits) - 1
    return (lowest - tensor.zero_point) * tensor.scale, (highest - tensor.zero_point) * tensor.scale


def _by_constants(graph: Graph, reading: Reading, imgsz: int) -> Found:
    """The factor between cells and boxes: the strides, or the strides over the input size."""
    first = pieces(graph, reading.boxes, reading.box_axis)[0]
    factor = 1.0
    tensor = first.tensor if first.rows <= 4 else reading.boxes
    for _ in range(DEEPEST):
        op = graph.producer(tensor)
        if op is None or not op.inputs:
            break
        gains: list[float] = []
        if op.kind in CONCATS:
            gains = _levels(graph, op.inputs)
        elif op.kind in ("MUL", "Mul", "DIV", "Div"):
            factors = constant_operand(graph, op)[1]
            if factors is None:
                break
            gains = factors.magnitudes
        elif op.kind in ("ADD", "Add", "SUB", "Sub"):
            found = _by_centres(graph, constant_operand(graph, op)[1], factor, imgsz, reading)
            if found.value:
                return found
        elif op.kind not in COPIES | RESHAPES | TRANSPOSES:
            break
        if len(gains) > 1:
            return _named(gains, factor, reading.strides, imgsz)
        factor *= gains[0] if gains else 1.0
        tensor = _computed(graph, op.inputs)
    return Found()


def _computed(graph: Graph, inputs: tuple[int, ...]) -> int:
    return next((t for t in inputs if t >= 0 and graph.producer(t) is not None), inputs[0])


def _levels(graph: Graph, inputs: tuple[int, ...]) -> list[float]:
    """The factor of every level where each is multiplied on its own before they are joined."""
    gains = []
    for tensor in inputs:
        op = graph.producer(tensor) if tensor >= 0 else None
        while op is not None and op.kind in COPIES | RESHAPES | TRANSPOSES:
            op = graph.producer(op.inputs[0])
        if op is None or op.kind not in ("MUL", "Mul", "DIV", "Div"):
            return []
        _, values = constant_operand(graph, op)
        if values is None or len(values.magnitudes) != 1:
            return []
        gains += values.magnitudes
    return sorted(gains) if len(set(gains)) > 1 else []


def _named(gains: list[float], factor: float, strides: tuple[int, ...], imgsz: int) -> Found:
    """Pixels where the gains are the strides, 0..1 where they are the strides over the size."""
    if len(gains) != len(strides):
        return Found()
    ratios = [gain * factor / stride for gain, stride in zip(sorted(gains), strides, strict=True)]
    if max(ratios) - min(ratios) > 1e-3 * max(ratios):
        return Found()
    for name, wanted in (("pixels", 1.0), ("unit", 1 / imgsz)):
        if abs(ratios[0] - wanted) <= 1e-3 * wanted:
            what = "the strides" if name == "pixels" else f"the strides / {imgsz}"
            return Found(name, "from the graph", f"boxes are multiplied by {what}")
    return Found()


def _by_centres(graph: Graph, values: Constant | None, factor: float, imgsz: int, reading: Reading) -> Found:
    """Centres of cells that are added: the last lies half a stride from the end of the image."""
    if values is None or len(values.numbers) < 8 or not reading.strides:
        return Found()
    last = values.magnitudes[-1] * factor
    for name, size in (("pixels", float(imgsz)), ("unit", 1.0)):
        if abs(last - size * (1 - reading.strides[0] / imgsz / 2)) <= 1e-3 * size:
            return Found(name, "from the graph", f"centres of cells up to {last:.4g} are added")
    return Found()


# --- the input ------------------------------------------------------------------------------------


def input_range(graph: Graph, tensor: Tensor, words: Words) -> Found:
    """A name of RANGES; `words` where the file states mean and deviation; empty where nothing decides."""
    coded = _coded(graph, tensor)
    if coded is not None:
        return _quantised_range(coded, words)
    if tensor.dtype in ("uint8", "int8"):
        name = "0:255" if tensor.dtype == "uint8" else "-128:127"
        return Found(name, "from the type", f"plain {tensor.dtype} pixels")
    return Found("words", f"from {words.source}", STATED) if words.std else _first_operators(graph, tensor)


def _quantised_range(tensor: Tensor, words: Words) -> Found:
    """By what the integers of the input can hold, which must be what the words say."""
    low, high = real_range(tensor)
    proof = f"scale {tensor.scale:.4g}, zero point {tensor.zero_point}: {low:.3g} to {high:.3g}"
    if words.std:
        ends = [(v - m) / s for m, s in zip(words.mean, words.std, strict=True) for v in (0.0, 1.0)]
        room = 0.1 * (high - low)
        if abs(min(ends) - low) > room or abs(max(ends) - high) > room:
            said = f"{words.source} gives an input of {min(ends):.3g} to {max(ends):.3g}"
            return Found("", "contradiction", f"{said}, its {proof}")
        return Found("words", f"from {words.source}", STATED)
    for name, (a, b) in {"0:1": (0, 1), "-1:1": (-1, 1), "0:255": (0, 255), "-128:127": (-128, 127)}.items():
        if abs(low - a) <= CLOSE * (b - a) and abs(high - b) <= CLOSE * (b - a):
            return Found(name, "from the numbers", proof)
    return Found("", "", proof)


def _coded(graph: Graph, tensor: Tensor) -> Tensor | None:
    """The input as integers: itself, or what the first operator of a QDQ file makes of it."""
    if tensor.quantized:
        return tensor
    readers = graph.consumers(tensor.index)
    if len(readers) == 1 and readers[0].kind in QUANTIZERS and readers[0].outputs:
        coded = graph.tensors[readers[0].outputs[0]]
        return coded if coded.quantized else None
    return None


def _first_operators(graph: Graph, tensor: Tensor) -> Found:
    """A network that divides its input by 255 itself takes 0..255; one that shifts it or takes it apart shows nothing
    that could be relied on."""
    index, scale = tensor.index, 1.0
    for _ in range(DEEPEST):
        readers = graph.consumers(index)
        shifts = sorted({op.kind for op in readers} & SHIFTS)
        if shifts or (len(readers) > 1 and any(op.kind in SLICES and _cuts_channels(graph, op) for op in readers)):
            what = ", ".join(shifts) or readers[0].kind
            return Found("", "undecided", f"a first operator ({what}) that changes what pixels mean")
        if len(readers) != 1 or not readers[0].outputs:
            break
        op = readers[0]
        if op.kind in PRODUCTS:
            data, values = constant_operand(graph, op)
            if data != index or values is None or len(values.numbers) not in (1, 3):
                break
            scale *= values.magnitudes[-1]
        elif op.kind in SLICES and _cuts_channels(graph, op):
            return Found("", "undecided", f"a first operator ({op.kind}) that takes its channels apart")
        elif op.kind not in COPIES | TRANSPOSES:
            break
        index = op.outputs[0]
    if scale <= 1 / 40:  # /255 and the like; ImageNet's deviations multiply by 4.5
        return Found("0:255", "from the graph", f"its first operators multiply by {scale:.4g}")
    return Found() if scale == 1.0 else Found("", "undecided", f"first operators that multiply by {scale:.4g}")


def _cuts_channels(graph: Graph, op: Op) -> bool:
    """Whether a slice of the image leaves out or turns round channels: only rows and columns lose some in Focus."""
    before, after = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return before == after or before.count(3) != after.count(3)
