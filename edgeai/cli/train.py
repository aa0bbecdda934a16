"""`edgeai train`: from a data set to a weight file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeai.artifacts import to_json
from edgeai.cli.numbers import FINITE
from edgeai.cli.progress import Progress
from edgeai.cli.render import facts
from edgeai.errors import InputError
from edgeai.training.settings import NO_AUGMENTATION, Augmentation, QatMode, TrainSettings

if TYPE_CHECKING:
    from edgeai.training.loop import Trained
    from edgeai.training.record import EpochRecord

F = TypeVar("F", bound=Callable[..., Any])

PathParam = click.Path(path_type=Path)
DEFAULTS = TrainSettings()
AUGMENTATION = Augmentation()


def _setting(flag: str, kind: Any, text: str) -> Callable[[F], F]:
    """An option that sets the field of TrainSettings of the same name."""
    default = getattr(DEFAULTS, flag.removeprefix("--").replace("-", "_"))
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


def _augmentation(flag: str, text: str) -> Callable[[F], F]:
    default = getattr(AUGMENTATION, flag.removeprefix("--").replace("-", "_"))
    return click.option(flag, type=FINITE, default=default, show_default=True, help=text)


@click.command("train")
@click.argument("model", default="yolov8n-seg", metavar="[MODEL|NAME]")
@click.option(
    "--data", "data", type=PathParam, multiple=True, required=True, metavar="PATH",
    help="COCO instances.json or its folder, YOLO folder or data.yaml; classifiers: a folder per class. Repeatable.",
)  # fmt: skip
@click.option("--images", type=PathParam, multiple=True, help="Folder of the images of each --data instances.json.")
@click.option("--val-data", type=PathParam, help="The same for validation; without it nothing is validated.")
@click.option("--val-images", type=PathParam, help="Folder of the validation images.")
@click.option("--val-limit", type=click.IntRange(min=1), help="Validate on the first N images.")
@click.option("--classes", metavar="A,B,...", default="", help="Learn these classes only.")
@click.option("--skip-bad", is_flag=True, help="Leave out unreadable pictures and objects without area.")
@click.option("--licence", default="", help="Licence of the weights; those of a checkpoint keep theirs.")
@_setting("--imgsz", int, "Input size in pixels, a multiple of 32.")
@_setting("--epochs", int, "Passes over the images.")
@_setting("--batch", int, "Images in a step, over all GPUs.")
@_setting("--optimizer", click.Choice(["auto", "sgd", "adamw"]), "auto: AdamW for short runs, else SGD.")
@_setting("--lr", float, "Learning rate; 0 chooses.")
@_setting("--final-lr", float, "Last learning rate as a share of --lr.")
@_setting("--schedule", click.Choice(["cosine", "linear"]), "How the rate falls.")
@_setting("--momentum", float, "Momentum of SGD.")
@_setting("--weight-decay", float, "Decay of convolution weights.")
@_setting("--warmup-epochs", float, "Epochs until the rate is full.")
@_setting("--accumulate", int, "Steps in an update; 0 chooses.")
@_setting("--clip", float, "Largest norm of the gradient; 0 does not clip.")
@_setting("--seed", int, "Seed of weights, order and augmentation.")
@_setting("--freeze", int, "Keep the first N layers as they are.")
@_setting("--patience", int, "Stop after N epochs without a better validation; 0 never.")
@_setting("--val-every", int, "Validate every N epochs.")
@_setting("--device", str, "auto, cpu, cuda or cuda:N.")
@_setting("--threads", int, "CPU threads of torch.")
@_setting("--workers", int, "Loader processes; -1 chooses, 0 is a thread.")
@_setting("--cache-mib", int, "Memory for decoded images.")
@_augmentation("--mosaic", "Probability of four images in one.")
@_augmentation("--close-mosaic", "Last epochs without mosaic and copy-paste.")
@_augmentation("--copy-paste", "Probability of objects from another image.")
@_augmentation("--flip", "Probability of a mirrored image.")
@_augmentation("--degrees", "Largest rotation.")
@_augmentation("--shear", "Largest shear in degrees.")
@_augmentation("--translate", "Largest shift, relative.")
@_augmentation("--scale", "Largest change of size, relative.")
@_augmentation("--hue", "Largest change of hue, relative.")
@_augmentation("--saturation", "Largest change of saturation, relative.")
@_augmentation("--value", "Largest change of brightness, relative.")
@click.option("--no-augment", is_flag=True, help="Images as they are.")
@click.option("--qat", type=click.Choice(["per-channel", "per-tensor"]), help="Fine-tune with fake quantisation.")
@click.option("--resume", is_flag=True, help="Go on with a killed run of the same options.")
@click.option("--json", "as_json", is_flag=True, help="Print the training record as JSON.")
@click.option("-o", "--out", required=True, type=PathParam, help="The .safetensors file to write.")
def command(
    model: str,
    data: tuple[Path, ...],
    images: tuple[Path, ...],
    val_data: Path | None,
    val_images: Path | None,
    val_limit: int | None,
    classes: str,
    skip_bad: bool,
    licence: str,
    qat: QatMode | None,
    no_augment: bool,
    resume: bool,
    as_json: bool,
    out: Path,
    **options: Any,
) -> None:
    """Train a network by name, or fine-tune a checkpoint (.pt, .safetensors).

    \b
    edgeai train yolov8n-seg --data set/train --val-data set/val \\
      --epochs 100 -o model.safetensors
    edgeai train best.pt --data data.yaml --epochs 30 \\
      --freeze 10 -o tuned.safetensors
    torchrun --nproc-per-node 2 -m edgeai train best.pt \\
      --data set/train --epochs 30 -o tuned.safetensors

    Beside OUT: its record (.training.json), .training.csv and .training.png, and while it runs its state.
    """
    # Two of torch's threads that spin for each other stand still when anything else wants a core: a step then takes
    # ten times as long. It must be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from edgeai.models.build import require_torch

    require_torch()
    from edgeai.training.run import Inputs, train

    if images and len(images) != len(data):
        raise InputError(f"{len(data)} --data and {len(images)} --images", "pass one --images for each --data, or none")
    folders: tuple[Path | None, ...] = images or (None,) * len(data)
    chosen = tuple(name.strip() for name in classes.split(",") if name.strip())
    inputs = Inputs(tuple(zip(data, folders, strict=True)), val_data, val_images, val_limit, chosen, licence, skip_bad)
    settings = _settings(options, qat, no_augment)
    listener = TerminalListener()
    try:
        trained = train(model, inputs, settings, out, resume, listener)
    finally:
        listener.close()
    if trained is not None:
        click.echo(to_json(trained.record) if as_json else describe(trained, out), nl=not as_json)


def _settings(options: dict[str, Any], qat: QatMode | None, no_augment: bool) -> TrainSettings:
    names = Augmentation.__dataclass_fields__
    changes = {name: value for name, value in options.items() if name in names}
    changes["close_mosaic"] = int(changes["close_mosaic"])
    augmentation = NO_AUGMENTATION if no_augment else replace(AUGMENTATION, **changes)
    rest = {name: value for name, value in options.items() if name not in names}
    return replace(DEFAULTS, **rest, qat=qat or "", augmentation=augmentation)


class TerminalListener:
    """A bar while an epoch runs, a line of its losses and accuracy when it is done."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def epoch(self, number: int, total: int, batches: int) -> None:
        self._progress = Progress(f"epoch {number}/{total}", batches)

    def batch(self) -> None:
        if self._progress is not None:
            self._progress.advance()

    def validating(self) -> None:
        pass

    def done(self, record: EpochRecord, seconds: float) -> None:
        losses = [(name, getattr(record, name)) for name in ("box", "seg", "cls", "dfl")]
        parts = [f"{name} {value:.3f}" for name, value in losses if value]
        parts += [f"{metric.name.replace('_', ' ')} {metric.value:.1f}" for metric in record.metrics]
        if self._progress is not None:
            self._progress.close("  ".join(parts))

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close("stopped")


def describe(trained: Trained, out: Path) -> str:
    """A finished run as lines of a name and a value."""
    record = trained.record
    best = next((entry for entry in record.epochs if entry.epoch == record.best_epoch), None)
    rows = [
        ("model", f"{record.spec.name}, {record.spec.nc} classes, {record.spec.imgsz} px"),
        ("weights", f"{out}, {record.weights.bytes:,} bytes, sha256 {record.weights.sha256[:16]}"),
        ("epochs", f"{len(record.epochs)}{' (stopped early)' if record.stopped_early else ''}, {record.images} images"),
    ]
    if best is not None:
        figures = ", ".join(f"{metric.name.replace('_', ' ')} {metric.value:.2f}" for metric in best.metrics)
        rows.append(("best", f"epoch {best.epoch}: {figures}"))
    rows.append(("speed", f"{trained.images_per_s:.1f} images/s, {trained.waited * 100:.1f} % waiting for images"))
    return facts(rows)
