"""Run a network on pictures, one at a time, and say and draw what it found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Fact, FileRef, PredictedImage, PredictedObject, Prediction, Provenance
from edgeai.errors import InputError
from edgeai.evaluate.backends.base import Runner, package_version
from edgeai.evaluate.blas import one_blas_thread
from edgeai.evaluate.postprocess import Detections, Thresholds, postprocess
from edgeai.evaluate.tta import View, describe, detect_views
from edgeai.files import file_ref, write_bytes
from edgeai.imaging.images import letterbox
from edgeai.predict.draw import draw, mask_pixels
from edgeai.predict.sources import Frame, Moving, Source, Still, frame_rate, frames

APPLICATION = Thresholds(conf=0.25)
JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Found:
    """A picture and what was found in it."""

    frame: Frame
    detections: Detections


def detect(
    runner: Runner, pixels: NDArray[np.uint8], thresholds: Thresholds = APPLICATION, views: Sequence[View] = ()
) -> Detections:
    """What `runner` finds in an image [H, W, 3] RGB; with `views` by test-time augmentation."""
    with one_blas_thread():
        if views:
            return detect_views(runner, pixels, thresholds, views)
        canvas, transform = letterbox(pixels, runner.input_size)
        outputs = runner.infer(canvas)
        return postprocess(outputs, runner.see(outputs, thresholds.conf), transform, thresholds)


def predict(
    runner: Runner,
    sources: Sequence[Source],
    *,
    thresholds: Thresholds = APPLICATION,
    views: Sequence[View] = (),
    limit: int | None = None,
    save: Path | None = None,
    progress: Callable[[], object] | None = None,
) -> Prediction:
    """Everything `runner` finds in `sources`; pictures with it drawn go to the folder `save`.

    A still becomes a JPEG of its name, a video or camera an .mp4; one picture is in memory at a time.
    `limit` is for moving sources. Raises InputError where a source cannot be read.
    """
    if runner.contract.spec.task not in ("segment", "detect"):
        raise InputError(f"{runner.model.name} finds no objects", "predict takes detection and segmentation networks")
    names = _file_names(sources)
    images: list[PredictedImage] = []
    for source, name in zip(sources, names, strict=True):
        found = _watched(runner, frames(source, limit), thresholds, views, images, progress)
        if save is None:
            for _ in found:
                pass
        elif isinstance(source, Still):
            for entry in found:
                write_bytes(save / name, jpeg(_drawn(runner, entry)))
        else:
            _write_video(save / name, source, (_drawn(runner, entry) for entry in found))
    return _prediction(runner, sources, thresholds, views, images)


def _watched(
    runner: Runner,
    pictures: Iterable[Frame],
    thresholds: Thresholds,
    views: Sequence[View],
    images: list[PredictedImage],
    progress: Callable[[], object] | None,
) -> Iterator[Found]:
    for frame in pictures:
        found = detect(runner, frame.pixels, thresholds, views)
        images.append(described(frame, found, runner.contract.spec.names))
        yield Found(frame, found)
        if progress is not None:
            progress()


def described(frame: Frame, found: Detections, names: Sequence[str]) -> PredictedImage:
    """The detections of a picture as an artifact."""
    height, width = frame.pixels.shape[:2]
    masks = [mask.counts.decode("ascii") for mask in found.masks] or [""] * len(found.scores)
    sizes = [int(mask_pixels(mask).sum()) for mask in found.masks] or [0] * len(found.scores)
    objects = tuple(
        PredictedObject(names[label], round(min(score, 1.0), 6), tuple(round(v, 3) for v in box), mask, size)
        for label, score, box, mask, size in zip(
            found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, sizes, strict=True
        )
    )
    return PredictedImage(frame.name, frame.index, width, height, objects)


def _prediction(
    runner: Runner,
    sources: Sequence[Source],
    thresholds: Thresholds,
    views: Sequence[View],
    images: Sequence[PredictedImage],
) -> Prediction:
    paths = [source.path for source in sources if source.path is not None]
    inputs: tuple[FileRef, ...] = (runner.model, *map(file_ref, paths))
    augmentation = (Fact("tta", describe(views, runner.input_size)),) if views else ()
    return Prediction(
        model=runner.model,
        backend=runner.backend,
        precision=runner.precision,
        imgsz=runner.input_size,
        confidence=thresholds.conf,
        nms_iou=thresholds.iou,
        max_detections=thresholds.max_det,
        images=tuple(images),
        provenance=Provenance(
            stage="predict",
            inputs=inputs,
            options=(*runner.options, *augmentation),
            versions=(package_version("numpy"), *runner.versions),
            licence=runner.contract.spec.licence,
        ),
    )


# --- files --------------------------------------------------------------------------------------


def _file_names(sources: Sequence[Source]) -> list[str]:
    """A file name for every source; equal stems are numbered, so that nothing is overwritten."""
    taken: set[str] = set()
    names = []
    for source in sources:
        stem, suffix = (source.path.stem, ".jpg") if isinstance(source, Still) else (source.name, ".mp4")
        name, number = f"{stem}{suffix}", 2
        while name in taken:
            name, number = f"{stem}_{number}{suffix}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _drawn(runner: Runner, entry: Found) -> NDArray[np.uint8]:
    return draw(entry.frame.pixels, entry.detections, runner.contract.spec.names)


def jpeg(pixels: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """An RGB image as JPEG."""
    import cv2

    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError("OpenCV cannot write a JPEG of this picture")
    return bytes(data.tobytes())


def _write_video(target: Path, source: Moving, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """An .mp4 beside its place, then moved there: OpenCV chooses the container by the name."""
    import cv2

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".video.", dir=target.parent) as folder:
        temporary = Path(folder) / target.name
        writer: Any = None
        for picture in pictures:
            if writer is None:
                size = (picture.shape[1], picture.shape[0])
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), code, frame_rate(source), size)
            writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
        if writer is not None:
            writer.release()
            temporary.replace(target)
