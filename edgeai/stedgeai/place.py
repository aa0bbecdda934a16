"""Where a run works: its own folder, and an ASCII path for a compiler that reads no other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeai.errors import InputError, ToolError
from edgeai.stedgeai.commands import plain_name


def run_folder(runs: Path, step: str, model: Path, board: str, key: str) -> Path:
    """The folder of a run: the same for the same inputs, so that a repetition replaces its own result."""
    return runs / step / f"{model.stem}-{board}-{key[:8]}".replace("/", "_")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for one run alone. Raises InputError where another one is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder} is in use by another run", "wait for it, or pass another --output") from None
        yield


@contextlib.contextmanager
def ascii_work(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A folder with an ASCII path to work in: `folder` itself, or a temporary one whose `names` are moved into it.

    ST's compiler for the accelerator fails on other letters with `wstring_convert::from_bytes`.
    """
    for name in names:
        _remove(folder / name)
    if str(folder.absolute()).isascii():
        yield folder.absolute()
        return
    work = Path(tempfile.mkdtemp(prefix="edgeai-", dir=_ascii_temporary()))
    try:
        yield work
        for name in names:
            if (work / name).exists():
                shutil.move(work / name, folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def staged(model: Path, work: Path) -> Path:
    """The model under a path that the tool can read: where it is, or a copy in `work`."""
    if str(model.absolute()).isascii():
        return model.absolute()
    copy = work / plain_name(model)
    shutil.copyfile(model, copy)
    return copy


def readable(compiled: Path, work: Path) -> Path:
    """A compile run's folder under an ASCII path: itself, or a copy of what the tool reads in it."""
    if str(compiled.absolute()).isascii():
        return compiled.absolute()
    copy = work / "workspace" / "compiled"
    shutil.copytree(compiled, copy, ignore=shutil.ignore_patterns(".lock", "*.log", "workspace"), dirs_exist_ok=True)
    return copy


def _ascii_temporary() -> str:
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if place.isascii() and os.access(place, os.W_OK):
            return place
    raise ToolError("no temporary folder with an ASCII path", "set TMPDIR to one")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
