"""What the stand-in knows about a network: read from the TFLite file, placed in the pools it is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Tensor

ALIGN = 16
UNITS = {"BYTES": 1, "KBYTES": 1024, "MBYTES": 1 << 20}
SOFTWARE = {"SOFTMAX", "TRANSPOSE", "DEQUANTIZE", "QUANTIZE", "GATHER", "SPLIT"}
ONNX_NAMES = {"SOFTMAX": "Softmax", "TRANSPOSE": "Transpose", "DEQUANTIZE": "DequantizeLinear",
              "QUANTIZE": "QuantizeLinear", "GATHER": "Gather", "SPLIT": "Split"}  # fmt: skip


class DoesNotFit(Exception):  # noqa: N818
    def __init__(self, left: int) -> None:
        super().__init__(left)
        self.left = left


@dataclass
class Pool:
    name: str
    fname: str
    address: int
    size: int | None
    read_only: bool
    fast: bool
    weights: int = 0
    activations: int = 0
    taken: list[tuple[int, int, int, int]] = field(default_factory=list)  # offset, end, first, last

    @property
    def used(self) -> int:
        return self.weights + self.activations


@dataclass
class Buffer:
    id: int
    tensor: Tensor
    pool: int
    offset: int
    first: int
    last: int
    is_param: bool
    length: int


@dataclass
class Network:
    path: Path
    graph: Graph
    pools: list[Pool]
    buffers: list[Buffer]
    weights: int
    activations: int
    macs: int

    @property
    def io(self) -> tuple[list[Tensor], list[Tensor]]:
        t = self.graph.tensors
        return [t[i] for i in self.graph.inputs], [t[i] for i in self.graph.outputs]

    @property
    def software(self) -> list[tuple[int, str]]:
        return [(op.index + 1, ONNX_NAMES[op.kind]) for op in self.graph.ops if op.kind in SOFTWARE]

    @property
    def per_channel(self) -> bool:
        return any(t.per_channel for t in self.graph.tensors if t.is_constant)


def default_pools() -> list[Pool]:
    """CPU targets: one heap, one array of weights, without limit."""
    return [
        Pool("heap_overlay_pool", "", 0, None, False, True),
        Pool("weights_array", "", 0, None, True, False),
    ]


def read_pools(path: Path) -> list[Pool]:
    body = json.loads(path.read_text())
    return [
        Pool(
            e["name"], e.get("fname", e["name"]), int(e["offset"]["value"], 0) * UNITS[e["offset"]["magnitude"]],
            int(e["size"]["value"], 0) * UNITS[e["size"]["magnitude"]], e["prop"].get("rights") == "ACC_READ",
            e["prop"].get("throughput") == "HIGH",
        )
        for e in body["memory"]["mempools"]
    ]  # fmt: skip


def place(path: Path, pools: list[Pool]) -> Network:
    """Every buffer in a pool: constants in read-only memory, activations in fast memory first, largest first."""
    graph = load_graph(path)
    buffers: list[Buffer] = []
    constants = [t for t in graph.tensors if t.is_constant and t.nbytes and graph.consumers(t.index)]
    readers = {t.index: [op.index for op in graph.consumers(t.index)] for t in graph.tensors}
    writes = {t: op.index for op in graph.ops for t in op.outputs if t >= 0}
    end = len(graph.ops)
    left = 0
    order = sorted(range(len(pools)), key=lambda i: (not pools[i].fast, pools[i].address))
    read_only = [i for i, pool in enumerate(pools) if pool.read_only]
    for t in constants:
        i = read_only[0] if read_only else order[-1]
        buffers.append(Buffer(len(buffers) + 1, t, i, pools[i].weights, 0, end, True, t.nbytes))
        pools[i].weights += t.nbytes
    used = set(graph.inputs) | set(writes)
    live = [t for t in graph.tensors if not t.is_constant and t.index in used and t.nbytes]
    for t in sorted(live, key=lambda t: (-t.nbytes, t.index)):
        first = -1 if t.index in graph.inputs else writes[t.index]
        last = end if t.index in graph.outputs else max(readers[t.index], default=first)
        for i in (i for i in order if not pools[i].read_only):
            offset = _fit(pools[i], t.nbytes, first, last)
            if offset is not None:
                buffers.append(Buffer(len(buffers) + 1, t, i, offset, first, last, False, t.nbytes))
                pools[i].taken.append((offset, offset + t.nbytes, first, last))
                pools[i].activations = max(pools[i].activations, offset + t.nbytes)
                break
        else:
            left += t.nbytes
    left += sum(max(0, p.used - p.size) for p in pools if p.size is not None and p.read_only)
    if left:
        raise DoesNotFit(left)
    macs = sum(graph.macs(op) for op in graph.ops)
    return Network(
        path, graph, pools, buffers, sum(p.weights for p in pools), sum(p.activations for p in pools), macs
    )


def _fit(pool: Pool, length: int, first: int, last: int) -> int | None:
    """The lowest offset that is free while the buffer lives."""
    busy = sorted((a, b) for a, b, f, t in pool.taken if f <= last and first <= t)
    offset = 0
    for a, b in busy:
        if offset + length <= a:
            break
        offset = max(offset, -(-b // ALIGN) * ALIGN)
    return offset if pool.size is None or offset + length <= pool.size else None
