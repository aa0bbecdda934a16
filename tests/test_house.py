"""The rooms of docs/architecture.md: who may import whom, and how many live in one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgeai"
MOST = {".": 34, "device": 12, "quantize": 12}  # entries of a folder


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports when it runs; imports for type checkers do not count."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module in FILES and not node.level:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in FILES else str(node.module)


IMPORTS = {name: sorted(set(imports(path)) - {name}) for name, path in FILES.items()}


def room(name: str) -> str:
    """`edgeai.graph.types` -> `graph/`, `edgeai.files` -> `files.py`."""
    parts = name.split(".")
    if len(parts) < 2 or parts[1] == "__main__":
        return ""
    return f"{parts[1]}/" if (PACKAGE / parts[1]).is_dir() else f"{parts[1]}.py"


def test_every_room_is_in_the_table_and_imports_none_below_it() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## The rooms")[2].partition("\n## ")[0]
    order = {name: place for place, name in enumerate(re.findall(r"^\| ([a-z]+(?:/|\.py)) \|", table, re.MULTILINE))}
    assert set(order) == {room(name) for name in FILES} - {""}
    below = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if room(name) and room(other) and order[room(other)] > order[room(name)]
    ]
    assert not below, below


def test_no_files_import_each_other_in_a_circle() -> None:
    left = dict(IMPORTS)
    while True:
        free = [name for name, others in left.items() if not any(other in left for other in others)]
        if not free:
            break
        for name in free:
            del left[name]
    assert not left, f"these wait for one another: {sorted(left)}"


@pytest.mark.parametrize("folder", MOST)
def test_a_room_can_be_overlooked(folder: str) -> None:
    entries = [path for path in (PACKAGE / folder).iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST[folder], sorted(path.name for path in entries)


def test_only_the_command_line_prints() -> None:
    talkers = [
        f"{name}:{node.lineno}"
        for name, path in FILES.items()
        if not name.startswith(("edgeai.cli", "edgeai.__main__"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not talkers, talkers
