"""A training run from what the user names to what is written: the entry point of the command and of the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeai.errors import InputError
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.flaws import remarks
from edgeai.evaluate.yolo import has_part
from edgeai.models.registry import find
from edgeai.training import distributed
from edgeai.training.classify import ClassSource, accuracy, read_class_folder
from edgeai.training.data import TrainingSet, class_names, open_datasets
from edgeai.training.loader import DetectionSource
from edgeai.training.loop import Job, Listener, Trained, Trainer
from edgeai.training.prepare import is_checkpoint, start
from edgeai.training.record import write_record
from edgeai.training.settings import TrainSettings
from edgeai.training.validate import validator


@dataclass(frozen=True, slots=True)
class Inputs:
    """The data of a run: (data, folder of its images or None) of every training set, and the validation set.
    `classes` picks classes by name; `licence` is that of weights trained from scratch; `skip_bad` leaves small flaws
    of the data out."""

    data: tuple[tuple[Path, Path | None], ...]
    val_data: Path | None = None
    val_images: Path | None = None
    val_limit: int | None = None
    classes: tuple[str, ...] = ()
    licence: str = ""
    skip_bad: bool = False


def train(
    model: str, inputs: Inputs, settings: TrainSettings, out: Path, resume: bool = False,
    listener: Listener | None = None,
) -> Trained | None:  # fmt: skip
    """Train `model`, a registry name or a checkpoint, and write the weights and the record; None on ranks but the
    first. Raises InputError for data, models and settings that cannot be used."""
    if out.suffix.lower() != ".safetensors":
        raise InputError(f"{out.name} does not end in .safetensors", "the trained model is a safetensors file")
    task = _task(model)
    settings.check(32)
    classify = task == "classify"
    job = _classify_job(model, inputs, settings) if classify else _detect_job(model, inputs, settings, listener)
    try:
        trainer = Trainer(job, settings, out, listener)
        if resume:
            trainer.resume()
        trained = trainer.run()
        if not trainer.ranks.main:
            return None
    finally:
        distributed.leave()
    write_record(trained.record, out)
    return trained


def _task(model: str) -> str:
    if not is_checkpoint(model):
        return find(model).task
    from edgeai.models import load_model

    return load_model(Path(model))[1].task


def _detect_job(model: str, inputs: Inputs, settings: TrainSettings, listener: Listener | None) -> Job:
    sets = [d for data, images in inputs.data for d in open_datasets(data, images, skip_bad=inputs.skip_bad)]
    names = class_names(sets, inputs.classes)
    begin = start(model, names, settings.imgsz, settings.seed, inputs.licence)
    masks = begin.spec.task == "segment"
    data = TrainingSet(sets, names, settings.imgsz, masks, settings.cache_mib)
    held_back = _validation(inputs)
    if listener is not None:
        for note in _notes(sets, held_back):
            listener.note(note)
    return Job(
        start=begin,
        source=DetectionSource(data, settings.augmentation, settings.epochs, settings.seed, masks),
        inputs=(*data.files, *([held_back.annotations] if held_back else [])),
        validate=validator(held_back, begin.spec) if held_back else None,
    )


def _notes(sets: Sequence[Dataset], held_back: Dataset | None) -> list[str]:
    """What the data sets have to say before they are learned from."""
    notes = [f"{dataset.name}: {text}" for dataset in (*sets, *([held_back] if held_back else [])) for text in
             remarks(dataset.counts)]
    learned = {image.sha256 for dataset in sets for image in dataset.images}
    both = sum(image.sha256 in learned for image in held_back.images) if held_back else 0
    if held_back is not None and both:
        total = len(held_back.images)
        notes.append(f"{both:,} of {total:,} validation images are training images: the accuracy is none of new images")
    return notes


def _validation(inputs: Inputs) -> Dataset | None:
    """The validation set: the one named, else the `val` part of a YOLO set."""
    where = inputs.val_data
    if where is None:
        where = next((data for data, _ in inputs.data if has_part(data, "val")), None)
    if where is None:
        return None
    dataset = open_datasets(where, inputs.val_images, "val", inputs.skip_bad)[0]
    if inputs.val_limit is None:
        return dataset
    images = dataset.images[: inputs.val_limit]
    ids = {image.id for image in images}
    return replace(dataset, images=images, objects=tuple(e for e in dataset.objects if e.image_id in ids))


def _classify_job(model: str, inputs: Inputs, settings: TrainSettings) -> Job:
    if len(inputs.data) != 1:
        raise InputError("a classifier learns from one folder", "pass --data once")
    data = read_class_folder(inputs.data[0][0], inputs.classes)
    begin = start(model, data.names, settings.imgsz, settings.seed, inputs.licence)
    held_back = read_class_folder(inputs.val_data, data.names) if inputs.val_data else None
    refs = (data.digest, *([held_back.digest] if held_back else []))

    def measure(network):  # type: ignore[no-untyped-def]
        device = next(network.parameters()).device
        return accuracy(network, held_back, settings.imgsz, device)  # type: ignore[arg-type]

    source = ClassSource(data, settings.imgsz, settings.augmentation, settings.seed)
    return Job(begin, source, refs, measure if held_back else None)
