"""The zip container of a torch checkpoint: found, checked and read with every size bounded beforehand.

Layout (torch >= 1.6): `<root>/data.pkl` with the objects, `<root>/data/<key>` with the bytes of one storage each,
`<root>/byteorder`. torch stores the entries without compression.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType

from edgeai.errors import InputError

MAX_PICKLE_BYTES = 16 << 20  # the largest published checkpoint has a data.pkl of under 1 MiB
MAX_TENSOR_BYTES = 2 << 30  # in one file; the largest published network has 0.6 GB in fp32
MAX_ENTRIES = 50_000
MAX_RATIO = 1000  # zlib cannot do better than 1032:1; storages of zeros come near
LFS_MARK = b"version https://git-lfs.github.com/spec/"
ZIP_MARK = b"PK\x03\x04"
AGAIN = "download or copy the file again"

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
)


class Archive:
    """An open checkpoint. A context manager; every method raises InputError where the file is not as it should be."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        _check_kind(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except ZIP_ERRORS:
            raise InputError(f"{self.name} is cut short: the zip directory at its end is missing", AGAIN) from None
        try:
            self._entries = self._index()
            self._root = self._find_root()
            self._check_byteorder()
        except BaseException:
            self._zip.close()
            raise
        self._read_bytes = 0

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()

    def pickle_bytes(self) -> bytes:
        """The bytes of data.pkl."""
        return self._read(f"{self._root}data.pkl", MAX_PICKLE_BYTES)

    def storage_bytes(self, key: str, size: int) -> bytes:
        """The bytes of one storage, which must be exactly `size` long."""
        self._read_bytes += size
        if self._read_bytes > MAX_TENSOR_BYTES:
            raise InputError(f"{self.name} asks for more than {MAX_TENSOR_BYTES >> 30} GiB of tensors; refused")
        entry = f"{self._root}data/{key}"
        if entry not in self._entries:
            raise InputError(f"{self.name} is damaged: storage {key!r} is missing", AGAIN)
        found = self._entries[entry].file_size
        if found != size:
            raise InputError(f"{self.name} is damaged: storage {key!r} has {found} bytes, not {size}", AGAIN)
        return self._read(entry, size)

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        entries = {info.filename: info for info in infos}
        if len(entries) != len(infos) or len(infos) > MAX_ENTRIES:
            raise InputError(f"{self.name} is not a checkpoint: its zip directory has duplicate or too many entries")
        return entries

    def _find_root(self) -> str:
        pickles = [name for name in self._entries if name.endswith("/data.pkl") and name.count("/") == 1]
        roots = [name.removesuffix("data.pkl") for name in pickles]
        if len(roots) != 1:
            raise InputError(
                f"{self.name} is a zip file but not a torch checkpoint: no data.pkl in it", "pass a .pt file"
            )
        if f"{roots[0]}constants.pkl" in self._entries:
            hint = "pass the checkpoint it was exported from"
            raise InputError(f"{self.name} is a TorchScript archive, not a checkpoint", hint)
        return roots[0]

    def _check_byteorder(self) -> None:
        entry = f"{self._root}byteorder"
        if entry in self._entries and self._read(entry, 16) != b"little":
            raise InputError(f"{self.name} was saved on a big-endian machine", "save it again on a little-endian one")

    def _read(self, entry: str, limit: int) -> bytes:
        info = self._entries[entry]
        if info.file_size > limit:
            raise InputError(f"{self.name}: {entry!r} claims {info.file_size} bytes, more than it can need; refused")
        if info.file_size > MAX_RATIO * max(info.compress_size, 64):
            raise InputError(f"{self.name}: {entry!r} is a zip bomb; refused")
        try:
            with self._zip.open(info) as stream:
                data = stream.read(info.file_size + 1)
        except ZIP_ERRORS as error:
            raise InputError(f"{self.name} is damaged: {entry!r} cannot be read ({error})", AGAIN) from None
        if len(data) != info.file_size:
            raise InputError(f"{self.name} is damaged: {entry!r} has {len(data)} bytes, not {info.file_size}", AGAIN)
        return data


def _check_kind(path: Path) -> None:
    """Say what a file is that is not a zip."""
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(ZIP_MARK):
        return
    if not head:
        raise InputError(f"{path.name} is empty", AGAIN)
    if head.startswith(LFS_MARK):
        raise InputError(f"{path.name} is a Git LFS pointer, not the weights", "run git lfs pull in its repository")
    if head.lstrip().startswith(b"<"):
        raise InputError(f"{path.name} is a web page, not the weights", "download the file itself")
    if head[:1] == b"\x80":
        hint = "load and save it again with torch 1.6 or later"
        raise InputError(f"{path.name} is a bare pickle in the format from before torch 1.6; refused", hint)
    raise InputError(f"{path.name} is not a torch checkpoint: it does not begin as a zip file does", "pass a .pt file")
