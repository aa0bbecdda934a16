"""From scenes to training samples: mosaic, letterbox, affine, copy-paste, flip and colour, with the masks.

Every random choice comes from the generator that is passed in, so a sample depends on nothing but seed, epoch and
place. Boxes are read from the masks at the very end: what a crop or an occlusion took away is not in the box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.imaging.images import PAD_VALUE
from edgeai.training.scene import HALF, Instance, Patch, Pixels, Scene, box_of, clip_patch, crop_patch
from edgeai.training.settings import Augmentation

MASK_STRIDE = 4  # prototypes are a quarter of the input
KEEP_AREA = 0.1  # an object of which less is left becomes a region to ignore
SMALLEST_SIDE = 2.0  # pixels; what is smaller has nothing left to see
PASTE_COVER = 0.3  # pasting must leave this much of every object free

Matrix = NDArray[np.float64]
Source = Callable[[int], Scene]


@dataclass(frozen=True, slots=True)
class Sample:
    """One input with its targets: pixels [S, S, 3] uint8; per object `labels` [n], `boxes` xyxy in pixels [n, 4],
    `masks` [n, S/4, S/4] of 0 and 1; `ignore` [m, 4] boxes."""

    pixels: Pixels
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: NDArray[np.uint8]
    ignore: NDArray[np.float32]


def make_sample(
    source: Source, count: int, index: int, imgsz: int, plan: Augmentation, rng: np.random.Generator, masks: bool
) -> Sample:
    """Sample `index` of a set of `count` scenes. `plan` without mosaic is for the last epochs."""
    scene = _arrange(source, count, index, imgsz, plan, rng)
    if plan.copy_paste and rng.random() < plan.copy_paste:
        donor = letterbox_scene(source(int(rng.integers(count))), imgsz)
        scene = copy_paste(scene, flip_scene(donor) if rng.random() < 0.5 else donor, rng)
    if plan.flip and rng.random() < plan.flip:
        scene = flip_scene(scene)
    if plan.hue or plan.saturation or plan.value:
        scene = Scene(shift_colours(scene.pixels, plan, rng), scene.instances)
    return finish(scene, imgsz, masks)


def _arrange(source: Source, count: int, index: int, imgsz: int, plan: Augmentation, rng: np.random.Generator) -> Scene:
    if plan.mosaic and rng.random() < plan.mosaic:
        others = [int(other) for other in rng.integers(count, size=3)]
        canvas = mosaic([source(index), *map(source, others)], imgsz, rng)
    else:
        canvas = letterbox_scene(source(index), imgsz)
        if not (plan.scale or plan.translate or plan.degrees or plan.shear):
            return canvas
    return warp_scene(canvas, random_affine(canvas.pixels.shape[0], imgsz, plan, rng), imgsz)


# --- placing images -----------------------------------------------------------------------------


def letterbox_scene(scene: Scene, imgsz: int) -> Scene:
    """A scene whose longer side is `imgsz`, centred on a grey square as evaluation does."""
    height, width = scene.pixels.shape[:2]
    canvas: Pixels = np.full((imgsz, imgsz, 3), PAD_VALUE, np.uint8)
    left, top = round((imgsz - width) / 2 - 0.1), round((imgsz - height) / 2 - 0.1)
    canvas[top : top + height, left : left + width] = scene.pixels
    return Scene(canvas, tuple(_moved(entry, left, top) for entry in scene.instances))


def mosaic(scenes: list[Scene], imgsz: int, rng: np.random.Generator) -> Scene:
    """Four scenes around a random point of a square of twice the input size; what hangs over is cut."""
    size = 2 * imgsz
    canvas: Pixels = np.full((size, size, 3), PAD_VALUE, np.uint8)
    x, y = (int(v) for v in rng.integers(imgsz // 2, 3 * imgsz // 2 + 1, size=2))
    instances: list[Instance] = []
    for place, scene in enumerate(scenes):
        height, width = scene.pixels.shape[:2]
        left = x - width if place % 2 == 0 else x
        top = y - height if place < 2 else y
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
        canvas[y1:y2, x1:x2] = scene.pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        for entry in scene.instances:
            moved = _moved(entry, left, top)
            inside = clip_patch(moved.mask, x1, y1, x2, y2)
            if inside is not None:
                instances.append(_remainder(moved, inside, moved.mask.area))
    return Scene(canvas, tuple(instances))


def _moved(entry: Instance, x: int, y: int) -> Instance:
    return Instance(entry.label, entry.ignore, Patch(entry.mask.x + x, entry.mask.y + y, entry.mask.pixels))


def _remainder(entry: Instance, mask: Patch, whole: float) -> Instance:
    """`entry` with what is left of its mask; too small a rest of the `whole` area is a region to ignore."""
    return Instance(entry.label, entry.ignore or mask.area < KEEP_AREA * whole, mask)


# --- geometry -----------------------------------------------------------------------------------


def random_affine(canvas: int, imgsz: int, plan: Augmentation, rng: np.random.Generator) -> Matrix:
    """A [2, 3] map in continuous coordinates from a square canvas to the input: scale, rotation and shear about the
    canvas's centre, which lands near the input's centre."""
    scale = rng.uniform(1 - plan.scale, 1 + plan.scale)
    angle = math.radians(rng.uniform(-plan.degrees, plan.degrees))
    shear = [math.tan(math.radians(rng.uniform(-plan.shear, plan.shear))) for _ in range(2)]
    target = imgsz * rng.uniform(0.5 - plan.translate, 0.5 + plan.translate, size=2)
    cos, sin = math.cos(angle), math.sin(angle)
    linear = scale * np.array([[1, shear[0]], [shear[1], 1]]) @ np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([linear, (target - linear @ [canvas / 2, canvas / 2])[:, None]], axis=1)


def warp_scene(scene: Scene, matrix: Matrix, imgsz: int) -> Scene:
    """`scene` under an affine map of continuous coordinates, on a grey square."""
    import cv2

    border = (PAD_VALUE,) * 3
    pixels = cv2.warpAffine(scene.pixels, _centres(matrix), (imgsz, imgsz), flags=cv2.INTER_LINEAR, borderValue=border)
    growth = abs(float(np.linalg.det(matrix[:, :2])))
    instances = []
    for entry in scene.instances:
        mask = warp_patch(entry.mask, matrix, imgsz)
        if mask is not None:
            instances.append(_remainder(entry, mask, entry.mask.area * growth))
    return Scene(pixels, tuple(instances))


def warp_patch(patch: Patch, matrix: Matrix, imgsz: int) -> Patch | None:
    """A mask under an affine map, clipped to the square; only the part of the square that it reaches is computed."""
    import cv2

    height, width = patch.pixels.shape
    x, y = patch.x, patch.y
    corners = np.array([[x, x + width, x, x + width], [y, y, y + height, y + height]])
    reached = matrix[:, :2] @ corners + matrix[:, 2:]
    x1, y1 = (max(int(v), 0) for v in np.floor(reached.min(axis=1)))
    x2, y2 = (min(int(v), imgsz) for v in np.ceil(reached.max(axis=1)))
    if x1 >= x2 or y1 >= y2:
        return None
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ [patch.x, patch.y] - [x1, y1]
    warped = cv2.warpAffine(patch.pixels, _centres(local), (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR)
    return crop_patch(warped, x1, y1)


def _centres(matrix: Matrix) -> Matrix:
    """The map as OpenCV wants it, whose coordinates count pixel centres from zero."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return shifted


def flip_scene(scene: Scene) -> Scene:
    """Left to right."""
    width = scene.pixels.shape[1]
    mirrored = [
        Instance(
            entry.label,
            entry.ignore,
            Patch(width - entry.mask.x - entry.mask.pixels.shape[1], entry.mask.y, entry.mask.pixels[:, ::-1]),
        )
        for entry in scene.instances
    ]
    return Scene(np.ascontiguousarray(scene.pixels[:, ::-1]), tuple(mirrored))


# --- copy-paste and colour ----------------------------------------------------------------------


def copy_paste(scene: Scene, donor: Scene, rng: np.random.Generator) -> Scene:
    """Put about half of the donor's objects onto `scene`, where they leave enough of what is there."""
    pixels = scene.pixels.copy()
    instances = list(scene.instances)
    areas = [entry.mask.area for entry in instances]
    for entry in donor.instances:
        if entry.ignore or rng.random() < 0.5 or box_of(entry.mask) is None:
            continue
        hidden = [_minus(other.mask, entry.mask) for other in instances]
        if any(mask.area < PASTE_COVER * area for mask, area in zip(hidden, areas, strict=True)):
            continue
        instances = [Instance(o.label, o.ignore, mask) for o, mask in zip(instances, hidden, strict=True)]
        instances.append(entry)
        areas.append(entry.mask.area)
        _blend(pixels, donor.pixels, entry.mask)
    return Scene(pixels, tuple(instances))


def _minus(mask: Patch, cover: Patch) -> Patch:
    """`mask` without what `cover` hides; the same object where they do not meet."""
    h, w = mask.pixels.shape
    over = clip_patch(cover, mask.x, mask.y, mask.x + w, mask.y + h)
    if over is None:
        return mask
    pixels = mask.pixels.copy()
    y, x = over.y - mask.y, over.x - mask.x
    part = pixels[y : y + over.pixels.shape[0], x : x + over.pixels.shape[1]]
    part[:] = np.minimum(part, 255 - over.pixels)
    return Patch(mask.x, mask.y, pixels)


def _blend(pixels: Pixels, other: Pixels, mask: Patch) -> None:
    h, w = mask.pixels.shape
    place = np.s_[mask.y : mask.y + h, mask.x : mask.x + w]
    share = mask.pixels[..., None].astype(np.uint16)
    mixed = pixels[place] * (255 - share) + other[place] * share
    pixels[place] = ((mixed.astype(np.uint32) + 127) // 255).astype(np.uint8)


def shift_colours(pixels: Pixels, plan: Augmentation, rng: np.random.Generator) -> Pixels:
    """Random gains of hue, saturation and value, by table."""
    import cv2

    gains = 1 + rng.uniform(-1, 1, size=3) * [plan.hue, plan.saturation, plan.value]
    ramp = np.arange(256)
    tables = [ramp * gains[0] % 180, np.clip(ramp * gains[1], 0, 255), np.clip(ramp * gains[2], 0, 255)]
    table = np.stack(tables, axis=1).astype(np.uint8)[None]
    result: Any = cv2.cvtColor(cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)
    return np.asarray(result, np.uint8)


# --- targets ------------------------------------------------------------------------------------


def finish(scene: Scene, imgsz: int, masks: bool) -> Sample:
    """The targets of an arranged scene: boxes from masks, masks at the size of the prototypes."""
    labels: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    small: list[Pixels] = []
    ignore: list[tuple[float, float, float, float]] = []
    for entry in scene.instances:
        box = box_of(entry.mask)
        if box is None or min(box[2] - box[0], box[3] - box[1]) < SMALLEST_SIDE:
            continue
        if entry.ignore:
            ignore.append(box)
            continue
        labels.append(entry.label)
        boxes.append(box)
        if masks:
            small.append(shrink_mask(entry.mask, imgsz // MASK_STRIDE))
    side = imgsz // MASK_STRIDE
    return Sample(
        pixels=scene.pixels,
        labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        masks=np.stack(small) if small else np.zeros((0, side, side), np.uint8),
        ignore=np.array(ignore, np.float32).reshape(-1, 4),
    )


def shrink_mask(patch: Patch, side: int) -> Pixels:
    """A mask at a quarter of the size: cells that are covered by half or more; any covered cell where none is."""
    h, w = patch.pixels.shape
    top, left = patch.y % MASK_STRIDE, patch.x % MASK_STRIDE
    rows, columns = -(-(top + h) // MASK_STRIDE), -(-(left + w) // MASK_STRIDE)
    padded = np.zeros((rows * MASK_STRIDE, columns * MASK_STRIDE), np.uint8)
    padded[top : top + h, left : left + w] = patch.pixels
    mean = padded.reshape(rows, MASK_STRIDE, columns, MASK_STRIDE).mean(axis=(1, 3))
    cells = mean >= HALF
    if not cells.any():
        cells = mean > 0
    result = np.zeros((side, side), np.uint8)
    y, x = patch.y // MASK_STRIDE, patch.x // MASK_STRIDE
    result[y : y + rows, x : x + columns] = cells
    return result
