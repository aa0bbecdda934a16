"""Our own weight files: safetensors with fp32 or fp16 tensors and the spec as metadata `edgeai.spec`.

The format (8 bytes of header length, a JSON header, the tensors) is read and written here, not by the safetensors
package, because its metadata order is not deterministic and equal inputs must give equal bytes. Its reader reads these
files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeai.artifacts import ModelSpec, from_json, to_json
from edgeai.errors import InputError
from edgeai.files import write_bytes
from edgeai.models.registry import find

if TYPE_CHECKING:
    from torch import Tensor

    from edgeai.models.network import Network

SPEC_KEY = "edgeai.spec"
MAX_HEADER = 16 << 20
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
IMPORT_HINT = "make it with: edgeai import MODEL.pt -o OUT.safetensors"


def save_weights(state: Mapping[str, Tensor], spec: ModelSpec, out: Path, half: bool = False) -> None:
    """Write a network's state dict with its spec. Batch-norm counters are left out: they are no weights."""
    kind = "F16" if half else "F32"
    header: dict[str, object] = {"__metadata__": {SPEC_KEY: to_json(spec)}}
    blobs: list[bytes] = []
    offset = 0
    for name in sorted(name for name in state if not name.endswith("num_batches_tracked")):
        tensor = state[name].detach().cpu().float().numpy()
        with np.errstate(over="ignore"):
            array = tensor.astype(DTYPES[kind])
        if not np.isfinite(array).all():
            what = "does not fit into fp16" if half else "is not finite"
            raise InputError(f"weight {name} {what}", "import without --half" if half else "")
        blob = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format asks for tensors at multiples of 8
    write_bytes(out, b"".join([len(text).to_bytes(8, "little"), text, *blobs]))


def load_weights(path: Path) -> tuple[Network, ModelSpec]:
    """The network of an edgeai safetensors file, in eval mode and fp32, and its spec. Raises InputError."""
    import torch

    data = path.read_bytes()
    header, start = _header(data, path.name)
    spec = _spec(header.pop("__metadata__", None), path.name)
    weights: dict[str, Tensor] = {}
    end = start
    for name, entry in sorted(header.items(), key=_begin):
        array, end = _tensor(data, start, end, entry, f"{path.name}: {name[:80]!r}")
        weights[name] = torch.from_numpy(array)
    if end != len(data):
        raise InputError(f"{path.name} is cut short or has bytes that belong to no tensor", IMPORT_HINT)
    return fill(spec, weights, path.name), spec


def read_spec(path: Path) -> ModelSpec:
    """The spec of an edgeai safetensors file, without its weights. Raises InputError."""
    with path.open("rb") as stream:
        head = stream.read(8)
        data = head + stream.read(min(int.from_bytes(head, "little"), MAX_HEADER))
    header, _ = _header(data, path.name)
    return _spec(header.get("__metadata__"), path.name)


def fill(spec: ModelSpec, weights: Mapping[str, Tensor], name: str) -> Network:
    """The network of a spec with the given fp32 weights, in eval mode.

    Raises InputError naming the first weight that is missing, left over or of another shape.
    """
    import torch

    from edgeai.models.build import build_spec

    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = build_spec(spec)
    expected = {
        key: tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    for key, shape in expected.items():
        if key not in weights:
            raise InputError(f"{name} is not a {spec.name}: {key} is missing", "is it fused, pruned or customised?")
        if tuple(weights[key].shape) != shape:
            found = list(weights[key].shape)
            raise InputError(f"{name} is not a {spec.name}: {key} is {found}, not {list(shape)}")
    for key in weights:
        if key not in expected:
            raise InputError(f"{name} is not a {spec.name}: {key[:80]!r} is left over", "is it a customised network?")
    network.to_empty(device="cpu")
    network.load_state_dict(dict(weights), strict=False)
    for key, buffer in network.named_buffers():
        if key.endswith("num_batches_tracked"):
            buffer.zero_()
    return network.eval()


def _begin(item: tuple[str, Any]) -> int:
    """Where a tensor of the header begins, for sorting; anything where the entry is malformed."""
    try:
        return int(item[1]["data_offsets"][0])
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        return -1


def _header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    """The JSON header and where the tensors begin."""
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 2 <= length <= min(len(data) - 8, MAX_HEADER):
        raise InputError(f"{name} is not a safetensors file, or is cut short", IMPORT_HINT)
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not a safetensors file: its header is not JSON", IMPORT_HINT) from None
    if not isinstance(header, dict):
        raise InputError(f"{name} is not a safetensors file: its header is not an object", IMPORT_HINT)
    return header, 8 + length


def _spec(metadata: object, name: str) -> ModelSpec:
    text = metadata.get(SPEC_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise InputError(f"{name} does not say which network it is: no {SPEC_KEY} in its metadata", IMPORT_HINT)
    spec = from_json(ModelSpec, text, f"{SPEC_KEY} of {name}")
    entry = find(spec.name)
    if (spec.family, spec.task, spec.scale) != (entry.family, entry.task, entry.scale) or not spec.names:
        raise InputError(f"{name}: its {SPEC_KEY} contradicts itself", IMPORT_HINT)
    return spec


def _tensor(data: bytes, start: int, end: int, entry: object, where: str) -> tuple[np.ndarray[Any, Any], int]:
    """One tensor as fp32 and where it ends. Tensors follow each other without gap or overlap, from `start` on."""
    fields = entry if isinstance(entry, dict) else {}
    dtype = DTYPES.get(str(fields.get("dtype")))
    shape, offsets = _counts(fields, "shape"), _counts(fields, "data_offsets")
    if dtype is None:
        raise InputError(f"{where} holds {str(fields.get('dtype'))[:20]!r}, not F32 or F16", IMPORT_HINT)
    if shape is None or offsets is None or len(offsets) != 2 or len(shape) > 8:
        raise InputError(f"{where} has no valid shape and place", IMPORT_HINT)
    first, last = start + offsets[0], start + offsets[1]
    if first != end or last > len(data) or last - first != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{where} is not where the header says, or the file is cut short", IMPORT_HINT)
    array = np.frombuffer(data, dtype, math.prod(shape), first).reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{where} holds a value that is not a number or infinite", IMPORT_HINT)
    return array, last


def _counts(fields: dict[str, Any], key: str) -> list[int] | None:
    """The list of whole numbers >= 0 under a key, or None where it is something else."""
    value = fields.get(key)
    if isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value):
        return value
    return None
