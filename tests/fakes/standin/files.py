"""The files that `generate` leaves, with the same numbers as the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from standin import faults
from standin.network import Network
from standin.texts import Personality

FORMATS = {"int8": "S8", "uint8": "U8", "int16": "S16", "int32": "S32", "float32": "FLOAT"}


def c_info(person: Personality, net: Network, arguments: str, npu: bool, series: str) -> dict[str, Any]:
    t = net.graph.tensors
    ids = {b.tensor.index: b.id for b in net.buffers}
    buffers = [
        {
            "id": b.id, "name": b.tensor.name, "format": f"STAI_FORMAT_{FORMATS.get(b.tensor.dtype, 'Q')}",
            "nbits": 8, "size_bytes": b.length, "shape": list(b.tensor.shape), "shape_map": [], "batch": 1,
            "channel_first": False, "channel_last": True, "is_param": b.is_param, "flags": "", "alignment": 8,
            "mpool_id": b.pool + 1, "offset_start": b.offset, "epochs": {"start": b.first, "end": b.last},
            "intq": {"axis": -1, "scales": list(b.tensor.scales), "offsets": list(b.tensor.zero_points)}
            if b.tensor.quantized else {}, "qmn": {},
        }
        for b in net.buffers
    ]  # fmt: skip
    pools = [
        {
            "id": i + 1, "name": p.name, "address": str(p.address) if npu else "NULL", "used_size_bytes": p.used,
            "size_bytes": -1 if p.size is None else p.size, "rights": "ACC_READ" if p.read_only else "ACC_WRITE",
            "cacheable": "CACHEABLE_OFF", "fname": p.fname, "buffers": [], "subpools": [], "offset_start": 0,
            "alignment": 8, "persistent": True, "user_allocated": False, "attributes": {},
        }
        for i, p in enumerate(net.pools)
    ]  # fmt: skip
    if npu:
        pools += _virtual(net)
    software = dict(net.software)
    nodes = [
        {
            "id": 200 + op.index, "name": f"epoch_{op.index + 1}" if npu else f"op_{op.index}", "type": "",
            "mapping": "NODE_SW" if op.index + 1 in software or not npu else "NODE_HW",
            "macc": 0 if npu else net.graph.macs(op), "inputs": [ids[i] for i in op.inputs if i in ids],
            "outputs": [ids[i] for i in op.outputs if i in ids], "scratchs": [], "original_nodes": [],
            "sw_functions": [], "attributes": {}, "description": "" if npu else op.kind,
            "subgraph_nodes": [{"id": 9000 + op.index, "name": op.kind, "type": op.kind, "mapping": "NODE_HW"
                                if op.index + 1 not in software else "NODE_SW_INTEGER"}] if npu else [],
        }
        for op in net.graph.ops
    ]  # fmt: skip
    if npu:
        nodes.insert(0, {"id": 1, "name": "epoch_0", "mapping": "NODE_NO_X", "macc": 0, "subgraph_nodes": []})
    tools: list[dict[str, Any]] = [{
        "name": "ST.EdgeAI.Core", "version": person.full, "arguments": arguments, "environment": [],
        "input_model": {"name": net.path.stem, "type": "tflite", "size": net.weights, "n_params": 0,
                        "model_files": [{"name": net.path.name, "signature": "0x0"}]},
    }]  # fmt: skip
    if npu:
        tools.append({"name": "ATONN Compiler", "version": person.compiler, "arguments": ""})
    tools.append({"name": "stand-in", "version": "1"})
    return {
        "json_schema_version": "2.0", "buffers": buffers, "memory_pools": pools, "ec_blobs_info": [],
        "environment": {"generated_model": {"name": "network", "model_files": []}, "target": "", "tools": tools},
        "graphs": [{"id": 1, "name": "network", "nodes": nodes, "edges": [],
                    "inputs": [ids[i] for i in net.graph.inputs], "outputs": [ids[i] for i in net.graph.outputs],
                    "original_inputs": [], "original_outputs": [t[i].name for i in net.graph.outputs]}],
        "memory_footprint": {"activations": net.activations, "weights": net.weights, "io": [0, 0], "series": series,
                             "kernel_flash": None, "kernel_ram": None, "toolchain": None, "toolchain_flash": None,
                             "toolchain_ram": None},
    }  # fmt: skip


def _virtual(net: Network) -> list[dict[str, Any]]:
    """The pool that joins the on-chip pools that follow each other, with its high-water mark."""
    inside = [p for p in net.pools if p.size and not p.read_only and p.address < 0x6000_0000]
    chain = sorted(inside, key=lambda p: p.address)
    if len(chain) < 2:
        return []
    top = max((p.address + p.used for p in chain if p.used), default=chain[0].address)
    return [{
        "id": len(net.pools) + 1, "name": "_".join(p.name for p in chain), "address": str(chain[0].address),
        "size_bytes": sum(p.size or 0 for p in chain), "used_size_bytes": top - chain[0].address,
        "rights": "ACC_WRITE", "cacheable": "CACHEABLE_OFF", "fname": "", "buffers": [],
        "subpools": [net.pools.index(p) + 1 for p in chain], "offset_start": 0, "attributes": {},
    }]  # fmt: skip


def write(
    person: Personality, net: Network, options: Any, body: dict[str, Any], report: list[str], npu: bool
) -> list[Path]:
    out = Path(options.output)
    out.mkdir(parents=True, exist_ok=True)
    name = options.name
    listed = []

    def put(file: str, data: bytes) -> None:
        (out / file).write_bytes(data)
        listed.append(out / file)

    text = json.dumps(body, indent=2).encode()
    if faults.NAME == "truncated-json":
        text = text[: len(text) // 2]
    if options.command == "analyze":
        put(f"{name}_c_info.json", text)
    elif faults.NAME != "missing-files":
        put(f"{name}.c", f"/* stand-in: no code */\nconst char *model = \"{net.path.stem}\";\n".encode())
        put(f"{name}.h", b"/* stand-in: no code */\n")
        put(f"{name}_c_info.json", text)
        constants = b"".join(bytes(b.tensor.data or b"") for b in net.buffers if b.is_param)
        if npu:
            put(f"{name}_atonbuf.xSPI2.raw", constants)
            if person.controller:
                put(f"{name}_ecblobs.h", b"/* stand-in: no blobs */\n")
            suffix = "3_3_1" if person.numbers >= (3, 0, 0) else "3_3_0"
            put(f"{net.path.stem}_OE_{suffix}.onnx", b"stand-in")
            put(f"{net.path.stem}_OE_{suffix}_Q.json", b'{"version": "4.0"}\n')
        else:
            put(f"{name}_data.c", b"/* stand-in: no weights */\n")
        if person.numbers >= (3, 0, 0):
            put(f"stai_{name}.c", b"/* stand-in */\n")
            put(f"stai_{name}.h", b"/* stand-in */\n")
    if not options.no_report and faults.NAME not in ("no-report", "missing-files"):
        (out / f"{name}_{options.command}_report.txt").write_text("\n".join(report) + "\n")
    workspace = Path(options.workspace)
    workspace.mkdir(parents=True, exist_ok=True)
    return listed
