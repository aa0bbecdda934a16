"""Fixtures for every test: the data kit, and a folder of real photos."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from pathlib import Path

import pytest
from helpers import kit_path

from edgeai import worker

A_WORKER = 4 * 2**30  # bytes: torch, TensorFlow and what a test makes with them
# Files of minutes: the workers take them first, so that none is left with one at the end.
LONG = [
    "test_accuracy.py", "test_kernels.py", "test_spine.py", "test_tuning.py", "test_any_onnx.py",
    "test_help_examples.py", "test_training_loop.py", "test_published_models.py", "test_equalise.py",
    "test_sweep_run.py", "test_upsample.py",
]  # fmt: skip
HEAVY = ["numpy", "torch", "tensorflow.lite.python.convert", "onnx2tf.onnx2tf", "onnxruntime"]


def pytest_configure() -> None:
    """Children of the heavy steps are forked from a process that has imported their packages once: a child that spawns
    needs seconds for that, and most tests have small networks. What runs as a command of its own spawns as ever.
    """
    if all(importlib.util.find_spec(name.partition(".")[0]) for name in HEAVY):
        os.environ.update({name: value for name, value in worker.ENVIRONMENT.items() if name not in os.environ})
        worker.CONTEXT = multiprocessing.get_context("forkserver")
        worker.CONTEXT.set_forkserver_preload(HEAVY)


def pytest_xdist_auto_num_workers() -> int:
    """As many workers as there are cores, and memory for."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // A_WORKER))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def kit() -> Path:
    """The data kit: real checkpoints, ST's files, COCO images. Skips where it is absent."""
    path = kit_path()
    if not (path / "SHA256SUMS").is_file():
        pytest.skip(f"no data kit at {path}: set EDGEAI_KIT to its folder")
    return path
