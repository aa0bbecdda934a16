"""Pictures to look at: files, folders, videos, cameras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.errors import DeviceError, InputError
from edgeai.imaging.images import read_image

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
CAMERA = "camera"
FALLBACK_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture [H, W, 3] RGB: of a file, or number `index` of a video."""

    name: str
    index: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Still:
    """An image file."""

    path: Path


@dataclass(frozen=True, slots=True)
class Moving:
    """A video file, or camera `index` where there is no file. `name` is that of its files."""

    name: str
    path: Path | None
    index: int = 0


Source = Still | Moving


def open_sources(given: Sequence[str]) -> tuple[Source, ...]:
    """What the words of a command line name: image files, folders of images, videos, `camera` or `camera:1`.

    Raises InputError where one is none of these.
    """
    return tuple(source for word in given for source in _sources(word))


def _sources(word: str) -> list[Source]:
    kind, _, number = word.partition(":")
    if kind == CAMERA and not Path(word).exists():
        if number and not number.isdigit():
            raise InputError(f"{word!r} names no camera", "write camera, or camera:1 for the second one")
        return [Moving(f"camera{number or 0}", None, int(number or 0))]
    path = Path(word)
    if path.is_dir():
        shown = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
        stills: list[Source] = [Still(file) for file in shown if file.suffix.lower() in IMAGES]
        if not stills:
            raise InputError(f"{path} holds no images", f"known are {', '.join(sorted(IMAGES))}")
        return stills
    if not path.exists():
        raise InputError(f"{path} does not exist", "pass images, a folder, a video, or camera")
    if path.suffix.lower() in VIDEOS:
        return [Moving(path.stem, path)]
    return [Still(path)]


def frames(source: Source, limit: int | None = None) -> Iterator[Frame]:
    """The pictures of a source, at most `limit` of a moving one.

    Raises InputError where a file cannot be read, DeviceError where a camera does not open.
    """
    if isinstance(source, Still):
        yield Frame(source.path.name, 0, read_image(source.path))
        return
    with capture(source) as device:
        index = 0
        while limit is None or index < limit:
            there, pixels = device.read()
            if not there:
                break
            yield Frame(source.name, index, np.ascontiguousarray(pixels[:, :, ::-1]))
            index += 1
    if not index:
        raise InputError(f"{source.path or source.name} gives no pictures", "is the file complete?")


@contextmanager
def capture(source: Moving) -> Iterator[Any]:
    """OpenCV's reader of a video or camera, closed at the end."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # many lines on stderr; ours is one
    device = cv2.VideoCapture(source.index if source.path is None else str(source.path))
    try:
        if not device.isOpened():
            if source.path is None:
                raise DeviceError(f"camera {source.index} does not open", "is it plugged in, and not in use elsewhere?")
            raise InputError(f"{source.path} is not a video that OpenCV can read", "convert it to .mp4 with H.264")
        yield device
    finally:
        device.release()


def count(source: Source, limit: int | None) -> int:
    """How many pictures a source has; 0 where that is not known."""
    if isinstance(source, Still):
        return 1
    if source.path is None:
        return limit or 0
    import cv2

    with capture(source) as device:
        total = max(0, int(device.get(cv2.CAP_PROP_FRAME_COUNT)))
    return min(total, limit) if limit and total else total


def frame_rate(source: Moving) -> float:
    """Frames per second as the file says."""
    if source.path is None:
        return FALLBACK_FPS
    import cv2

    with capture(source) as device:
        rate = float(device.get(cv2.CAP_PROP_FPS))
    return rate if 1 <= rate <= 240 else FALLBACK_FPS
