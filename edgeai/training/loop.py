"""The training loop: from data sets to a weight file, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgeai.artifacts import FileRef, Metric, to_json
from edgeai.errors import InputError, ToolError
from edgeai.files import file_ref, sha256_bytes, write_text
from edgeai.models.weights import save_weights
from edgeai.provenance import provenance
from edgeai.training import distributed
from edgeai.training.learned import LearnedRanges, ranges_path
from edgeai.training.loader import Batch, Loader, SampleSource
from edgeai.training.losses import Losses, classification_loss, detection_loss
from edgeai.training.optimise import MovingAverage, make_optimizer, resolve, set_rates
from edgeai.training.prepare import Start, folded_norms, freeze, restore_norms, training_mode
from edgeai.training.qat import add_fake_quantization, calibrate, learned_ranges, snapped
from edgeai.training.record import EpochRecord, TrainingRecord
from edgeai.training.settings import TrainSettings
from edgeai.training.state import Point, load_state, read_point, save_state, state_path

CALIBRATION_IMAGES = 64  # for the statistics of folded batch norms
CRITERIA = {"segment": "mask_ap", "detect": "box_ap", "classify": "top1"}


class Listener(Protocol):
    """What a run tells while it goes; `done` is the record of an epoch and its seconds."""

    def epoch(self, number: int, total: int, batches: int) -> None: ...

    def batch(self) -> None: ...

    def validating(self) -> None: ...

    def done(self, record: EpochRecord, seconds: float) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Tells nothing."""

    def epoch(self, number: int, total: int, batches: int) -> None: ...

    def batch(self) -> None: ...

    def validating(self) -> None: ...

    def done(self, record: EpochRecord, seconds: float) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What to train: the network and where its samples come from. `inputs` are the annotation files; `validate`
    measures a network in eval mode, None where there is nothing to validate on."""

    start: Start
    source: SampleSource
    inputs: tuple[FileRef, ...]
    validate: Callable[[nn.Module], tuple[Metric, ...]] | None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run with what it took: images per second in training alone, and the share of that time spent waiting
    for images."""

    record: TrainingRecord
    images_per_s: float
    waited: float


class Trainer:
    """One run on one rank."""

    def __init__(self, job: Job, settings: TrainSettings, out: Path, listener: Listener | None = None) -> None:
        self.job, self.out = job, out
        self.ranks = distributed.join()
        self.listener: Listener = listener or Silent() if self.ranks.main else Silent()
        torch.set_num_threads(settings.threads)
        self.device = distributed.pick_device(settings.device, self.ranks)
        local = max(1, settings.batch // self.ranks.world)
        workers = settings.workers if settings.workers >= 0 else _workers(self.device, self.ranks)
        self.loader = Loader(job.source, local, settings.seed, workers, self.ranks.rank, self.ranks.world)
        self.settings = resolve(settings, job.start.spec.nc, len(self.loader))
        self.network = self._network()
        self.wrapped = distributed.wrap(self.network, self.device, self.ranks)
        self.average = MovingAverage(self.network)
        self.optimizer = make_optimizer(self.network, self.settings)
        self.half = torch.bfloat16 if self.device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
        scaled = self.device.type == "cuda" and self.half == torch.float16
        self.scaler = torch.amp.GradScaler("cuda", enabled=scaled)
        self.point = Point(self._fingerprint(), 0, 0, -1.0, 0, 0.0, ())
        self.seconds, self.images = 0.0, 0

    # --- setting up -----------------------------------------------------------------------------

    def _network(self) -> nn.Module:
        start = self.job.start
        network: nn.Module = start.network.to(self.device)
        if self.device.type == "cpu":
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(start.network, self.settings.freeze)
        if self.settings.qat:
            if start.source is None:
                raise InputError("--qat continues the training of a network", "pass the checkpoint of a trained one")
            add_fake_quantization(network, per_channel=self.settings.qat == "per-channel")
            calibrate(network, self._first_images())
            return network
        norms = folded_norms(network, start.fresh) if start.source is not None else {}
        if norms:
            self.listener.note("the checkpoint's batch norms were folded away: measuring their statistics")
            restore_norms(network, norms, self._first_images())
        return distributed.share_statistics(network, self.device, self.ranks)

    def _first_images(self) -> Iterator[Tensor]:
        batches = max(1, CALIBRATION_IMAGES // self.loader.batch)
        for batch, _ in zip(self.loader.epoch(0), range(batches), strict=False):
            yield self._pixels(batch)

    def _fingerprint(self) -> str:
        """Runs with equal fingerprints learn the same."""
        parts = [to_json(replace(self.settings, device="", workers=0, cache_mib=0)), to_json(self.job.start.spec)]
        parts += [ref.sha256 for ref in (*self.job.inputs, self.job.start.source) if ref is not None]
        return sha256_bytes("\n".join([*parts, str(self.ranks.world)]).encode())

    def resume(self) -> bool:
        """Go on from the state beside the output, where there is one. Raises InputError where it is another run's."""
        path = state_path(self.out)
        if not path.exists():
            return False
        if read_point(path).fingerprint != self.point.fingerprint:
            raise InputError(
                f"{path.name} belongs to a run with other settings or data", "repeat the options, or delete it"
            )
        self.point = load_state(path, self.network, self.average, self.optimizer)
        if self.point.loss_scale:
            self.scaler.update(self.point.loss_scale)
        return True

    # --- running --------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end. Raises ToolError where the loss is no longer finite."""
        stopped = False
        with _quiet_opencv():
            while self.point.epoch < self.settings.epochs and not stopped:
                start = time.perf_counter()
                entry = self._epoch(self.point.epoch)
                entry = self._validated(entry)
                self._keep(entry)
                stopped = bool(distributed.agree(float(self._exhausted()), self.device, self.ranks))
                self.listener.done(entry, time.perf_counter() - start)
        state_path(self.out).unlink(missing_ok=True)
        waited = self.loader.waited / self.seconds if self.seconds else 0.0
        return Trained(self._record(stopped), self.images / self.seconds if self.seconds else 0.0, waited)

    def _epoch(self, epoch: int) -> EpochRecord:
        """One pass over the images; returns its mean losses."""
        batches = len(self.loader)
        self.listener.epoch(epoch + 1, self.settings.epochs, batches)
        training_mode(self.job.start.network, self.settings.freeze)
        sums = torch.zeros(4, dtype=torch.float64)
        rate = 0.0
        start = time.perf_counter()
        for number, batch in enumerate(self.loader.epoch(epoch)):
            rate = set_rates(self.optimizer, self.settings, epoch * batches + number, batches)
            step = (number + 1) % self.settings.accumulate == 0 or number + 1 == batches
            sums += self._batch(batch, step).double().cpu()
            self.images += len(batch.images)
            self.listener.batch()
        self.seconds += time.perf_counter() - start
        means = distributed.mean_over_ranks(sums.to(self.device).float(), self.ranks) / batches
        box, seg, cls, dfl = (float(value) for value in means.tolist())
        if not math.isfinite(box + seg + cls + dfl):
            raise ToolError(f"the loss is not finite in epoch {epoch + 1}", "use a smaller --lr")
        return EpochRecord(epoch + 1, rate, box, seg, cls, dfl)

    def _batch(self, batch: Batch, step: bool) -> Tensor:
        """Forward, backward and, where `step`, an update. Returns box, seg, cls, dfl."""
        with torch.autocast(self.device.type, self.half, enabled=self.device.type == "cuda"):
            outputs = self.wrapped(self._pixels(batch))
        losses = self._losses(outputs, batch)
        # the published rates belong to losses summed over images; ranks are averaged, so they are put back
        weighted: Any = self.scaler.scale(losses.total * (len(batch.images) * self.ranks.world))
        weighted.backward()
        if step:
            self._update()
        return losses.values()

    def _losses(self, outputs: tuple[Tensor, ...], batch: Batch) -> Losses:
        if batch.targets is not None:
            return detection_loss(outputs, batch.targets.to(self.device), self.job.start.spec)
        assert batch.classes is not None
        return classification_loss(outputs, batch.classes.to(self.device))

    def _update(self) -> None:
        self.scaler.unscale_(self.optimizer)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.network)

    def _pixels(self, batch: Batch) -> Tensor:
        images = batch.images.to(self.device, non_blocking=True)
        if self.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        return images.float() / 255

    # --- after an epoch -------------------------------------------------------------------------

    def _validated(self, entry: EpochRecord) -> EpochRecord:
        last = entry.epoch == self.settings.epochs
        if self.job.validate is None or not self.ranks.main:
            return entry
        if entry.epoch % self.settings.val_every and not last:
            return entry
        self.listener.validating()
        return replace(entry, metrics=self.job.validate(self.average.network))

    def _keep(self, entry: EpochRecord) -> None:
        """Write the weights where they are the best so far, and then the state."""
        score = entry.metric(CRITERIA[self.job.start.spec.task])
        better = score is not None and score > self.point.best
        if self.ranks.main and (better or self.job.validate is None):
            self._write_weights()
        self.point = replace(
            self.point,
            epoch=entry.epoch,
            ema_updates=self.average.updates,
            best=float(score) if better and score is not None else self.point.best,
            best_epoch=entry.epoch if better else self.point.best_epoch,
            loss_scale=float(self.scaler.get_scale()) if self.scaler.is_enabled() else 0.0,
            history=(*self.point.history, entry),
        )
        if self.ranks.main:
            save_state(state_path(self.out), self.point, self.network, self.average, self.optimizer)

    def _write_weights(self) -> None:
        """The averaged network; after fine-tuning with fake quantisation its snapped weights and learned ranges."""
        network, spec = self.average.network, self.job.start.spec
        if not self.settings.qat:
            save_weights(network.state_dict(), spec, self.out)
            return
        save_weights(snapped(network), spec, self.out)
        learned = LearnedRanges(file_ref(self.out), self.settings.qat, learned_ranges(network))
        write_text(ranges_path(self.out), to_json(learned))

    def _exhausted(self) -> bool:
        since = self.point.epoch - self.point.best_epoch
        return bool(self.settings.patience and self.point.best_epoch and since >= self.settings.patience)

    def _record(self, stopped: bool) -> TrainingRecord:
        start = self.job.start
        inputs = [ref for ref in (start.source, *self.job.inputs) if ref is not None]
        options = [(name, value) for name, value in _flat(self.settings) if name not in ("workers", "cache_mib")]
        return TrainingRecord(
            spec=start.spec,
            weights=file_ref(self.out),
            source=start.source,
            images=len(self.job.source),
            parameters=sum(p.numel() for name, p in self.average.network.named_parameters() if "round_" not in name),
            criterion=CRITERIA[start.spec.task],
            best_epoch=self.point.best_epoch,
            epochs=self.point.history,
            stopped_early=stopped and self.point.epoch < self.settings.epochs,
            provenance=provenance(
                "train", inputs, options, ("torch", "numpy", "opencv-python-headless"), start.spec.licence
            ),
        )


def _flat(settings: TrainSettings) -> Iterator[tuple[str, object]]:
    import dataclasses

    for group in (settings, settings.augmentation):
        for field in dataclasses.fields(group):
            if field.name != "augmentation":
                yield field.name, getattr(group, field.name)


def _workers(device: torch.device, ranks: distributed.Ranks) -> int:
    """Loader processes: none beside a network on the CPU, which a thread keeps fed."""
    import os

    return min(8, (os.cpu_count() or 1) // ranks.world) if device.type == "cuda" else 0


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV with one thread: its pool would fight torch's for the cores."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
