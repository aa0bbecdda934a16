"""Batches in an order that follows from seed and epoch, made ahead of time beside the network's work."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeai.training.assigner import Targets
from edgeai.training.augment import Sample, make_sample
from edgeai.training.data import TrainingSet
from edgeai.training.settings import Augmentation

AHEAD = 3  # batches in the making


@dataclass(frozen=True, slots=True)
class Batch:
    """`images` [B, 3, S, S] uint8; `targets` of a detector or `classes` [B] of a classifier, the other is None."""

    images: Tensor
    targets: Targets | None
    classes: Tensor | None = None


class SampleSource(Protocol):
    """Makes the sample of one place; the same for the same arguments."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Any: ...

    def collate(self, samples: Sequence[Any]) -> Batch: ...


class DetectionSource:
    """Augmented samples of a set. The last `close_mosaic` of `epochs` come without mosaic, as the network will be
    used."""

    def __init__(self, data: TrainingSet, plan: Augmentation, epochs: int, seed: int, masks: bool) -> None:
        self.data, self.plan, self.seed, self.masks = data, plan, seed, masks
        self.quiet = replace(plan, mosaic=0.0, copy_paste=0.0)
        # a run too short to have both kinds of epochs ends with a quarter of quiet ones
        self.first_quiet = epochs - min(plan.close_mosaic, max(epochs // 4, 1) if plan.close_mosaic else 0)

    def __len__(self) -> int:
        return len(self.data)

    def sample(self, epoch: int, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, epoch, index))
        plan = self.plan if epoch < self.first_quiet else self.quiet
        return make_sample(self.data.scene, len(self.data), index, self.data.imgsz, plan, rng, self.masks)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        return Batch(stack_images([entry.pixels for entry in samples]), join_targets(samples))


def stack_images(pixels: Sequence[Any]) -> Tensor:
    """[S, S, 3] arrays as one [B, 3, S, S] uint8 tensor."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))


def join_targets(samples: Sequence[Sample]) -> Targets:
    owners = np.repeat(np.arange(len(samples)), [len(entry.labels) for entry in samples])
    ignored = np.repeat(np.arange(len(samples)), [len(entry.ignore) for entry in samples])
    return Targets(
        image=torch.from_numpy(owners.astype(np.int64)),
        labels=torch.from_numpy(np.concatenate([entry.labels for entry in samples])),
        boxes=torch.from_numpy(np.concatenate([entry.boxes for entry in samples])),
        masks=torch.from_numpy(np.concatenate([entry.masks for entry in samples])),
        ignore_image=torch.from_numpy(ignored.astype(np.int64)),
        ignore=torch.from_numpy(np.concatenate([entry.ignore for entry in samples])),
    )


class Loader:
    """The batches of an epoch for one of `world` ranks. `waited` sums the seconds that batches were not ready.

    With `workers` processes, or with one thread where 0: OpenCV works outside Python's lock, so on a CPU that also
    trains, a thread loses nothing and shares the cache.
    """

    def __init__(
        self, source: SampleSource, batch: int, seed: int, workers: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.source, self.batch, self.seed, self.workers = source, batch, seed, workers
        self.rank, self.world = rank, world
        self.waited = 0.0
        self._processes: Any = None
        self._plan = _Plan()

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self._share() / self.batch)

    def _share(self) -> int:
        return -(-len(self.source) // self.world)

    def order(self, epoch: int) -> list[list[int]]:
        """The images of every batch of an epoch; ranks get equally many, the first images twice where they must."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.source))
        mine = np.resize(order, self._share() * self.world)[self.rank :: self.world].tolist()
        return [mine[i : i + self.batch] for i in range(0, len(mine), self.batch)]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, in order."""
        self._plan.batches = [[(epoch, index) for index in rows] for rows in self.order(epoch)]
        yield from self._timed(self._from_processes() if self.workers else self._from_thread())

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _from_thread(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            waiting = list(self._plan.batches)[::-1]
            coming: list[Future[Batch]] = []
            try:
                while waiting or coming:
                    while waiting and len(coming) < AHEAD:
                        coming.append(pool.submit(self._make, waiting.pop()))
                    yield coming.pop(0).result()
            finally:
                for future in coming:
                    future.cancel()

    def _make(self, keys: Sequence[tuple[int, int]]) -> Batch:
        return self.source.collate([self.source.sample(*key) for key in keys])

    def _from_processes(self) -> Iterator[Batch]:
        if self._processes is None:
            self._processes = DataLoader(
                _Table(self.source),
                batch_sampler=self._plan,
                collate_fn=self.source.collate,
                num_workers=self.workers,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                pin_memory=False,
            )
        yield from self._processes


class _Plan:
    """The (epoch, index) keys of the batches to come; the one thing worker processes are told."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Table(Dataset[Any]):
    """A source as torch's loader wants it."""

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return self.source.sample(*key)
