"""How the outputs of an ONNX file that somebody else exported are to be read, from their names and shapes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeai.artifacts import Contract, ModelSpec, OutputRole, Task
from edgeai.models.registry import P5_ANCHORS, P5_STRIDES

DEFAULT_SIZE = 640
CLASSIFIER_SIZE = 224
NUM_COEFS = 32


@dataclass(frozen=True, slots=True)
class OnnxOutput:
    """An output as the file declares it; a dimension that is not fixed is a name or None."""

    name: str
    shape: tuple[int | str | None, ...]


def onnx_contract(
    outputs: tuple[OnnxOutput, ...], metadata: Mapping[str, str], imgsz: int | None, stem: str
) -> Contract:
    """YOLOv5's raw heads, YOLOv8's decoded prediction in pixels, a classifier's scores, or just tensors."""
    names = _class_names(metadata)
    return (
        _heads_contract(outputs, names, imgsz, stem)
        or _pred_contract(outputs, names, imgsz, stem)
        or _classifier_contract(outputs, names, imgsz, stem)
        or _plain_contract(outputs, imgsz, stem)
    )


def _heads_contract(
    outputs: tuple[OnnxOutput, ...], names: tuple[str, ...], imgsz: int | None, stem: str
) -> Contract | None:
    """Three raw heads of YOLOv5 [1, 3*(5+nc+nm), h, w], finest first, and prototypes or none."""
    heads = [entry for entry in outputs if len(entry.shape) == 4 and entry.name != "proto"]
    channels = {entry.shape[1] for entry in heads}
    coefs = NUM_COEFS if len(outputs) == 4 and outputs[-1].shape[1:2] == (NUM_COEFS,) else 0
    count = channels.pop() if len(channels) == 1 else None
    if len(heads) != 3 or len(outputs) != 3 + bool(coefs) or not isinstance(count, int) or count % 3:
        return None
    nc = count // 3 - 5 - coefs
    if nc < 1:
        return None
    spec = replace(_spec(stem, names, nc, coefs, imgsz), family="yolov5", anchors=P5_ANCHORS, reg_max=0)
    places = [i for i, entry in enumerate(outputs) if entry in heads]
    roles = tuple(OutputRole(i, "anchors", stride) for i, stride in zip(places, P5_STRIDES, strict=True))
    proto = tuple(OutputRole(i, "proto") for i in range(len(outputs)) if i not in places)
    return Contract(spec=spec, layout="raw", imgsz=spec.imgsz, roles=(*roles, *proto), box_unit=1.0)


def _pred_contract(
    outputs: tuple[OnnxOutput, ...], names: tuple[str, ...], imgsz: int | None, stem: str
) -> Contract | None:
    """One prediction [1, 4+nc+nm, N] with boxes in pixels, as YOLOv8 is usually exported, and prototypes or none."""
    coefs = NUM_COEFS if len(outputs) == 2 and outputs[1].shape[1:2] == (NUM_COEFS,) else 0
    shape = outputs[0].shape
    if len(outputs) != 1 + bool(coefs) or len(shape) != 3 or not isinstance(shape[1], int):
        return None
    nc = shape[1] - 4 - coefs
    if nc < 1:
        return None
    spec = _spec(stem, names, nc, coefs, imgsz)
    roles = (OutputRole(0, "pred"), *((OutputRole(1, "proto"),) if coefs else ()))
    return Contract(spec=spec, layout="concat", imgsz=spec.imgsz, roles=roles, box_unit=1.0)


def _classifier_contract(
    outputs: tuple[OnnxOutput, ...], names: tuple[str, ...], imgsz: int | None, stem: str
) -> Contract | None:
    """One output [1, nc]."""
    shape = outputs[0].shape
    if len(outputs) != 1 or len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 2:
        return None
    known = names if len(names) == shape[1] else tuple(f"class{i}" for i in range(shape[1]))
    size = imgsz or CLASSIFIER_SIZE
    spec = ModelSpec(stem, "onnx", "classify", "", known, size, strides=(), reg_max=0, num_coefs=0)
    return Contract(spec=spec, layout="raw", imgsz=size, roles=(OutputRole(0, "probs"),), box_unit=1.0)


def _plain_contract(outputs: tuple[OnnxOutput, ...], imgsz: int | None, stem: str) -> Contract:
    """Outputs of which nothing is known: they can be converted, quantised and placed, not decoded."""
    size = imgsz or DEFAULT_SIZE
    spec = ModelSpec(stem, "onnx", "features", "", ("unknown",), size, strides=(), reg_max=0, num_coefs=0)
    roles = tuple(OutputRole(i, "tensor") for i in range(len(outputs)))
    return Contract(spec=spec, layout="raw", imgsz=size, roles=roles, box_unit=1.0)


def _spec(stem: str, names: tuple[str, ...], nc: int, coefs: int, imgsz: int | None) -> ModelSpec:
    task: Task = "segment" if coefs else "detect"
    known = names if len(names) == nc else tuple(f"class{i}" for i in range(nc))
    size = imgsz or DEFAULT_SIZE
    return ModelSpec(name=stem, family="yolo", task=task, scale="", names=known, imgsz=size, num_coefs=coefs)


def _class_names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The class names that exporters leave in the metadata as a Python literal {0: 'person', ...}; or none."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    values = list(names.values()) if isinstance(names, dict) else names
    return tuple(map(str, values)) if isinstance(values, list) else ()


