"""What the STM32MP2's compiler makes of a per-channel file: weights per tensor, their range chosen by entropy.

The NPU of the STM32MP2 executes 8-bit layers with one scale per tensor. ST's model zoo says that its compiler converts
per-channel files by an entropy method; the method itself is closed. This is a simulation of such a conversion with the
method that goes by that name (Migacz, 8-bit Inference with TensorRT, GTC 2017): of all ranges, the one whose rounded
distribution diverges least from that of the weights, in the sense of Kullback and Leibler. Activations keep their
scales and zero points; biases are coded anew, because their step is input scale times weight scale.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import EvalResult, Fact
from edgeai.board import Board
from edgeai.errors import InputError
from edgeai.files import file_ref
from edgeai.graph import load_graph
from edgeai.graph.flat import add_buffer, along, constant, pack, read_tree, real
from edgeai.graph.types import Graph, Op, Tensor

Method = Literal["entropy", "max"]
FAMILIES = frozenset({"STM32MP2"})  # boards whose compiler converts
SIMULATION = "edgeai.requantized"  # name of the metadata entry that says so
BINS = 2048
LEVELS = 128  # of one sign: codes 0..127
SEARCH_STEP = 8  # bins between two ranges that are tried: 0.4 % of the largest magnitude
BIAS_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Requantized:
    """A simulated file. `tensors` weight tensors had several scales and have one; `clipped` is the share of weights
    beyond the chosen ranges."""

    data: bytes
    tensors: int
    clipped: float


def requantize(model: Path, method: Method = "entropy") -> Requantized:
    """The per-tensor form of a per-channel int8 TFLite. The same file gives the same bytes.

    `method` chooses the range of each weight tensor: `entropy`, or `max`, which clips nothing. A file without
    per-channel weights comes back as it is, with `tensors` 0. Raises InputError where the file is no quantised TFLite.
    """
    graph, tree = read_tree(model)
    weighted = [(op, weights) for op in graph.ops if (weights := graph.weights(op)) is not None and weights.quantized]
    if not weighted:
        raise InputError(f"{model.name} has no quantised weights", "pass an int8 TFLite file")
    changed: dict[int, float] = {}
    clipped = total = 0
    for op, weights in weighted:
        if weights.dtype != "int8" or len(weights.scales) < 2:
            continue
        if weights.index not in changed:
            values = real(weights)
            scale = weight_scale(values, method)
            clipped += int(np.count_nonzero(np.abs(values) > 127.5 * scale))
            total += values.size
            codes = np.rint(values / scale).clip(-127, 127).astype(np.int8)
            _store(tree, weights, codes, scale)
            changed[weights.index] = scale
        _code_bias(tree, graph, op, changed[weights.index])
    if not changed:
        return Requantized(model.read_bytes(), 0, 0.0)
    _say_so(tree, method)
    return Requantized(_as_known(pack(tree), graph, model), len(changed), clipped / total)


def _as_known(data: bytes, graph: Graph, model: Path) -> bytes:
    """`data` with what `model` is in a contract: words behind a TFLite file do not survive writing it."""
    from edgeai.quantize.ptq import with_contract
    from edgeai.recognise.know import know

    known = know(graph, model.stem)
    if known.own or known.refusal is not None or not known.sure or not known.contract.box_unit:
        return data
    return with_contract(data, known.contract)


def weight_scale(values: NDArray[np.float64], method: Method) -> float:
    """The one symmetric scale of a weight tensor."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0:
        return 1.0
    return (largest if method == "max" else entropy_range(values)) / 127


def entropy_range(values: NDArray[np.float64]) -> float:
    """The range T whose 128 levels for |value| lose least information.

    Of the histogram P of magnitudes, cut at T with everything beyond it in the last bin, Q is what remains when each
    of 128 equal groups of bins is replaced by its mean over the bins that are not empty. T minimises KL(P || Q).
    """
    magnitudes = np.abs(values).ravel()
    largest = float(magnitudes.max())
    counts = np.histogram(magnitudes, BINS, (0.0, largest))[0].astype(np.float64)
    total = counts.sum()
    best, place = np.inf, BINS
    for end in range(LEVELS, BINS + 1, SEARCH_STEP):
        divergence = _divergence(counts[:end], total)
        if divergence < best:
            best, place = divergence, end
    return largest * place / BINS


def _divergence(kept: NDArray[np.float64], total: float) -> float:
    """KL of the cut histogram from its form in LEVELS steps, in nats."""
    p = kept.copy()
    p[-1] += total - kept.sum()
    starts = np.arange(LEVELS) * len(kept) // LEVELS
    sizes = np.diff(np.append(starts, len(kept)))
    filled = kept > 0
    sums = np.add.reduceat(kept, starts)
    used = np.maximum(np.add.reduceat(filled.astype(np.float64), starts), 1)
    q = np.repeat(sums / used, sizes) * filled
    q_total = q.sum()
    there = p > 0
    if q_total <= 0 or np.any(q[there] <= 0):
        return float("inf")
    p, q = p[there] / total, q[there] / q_total
    return float(np.sum(p * np.log(p / q)))


# --- writing ------------------------------------------------------------------------------------


def _store(tree: Any, tensor: Tensor, codes: NDArray[Any], scale: float) -> None:
    entry = tree.subgraphs[0].tensors[tensor.index]
    entry.buffer = add_buffer(tree, codes)
    parameters = entry.quantization
    parameters.scale, parameters.zeroPoint = [scale], [0]
    parameters.quantizedDimension = 0
    parameters.min = parameters.max = None


def _code_bias(tree: Any, graph: Graph, op: Op, weight_step: float) -> None:
    """The bias of one operator in its new step; real values stay what they are."""
    bias = graph.bias(op)
    if bias is None or bias.dtype not in ("int32", "int64"):
        return
    data = graph.operand(op, 2 if op.kind == "TRANSPOSE_CONV" else 0)
    if data is None or not data.quantized:
        raise InputError(f"the input of {op.kind} #{op.index} is not quantised", "requantize takes full int8 files")
    values = constant(bias).astype(np.float64) * _bias_step(graph, op, bias, data)
    step = float(np.float32(data.scale) * np.float32(weight_step))
    codes = np.rint(values / step).clip(-BIAS_LIMIT, BIAS_LIMIT).astype(bias.dtype)
    _store(tree, bias, codes, step)


def _bias_step(graph: Graph, op: Op, bias: Tensor, data: Tensor) -> NDArray[np.float64]:
    """What one unit of a bias is worth: its own scales, or input scale times weight scales where it has none."""
    if bias.quantized:
        return along(bias.scales, bias)
    weights = graph.weights(op)
    assert weights is not None
    return np.asarray(weights.scales, np.float64) * data.scale


def _say_so(tree: Any, method: Method) -> None:
    """Metadata: whoever opens the file can tell that it is a simulation."""
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.MetadataT()
    entry.name = SIMULATION
    text = f"simulation of a board compiler's conversion: weights per tensor by {method}"
    entry.buffer = add_buffer(tree, np.frombuffer(text.encode(), np.uint8))
    tree.metadata = [*(tree.metadata or []), entry]


# --- as on a board ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AsOn:
    """A file as a board runs it. `path` is the file itself where the board changes nothing; `note` says it in words."""

    path: Path
    note: str


def as_there(result: EvalResult, model: Path, board: Board, note: str) -> EvalResult:
    """The accuracy of what `board` runs for `model`, under the name of the model."""
    made = dataclasses.replace(result.provenance, options=(*result.provenance.options, Fact("as_on", note)))
    return dataclasses.replace(result, model=file_ref(model), name=f"{model.stem} as on {board.name}", provenance=made)


def converts(board: Board, granularity: str) -> bool:
    """Whether the tools of `board` change a file of this granularity."""
    return board.family in FAMILIES and granularity == "per-channel"


def as_on(model: Path, board: Board, folder: Path) -> AsOn:
    """What `board` would run for the TFLite `model`; a simulated file is written into `folder`."""
    graph = load_graph(model)
    if board.family not in FAMILIES:
        return AsOn(model, f"{board.name}: the file as it is")
    if not any(tensor.per_channel for op in graph.ops if (tensor := graph.weights(op)) is not None):
        return AsOn(model, f"{board.name}: the file as it is, its weights are not per-channel")
    made = requantize(model)
    target = folder / model.name
    target.write_bytes(made.data)
    return AsOn(target, f"{board.name}: {made.tensors} weight tensors made per-tensor by entropy, a simulation")
