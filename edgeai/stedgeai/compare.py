"""Estimate and compiler side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgeai.artifacts import (
    ComparedQuantity,
    CompiledModel,
    Footprint,
    FootprintComparison,
    Quantity,
    from_json,
)
from edgeai.board import Board
from edgeai.errors import EdgeAIError, InputError
from edgeai.files import file_ref
from edgeai.stedgeai.compile import RESULT
from edgeai.stedgeai.ownership import own
from edgeai.stedgeai.read import read_compiled


def find_compiled(
    model: Path, board: Board, runs: Path, given: Path | None = None, anyway: bool = False
) -> CompiledModel:
    """The compile result of a model: at `given` (a run's folder, `compiled.json`, or outputs of the tool), else the
    newest below `runs` with this content hash and board. Raises InputError where there is none, or where the one given
    is of another model or chip (taken nevertheless with `anyway`)."""
    if given is not None:
        return _given(given, board, model, anyway)
    file = compiled_folder(model, board.name, runs) / RESULT
    return from_json(CompiledModel, file.read_text(), str(file))


def compiled_folder(model: Path, board: str, runs: Path) -> Path:
    """The newest folder below `runs` with a compile result of this model for this board."""
    digest = file_ref(model).sha256
    files = sorted((runs / "compile").glob(f"*/{RESULT}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for file in files:
        try:
            made = from_json(CompiledModel, file.read_text(), str(file))
        except (EdgeAIError, OSError, UnicodeDecodeError):
            continue  # of another version of edgeai, or being written
        if made.model is not None and made.model.sha256 == digest and made.board == board:
            return file.parent
    raise InputError(
        f"no compile result of {model.name} for {board} in {runs / 'compile'}",
        f"edgeai compile {model.name} --board {board} makes one; or pass --compiled PATH",
    )


def _given(path: Path, board: Board, model: Path, anyway: bool) -> CompiledModel:
    reference = file_ref(model)
    file = path / RESULT if path.is_dir() and (path / RESULT).exists() else path
    if file.name != RESULT:
        return own(read_compiled([path], board.name, reference), model, board, anyway)
    made = from_json(CompiledModel, file.read_text(), str(file))
    found = []
    if made.model is not None and made.model.sha256 != reference.sha256:
        found.append(f"{file} is the compile result of another model: {made.model.name}")
    if made.board != board.name:
        found.append(f"{file} is the compile result for {made.board}, not for {board.name}")
    if found and not anyway:
        raise InputError("; ".join(found), "compile this one for this board, or pass --anyway")
    return dataclasses.replace(made, mismatches=(*made.mismatches, *found))


def compare(estimate: Footprint, made: CompiledModel) -> FootprintComparison:
    """Every figure that both sides have, in bytes or in epochs."""
    on_chip, external = _ram(made)
    memory, support = estimate.memory, estimate.support
    code = made.runtime.flash if made.runtime is not None else None
    rows = [
        _row("RAM on chip", "bytes", memory.ram if memory else estimate.activations_bytes + estimate.io_bytes, on_chip),
        _row("RAM external", "bytes", memory.external if memory else None, external),
        _row("weights", "bytes", memory.weights if memory else estimate.weights_bytes, made.weights_bytes),
        _row("runtime and code", "bytes", memory.code if memory else None, code),
    ]
    if made.epochs is not None:
        rows += [
            _row("epochs", "epochs", support.epochs if support else None, made.epochs.total),
            _row("in software", "epochs", support.software_epochs if support else None, made.epochs.software),
            _row("hybrid", "epochs", support.hybrid_epochs if support else None, made.epochs.hybrid),
        ]
    notes = [*(f"taken with --anyway: {mismatch}" for mismatch in made.mismatches), *made.gaps]
    if made.model is None or made.model.sha256 != estimate.model.sha256:
        notes.append("the compile result does not say which file it is of")
    if memory is not None and made.pools and memory.version.split(".")[:2] != made.version.split(".")[:2]:
        notes.append(f"the estimate is for Core {memory.version}, the compiler is {made.version}: pass --core")
    return FootprintComparison(
        model=estimate.model, board=estimate.board, toolchain=made.toolchain, version=made.version,
        quantities=tuple(row for row in rows if row.estimate or row.compiler is not None),
        notes=tuple(notes),
    )  # fmt: skip


def _ram(made: CompiledModel) -> tuple[int | None, int | None]:
    """RAM on chip (inputs and outputs included) and outside."""
    if made.activations_bytes is None:
        return None, None
    external = sum(pool.activations for pool in made.pools if pool.kind == "external-ram")
    return made.activations_bytes - external + (made.io_bytes or 0), external


def _row(name: str, unit: str, estimate: Quantity | float | None, compiler: float | None) -> ComparedQuantity:
    low = high = None
    if isinstance(estimate, Quantity):
        low, high, point = estimate.low, estimate.high, estimate.point
    else:
        point = estimate  # type: ignore[assignment]
    known = point is not None and compiler
    difference = 100 * (point - compiler) / compiler if known and compiler else None
    return ComparedQuantity(name, unit, point, low, high, compiler, difference)
