"""Post-training quantisation: ranges into the float TFLite, then TFLite's own quantisation pass.

The pass is the one behind TFLiteConverter; it takes the ranges from the tensors' quantisation parameters. It leaves
the same operators as the plain converter, and it decides nothing that the ranges do not say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeai import worker
from edgeai.artifacts import Contract, Ranges, to_json
from edgeai.errors import InputError, NotSimulatedError, ToolError
from edgeai.quantize.recipe import Method

if TYPE_CHECKING:
    from torch import Tensor

    from edgeai.quantize.improve.tune import Trial

InputType = Literal["int8", "uint8", "float32"]
OutputType = Literal["int8", "float32"]
CONTRACT_NAME = "edgeai.contract"
MOST_TUNING_IMAGES = 128  # all of them are in memory at once
COMPENSATING_IMAGES = 64  # the first ones, at most three quarters
JUDGING_IMAGES = 64  # the last ones, of what nothing else saw; 24 took two tunings half a decibel apart for equal
LEVELLED_LAYERS = 4  # with a rectifier; fewer do not pay for a second calibration


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_quantized` made: its contract, which trial of the tuning the file is, and what could not be done."""

    contract: Contract
    chosen: str = ""
    note: str = ""


def quantize(
    model: bytes,
    ranges: Ranges,
    per_channel: bool,
    input_type: InputType,
    output_type: OutputType,
    correct: bool = True,
    float_decode: bool = False,
) -> bytes:
    """An int8 TFLite from a float TFLite and the ranges of its activations; `correct` its biases for the weights'
    rounding. With `float_decode` what is computed from logits stays in floating point.

    Raises ToolError where TensorFlow's pass fails.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    types = {"int8": tf.int8, "uint8": tf.uint8, "float32": tf.float32}
    try:
        result: bytes = mlir_quantize(
            with_ranges(model, ranges),
            disable_per_channel=not per_channel,
            disable_per_channel_for_dense_layers=not per_channel,
            input_data_type=types[input_type],
            output_data_type=types[output_type],
            denylisted_nodes=_decoded(model) if float_decode else None,
        )
    except Exception as error:  # the pass raises whatever MLIR reports
        text = " ".join(str(error).split())[:200]
        raise ToolError(f"TensorFlow's quantisation pass failed: {text}") from None
    return with_corrected_biases(result, model, ranges) if correct else result


def _decoded(model: bytes) -> set[str]:
    """The names of the tensors that are computed from logits."""
    from edgeai.graph.tflite import read_tflite
    from edgeai.quantize.ranges.observe import logit_tensors

    graph = read_tflite(model)
    known = logit_tensors([{"op_name": op.kind, "inputs": op.inputs, "outputs": op.outputs} for op in graph.ops])
    behind: set[int] = set()
    for op in graph.ops:
        if known.intersection(op.inputs) or behind.intersection(op.inputs):
            behind.update(set(op.outputs) - known)
    return {graph.tensors[index].name for index in behind}


def with_corrected_biases(quantized: bytes, model: bytes, ranges: Ranges) -> bytes:
    """`quantized` with its biases corrected for what rounding did to the weights of `model`."""
    from edgeai.graph.flat import pack, tree_of
    from edgeai.quantize.improve.bias import correct_biases

    tree = tree_of(quantized)
    correct_biases(tree, tree_of(model), ranges.means)
    return pack(tree)


def with_ranges(model: bytes, ranges: Ranges) -> bytes:
    """`model` with min and max on every tensor of `ranges`."""
    from ai_edge_litert import schema_py_generated as schema

    from edgeai.graph.flat import pack, tree_of

    tree = tree_of(model)
    tensors = tree.subgraphs[0].tensors
    for entry in ranges.tensors:
        if entry.tensor >= len(tensors):
            raise InputError("these ranges belong to another model", "calibrate again")
        parameters = schema.QuantizationParametersT()
        parameters.min, parameters.max = [entry.minimum], [entry.maximum]
        tensors[entry.tensor].quantization = parameters
    return pack(tree)


def with_contract(model: bytes, contract: Contract) -> bytes:
    """`model` with its contract in the metadata, so that it explains itself wherever it goes."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    from edgeai.graph.flat import add_buffer, pack, tree_of

    tree = tree_of(model)
    entry = schema.MetadataT()
    entry.name, entry.buffer = CONTRACT_NAME, add_buffer(tree, np.frombuffer(to_json(contract).encode(), np.uint8))
    kept = [old for old in tree.metadata or [] if old.name not in (CONTRACT_NAME, CONTRACT_NAME.encode())]
    tree.metadata = [*kept, entry]
    return pack(tree)


def tuned(
    quantized: bytes,
    model: bytes,
    contract: Contract,
    method: Method,
    images: tuple[Path, ...],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[bytes, str]:
    """`quantized` with the tuning of `method` on `images`, with its rounding of the weights, and with scores as sure as
    those of `model`; and what was chosen."""
    import numpy as np
    import torch

    from edgeai.quantize.improve.compensate import compensated, compensation
    from edgeai.quantize.improve.judge import Judge
    from edgeai.quantize.improve.learn import learn
    from edgeai.quantize.improve.scores import match_scores
    from edgeai.quantize.improve.tune import planned
    from edgeai.quantize.ranges.calibration import batches

    torch.set_num_threads(2)
    tunes, compensates, learns = _passes(method)
    passes = tunes + compensates + learns
    used = images[:MOST_TUNING_IMAGES]
    trials = planned(len(used), method.images, method.trials, ranges=method.ranges == "tuned") if tunes else []
    seen = max((trial.stop for trial in trials), default=0)
    if compensates:
        seen = max(seen, min(COMPENSATING_IMAGES, len(used) - len(used) // 4))
    if not learns:  # which takes them all
        used = used[:seen] + used[seen:][-JUDGING_IMAGES:]
    pictures = torch.from_numpy(np.concatenate(list(batches(used, contract))))
    unseen = pictures[seen:][-JUDGING_IMAGES:]
    files = _tunings(quantized, model, pictures, method, trials, _part(progress, 0, passes))
    # learning starts from it, too; judged by the images that it learnt by heart, it would always win
    if compensates and len(unseen):
        found = compensation(quantized, model, pictures[:seen], _part(progress, tunes, passes))
        files |= {", ".join(filter(None, (n, "weights compensated"))): compensated(f, found) for n, f in files.items()}
    if len(files) > 1:
        judge = Judge(model, contract, unseen if len(unseen) else pictures)
        noise = {name: judge.noise(file) for name, file in files.items()}
        chosen = min(noise, key=noise.__getitem__)
    else:
        chosen = next(iter(files))
    result = files[chosen]
    if learns:
        result = learn(result, model, pictures, method.steps, _part(progress, passes - 1, passes))
    if method.scores == "matched":
        result = match_scores(result, model, contract, pictures)
    return result, chosen


def _tunings(
    quantized: bytes,
    model: bytes,
    pictures: Tensor,
    method: Method,
    trials: list[Trial],
    progress: Callable[[int, int], object],
) -> dict[str, bytes]:
    """`quantized` itself and what every trial makes of it, by name."""
    from edgeai.quantize.improve.tune import tune

    ranges, biases = method.ranges == "tuned", method.biases == "tuned"
    what = " and ".join(["ranges"] * ranges + ["biases"] * biases)
    files = {"untuned" if trials else "": quantized}
    for number, trial in enumerate(trials):
        part = pictures[trial.start : trial.stop]
        tell = _part(progress, number, len(trials))
        made = tune(quantized, model, part, ranges=ranges, biases=biases, follow=trial.follow, progress=tell)
        files[f"{what} from {trial}"] = made
    return files


def _passes(method: Method) -> tuple[bool, bool, bool]:
    """Whether `method` tunes ranges or biases, compensates weights, learns weights."""
    return "tuned" in (method.ranges, method.biases), method.weights != "nearest", method.weights == "learned"


def _part(progress: Callable[[int, int], object], number: int, passes: int) -> Callable[[int, int], object]:
    """The progress of pass `number`, from 0, told as percent of all of them."""
    return lambda done, total: progress(100 * (number * total + done) // (passes * total), 100)


@dataclass(frozen=True, slots=True)
class Source:
    """A float TFLite and the ranges of its activations."""

    model: Path
    ranges: Ranges


def has_rectifiers(model: Path) -> bool:
    """Whether a float TFLite has layers enough with ReLU or LeakyReLU that levelling them may pay
    (`edgeai.quantize.improve.equalise`)."""
    from edgeai.graph.tflite import read_tflite

    ops = read_tflite(model.read_bytes()).ops
    return sum(op.activation == "relu" or op.kind in ("RELU", "LEAKY_RELU") for op in ops) >= LEVELLED_LAYERS


def _less_noise(files: list[bytes], model: bytes, contract: Contract, images: tuple[Path, ...]) -> int:
    """The place of the int8 file that is nearest to the float TFLite `model` on the last of `images`."""
    import numpy as np
    import torch

    from edgeai.quantize.improve.judge import Judge
    from edgeai.quantize.ranges.calibration import batches

    torch.set_num_threads(2)
    used = images[:MOST_TUNING_IMAGES][-JUDGING_IMAGES:]
    judge = Judge(model, contract, torch.from_numpy(np.concatenate(list(batches(used, contract)))))
    noise = [judge.noise(file) for file in files]
    return noise.index(min(noise))


def write_quantized(
    source: Path,
    ranges: Ranges,
    contract: Contract,
    per_channel: bool,
    input_type: InputType,
    output_type: OutputType,
    method: Method,
    images: tuple[Path, ...],
    out: Path,
    other: Source | None = None,
    progress: Callable[[int, int], object] = worker.tick,
) -> Written:
    """`quantize` from file to file and the tuning of `method` on `images`, the contract inside.

    `other` is the equalised form of `source`; the one that loses less before any tuning is taken. Masks of layout
    concat are those of ST's rule (edgeai/quantize/st_masks.py). A network with operators that cannot be simulated is
    not tuned, nor judged; the note says so.
    """
    from edgeai.quantize.st_masks import with_st_masks

    model = source.read_bytes()
    correct, floats = method.biases != "none", method.decode == "float"
    if floats and not any(role.kind in ("boxes", "pred") for role in contract.roles):
        raise InputError("this network has no decode to leave in floating point", "use --layout split or concat")
    data = quantize(model, ranges, per_channel, input_type, output_type, correct, floats)
    chosen = note = levelled = ""
    if other is not None:
        second = other.model.read_bytes()
        changed = quantize(second, other.ranges, per_channel, input_type, output_type, correct, floats)
        with contextlib.suppress(NotSimulatedError):
            if _less_noise([data, changed], model, contract, images):
                data, model, levelled = changed, second, "equalised"
    if method.tunes:
        try:
            data, chosen = tuned(data, model, contract, method, images, progress)
        except NotSimulatedError as error:
            note = f"not tuned: {error.message}"
    data, contract = with_st_masks(data, contract)
    out.write_bytes(with_contract(data, contract))
    return Written(contract, ", ".join(filter(None, (chosen, levelled))), note)
