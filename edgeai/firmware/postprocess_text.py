"""The C text of a configured post-processing: what the fixed sources read as a header and as tables."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract
from edgeai.errors import InputError
from edgeai.evaluate.nms import IOU

MAX_ANCHORS = 1 << 24
MAX_CLASSES = 65535


@dataclass(frozen=True, slots=True)
class Limits:
    """What the C code is dimensioned for, and its default thresholds."""

    conf: float = 0.25
    iou: float = IOU
    max_detections: int = 100
    max_candidates: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.conf < 1:
            raise InputError(f"confidence {self.conf} is not within 0..1", "0.25 is usual in an application")
        if not 0 < self.iou <= 1:
            raise InputError(f"NMS IoU {self.iou} is not within 0..1", "0.7 is usual")
        if not 1 <= self.max_detections <= self.max_candidates <= MAX_ANCHORS or self.max_detections > MAX_CLASSES:
            counts = f"{self.max_detections} detections of {self.max_candidates} candidates"
            raise InputError(f"{counts}: the limits do not fit", "at least 1 detection, and no fewer candidates")


@dataclass(frozen=True, slots=True)
class CTensor:
    """`edgeai_pp_tensor`: where the bytes of a table lie."""

    output: int
    first: int
    anchor_step: int
    channel_step: int
    scale: float
    zero_level: int


@dataclass(frozen=True, slots=True)
class CGroup:
    """`edgeai_pp_group`, with its tables. `coefs` is None for a detection network."""

    anchors: int
    columns: int
    stride: int
    scores: CTensor
    boxes: CTensor
    coefs: CTensor | None
    score_of: NDArray[np.float32]
    dfl_weight: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class CNetwork:
    contract: Contract
    groups: tuple[CGroup, ...]
    proto: CTensor | None
    proto_grid: tuple[int, int]
    flip: int
    output_bytes: tuple[int, ...]
    pixel_factor: tuple[float, ...]
    pixel_offset: tuple[float, ...]
    channels_first: bool

    @property
    def coefs(self) -> int:
        return self.contract.spec.num_coefs if self.proto is not None else 0

    @property
    def reg_max(self) -> int:
        return self.contract.spec.reg_max if self.contract.layout == "raw" else 0


def config_text(network: CNetwork, limits: Limits, title: str) -> str:
    rows, columns = network.proto_grid
    sizes = [
        ("INPUT_SIZE", network.contract.imgsz),
        ("CLASSES", network.contract.spec.nc),
        ("COEFS", network.coefs),
        ("REG_MAX", network.reg_max),
        ("GROUPS", len(network.groups)),
        ("PROTO_ROWS", rows),
        ("PROTO_COLUMNS", columns),
        ("OUTPUTS", len(network.output_bytes)),
    ]
    defines = "\n".join(f"#define EDGEAI_PP_{name} {value}" for name, value in sizes)
    outputs = ", ".join(map(str, network.output_bytes))
    factor, offset = (", ".join(map(_float, v)) for v in (network.pixel_factor, network.pixel_offset))
    order = "all red pixels come first" if network.channels_first else "the colours of a pixel stand together"
    return f"""/* {title}
 * Layout {network.contract.layout}. Do not edit: give other limits to the compiler, -DEDGEAI_PP_MAX_DETECTIONS=20.
 */
#ifndef EDGEAI_POSTPROCESS_CONFIG_H
#define EDGEAI_POSTPROCESS_CONFIG_H

{defines}
#define EDGEAI_PP_OUTPUT_BYTES {{{outputs}}}

/* The input: a pixel of red, green or blue becomes round(pixel * factor + offset), within its type; {order}. */
#define EDGEAI_PP_PIXEL_FACTOR {{{factor}}}
#define EDGEAI_PP_PIXEL_OFFSET {{{offset}}}

/* Scores above the threshold that are looked at, the best ones of an image; 12 bytes each. */
#ifndef EDGEAI_PP_MAX_CANDIDATES
#define EDGEAI_PP_MAX_CANDIDATES {limits.max_candidates}
#endif

/* Detections that are kept; 44 bytes each. Work grows with candidates times detections. */
#ifndef EDGEAI_PP_MAX_DETECTIONS
#define EDGEAI_PP_MAX_DETECTIONS {limits.max_detections}
#endif

#endif
"""


def source_text(network: CNetwork, limits: Limits, title: str) -> str:
    tables, groups = [], []
    for i, group in enumerate(network.groups):
        tables.append(_table(f"static const float score_of_{i}", [_float(value) for value in group.score_of]))
        weights = "NULL"
        if group.dfl_weight is not None:
            weights = f"dfl_weight_{i}"
            tables.append(_table(f"static const uint32_t {weights}", [f"{int(value)}u" for value in group.dfl_weight]))
        groups.append(_group(group, i, weights))
    names = _lines([_string(name) for name in network.contract.spec.names])
    thresholds = f"{{{_float(limits.conf)}, {_float(limits.iou)}, EDGEAI_PP_MAX_DETECTIONS}}"
    box_unit = _float(network.contract.box_unit)
    return f"""/* {title}
 */
#include "edgeai_postprocess.h"

#include <stddef.h>

{chr(10).join(tables)}
static const char *const class_names[EDGEAI_PP_CLASSES] = {{
{names}
}};

const edgeai_pp_network edgeai_pp_this_network = {{
    .flip = 0x{network.flip:02X},
    .box_unit = {box_unit},
    .groups = {{
{chr(10).join(groups)}
    }},
    .proto = {_initialiser(network.proto, 4)},
    .class_names = class_names,
}};

const edgeai_pp_settings edgeai_pp_defaults = {thresholds};
"""


def _group(group: CGroup, index: int, weights: str) -> str:
    return f"""        {{
            .anchors = {group.anchors},
            .columns = {group.columns},
            .stride = {group.stride},
            .scores = {_initialiser(group.scores, 12)},
            .boxes = {_initialiser(group.boxes, 12)},
            .coefs = {_initialiser(group.coefs, 12)},
            .score_of = score_of_{index},
            .dfl_weight = {weights},
        }},"""


def _initialiser(tensor: CTensor | None, indent: int) -> str:
    if tensor is None:
        return "{0}"
    fields = [
        f".output = {tensor.output}, .zero_level = {tensor.zero_level}, .first = {tensor.first},",
        f".anchor_step = {tensor.anchor_step}, .channel_step = {tensor.channel_step}, .scale = {_float(tensor.scale)},",
    ]
    return "\n".join(["{", *(" " * (indent + 4) + line for line in fields), " " * indent + "}"])


def _table(name: str, values: list[str]) -> str:
    return f"{name}[{len(values)}] = {{\n{_lines(values)}\n}};\n"


def _lines(values: list[str]) -> str:
    """Values separated by commas, in lines of about 110 columns."""
    lines, line = [], "   "
    for value in values:
        if len(line) + len(value) > 110:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return "\n".join([*lines, line])


def _float(value: float) -> str:
    """A C constant that is this float32 exactly: nine digits tell all of them apart."""
    if not math.isfinite(value):
        raise InputError("a scale of the file is not a number", "the file is damaged")
    text = f"{float(np.float32(value)):.9g}"
    return f"{text if {'.', 'e'} & set(text) else text + '.0'}f"


def _string(name: str) -> str:
    """A C string literal: whatever is no plain character goes in octal."""
    plain = re.compile(r"[A-Za-z0-9 _.,+-]")
    characters = (chr(byte) for byte in name.encode())
    return '"' + "".join(c if plain.match(c) else f"\\{ord(c):03o}" for c in characters) + '"'


def comment(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9 _.,+-]", "?", name)
