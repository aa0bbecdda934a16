"""C sources that read the outputs of one model on a device."""

from __future__ import annotations

from dataclasses import dataclass

from edgeai.artifacts.base import FileRef, Provenance
from edgeai.artifacts.model import FileLayout


@dataclass(frozen=True, slots=True)
class PostprocessSources:
    """The post-processing of one model in C, configured for it.

    `table_bytes` of constants go to flash; `workspace_bytes`, `result_bytes` and `mask_bytes` of RAM are for the
    candidates, the detections and the one mask in the making (`mask_bytes` 0 for a detection network), on a 32-bit CPU.
    """

    model: FileRef
    layout: FileLayout
    confidence: float
    nms_iou: float
    max_detections: int
    max_candidates: int
    table_bytes: int
    workspace_bytes: int
    result_bytes: int
    mask_bytes: int
    files: tuple[FileRef, ...]
    provenance: Provenance
