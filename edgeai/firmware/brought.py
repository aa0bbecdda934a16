"""Files of C and of machine code that edgeai brings: in the installed package, or beside it in a clone."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def brought(packaged: str, beside: str, name: str) -> Path | None:
    """`edgeai/data/PACKAGED/NAME`, or `firmware_stubs/BESIDE/NAME` of a clone; None where neither is there."""
    places = (PACKAGE / "data" / packaged / name, PACKAGE.parent / "firmware_stubs" / beside / name)
    return next((path for path in places if path.is_file()), None)
