"""Whether the figures in a report of the tool belong to a model and a board: a report holds those of any network."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from edgeai.artifacts import CompiledModel, ValidationResult
from edgeai.board import KIB, Board, all_boards
from edgeai.errors import InputError
from edgeai.stedgeai.commands import is_mpu, is_npu

# A report without a hash is held against the size of the file's constants. ST's figure is 0.99 to 1.54 times that in
# the 49 published rows whose file is at hand (the N6's compiler inflates depthwise kernels).
WEIGHTS_LOW, WEIGHTS_HIGH = 0.7, 2.0
SAME_SERIES = {"stm32": "stm32h7", "stm32l4p": "stm32l4"}  # the tool's plain target; L4+ is a series of its own there
TAKE = "pass the report of this model and chip, or --anyway to take it nevertheless"


def own(made: CompiledModel, model: Path | None, board: Board, anyway: bool) -> CompiledModel:
    """The result of a compile that ran elsewhere, where it is of this model and board.

    Raises InputError where it is of others; `anyway` takes it, with what does not agree in `mismatches`.
    """
    found = [*_target(made.target, board), *_board(made.source_board, board)]
    if model is not None:
        found += _model(made.source_model, made.source_hash, model)
        if not found and not made.source_hash:
            found += _weights(made, model)
    told = (made.target, made.source_board, made.source_model, made.source_hash, made.weights_bytes)
    found += _nothing(told) if not found else []
    found += _memories(made, board) if not found else []
    gaps = (*made.gaps, *_unsaid(made, model, board))
    return dataclasses.replace(made, gaps=gaps, mismatches=_settled(found, anyway))


def own_validation(made: ValidationResult, model: Path | None, board: Board, anyway: bool) -> ValidationResult:
    """The same for the result of a validation; `device` of its profile is the chip that answered."""
    found = [*_target(made.target, board), *_board(made.source_board, board)]
    device = made.profile.device if made.profile is not None else ""
    found += _device(device, board)
    if model is not None:
        found += _model(made.source_model, made.source_hash, model)
    found += _nothing((made.target, made.source_board, made.source_model, made.source_hash, device))
    gaps = (*made.gaps, *_unsaid(made, model, board), *_emulated(device))
    return dataclasses.replace(made, gaps=gaps, mismatches=_settled(found, anyway))


def _nothing(told: tuple[object, ...]) -> list[str]:
    """What speaks against a report that says nothing of its model and chip: it may be anybody's."""
    return [] if any(value not in ("", None) for value in told) else ["it does not say of which model or chip it is"]


def _unsaid(made: CompiledModel | ValidationResult, model: Path | None, board: Board) -> Iterator[str]:
    """What the output leaves open about its model and board, without speaking against them."""
    if model is not None and not made.source_model and not made.source_hash:
        yield "the output does not say of which model it is"
    elif model is not None and not made.source_hash:
        yield "the output holds no hash of the model: told by its name"
    if made.source_board and not _is(made.source_board, board):
        yield f"the log builds its project for {made.source_board}, a board with the chip of {board.name}"


def _settled(found: list[str], anyway: bool) -> tuple[str, ...]:
    if found and not anyway:
        raise InputError(f"the report does not belong here: {'; '.join(found)}", TAKE)
    return tuple(found)


def _target(target: str, board: Board) -> Iterator[str]:
    told, wanted = target.lower(), board.toolchain.target
    told = SAME_SERIES.get(told, told)
    if is_npu(board) and told == wanted:
        yield f"it is of {target} without the NPU"
    elif is_mpu(board):
        if told and not told.startswith("stm32mp2"):
            yield f"it is of {target}, {board.name} is {wanted}"
    elif told and told != wanted + ("npu" if is_npu(board) else ""):
        yield f"it is of {target}, {board.name} is {wanted}"


def _board(named: str, board: Board) -> Iterator[str]:
    """A board of another chip. Studio and CubeMX name the one that their project is a template of, which runs on others
    with the same chip.
    """
    if not named or _is(named, board):
        return
    other = next((known for known in all_boards() if _is(named, known)), None)
    if other is None or other.toolchain.target != board.toolchain.target:
        yield f"its log is of {named}, not of {board.name}"


def _is(named: str, board: Board) -> bool:
    return named.lower() in (board.name.lower(), *(alias.lower() for alias in board.aliases))


def _device(text: str, board: Board) -> Iterator[str]:
    """A chip of another family; an emulated one is none, and is only said."""
    from edgeai.device.stm32msg.devices import DEVICES, EMULATED_ID

    code = _chip(text)
    name = DEVICES.get(code, "") if code != EMULATED_ID else ""
    if name and board.family.startswith("STM32") and not name.startswith(board.family):
        yield f"it ran on {name}, {board.name} is of the family {board.family}"


def _emulated(text: str) -> Iterator[str]:
    from edgeai.device.stm32msg.devices import EMULATED_ID

    if _chip(text) == EMULATED_ID:
        yield "an emulated device answered: its times are not those of a board"


def _chip(text: str) -> int:
    """The device id in `stm32 family - 0x486 - STM32N6xx @800/400MHz`; -1 where there is none."""
    code = re.search(r"\b0x([0-9a-fA-F]{3})\b", text)
    return int(code[1], 16) if code else -1


def _model(name: str, digest: str, model: Path) -> Iterator[str]:
    """By the MD5 that the tool prints; where it prints none, by the name."""
    if digest:
        own_digest = hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest()
        if digest != own_digest:
            yield f"it is of {name or 'a file'} (MD5 {digest[:8]}…), {model.name} has {own_digest[:8]}…"
    elif name and _plain(name) != _plain(model.name):
        yield f"it is of {name}, not of {model.name}"


def _plain(name: str) -> str:
    """A name without what differs where a file was copied to a path that the tool can read."""
    stem, _, suffix = name.lower().rpartition(".")
    return re.sub(r"[^a-z0-9]+", "_", stem).strip("_") + "." + suffix


def _weights(made: CompiledModel, model: Path) -> Iterator[str]:
    from edgeai.footprint.weights import constants
    from edgeai.graph import load_graph

    expected = constants(load_graph(model, computing=False)).total
    told = made.weights_bytes
    if told is not None and not WEIGHTS_LOW * expected <= told <= WEIGHTS_HIGH * expected:
        yield f"it has {told:,} bytes of weights, {model.name} {expected:,}"


def _memories(made: CompiledModel, board: Board) -> Iterator[str]:
    """Memories that are used and that the board has not."""
    for pool in made.pools:
        ram = pool.kind != "flash" and pool.used and pool.address is not None
        if ram and not any(_inside(pool.address or 0, place.address, place.size) for place in board.pools):
            yield f"it uses {pool.name} at {pool.address:#x}, which {board.name} has not"


def _inside(address: int, start: int, size: int) -> bool:
    return not start or start <= address < start + size


def over_board(made: CompiledModel, board: Board) -> tuple[str, ...]:
    """The memories of a board that a compiled network does not fit: by its totals, which every file of the tool holds,
    and by its pools where they are told.
    """
    ram = sum(pool.size for pool in board.pools_for("activations", "ram", "external-ram")) - board.reserve.ram_kib * KIB
    flash = sum(pool.size for pool in board.pools_for("weights", "flash")) - board.reserve.flash_kib * KIB
    needed = None if made.activations_bytes is None else made.activations_bytes + (made.io_bytes or 0)
    found = []
    weights = made.weights_bytes
    if not board.pools_for("weights", "flash"):  # a Linux board: weights lie in RAM
        needed, weights, flash = (needed or 0) + (weights or 0), None, 0
    if needed is not None and needed > ram:
        found.append(f"RAM is over by {_kib(needed - ram)}: {_kib(needed)} needed, {_kib(ram)} are free")
    if weights is not None and weights > flash:
        found.append(f"flash is over by {_kib(weights - flash)}: {_kib(weights)} of weights, {_kib(flash)} are free")
    found += [
        f"{pool.name} is over by {_kib(pool.used - pool.capacity)}"
        for pool in made.pools
        if pool.capacity and pool.used > pool.capacity
    ]
    return tuple(found)


def _kib(count: int) -> str:
    return f"{count / KIB:,.1f} KiB"
