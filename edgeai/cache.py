"""The content-addressed stage cache.

A stage's key is a hash of everything its result depends on. A finished stage is a folder that appears by one rename,
so a killed run leaves either a whole result or none, and a lock per key lets two runs share the work instead of
doing it twice over each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeai.artifacts import Provenance, to_json
from edgeai.files import sha256_bytes, sha256_file
from edgeai.provenance import code_digest

MANIFEST = "stage.json"


@dataclass(frozen=True, slots=True)
class StageOutput:
    """A finished stage: its folder, whether it was there already, and its short key."""

    folder: Path
    reused: bool
    key: str


def default_root() -> Path:
    """`EDGEAI_CACHE`, or the user's cache folder."""
    if configured := os.environ.get("EDGEAI_CACHE"):
        return Path(configured).absolute()  # onnx2tf works in a folder of its own
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgeai"


class StageCache:
    """Finished stages under one folder: `<root>/<stage>/<key>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, inputs: Provenance, produce: Callable[[Path], None]) -> StageOutput:
        """The folder of the stage that `inputs` describe; `produce` fills it where it is not there yet.

        `produce` gets an empty folder and must leave its whole result in it. What it raises passes through, and
        nothing remains of the attempt.
        """
        key = sha256_bytes((to_json(inputs) + code_digest()).encode())[:24]
        folder = self.root / inputs.stage / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if _is_whole(folder):
                return StageOutput(folder, reused=True, key=key)
            work = folder.with_suffix(f".{os.getpid()}.part")
            for leftover in (folder, *folder.parent.glob(f"{key}.*.part")):
                shutil.rmtree(leftover, ignore_errors=True)
            work.mkdir()
            try:
                produce(work)
                _write_manifest(work, inputs)
                work.rename(folder)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
        return StageOutput(folder, reused=False, key=key)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An exclusive lock that the kernel drops when its holder dies, however it dies."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _write_manifest(folder: Path, inputs: Provenance) -> None:
    """Record the hash of every file, and see all of it on the disk before the rename makes it visible."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = sha256_file(path)
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
    body = {"inputs": json.loads(to_json(inputs)), "files": files}
    (folder / MANIFEST).write_text(json.dumps(body, indent=2) + "\n")


def _is_whole(folder: Path) -> bool:
    """Whether a cached stage still holds exactly the bytes it was finished with."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        return all(sha256_file(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
