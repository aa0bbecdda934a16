"""The text of `analyze` and `generate`, as a report file or as the log of a run; versions 2.1 to 4.0.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.artifacts import CompiledNode, Epochs, TensorAudit
from edgeai.stedgeai.memory import PoolTable, Sections, epochs, pool_table, sections
from edgeai.stedgeai.text import CoreVersion, Segment, integer, key_value

# the model among the parameters of a report; its path may hold blanks
_MODEL_OPTION = re.compile(r"(?:--model|-m)\s+(.+?\.(?:tflite|onnx|h5|hdf5|keras))(?=\s|$)", re.IGNORECASE)
_MD5 = re.compile(r"(?:0x)?([0-9a-fA-F]{32})")
_BYTES = re.compile(r"([\d,]+)\s+B\b")
_RAM = re.compile(r"=\s*([\d,]+)\s*\+\s*([\d,]+)\s*\+\s*([\d,]+)")
_TENSOR = re.compile(r"'([^']*)'\s*(?:,|:)?\s*([a-z]+\d*)[(\[]([\dx,]*)[)\]]")
_LINEAR = re.compile(r"QLinear\(\s*([-\d.e+]+)\s*,\s*(-?\d+)")
_MODEL_LINE = re.compile(r"^\s*model(/c-model)?:\s+macc=([\d,]+)(?:/([\d,]+))?")
_COMPILER = re.compile(r"^\s*Compiler version:\s*(\S+)")
_LAYER = re.compile(r"^(.*?)\s*\(([^()]*)\)\s*$")
_RULE = re.compile(r"^\s*-{4,}(?:\s+-{2,}){3,}\s*$")
_DIM = re.compile(r"[a-z]+:(\d+)")
_FILES = re.compile(r"^\s*Generated files \((\d+)\)")
_DTYPES = {"f32": "float32", "i8": "int8", "u8": "uint8", "s8": "int8"}


@dataclass(frozen=True, slots=True)
class Summary:
    """`Exec/report summary`: what is printed as key and value. `model_hash` is the MD5 of the file, in hexadecimal."""

    model: str
    kind: str
    target: str
    format_seen: str
    weights: int | None
    activations: int | None
    io: int | None
    macs: int | None
    inputs: tuple[TensorAudit, ...]
    outputs: tuple[TensorAudit, ...]
    model_hash: str = ""
    compression: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One `analyze` or `generate`. Parts that the text does not hold are None or empty.

    `layers_macs` is what the table of layers adds up to, `compiled_macs` what the generated network has of them.
    """

    command: str
    version: CoreVersion | None
    parameters: str
    compiler: str
    summary: Summary | None
    layers: tuple[CompiledNode, ...]
    layers_macs: int | None
    compiled_macs: int | None
    pools: PoolTable | None
    epochs: Epochs | None
    sections: Sections | None
    files: tuple[str, ...]
    target: str
    elapsed_s: float | None


def read_report(segment: Segment) -> Report:
    """What one run of the tool printed about a compiled network."""
    lines = segment.lines
    found = next((m for line in lines if (m := _MODEL_LINE.match(line))), None)
    summary = read_summary(lines)
    return Report(
        command=segment.command,
        version=segment.version,
        parameters=segment.parameters,
        compiler=next((m[1] for line in lines if (m := _COMPILER.match(line))), ""),
        summary=summary,
        layers=layer_table(lines),
        layers_macs=integer(found[2]) if found else None,
        compiled_macs=integer(found[3] or found[2]) if found else None,
        pools=pool_table(lines),
        epochs=epochs(lines),
        sections=sections(lines),
        files=generated_files(lines),
        target=read_target(lines, segment.parameters, summary),
        elapsed_s=segment.elapsed_s,
    )


def read_target(lines: Sequence[str], parameters: str, summary: Summary | None) -> str:
    """The target as the tool prints it: with `npu` behind it where the accelerator's compiler ran."""
    if summary is not None and summary.target:
        return summary.target
    for line in lines:
        if found := re.search(r'(?:by section|Summary) - "(\S+)" target', line):
            return found[1]
    found = re.search(r"--target\s+(\S+)", parameters)
    if not found:
        return ""
    return found[1] + ("npu" if found[1] == "stm32n6" and "--st-neural-art" in parameters else "")


def read_summary(lines: Sequence[str]) -> Summary | None:
    """The block of keys and values below `Exec/report summary`."""
    start = next((i for i, line in enumerate(lines) if "Exec/report summary" in line), None)
    if start is None:  # a log that begins in the middle
        start = next((i - 1 for i, line in enumerate(lines) if (key_value(line) or ("",))[0] == "model file"), None)
    if start is None:
        return None
    pairs: dict[str, str] = {}
    for line in lines[start + 1 :]:
        if line.strip().startswith(("(*)", "Model name", "Computing", "Compilation")):
            break
        if found := key_value(line):
            pairs.setdefault(*found)
    ram = _RAM.search(pairs.get("ram (total)", ""))
    return Summary(
        model=pairs.get("model file", ""),
        kind=pairs.get("type", ""),
        target=pairs.get("target/series", ""),
        format_seen=pairs.get("model_fmt", ""),
        weights=_bytes(pairs.get("weights (ro)", "")),
        activations=_bytes(pairs.get("activations (rw)", "")),
        io=integer(ram[2]) + integer(ram[3]) if ram else None,
        macs=_number(pairs.get("macc", "")),
        inputs=_tensors(pairs, "input "),
        outputs=_tensors(pairs, "output "),
        model_hash=model_hash(pairs.get("model_hash", "")),
        compression=pairs.get("compression", ""),
    )


def model_hash(text: str) -> str:
    """The 32 digits of `0x0300…`; nothing for what is no MD5."""
    found = _MD5.fullmatch(text.strip())
    return found[1].lower() if found else ""


def source_model(summary: Summary | None, parameters: str) -> str:
    """The name of the file that the tool was given: of the summary, else of its parameters."""
    named = _MODEL_OPTION.search(parameters)
    path = (summary.model if summary is not None else "") or (named[1] if named else "")
    return model_name(path)


def model_name(path: str) -> str:
    """The file's name of a path as any system writes it."""
    return re.split(r"[\\/]", path.strip())[-1]


def _bytes(text: str) -> int | None:
    found = _BYTES.match(text)
    return integer(found[1]) if found else None


def _number(text: str) -> int | None:
    """A count; 0 is what the tool prints where it did not count, so it is none."""
    return integer(text) or None if re.fullmatch(r"[\d,]+", text) else None


def _tensors(pairs: dict[str, str], prefix: str) -> tuple[TensorAudit, ...]:
    found = (read_tensor(value) for key, value in pairs.items() if key.startswith(prefix) and "/" in key)
    return tuple(tensor for tensor in found if tensor is not None)


def read_tensor(text: str) -> TensorAudit | None:
    """`'name', int8(1x64x64x3), 12.00 KBytes, QLinear(0.0078,0,int8), …`."""
    found = _TENSOR.search(text)
    if found is None:
        return None
    linear = _LINEAR.search(text)
    return TensorAudit(
        name=found[1],
        shape=tuple(int(part) for part in re.split("[x,]", found[3]) if part),
        dtype=_DTYPES.get(found[2], found[2]),
        scale=float(linear[1]) if linear else 0.0,
        zero_point=int(linear[2]) if linear else 0,
    )


def layer_table(lines: Sequence[str]) -> tuple[CompiledNode, ...]:
    """The table `m_id layer oshape param/size macc`: one node a row. Columns are where the ruled line says."""
    lines = [line for line in lines if line.strip()]  # Studio puts blank lines anywhere
    head = next((i for i, line in enumerate(lines) if line.split()[:2] == ["m_id", "layer"]), 0)
    if not head or not _RULE.match(lines[head - 1]):
        return ()
    spans = [(m.start(), m.end()) for m in re.finditer(r"-+", lines[head - 1])]
    titles = [lines[head][a:b].strip() for a, b in spans]
    nodes: list[CompiledNode] = []
    index, ruled = 0, True
    for line in lines[head + 1 :]:
        if _RULE.match(line):
            ruled = True
            continue
        cells = {title: line[a:b].strip() for title, (a, b) in zip(titles, spans, strict=True)}
        number, layer = cells.get("m_id", ""), cells.get(next((t for t in titles if t.startswith("layer")), ""), "")
        if _MODEL_LINE.match(line) or (ruled and not number.isdigit()):
            break
        ruled = False
        index = int(number) if number.isdigit() else index
        if layer:
            nodes.append(_node(index, layer, cells))
    return tuple(nodes)


def _node(index: int, layer: str, cells: dict[str, str]) -> CompiledNode:
    named = _LAYER.match(layer)
    name, kind = (named[1], named[2].split(",")[-1].strip()) if named else (layer, "")
    shape = cells.get("oshape", "").split("][")[0]
    items, _, count = cells.get("param/size", "").partition("/")
    return CompiledNode(
        index=index,
        name=name,
        kind=kind,
        unit="",
        shape=tuple(int(d) for d in _DIM.findall(shape)),
        parameters=_count(items),
        weights_bytes=_count(count),
        macs=_count(cells.get("macc", "")),
    )


def _count(text: str) -> int:
    return integer(text) if re.fullmatch(r"[\d,]+", text) else 0


def generated_files(lines: Sequence[str]) -> tuple[str, ...]:
    """Base names below `Generated files (N)`."""
    start = next((i for i, line in enumerate(lines) if _FILES.match(line)), None)
    if start is None:
        return ()
    count = int(_FILES.match(lines[start])[1])  # type: ignore[index]
    named = [line.strip() for line in lines[start + 1 :] if line.strip() and set(line.strip()) != {"-"}]
    return tuple(re.split(r"[\\/]", path)[-1] for path in named[:count])
