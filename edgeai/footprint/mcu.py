"""Activation RAM of ST's CPU runtime (X-CUBE-AI, ST Edge AI Core on STM32 without NPU).

Rules, read from public generated reports, `c_info.json` files and network sources (tool versions 2.2, 8.1, 10):

* a convolution with padding reads a padded copy; padding is done in place where the input dies with it;
* a convolution of kernel 3 or more, a depthwise convolution and a pooling write over their input as they go, one
  output row behind, where the input dies with it; a 1×1 convolution that widens at most twofold does so too;
* overwriting moves the buffers on: results of a chain of such operators lie ever lower, and what they leave free above
  serves their scratch and nothing else; the runtime overwrites only where the buffers side by side would not fit under
  the peak, and pads into a copy where that takes less than a longer chain;
* element-wise operators work in place on an input of their output's size; max pooling behind a convolution is fused
  and keeps the rows it reads;
* scratch: 1×1 of stride 1 takes 4·Cin + 10·Cout bytes; other convolutions of K taps
  4·K + 14·Cout + min(2·K·Cout, 5120); depthwise of k taps C·(4·k + 1) + 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgeai.footprint.live import LiveRange, live_ranges
from edgeai.footprint.tables import Table
from edgeai.footprint.weights import is_depthwise, static_tensors
from edgeai.graph.types import Graph, Op, Tensor

CONVS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "Conv", "QLinearConv"})
POOLS = frozenset({"MAX_POOL_2D", "AVERAGE_POOL_2D", "MaxPool", "AveragePool"})
ELEMENTWISE = frozenset(
    {"ADD", "SUB", "MUL", "LOGISTIC", "RELU", "RELU6", "HARD_SWISH", "TANH", "QUANTIZE", "Add", "Sub", "Mul"}
) | {"Sigmoid", "Relu", "Clip", "QuantizeLinear"}
ALIASED = frozenset({"PAD", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "Pad", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
SCRATCH_WEIGHTS = 5120
WIDENING = 2
MIN_CHANNELS = 8  # a first layer on an image has a kernel of its own, which does not overwrite


@dataclass(frozen=True, slots=True)
class McuPeak:
    """The operator that needs most activation memory, with its scratch in it; bytes."""

    bytes: int
    op: Op
    scratch: int


def mcu_ram(graph: Graph, table: Table) -> McuPeak:
    """Activations of the CPU runtime, inputs and outputs inside, bytes."""
    ranges = _ranges(graph, table)
    owner = _owners(graph)
    by_leader = {r.tensor: r for r in ranges}
    change = [0] * (len(graph.ops) + 1)
    for entry in ranges:
        change[entry.first] += entry.size
        change[entry.last + 1] -= entry.size
    pooled = _pooled(graph)
    needs, apart, live, started = list[int](), list[int](), 0, False
    for op in graph.ops:
        live += change[op.index]
        if op.outputs and op.outputs[0] in pooled:
            needs.append(_with_pool(graph, op, live, by_leader.get(owner[op.inputs[0]])))
            apart.append(0)
            continue
        saved = _saved(graph, op, owner, by_leader)
        side_by_side = live + scratch_bytes(graph, op)
        if table.copies_input and not started and op.kind in CONVS:
            started = True
            if _reads_quantized(graph, op):
                side_by_side += max(padded_bytes(graph, op), graph.tensors[op.inputs[0]].nbytes)
        needs.append(side_by_side - saved)
        read = by_leader.get(owner[op.inputs[0]]) if op.inputs and op.inputs[0] >= 0 else None
        stays = read is not None and read.last > op.index
        apart.append(_apart(graph, op, side_by_side, stays) if saved else 0)
    needs = _with_chains(graph, needs, apart)
    worst = max(range(len(needs)), key=lambda i: needs[i])
    return McuPeak(needs[worst], graph.ops[worst], scratch_bytes(graph, graph.ops[worst]))


def _reads_quantized(graph: Graph, op: Op) -> bool:
    """Whether an operator reads an input of the network that was quantised first."""
    producer = _producer(graph, op)
    return producer >= 0 and graph.ops[producer].kind == "QUANTIZE" and graph.ops[producer].inputs[0] in graph.inputs


def _with_pool(graph: Graph, op: Op, live: int, read: LiveRange | None) -> int:
    """Bytes of a convolution that pools what it computes: it keeps as many rows of its own as the pooling reads."""
    pool = graph.consumers(op.outputs[0])[0]
    own, result = graph.tensors[op.outputs[0]], graph.tensors[pool.outputs[0]]
    taken = scratch_bytes(graph, op) + max(pool.kernel[0], 1) * _row(graph, own)
    weights = graph.weights(op)
    wide = weights is not None and len(weights.shape) == 4 and min(kernel(graph, op, weights)) > 1
    if wide and read is not None and read.last == op.index:
        return live - read.size + _overlaid(graph, op, _read_bytes(graph, op), result) + taken
    return live + result.nbytes + taken


def _apart(graph: Graph, op: Op, side_by_side: int, stays: bool) -> int:
    """Bytes that an operator needs if nothing works in place: padding makes a copy before the kernel runs."""
    if op.kind not in CONVS:
        return side_by_side
    source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    read, stored = _read_bytes(graph, op), _stored_bytes(graph, source)
    if stays:
        return side_by_side + (0 if is_depthwise(graph, op) else read)
    others = side_by_side - stored - result.nbytes - scratch_bytes(graph, op)
    copying = stored + read if read > stored else 0
    return others + max(copying, read + result.nbytes + scratch_bytes(graph, op))


def _stored_bytes(graph: Graph, tensor: Tensor) -> int:
    """Bytes of a tensor before the paddings that lead to it."""
    producer = graph.producer(tensor.index)
    while producer is not None and producer.kind in ALIASED:
        tensor = graph.tensors[producer.inputs[0]]
        producer = graph.producer(tensor.index)
    return tensor.nbytes


@dataclass(frozen=True, slots=True)
class _Chain:
    """Convolutions that overwrite one another's results, in addresses from the end of the first one's input.

    `end` is where the last result ends, `low` and `high` are the ends of all of it, scratch included; `others` are the
    bytes that live besides.
    """

    end: int
    low: int
    high: int
    others: int

    @property
    def bytes(self) -> int:
        return self.high - self.low + self.others


def _with_chains(graph: Graph, needs: list[int], apart: list[int]) -> list[int]:
    """`needs` of the operators, where those that must overwrite their input also need what their chain spans.

    `apart` is what each operator would need without overwriting, 0 where it does not overwrite. A padding that would
    stretch its chain further than a copy takes is made as a copy, and a chain begins anew.
    """
    top, found, chains = max(needs), list(needs), dict[int, _Chain]()
    for op in graph.ops:
        if op.kind not in CONVS or apart[op.index] <= top:
            continue
        read, result, taken = _read_bytes(graph, op), graph.tensors[op.outputs[0]], scratch_bytes(graph, op)
        others = needs[op.index] - _overlaid(graph, op, read, result) - taken
        before = chains.get(_producer(graph, op))
        chain = _joined(before or _Chain(0, 0, 0, 0), graph, op, others)
        stored = _stored_bytes(graph, graph.tensors[op.inputs[0]])
        if before is not None and read > stored:
            anew = _joined(_Chain(0, 0, 0, 0), graph, op, others)
            copying = max(anew.bytes, others + stored + read)
            if copying < chain.bytes:
                chains[op.index], found[op.index] = anew, max(needs[op.index], copying)
                continue
        chains[op.index], found[op.index] = chain, max(needs[op.index], chain.bytes)
    return found


def _joined(before: _Chain, graph: Graph, op: Op, others: int) -> _Chain:
    """A chain with one more operator, whose input ends where the last result does."""
    read, result = _read_bytes(graph, op), graph.tensors[op.outputs[0]]
    low = before.end - read - _ahead(graph, op, read, result)
    return _Chain(
        end=low + result.nbytes,
        low=min(before.low, low),
        high=max(before.high, before.end + scratch_bytes(graph, op)),
        others=max(before.others, others),
    )


def _producer(graph: Graph, op: Op) -> int:
    """The operator that computes the input of another, seen through paddings and reshapes; -1 where there is none."""
    producer: Op | None = op
    while producer is not None and (producer is op or producer.kind in ALIASED):
        source = graph.operand(producer, 0)
        producer = graph.producer(source.index) if source is not None else None
    return producer.index if producer is not None else -1


def _read_bytes(graph: Graph, op: Op) -> int:
    """Bytes of a convolution's input as its kernel reads it."""
    return padded_bytes(graph, op) if op.padding == "same" or any(op.pads) else graph.tensors[op.inputs[0]].nbytes


def _ranges(graph: Graph, table: Table) -> tuple[LiveRange, ...]:
    """Live ranges by the rules of the table: which buffers stay, which never exist."""
    end = len(graph.ops) - 1
    static, pooled = static_tensors(graph), _pooled(graph)
    quantizers = [op for op in graph.ops if op.kind == "QUANTIZE" and op.inputs[:1] in {(t,) for t in graph.inputs}]
    kept, quantized = {op.inputs[0] for op in quantizers}, {op.outputs[0] for op in quantizers}
    found = []
    for entry in live_ranges(graph, fused=table.fused_activations):
        producer = graph.producer(entry.tensor)
        if entry.tensor in pooled or (table.keeps_input and entry.tensor in quantized):
            continue
        if entry.tensor in static:
            continue
        constant = producer is not None and producer.kind == "DEQUANTIZE" and producer.inputs[0] in static
        if constant and table.folds_constants:
            continue
        if constant or (table.keeps_input and entry.tensor in kept):
            found.append(dataclasses.replace(entry, first=0, last=end))
        else:
            found.append(entry)
    return tuple(found)


def _pooled(graph: Graph) -> frozenset[int]:
    """Outputs of convolutions that only a max pooling reads: it runs inside the convolution's kernel."""
    found = set()
    for op in graph.ops:
        source = graph.operand(op, 0)
        inside = op.kind == "MAX_POOL_2D" and op.padding == "valid"
        if inside and source is not None and len(graph.consumers(source.index)) == 1:
            producer = graph.producer(source.index)
            read, result = graph.operand(producer, 0) if producer is not None else None, graph.tensors[op.outputs[0]]
            maps = read is not None and len(read.shape) == len(source.shape) == len(result.shape) == 4
            if maps and producer is not None and producer.kind == "CONV_2D" and source.index not in graph.outputs:
                found.add(source.index)
    return frozenset(found)


def scratch_bytes(graph: Graph, op: Op) -> int:
    """Scratch of an operator's kernel (formulas above); 0 for operators without one."""
    weights = graph.weights(op)
    if weights is None or not op.outputs or len(weights.shape) != 4:
        return 2 * weights.shape[-1] if weights is not None and weights.shape else 0
    channels = graph.output_channels(op)
    height, width = kernel(graph, op, weights)
    if is_depthwise(graph, op):
        return channels * (4 * height * width + 1) + 1
    taps = weights.elements // max(channels, 1)
    if height == width == 1 and op.stride == (1, 1):
        return 4 * taps + 10 * channels
    return 4 * taps + 14 * channels + min(2 * taps * channels, SCRATCH_WEIGHTS)


def kernel(graph: Graph, op: Op, weights: Tensor) -> tuple[int, int]:
    """Height and width of a convolution's kernel."""
    del op
    return (weights.shape[2], weights.shape[3]) if graph.format == "onnx" else (weights.shape[1], weights.shape[2])


def _owners(graph: Graph) -> list[int]:
    """For every tensor the one whose buffer it lies in."""
    owner = list(range(len(graph.tensors)))
    for op in graph.ops:
        source = graph.operand(op, 0)
        if op.kind in ALIASED and op.outputs and source is not None and not source.is_constant:
            owner[op.outputs[0]] = owner[source.index]
    return owner


def _saved(graph: Graph, op: Op, owner: list[int], by_leader: dict[int, LiveRange]) -> int:  # noqa: PLR0911
    """Bytes that in-place work saves of the sum of the live buffers; negative where a padded copy comes on top."""
    if not op.outputs:
        return 0
    result = graph.tensors[op.outputs[0]]
    dying = []
    for t in dict.fromkeys(op.inputs):
        entry = by_leader.get(owner[t]) if t >= 0 else None
        if entry is not None and entry.last == op.index and entry.tensor != owner[result.index]:
            dying.append(entry)
    if op.kind in ELEMENTWISE:
        return max((min(entry.size, result.nbytes) for entry in dying if entry.size <= result.nbytes), default=0)
    source = graph.operand(op, 0)
    if source is None or len(source.shape) != 4 or len(result.shape) != 4:
        return 0
    if op.kind in POOLS:
        return result.nbytes - _row(graph, result) if dying else 0
    if op.kind not in CONVS:
        return 0
    padded = _read_bytes(graph, op)
    stored = by_leader.get(owner[source.index])
    padding = padded - (stored.size if stored is not None else source.nbytes)
    if not dying:
        return _beside(graph, op, padded, result) if padding and op.stride == (1, 1) else 0
    if not _overwrites(graph, op, source, result):
        return 0
    return padded + result.nbytes - _overlaid(graph, op, padded, result) - padding


def _overlaid(graph: Graph, op: Op, padded: int, result: Tensor) -> int:
    """Bytes of input and output together where the output's rows follow the input's: it starts `ahead` before it."""
    return max(padded + _ahead(graph, op, padded, result), result.nbytes)


def _ahead(graph: Graph, op: Op, padded: int, result: Tensor) -> int:
    """Bytes by which the output starts before the input it overwrites: a row; where it grows, it ends so many rows
    before the input as the kernel still reads.
    """
    weights = graph.weights(op)
    if result.nbytes <= padded or weights is None or len(weights.shape) != 4:
        return _row(graph, result)
    rows = max(1, kernel(graph, op, weights)[0] - op.stride[0])
    return result.nbytes - padded + rows * _row(graph, result)


def _beside(graph: Graph, op: Op, padded: int, result: Tensor) -> int:
    """What is saved where the input is needed later: the kernel reads a padded copy, and may write over that."""
    return -padded if is_depthwise(graph, op) else result.nbytes - padded - _row(graph, result)


def _overwrites(graph: Graph, op: Op, source: Tensor, result: Tensor) -> bool:
    """Whether the kernel of a convolution may write over its input."""
    weights = graph.weights(op)
    if weights is None or len(weights.shape) != 4:
        return False
    if kernel(graph, op, weights) == (1, 1):
        return op.stride == (1, 1) and result.nbytes <= WIDENING * source.nbytes
    height, width = kernel(graph, op, weights)
    channels = source.shape[1 if graph.format == "onnx" else -1]
    return is_depthwise(graph, op) or (channels >= MIN_CHANNELS and min(height, width) > 1)


def _row(graph: Graph, tensor: Tensor) -> int:
    """Bytes of one row of a feature map."""
    height = tensor.shape[2 if graph.format == "onnx" else 1]
    return tensor.nbytes // max(height, 1)


def padded_bytes(graph: Graph, op: Op) -> int:
    """Bytes of a convolution's input with the padding that `same` asks for."""
    source, result, weights = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]], graph.weights(op)
    if weights is None or len(weights.shape) != 4:
        return source.nbytes
    taps, first = kernel(graph, op, weights), 2 if graph.format == "onnx" else 1
    sides = []
    for i in (0, 1):
        # depthwise kernels of stride 2 pad both sides alike (yamnet's published figure)
        alike = is_depthwise(graph, op) and op.stride[i] == 2
        reach = (max(result.shape[first + i], 1) - 1) * op.stride[i] + (taps[i] - 1) * op.dilation[i] + 1
        sides.append(max(reach + alike, source.shape[first + i], 1))
    return source.nbytes * sides[0] * sides[1] // max(source.shape[first] * source.shape[first + 1], 1)
