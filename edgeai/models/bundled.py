"""The model that comes with edgeai, so that a first run needs nothing from outside."""

from __future__ import annotations

from pathlib import Path

BUNDLED = ("yolov8n-seg-synthetic",)


def bundled_model(name: str) -> Path | None:
    """The file of a bundled model; None where there is none of that name."""
    if name not in BUNDLED:
        return None
    return Path(__file__).resolve().parent.parent / "data" / f"{name}.safetensors"
