"""`debug`: an int8 TFLite, the float network it was made from or stands for, and images in; a report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract
from edgeai.artifacts.debug import DebugReport, LayerError
from edgeai.errors import InputError
from edgeai.files import file_ref
from edgeai.graph import load_graph
from edgeai.graph.flat import read_tree, tree_of
from edgeai.graph.tflite import read_tflite
from edgeai.graph.types import Graph, Op
from edgeai.imaging.images import canvas, laid_out, normalised, read_image
from edgeai.kernels.table import Set, other_version
from edgeai.provenance import provenance
from edgeai.quantize.debug.blame import THRESHOLD_DB, first_bad, kernels_at_fault, producer, spreads
from edgeai.quantize.debug.measure import Networks, Observed, grid, measure
from edgeai.quantize.debug.pairing import counterparts, indifferent, silu_inputs
from edgeai.quantize.debug.surgery import cut, float_sources, is_coded, simulation
from edgeai.quantize.improve.bias import LAYOUTS
from edgeai.recognise import NOTHING, Asked
from edgeai.recognise.know import know

TOOLS = ("ai-edge-litert", "numpy", "opencv-python-headless")
SATURATED = 0.01


def debug(
    model: Path,
    reference: Path | None,
    images: Sequence[Path],
    threshold: float = THRESHOLD_DB,
    progress: Callable[[], object] | None = None,
    asked: Asked = NOTHING,
    kernels: Set | None = None,
) -> DebugReport:
    """Compare every tensor of the int8 TFLite `model` with its float counterpart on `images`.

    `reference` is the float TFLite it was made from. Without one, or where its tensors cannot be matched, the file is
    compared with its own simulation: its rounded weights, no rounding of activations. `progress` is called twice for
    each image. `kernels` forces one kernel set on all operators; by default each has one that computes it right. Raises
    InputError where the file holds no int8 network of one image input, or one that the runtime cannot run.
    """
    graph, tree = read_tree(model)
    if not any(is_coded(tensor) and not tensor.is_constant for tensor in graph.tensors):
        raise InputError(f"{model.name} is not quantised", "pass the int8 file; the float one goes to --float")
    known = know(graph, model.stem, asked)
    contract = known.decodable(model.name) if known.contract.head else known.takes_pictures(model.name)
    inputs = [as_input(path, graph, contract) for path in images]
    if not inputs:
        raise InputError("no images to debug with", "pass --images DIR with a few photos")
    floats, pairs, findings = _reference(graph, tree, reference)
    matched = reference is not None and not findings
    against: Literal["float model", "own simulation"] = "float model" if matched else "own simulation"
    logits = indifferent(graph, contract)
    bounds = silu_inputs(graph) | logits
    apart = cut(graph, tree)
    in_floats = simulation(read_tflite(apart.data, model.name), tree_of(apart.data))
    networks = Networks(graph, model.read_bytes(), apart, in_floats, floats, pairs, bounds)
    found, extremes, used_kernels = measure(networks, inputs, kernels, progress)
    layers = _layers(graph, found)
    concats = spreads(graph, found, extremes)
    used = [file_ref(path) for path in images]
    refs = [file_ref(model), *([file_ref(reference)] if reference else [])]
    return DebugReport(
        model=refs[0],
        reference=refs[1] if reference else None,
        against=against,
        images=tuple(used),
        kernels=used_kernels,
        threshold_db=threshold,
        layers=layers,
        unmatched=_unmatched(graph, found),
        concats=concats,
        first_bad=first_bad(graph, layers, concats, threshold, logits),
        findings=(*findings, *_findings(graph, layers), *kernels_at_fault(layers, used_kernels), *_unmeasured()),
        provenance=provenance(
            "debug",
            [*refs, *used],
            [("threshold_db", threshold), ("kernels", used_kernels)],
            TOOLS,
            contract.spec.licence,
        ),
    )


def _unmeasured() -> list[str]:
    return [other_version()] if other_version() else []


def _reference(graph: Graph, tree: object, reference: Path | None) -> tuple[bytes, dict[int, int], list[str]]:
    """The float network, which of its tensors stands for which, and a finding where it is not the one given."""
    if reference is not None:
        floats = load_graph(reference)
        if any(is_coded(tensor) for tensor in floats.tensors):
            raise InputError(f"{reference.name} is not a float TFLite", "pass the network before quantisation")
        pairs = counterparts(graph, floats)
        if pairs:
            return reference.read_bytes(), pairs, []
    own = float_sources(graph)
    pairs = {t: own.get(t, t) for t in (*graph.inputs, *(t for op in graph.ops for t in op.outputs))}
    findings = []
    if reference is not None:
        findings = [f"the tensors of {reference.name} do not match: compared with the file's own simulation instead"]
    return simulation(graph, tree), pairs, findings


def as_input(path: Path, graph: Graph, contract: Contract) -> NDArray[np.float32]:
    """A photo as the network's input, [1,S,S,3] or [1,3,S,S], in real numbers."""
    values = normalised(canvas(read_image(path), contract), contract.mean, contract.std)[None]
    return laid_out(values, graph.tensors[graph.inputs[0]].shape)


def _layers(graph: Graph, found: dict[int, Observed]) -> tuple[LayerError, ...]:
    result = []
    for op in graph.ops:
        for t in op.outputs:
            if t in found:
                result.append(_layer(graph, found, op.index, t))
    return tuple(result)


def _layer(graph: Graph, found: dict[int, Observed], index: int, t: int) -> LayerError:
    op, tensor, entry = graph.ops[index], graph.tensors[t], found[t]
    stepwise = entry.stepwise.divergence()
    if entry.slices:
        stepwise = min((tally.divergence() for tally in entry.slices), key=lambda one: one.sqnr_db)
    use = 0.0
    if is_coded(tensor):
        low, high = grid(tensor)
        use = (entry.high - entry.low) / (high - low)
    return LayerError(
        index=index,
        kind=op.kind,
        name=tensor.name,
        shape=tensor.shape,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        minimum=float(entry.low),
        maximum=float(entry.high),
        rms=float(f"{entry.rms:.6g}"),
        saturated=round(entry.clipped / max(entry.count, 1), 6),
        range_use=round(use, 4),
        stepwise=stepwise,
        cumulative=entry.cumulative.divergence(),
        gain=round(_gain(graph, found, op, entry), 3),
        float_sqnr_db=round(entry.by_float.sqnr_db, 2) if entry.by_float is not None else None,
    )


def _gain(graph: Graph, found: dict[int, Observed], op: Op, entry: Observed) -> float:
    """rms out / rms in of a convolution; 0 for others, and for one that weighs probabilities: their sum is 1 anyway."""
    if op.kind not in LAYOUTS or op.kind == "FULLY_CONNECTED" or graph.weights(op) is None:
        return 0.0
    data = op.inputs[LAYOUTS[op.kind].data]
    source = found.get(data)
    if source is None or not source.rms or producer(graph, data).startswith("SOFTMAX"):
        return 0.0
    return entry.rms / source.rms


def _unmatched(graph: Graph, found: dict[int, Observed]) -> tuple[str, ...]:
    return tuple(f"{op.kind} #{op.index}" for op in graph.ops if not any(t in found for t in op.outputs))


def _findings(graph: Graph, layers: tuple[LayerError, ...]) -> list[str]:
    found = []
    clipped = [layer for layer in layers if layer.saturated > SATURATED]
    if clipped:
        worst = max(clipped, key=lambda layer: layer.saturated)
        count = "1 layer saturates" if len(clipped) == 1 else f"{len(clipped)} layers saturate"
        found.append(
            f"{count} in more than {100 * SATURATED:.0f} % of the values, most of all {worst.kind} #{worst.index} "
            f"({100 * worst.saturated:.1f} %)"
        )
    outputs = {graph.behind_quantizers(graph.tensors[t]).index for t in graph.outputs}
    names = {graph.tensors[t].name for t in outputs}
    ends = [layer for layer in layers if layer.name in names]
    if ends:
        shown = ", ".join(f"{layer.kind} #{layer.index} {layer.cumulative.sqnr_db:.1f}" for layer in ends)
        found.append(f"SQNR of the outputs, in dB: {shown}")
    return found
