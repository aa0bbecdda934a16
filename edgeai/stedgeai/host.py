"""The network on the host: inputs in the model's own quantization, and every tensor LiteRT computes from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeai.errors import InputError
from edgeai.graph import load_graph
from edgeai.kernels.interpreter import open_mixed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HostTensor:
    """One tensor over all samples, [N, …] in the file's own type; `operator` computed it as number `index`."""

    index: int
    operator: str
    name: str
    values: NDArray[Any]
    scale: float
    zero_point: int


def quantized_inputs(model: Path, images: Sequence[Path]) -> NDArray[Any]:
    """The images as the model's input takes them, [N, S, S, 3] of its own type. Raises InputError for other inputs."""
    import numpy as np

    from edgeai.imaging.images import laid_out
    from edgeai.quantize.ranges.calibration import batches
    from edgeai.recognise.know import know

    graph = load_graph(model)
    contract = know(graph, model.stem).takes_pictures(model.name)
    if len(graph.inputs) != 1:
        raise InputError(f"{model.name} has {len(graph.inputs)} inputs", "pass --inputs FILE.npy for a model of one")
    tensor = graph.tensors[graph.inputs[0]]
    stack = laid_out(np.concatenate(list(batches(tuple(images), contract))), tensor.shape)
    if not tensor.quantized:
        return stack
    limits = np.iinfo(np.dtype(tensor.dtype))
    steps = np.rint(stack / np.float32(tensor.scale)) + tensor.zero_point
    found: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
    return found


def check_inputs(model: Path, values: NDArray[Any], name: str) -> None:
    """Raises InputError where an array is not a batch of the model's input."""
    graph = load_graph(model)
    tensor = graph.tensors[graph.inputs[0]]
    wanted = tuple(tensor.shape[1:])
    if values.ndim < 1 or not len(values) or tuple(values.shape[1:]) != wanted or str(values.dtype) != tensor.dtype:
        raise InputError(
            f"{name} is {values.dtype}{list(values.shape)}, the input of {model.name} is {tensor.dtype} [N, "
            + ", ".join(map(str, wanted)) + "]",
            "pass a batch in the model's own quantization",
        )  # fmt: skip


def host_outputs(model: Path, inputs: NDArray[np.generic]) -> tuple[HostTensor, ...]:
    """The model's outputs on the host, in their order in the file."""
    graph = load_graph(model)
    by_name = {tensor.name: tensor for tensor in host_tensors(model, inputs, outputs_only=True)}
    return tuple(by_name[graph.tensors[index].name] for index in graph.outputs)


def host_tensors(model: Path, inputs: NDArray[np.generic], outputs_only: bool = False) -> tuple[HostTensor, ...]:
    """Every activation in the order of the operators, each by the LiteRT kernels that compute it right."""
    import numpy as np

    interpreter = open_mixed(model, keep_all=not outputs_only)
    graph = interpreter.graph
    wanted = [
        (op.index, op.kind, graph.tensors[t])
        for op in graph.ops
        for t in op.outputs
        if t >= 0 and (not outputs_only or t in graph.outputs)
    ]
    gathered: list[list[NDArray[Any]]] = [[] for _ in wanted]
    for sample in inputs:
        interpreter.run([sample[None]])
        for values, (_, _, tensor) in zip(gathered, wanted, strict=True):
            values.append(np.array(interpreter.read(tensor.index)))
    return tuple(
        HostTensor(index, kind, tensor.name, np.concatenate(values), tensor.scale, tensor.zero_point)
        for values, (index, kind, tensor) in zip(gathered, wanted, strict=True)
        if values and values[0].ndim
    )


def plain(tensors: Sequence[HostTensor]) -> Iterator[tuple[str, NDArray[Any]]]:
    for tensor in tensors:
        yield tensor.name, tensor.values
