"""Model blobs: a TFLite file as the flat table that the bench firmware runs without a parser.

Everything that can be computed beforehand is: multipliers, tables of functions, folded biases, the places of all
activations, the steps of every operator. The firmware checks the blob before it uses it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgeai import __version__
from edgeai.artifacts import BlobFile, Count, FileRef
from edgeai.files import file_ref, sha256_bytes, write_bytes
from edgeai.firmware.blob.layout import clean, pack, plan_arena
from edgeai.firmware.blob.lower import lower
from edgeai.graph import load_graph
from edgeai.provenance import provenance

SIGNATURE_DIGITS = 32


@dataclass(frozen=True, slots=True)
class ModelBlob:
    """A blob's bytes, and what it needs (`BlobFile` says what the fields are)."""

    name: str
    signature: str
    data: bytes
    arena_bytes: int
    peak_bytes: int
    constant_bytes: int
    steps: int
    macs: int
    operators: tuple[Count, ...]


def make_blob(path: Path, name: str = "") -> ModelBlob:
    """The blob of a TFLite file; `name` is the file's own, where none is given, cut to 63 ASCII characters.

    The same file gives the same bytes. Raises InputError where the file is not a sound TFLite file, or holds operators
    that the firmware does not compute: all of them are looked at before anything is made.
    """
    graph = load_graph(path)
    program = lower(graph, path.name)
    arena = plan_arena(program)
    shown, signature = name or path.stem, file_ref(path).sha256[:SIGNATURE_DIGITS]
    macs = sum(graph.macs(op) for op in graph.ops)
    counts = Counter(node.op.kind for node in program.nodes)
    return ModelBlob(
        name=clean(shown).decode(),
        signature=signature,
        data=pack(program, arena, shown, signature, macs, _version()),
        arena_bytes=arena.size,
        peak_bytes=arena.peak,
        constant_bytes=len(program.constants),
        steps=sum(len(node.steps) for node in program.nodes),
        macs=macs,
        operators=tuple(Count(kind, n) for kind, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def write_blob(model: Path, target: Path, name: str = "") -> BlobFile:
    """`make_blob`, written to `target`; nothing is written where it fails."""
    blob = make_blob(model, name)
    write_bytes(target, blob.data)
    source = file_ref(model)
    return BlobFile(
        file=FileRef(target.name, sha256_bytes(blob.data), len(blob.data)),
        model=source,
        name=blob.name,
        signature=blob.signature,
        arena_bytes=blob.arena_bytes,
        peak_bytes=blob.peak_bytes,
        constant_bytes=blob.constant_bytes,
        steps=blob.steps,
        macs=blob.macs,
        operators=blob.operators,
        provenance=provenance("blob", [source], [("name", blob.name)], ["numpy"]),
    )


def _version() -> int:
    """edgeai's version as the protocol codes one: major << 24 | minor << 16 | patch << 8."""
    numbers = [int("".join(c for c in part if c.isdigit()) or 0) for part in __version__.split(".")[:3]]
    return sum(min(n, 255) << shift for n, shift in zip(numbers, (24, 16, 8), strict=False))
