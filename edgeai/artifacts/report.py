"""What cards, reports, licence reviews and predictions say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeai.artifacts.base import Fact, FileRef, Provenance


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of somebody's table of a model on a board. Memory in bytes, time in ms; None where the row is silent.

    `quantization` is the label of the row, which need not be what the file holds. `shares` of the time in per cent:
    NPU, GPU, CPU; empty where not given. `stated_inf_per_s` is the row's own text: it is only ever compared.
    """

    model: str
    dataset: str
    resolution: str
    format: str
    quantization: str
    series: str
    board: str
    tool: str
    version: str
    internal_ram: float | None
    external_ram: float | None
    weights_flash: float | None
    activation_ram: float | None
    runtime_ram: float | None
    code_flash: float | None
    ms: float | None
    shares: tuple[float, ...]
    stated_inf_per_s: str
    link: str
    source: str
    caveat: str


@dataclass(frozen=True, slots=True)
class LicenceItem:
    """One thing that went into a result. `known_from` says where its licence was read."""

    subject: str
    name: str
    licence: str
    known_from: str


@dataclass(frozen=True, slots=True)
class LicenceFinding:
    """What follows from the licences together. `conflict`: two of them cannot both be kept; `check`: find out first."""

    severity: Literal["conflict", "check", "note"]
    title: str
    text: str
    ways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LicenceReport:
    """The licences of a model, its data and its tools, and what they mean together in plain words."""

    items: tuple[LicenceItem, ...]
    findings: tuple[LicenceFinding, ...]
    disclaimer: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class CardRow:
    """One line of a card's table; `origin` says who found its figures and how. `link` is where the model lies."""

    cells: tuple[str, ...]
    origin: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class CardTable:
    """A table of a card. The column of origins comes after those of `header`. `notes` stand below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[CardRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model card in the order of ST's model zoo. `absent` names what could not be filled in, with the reason."""

    title: str
    licence: str
    pipeline_tag: str
    tags: tuple[str, ...]
    use_case: str
    description: str
    models: tuple[FileRef, ...]
    network: tuple[Fact, ...]
    files: CardTable
    platforms: CardTable
    tables: tuple[CardTable, ...]
    absent: tuple[Fact, ...]
    licences: LicenceReport
    commands: tuple[str, ...]
    references: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PredictedObject:
    """One object in an image. `box` is x1, y1, x2, y2 in its pixels, `mask` COCO run lengths ("" for a detector)."""

    category: str
    score: float
    box: tuple[float, ...]
    mask: str
    mask_pixels: int


@dataclass(frozen=True, slots=True)
class PredictedImage:
    """An image, or frame number `frame` of a video, with its objects, best first. Sizes in pixels."""

    name: str
    frame: int
    width: int
    height: int
    objects: tuple[PredictedObject, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model found in images or frames."""

    model: FileRef
    backend: str
    precision: str
    imgsz: int
    confidence: float
    nms_iou: float
    max_detections: int
    images: tuple[PredictedImage, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class HtmlReport:
    """An HTML report that was written: its verdict, its sections, and why others are absent."""

    file: FileRef
    verdict: str
    sections: tuple[str, ...]
    absent: tuple[Fact, ...]
    provenance: Provenance
