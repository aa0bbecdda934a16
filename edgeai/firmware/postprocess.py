"""The C post-processing, configured for one TFLite file.

The functions are fixed C sources (`firmware_stubs/postprocess`); what depends on the model, its sizes and tables, is
written here: from the same contract and the same score tables as the decode in Python, so that both find the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeai
from edgeai.artifacts import Contract, FileRef, OutputRole
from edgeai.artifacts.postprocess import PostprocessSources
from edgeai.errors import InputError, ToolError
from edgeai.evaluate.decode import Output, OutputReader, OutputTable, score_levels
from edgeai.files import existing_file, file_ref, write_bytes, write_text
from edgeai.firmware.brought import brought
from edgeai.firmware.postprocess_text import (
    MAX_ANCHORS,
    MAX_CLASSES,
    CGroup,
    CNetwork,
    CTensor,
    Limits,
    comment,
    config_text,
    source_text,
)
from edgeai.graph import load_graph
from edgeai.graph.types import Graph, Tensor
from edgeai.provenance import provenance
from edgeai.recognise import HEADS, NOTHING, Asked
from edgeai.recognise.know import know

SOURCES = ("edgeai_postprocess.h", "edgeai_postprocess.c", "edgeai_masks.c")
CONFIG = "postprocess_config.h"
NETWORK = "postprocess_network.c"
LEVELS = 256
# weights below 2^24 are exact in float32, and the moment of 16 of them stays below 2^32
DFL_BITS = 24
MAX_REG_MAX = 23  # beyond it, 2^24 * (0 + 1 + ... + reg_max - 1) does not fit 32 bits


def write_postprocess(model: Path, folder: Path, limits: Limits, asked: Asked = NOTHING) -> PostprocessSources:
    """Write the C post-processing of a TFLite file into `folder`: the sources, `postprocess_config.h` with sizes and
    limits, and `postprocess_network.c` with scales and tables. Same file and limits, same bytes.

    Raises InputError where the outputs are not int8 or uint8 tensors of a raw, split or concat head.
    """
    reference = file_ref(existing_file(model, "a .tflite file"))
    network = _network(load_graph(model), model, asked)
    home = sources_folder()
    for name in SOURCES:
        write_bytes(folder / name, (home / name).read_bytes())
    title = f"Written by edgeai {edgeai.__version__} for {comment(model.name)}\n * sha256 {reference.sha256}"
    write_text(folder / CONFIG, config_text(network, limits, title))
    write_text(folder / NETWORK, source_text(network, limits, title))
    return _summary(network, limits, reference, folder)


def sources_folder() -> Path:
    """The folder of the fixed C sources, in the package or beside it. Raises ToolError where they are missing."""
    found = brought("postprocess", "postprocess", SOURCES[0])
    if found is None:
        raise ToolError("the C sources of the post-processing are missing", "reinstall edgeai")
    return found.parent


# --- from the contract ----------------------------------------------------------------------------


def _network(graph: Graph, path: Path, asked: Asked) -> CNetwork:
    contract = know(graph, path.stem, asked).certain(path.name)
    kinds = {role.kind for role in contract.roles}
    if not kinds & {"dfl", "boxes", "pred"}:
        what = HEADS[contract.head][0] if contract.head in HEADS else f"a {contract.spec.task} network"
        what = "YOLOv5's anchor head" if "anchors" in kinds else what
        raise InputError(f"the C post-processing does not read {what}", "raw, split and concat heads are read")
    if contract.layout == "raw" and contract.spec.reg_max < 2:
        raise InputError(f"the boxes of {path.name} are distances without bins", "the C post-processing reads DFL bins")
    if contract.logits:
        raise InputError(f"the scores of {path.name} are logits in layout {contract.layout}", "export with the sigmoid")
    tensors = [graph.tensors[index] for index in graph.outputs]
    used = [tensors[role.index] for role in contract.roles]
    dtypes = {tensor.dtype for tensor in used}
    if len(dtypes) != 1 or not dtypes <= {"int8", "uint8"} or not all(tensor.quantized for tensor in used):
        names = ", ".join(sorted(dtypes))
        raise InputError(f"the outputs of {path.name} are {names}", "quantize with --output-type int8")
    if contract.spec.reg_max > MAX_REG_MAX or contract.spec.nc > MAX_CLASSES:
        raise InputError(f"{path.name} has {contract.spec.nc} classes and {contract.spec.reg_max} bins: too many")
    dtype = dtypes.pop()
    # nothing is read from these arrays: their strides tell where an element lies
    outputs = [Output(np.empty(t.shape, np.dtype(t.dtype)), t.scale, t.zero_point) for t in tensors]
    reader = OutputReader(outputs, contract)
    proto, grid = None, (1, 1)
    if reader.coefs:
        role = reader.role("proto")
        proto, grid = _tensor(reader, role), reader.grid(role)
    groups = tuple(_groups(reader))
    if sum(group.anchors for group in groups) > MAX_ANCHORS:
        raise InputError(f"{path.name} has more than {MAX_ANCHORS:,} anchors")
    flip = 0x80 if dtype == "int8" else 0
    image = graph.tensors[graph.inputs[0]]
    return CNetwork(
        contract=contract,
        groups=groups,
        proto=proto,
        proto_grid=grid,
        flip=flip,
        output_bytes=tuple(output.array.nbytes for output in outputs),
        pixel_factor=tuple(1 / (255 * s * (image.scale or 1.0)) for s in contract.std or (1.0, 1.0, 1.0)),
        pixel_offset=_pixel_offset(image, contract),
        channels_first=image.shape[1] == 3 and image.shape[3] != 3,
    )


def _pixel_offset(image: Tensor, contract: Contract) -> tuple[float, ...]:
    """What is added to a pixel times its factor: code = (pixel / 255 - mean) / std / scale + zero point."""
    pairs = zip(contract.mean, contract.std, strict=True) if contract.std else ((0.0, 1.0),) * 3
    return tuple(image.zero_point - mean / std / (image.scale or 1.0) for mean, std in pairs)


def _groups(reader: OutputReader) -> Iterator[CGroup]:
    nc, coefs = reader.spec.nc, reader.coefs
    if reader.contract.layout == "raw":
        for dfl in reader.roles("dfl"):
            logits = reader.role("logits", dfl.stride)
            yield CGroup(
                anchors=len(reader.table(dfl).values),
                columns=reader.grid(dfl)[1],
                stride=dfl.stride,
                scores=_tensor(reader, logits),
                boxes=_tensor(reader, dfl),
                coefs=_coefs(reader, reader.role("coefs", dfl.stride)) if coefs else None,
                score_of=_score_table(reader.table(logits), logits=True),
                dfl_weight=_dfl_table(reader.table(dfl).scale),
            )
        return
    if reader.contract.layout == "split":
        scores, boxes = reader.role("scores"), reader.role("boxes")
        places = _tensor(reader, scores), _tensor(reader, boxes)
        coef_place = _coefs(reader, reader.role("coefs")) if coefs else None
    else:
        scores = boxes = reader.role("pred")
        places = _tensor(reader, scores, 4, 4 + nc), _tensor(reader, boxes, 0, 4)
        coef_place = _coefs(reader, scores, 4 + nc, 4 + nc + coefs) if coefs else None
    table = reader.table(scores)
    yield CGroup(len(table.values), 1, 1, *places, coef_place, _score_table(table, logits=False), None)


def _tensor(reader: OutputReader, role: OutputRole, start: int = 0, stop: int | None = None) -> CTensor:
    """Columns `start` to `stop` of a role's table; offsets and steps in bytes."""
    table = reader.table(role)
    stop = table.values.shape[1] if stop is None else stop
    anchor_step, channel_step = table.values.strides
    lowest = int(np.iinfo(table.values.dtype).min)
    return CTensor(role.index, start * channel_step, anchor_step, channel_step, table.scale, table.zero_point - lowest)


def _coefs(reader: OutputReader, role: OutputRole, start: int = 0, stop: int | None = None) -> CTensor:
    """Coefficients on the scale with which coefs . proto is the logit, whatever the file divides and multiplies."""
    place = _tensor(reader, role, start, stop)
    return replace(place, scale=float(np.float32(place.scale) * reader.coef_unit))


def _score_table(table: OutputTable, logits: bool) -> NDArray[np.float32]:
    return score_levels(table.values.dtype.str, table.scale, table.zero_point, logits)


def _dfl_table(scale: float) -> NDArray[np.int64]:
    """exp(-d * scale) for d = 0..255 in units of 2^-24: the softmax of a bin d levels below the highest."""
    weights: NDArray[np.int64] = np.rint(np.exp(-scale * np.arange(LEVELS)) * (1 << DFL_BITS)).astype(np.int64)
    return weights



def _summary(network: CNetwork, limits: Limits, model: FileRef, folder: Path) -> PostprocessSources:
    columns = network.proto_grid[1]
    tables = sum(4 * LEVELS * (1 + (group.dfl_weight is not None)) for group in network.groups)
    # edgeai_pp_mask: 4 coordinates, 2 pointers, offset, coefficients, 2 columns, 2 rows, logits; blended at 8 bytes
    head = (8 + 8 + 4 + 2 * network.coefs + 4 + 3) // 4 * 4 + 8 + 8 * columns
    mask = (head + 7) // 8 * 8 + 8 * columns if network.coefs else 0
    return PostprocessSources(
        model=model,
        layout=network.contract.layout,
        confidence=limits.conf,
        nms_iou=limits.iou,
        max_detections=limits.max_detections,
        max_candidates=limits.max_candidates,
        table_bytes=tables,
        workspace_bytes=8 + 12 * limits.max_candidates + 16 * limits.max_detections,
        result_bytes=28 * limits.max_detections,
        mask_bytes=mask,
        files=tuple(file_ref(folder / name) for name in (*SOURCES, CONFIG, NETWORK)),
        provenance=provenance(
            "postprocess",
            [model],
            [
                ("conf", limits.conf),
                ("iou", limits.iou),
                ("max_det", limits.max_detections),
                ("max_candidates", limits.max_candidates),
            ],
            ["numpy"],
            network.contract.spec.licence,
        ),
    )
