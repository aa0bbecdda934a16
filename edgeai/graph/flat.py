"""TFLite files as trees that can be changed: read with the checks of `edgeai.graph`, written as one flatbuffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.errors import InputError, need
from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Tensor


def read_tree(path: Path) -> tuple[Graph, Any]:
    """A TFLite file twice: as the checked, read-only graph, and as the schema's tree with every constant inside it.

    Some tools store constants behind the flatbuffer; packing such a tree would lose them, so they are pulled in.
    Raises InputError where the file is no sound TFLite.
    """
    graph = load_graph(path)
    if graph.format != "tflite":
        raise InputError(f"{path} is not a TFLite file", "pass a .tflite file")
    return graph, tree_with_constants(path.read_bytes(), str(path))


def tree_with_constants(data: bytes, name: str) -> Any:
    """`tree_of`, with what stands behind the flatbuffer pulled in."""
    tree = tree_of(data, name)
    for buffer in tree.buffers or []:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return tree


def tree_of(data: bytes, name: str = "the file") -> Any:
    """The schema's tree of a TFLite file."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise need("ai-edge-litert", "convert") from None
    try:
        return schema.ModelT.InitFromPackedBuf(data, 0)
    except Exception as error:  # the generated reader checks nothing: a damaged file fails anywhere in it
        message = f"{name} is a damaged TFLite file: {type(error).__name__}"
        raise InputError(message, "copy or convert it again") from None


def pack(tree: Any) -> bytes:
    """The file of a tree."""
    try:
        import flatbuffers
    except ImportError:
        raise need("flatbuffers", "convert") from None
    _drop_unused(tree)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _drop_unused(tree: Any) -> None:
    """Empty the buffers that nothing names any more; their numbers stay."""
    used = {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors or []}
    used |= {entry.buffer for entry in tree.metadata or []}
    for number, buffer in enumerate(tree.buffers):
        if number not in used:
            buffer.data = None


def add_buffer(tree: Any, values: NDArray[Any]) -> int:
    """A new constant buffer with these values; its number. Old buffers may be shared, so none is overwritten."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    tree.buffers.append(buffer)
    return len(tree.buffers) - 1


def constant(tensor: Tensor) -> NDArray[Any]:
    """The integers or floats of a constant tensor, in its shape."""
    assert tensor.data is not None
    return np.frombuffer(tensor.data, np.dtype(tensor.dtype)).reshape(tensor.shape)


def along(values: tuple[float, ...] | tuple[int, ...], tensor: Tensor, dtype: type = np.float64) -> NDArray[Any]:
    """One value for all of a tensor, or one per index of its quantised dimension, in the shape that broadcasts."""
    if len(values) == 1:
        return np.asarray(values[0], dtype)
    shape = [-1 if axis == tensor.quantized_dimension else 1 for axis in range(len(tensor.shape))]
    return np.asarray(values, dtype).reshape(shape)


def real(tensor: Tensor) -> NDArray[np.float64]:
    """The real values of a quantised constant: scale * (q - zero point)."""
    codes = constant(tensor).astype(np.float64)
    return np.asarray((codes - along(tensor.zero_points, tensor)) * along(tensor.scales, tensor))
