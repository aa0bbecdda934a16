"""Keeping numpy's BLAS on one thread where its products are small."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

# the names that numpy's wheels and distributions give to the same two functions: prefix and suffix
SPELLINGS = (("scipy_openblas_", "64_"), ("scipy_openblas_", ""), ("openblas_", "64_"), ("openblas_", ""))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the block with OpenBLAS on one thread; does nothing where numpy brings another BLAS.

    The products of mask decoding take microseconds. Threads gain nothing there, and on a busy machine every product
    waits for a spinning thread to be scheduled: twenty times slower, measured with three other processes on two cores.
    """
    found = _openblas()
    if found is None:
        yield
        return
    get_threads, set_threads = found
    before = get_threads()
    set_threads(1)
    try:
        yield
    finally:
        set_threads(before)


@lru_cache(maxsize=1)
def _openblas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for prefix, suffix in SPELLINGS:
                get_threads = getattr(library, f"{prefix}get_num_threads{suffix}", None)
                set_threads = getattr(library, f"{prefix}set_num_threads{suffix}", None)
                if get_threads is not None and set_threads is not None:
                    return get_threads, set_threads
    return None
