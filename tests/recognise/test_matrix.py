"""No cell of the matrix is silently wrong: the one object is found, or the file is refused for a reason of the list."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from matrix import REFUSED, Cell, cells, outcome


@pytest.mark.parametrize("cell", list(cells()), ids=lambda cell: cell.name)
def test_the_object_is_found_or_the_file_refused(cell: Cell, tmp_path: Path) -> None:
    got = outcome(cell, tmp_path)
    if not cell.words and cell.head in REFUSED:
        assert REFUSED[cell.head] in got.refused, got
    else:
        assert got.found, got
