"""`know`: from a graph and the file's own words to a contract with the evidence for each field, or a refusal."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from edgeai.artifacts import Contract, FieldEvidence, ModelSpec, OutputRole
from edgeai.errors import InputError
from edgeai.graph import load_graph
from edgeai.graph.contract import read_contract
from edgeai.graph.types import Graph, Tensor
from edgeai.recognise import HEADS, NOTHING, RANGES, Asked
from edgeai.recognise.choose import Refusal, choose
from edgeai.recognise.heads import readings
from edgeai.recognise.reading import Out, Reading
from edgeai.recognise.units import Found, box_unit, input_range, real_range
from edgeai.recognise.words import Words, read_words

FILE = "from the contract in the file"
ASKED = "asked for"
OPEN = "not decided yet"
CONVENTION = "by convention"
MAX_IMGSZ = 8192
ONE_IMAGE = "a network on one RGB image can be decoded"


@dataclass(frozen=True, slots=True)
class Known:
    """What a file is. With a `refusal` its outputs cannot be decoded, and `contract` names them as plain tensors.

    A `box_unit` of 0.0 in the contract waits for the first picture that shows something. `sure` is False where only
    the shapes allow one reading: pictures must not speak against it, and commands without pictures refuse it. `image`:
    it takes one square RGB image, whatever its outputs are.
    """

    contract: Contract
    evidence: tuple[FieldEvidence, ...]
    refusal: Refusal | None = None
    own: bool = False
    sure: bool = True
    image: bool = True

    def decodable(self, name: str) -> Contract:
        """The contract. Raises InputError where the outputs of the file `name` cannot be decoded."""
        if self.refusal is not None:
            raise InputError(f"{name}: {self.refusal.message}", self.refusal.hint)
        return self.contract

    def takes_pictures(self, name: str) -> Contract:
        """The contract, for what only feeds pictures. Raises InputError where the file takes none."""
        if not self.image and self.refusal is not None:
            raise InputError(f"{name}: {self.refusal.message}", self.refusal.hint)
        return self.contract

    def certain(self, name: str) -> Contract:
        """The contract, for what has no pictures to decide with. Raises InputError where something is still open."""
        contract = self.decodable(name)
        if not self.sure:
            what = HEADS[contract.head][0]
            raise InputError(
                f"{name}: only the shape of its outputs says that they are {what}",
                f"say so with --head {contract.head}, or export it with its metadata",
            )
        if not contract.box_unit:
            raise InputError(f"{name} does not say whether its boxes are in pixels or in 0..1", "pass --boxes")
        return contract


def know_file(path: Path, asked: Asked = NOTHING, computing: bool = True) -> Known:
    """What the TFLite or ONNX file `path` is. Raises InputError where it cannot be read at all."""
    return open_file(path, asked, computing)[1]


def open_file(path: Path, asked: Asked = NOTHING, computing: bool = True) -> tuple[Graph, Known]:
    """The network in a file, and what it is; `computing` as for `load_graph`.

    An ONNX file of any size is read at the size that is asked for, else at the one that its metadata name.
    """
    graph = load_graph(path, asked.imgsz, computing)
    if graph.format == "onnx" and not asked.imgsz and graph.inputs and graph.tensors[graph.inputs[0]].dynamic:
        words = _words(graph)[0]
        if words.imgsz is not None and words.imgsz[0] == words.imgsz[1]:
            asked = replace(asked, imgsz=words.imgsz[0])
            graph = load_graph(path, asked.imgsz, computing)
    return graph, know(graph, path.stem, asked)


def know(graph: Graph, stem: str, asked: Asked = NOTHING, shapes: tuple[tuple[int, ...], ...] = ()) -> Known:
    """What the network of `graph` is; `stem` is its file's name without suffix. `shapes` are those of its outputs where
    they are known better than the file says. Raises InputError for a damaged contract and for options that contradict
    the file."""
    own = read_contract(graph)
    if own is not None:
        return _own(_ordered(own, graph), asked)
    words, damage = _words(graph)
    if asked.names:
        words = replace(words, names=asked.names, source="" if not words.task else words.source)
    image = _image(graph)
    if isinstance(image, Refusal):
        return replace(_refused(graph, stem, words, "", image), image=False)
    tensor, size = image
    outputs = tuple(
        Out(i, t, shape if shape[0] > 0 else (1, *shape[1:]))
        for i, t in enumerate(graph.outputs)
        if (shape := shapes[i] if shapes else graph.tensors[t].shape) is not None and shape
    )
    if damage is not None:
        return _refused(graph, stem, words, "", damage)
    if contradiction := _size_contradiction(words, size, bool(asked.imgsz)):
        return _refused(graph, stem, words, "", contradiction)
    chosen = choose(readings(graph, outputs, size), words, stem, asked.head, outputs)
    if chosen.refusal is not None or chosen.reading is None or not HEADS[chosen.reading.head][1]:
        return _refused(graph, stem, words, chosen.reading.head if chosen.reading else "", chosen.refusal)
    return _known(graph, stem, words, asked, chosen.reading, chosen.proofs, chosen.sure, tensor, size)


# --- the parts ------------------------------------------------------------------------------------


def _own(contract: Contract, asked: Asked) -> Known:
    """A file that edgeai wrote: its contract was checked when it was read."""
    if asked.head and asked.head != contract.head and (contract.head or not _suits(contract, asked.head)):
        said = contract.head or f"layout {contract.layout}"
        raise InputError(f"--head {asked.head} contradicts the contract in the file: {said}", "leave out --head")
    contract = _with_range(contract, asked)
    heads = {role.kind for role in contract.roles}
    refusal = None
    if contract.head and not HEADS.get(contract.head, ("", False))[1]:
        refusal = _by_name(contract.head)
    elif contract.spec.task == "features" or heads == {"tensor"}:
        refusal = Refusal("its outputs are of no head that can be decoded", "edgeai inspect shows them")
    evidence = _evidence(contract, FILE, FILE, FILE, {})
    return Known(contract, evidence, refusal, own=True)


def _ordered(contract: Contract, graph: Graph) -> Contract:
    """Maps of an ONNX file have their channels first, those of a TFLite file last, whatever other shapes fit."""
    order = "first" if graph.format == "onnx" else "last"
    ranks = [len(graph.tensors[t].shape) for t in graph.outputs]
    roles = tuple(
        replace(role, order=order) if not role.order and ranks[role.index] == 4 else role for role in contract.roles
    )
    return replace(contract, roles=roles)


def _suits(contract: Contract, head: str) -> bool:
    """Whether a contract without the name of its head is of this one: files of edgeai before it named heads."""
    return {"raw": "yolov8-raw", "concat": "yolov8", "split": "split"}.get(contract.layout) == head or (
        head in ("classifier", "yolov5-raw") and contract.layout == "raw"
    )


def _words(graph: Graph) -> tuple[Words, Refusal | None]:
    try:
        return read_words(graph), None
    except InputError as error:
        return Words(), Refusal(error.message, error.hint or "")


def _image(graph: Graph) -> tuple[Tensor, int] | Refusal:
    """The one RGB image that goes in, and its side."""
    if len(graph.inputs) != 1:
        return Refusal(f"it has {len(graph.inputs)} inputs, not one image", ONE_IMAGE)
    tensor = graph.tensors[graph.inputs[0]]
    shape = tensor.shape
    shown = "x".join("?" if d < 0 else str(d) for d in shape)
    place = channel_axis(graph, tensor) if len(shape) == 4 else None
    if place is None:
        return Refusal(f"its input is {shown}, not an RGB image", ONE_IMAGE)
    height, width = (shape[2], shape[3]) if place == 1 else (shape[1], shape[2])
    problems = (
        (shape[0] > 1, f"it takes a batch of {shape[0]} images", "export it with a batch of one"),
        (height < 1 or width < 1, "it has an input of any size", "pass --imgsz"),
        (height != width, f"its input is {height}x{width}", "only square inputs are decoded"),
        (height > MAX_IMGSZ, f"its input is {height} pixels wide", "no input of an STM32"),
    )
    return next((Refusal(what, hint) for wrong, what, hint in problems if wrong), (tensor, height))


def channel_axis(graph: Graph, tensor: Tensor) -> int | None:
    """Where the three colours stand in an image input of four axes: 1 or 3; None where neither holds three."""
    shape = tensor.shape
    first, last = shape[1] == 3, shape[3] == 3
    if first and last:
        return 1 if graph.format == "onnx" else 3
    return 1 if first else 3 if last else None


def _size_contradiction(words: Words, size: int, asked: bool) -> Refusal | None:
    """A file of any size (then the size was asked for, or stands in the words) may be run at any."""
    if words.imgsz is not None and words.imgsz != (size, size) and not asked:
        height, width = words.imgsz
        said = f"{words.source} says {height}x{width} pixels"
        return Refusal(f"{said}, its input takes {size}x{size}", "export it again", contradicts=True)
    if words.channels not in (0, 3):
        said = f"{words.source} says {words.channels} channels"
        return Refusal(f"{said}, its input takes 3", "export it again", contradicts=True)
    return None


def _known(
    graph: Graph, stem: str, words: Words, asked: Asked, reading: Reading, proofs: tuple[str, ...], sure: bool,
    tensor: Tensor, size: int,
) -> Known:  # fmt: skip
    """The contract of the chosen reading, field by field."""
    if words.stride and reading.strides and words.stride != reading.strides[-1]:
        refusal = Refusal(
            f"{words.source} says stride {words.stride}, its outputs have the anchors of strides "
            f"{', '.join(map(str, reading.strides))}",
            "export it again",
            contradicts=True,
        )
        return _refused(graph, stem, words, reading.head, refusal)
    names, names_from = _names(words, asked, reading)
    if not names:
        refusal = Refusal("it does not say its classes, nor how many there are", "pass --classes A,B,... in order")
        return _refused(graph, stem, words, reading.head, refusal)
    boxes = _boxes(graph, reading, asked, size)
    ranged = _range(graph, tensor, words, asked)
    for found, option in ((boxes, "--boxes pixels or --boxes unit"), (ranged, "--input-range, or --mean and --std")):
        if found.source == "contradiction":
            refusal = Refusal(found.proof, f"{option} decides", contradicts=True)
            return _refused(graph, stem, words, reading.head, refusal)
    if not ranged.value:
        return _refused(graph, stem, words, reading.head, _unranged(ranged))
    spec = _spec(stem, words, reading, names, size)
    unit = {"pixels": 1.0, "unit": float(size), "": 0.0}[boxes.value]
    contract = Contract(
        spec=spec, layout=reading.layout, imgsz=size, roles=reading.roles, box_unit=unit, head=reading.head,
        logits=reading.logits,
    )  # fmt: skip
    contract = _ranged(contract, ranged.value, words, asked)
    details = {
        "boxes": (boxes.value or "pixels or 0..1?", boxes.source or OPEN, boxes.proof),
        "input range": (_range_name(ranged.value, contract), ranged.source, ranged.proof),
        "classes": (str(len(names)), names_from, ""),
    }
    task = f"from {words.source}" if words.task else proofs[0]
    if words.licence:
        details["licence"] = ("", f"from {words.source}", "")
    evidence = _evidence(contract, task, proofs[-1], "from the shapes", details)
    return Known(contract, evidence, None, sure=sure)


def _unranged(found: Found) -> Refusal:
    return Refusal(
        f"its input has {found.proof}: no range that pictures usually have", "pass --input-range, or --mean and --std"
    )


def _names(words: Words, asked: Asked, reading: Reading) -> tuple[tuple[str, ...], str]:
    if asked.names:
        return asked.names, ASKED
    if words.names:
        return words.names, f"from {words.source}"
    return tuple(f"class{i}" for i in range(reading.nc)), "from the shapes, without names"


def _boxes(graph: Graph, reading: Reading, asked: Asked, size: int) -> Found:
    if reading.layout == "raw":
        return Found("pixels", "by definition", "they are decoded outside")
    if asked.boxes:
        return Found(asked.boxes, ASKED)
    return box_unit(graph, reading, size)


def _range(graph: Graph, tensor: Tensor, words: Words, asked: Asked) -> Found:
    if asked.std:
        return Found("asked", ASKED)
    if asked.input_range:
        return Found(asked.input_range, ASKED)
    found = input_range(graph, tensor, words)
    if found.value or found.source or found.proof:
        return found
    return Found("0:1", CONVENTION, "float inputs of such networks take RGB / 255")


def _ranged(contract: Contract, value: str, words: Words, asked: Asked) -> Contract:
    mean, std = {"asked": (asked.mean, asked.std), "words": (words.mean, words.std)}.get(value) or RANGES[value]
    return replace(contract, mean=mean, std=std)


def _with_range(contract: Contract, asked: Asked) -> Contract:
    if asked.std:
        return replace(contract, mean=asked.mean, std=asked.std)
    if asked.input_range:
        mean, std = RANGES[asked.input_range]
        return replace(contract, mean=mean, std=std)
    return contract


def _range_name(value: str, contract: Contract) -> str:
    if value in RANGES:
        return value.replace(":", " to ")
    return f"mean {_three(contract.mean)}, std {_three(contract.std)}"


def _three(values: tuple[float, ...]) -> str:
    return ",".join(f"{v:.3g}" for v in values)


def _spec(stem: str, words: Words, reading: Reading, names: tuple[str, ...], size: int) -> ModelSpec:
    found = re.search(r"(yolo(?:v|-)?\d+)([nsmlx])?", f"{stem} {words.description}".lower())
    family = found.group(1) if found else "yolo"
    if reading.head.startswith("yolov5"):
        family = "yolov5"
    if reading.head == "classifier":
        family = "onnx" if found is None else family
    return ModelSpec(
        name=stem,
        family=family,
        task=reading.task,
        scale=(found.group(2) or "") if found else "",
        names=names,
        imgsz=size,
        strides=reading.strides,
        reg_max=reading.reg_max if reading.layout == "raw" else 16 if reading.head == "yolov8" else 0,
        num_coefs=reading.coefs or (32 if reading.task == "detect" else 0),
        anchors=reading.anchors,
        licence=words.licence or "unknown",
    )


def _refused(graph: Graph, stem: str, words: Words, head: str, refusal: Refusal | None) -> Known:
    """A file whose outputs cannot be decoded: they are tensors, and everything else of it still works."""
    shape = graph.tensors[graph.inputs[0]].shape if graph.inputs else ()
    sides = [d for d in shape[1:] if d > 4]
    size = max(sides, default=0)
    refusal = refusal or _by_name(head)
    spec = ModelSpec(
        stem, "onnx", "features", "", words.names or ("unknown",), size, strides=(), reg_max=0, num_coefs=0,
        licence=words.licence or "unknown",
    )  # fmt: skip
    roles = tuple(OutputRole(i, "tensor") for i in range(len(graph.outputs)))
    contract = Contract(spec, "tensors", size, roles, 1.0, head=head)
    found = Found("0:1", "", "")
    if len(graph.inputs) == 1 and len(shape) == 4:
        image = graph.tensors[graph.inputs[0]]
        found = input_range(graph, image, words)
        contract = _ranged(contract, found.value or "0:1", words, NOTHING)
        if image.quantized and not found.value:  # pictures over the whole range that it can hold
            low, high = real_range(image)
            width = (high - low) or 1.0
            contract = replace(contract, mean=(-low / width,) * 3, std=(1 / width,) * 3)
    evidence = [FieldEvidence("head", HEADS[head][0] if head else "not known", refusal.message)]
    if words.source:
        evidence += [FieldEvidence("classes", str(len(words.names)), f"from {words.source}")] * bool(words.names)
    if words.source and words.licence:
        evidence.append(FieldEvidence("licence", _short_licence(words.licence), f"from {words.source}"))
    return Known(contract, tuple(evidence), refusal)


def _by_name(head: str) -> Refusal:
    what = HEADS[head][0] if head else "of no head that edgeai knows"
    return Refusal(f"it is {what}, which edgeai does not decode", "inspect, footprint, quantize and bench take it")


def _short_licence(text: str) -> str:
    return text.partition(" (")[0].removesuffix(" License")


def _evidence(
    contract: Contract, task: str, proof: str, other: str, details: dict[str, tuple[str, str, str]]
) -> tuple[FieldEvidence, ...]:
    """One line a field: what it is and what says so."""
    spec = contract.spec

    def line(name: str, value: str, source: str, why: str = "") -> FieldEvidence:
        return FieldEvidence(name, value, f"{source}: {why}" if why else source)

    head = contract.head or {"raw": "yolov8-raw", "concat": "yolov8"}.get(contract.layout, contract.layout)
    found = [
        line("task", spec.task, task),
        line("head", HEADS[head][0] if head in HEADS else head, proof),
        line("outputs", ", ".join(f"{r.kind}{r.stride or ''}" for r in contract.roles), other),
    ]
    if spec.task in ("detect", "segment"):
        unit = "pixels" if contract.box_unit == 1.0 else "unit"
        found.append(line("boxes", *details.get("boxes", (unit, other, ""))))
        if spec.strides:
            found.append(line("strides", ", ".join(map(str, spec.strides)), other))
    found.append(line("classes", *details.get("classes", (str(spec.nc), other, ""))))
    found.append(line("input", f"{contract.imgsz} px", other))
    plain = "0 to 1" if not contract.std else _range_name("", contract)
    found.append(line("input range", *details.get("input range", (plain, other, ""))))
    if spec.licence != "unknown":
        found.append(line("licence", _short_licence(spec.licence), details.get("licence", ("", other, ""))[1]))
    return tuple(found)
