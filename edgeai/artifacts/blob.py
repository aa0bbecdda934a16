"""A model as the bench firmware runs it. Bytes, MACs."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.base import Count, FileRef, Provenance


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A model blob, and what it asks of a board.

    `name` is how the board lists the model, `signature` the first 32 hex digits of the model file's SHA-256.
    `arena_bytes` of working memory hold all activations, inputs and outputs; `peak_bytes` live at once.
    `operators` counts the nodes that are executed; `steps` are the kernels they call.
    """

    file: FileRef
    model: FileRef
    name: str
    signature: str
    arena_bytes: int
    peak_bytes: int
    constant_bytes: int
    steps: int
    macs: int
    operators: tuple[Count, ...]
    provenance: Provenance
