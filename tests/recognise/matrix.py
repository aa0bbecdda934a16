"""Every head in every file format, with and without words, in both orders and both units: what edgeai makes of it.

    python tests/recognise/matrix.py --out docs/heads.md

writes the table of the documentation. The test runs the same cells.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path += [str(Path(__file__).resolve().parent)]

from nets import BOX, BUILDERS, NAMES, SIZE, write_onnx, write_tflite

from edgeai.artifacts import Contract, to_json
from edgeai.errors import InputError
from edgeai.evaluate.backends import open_runner
from edgeai.evaluate.postprocess import Thresholds, postprocess
from edgeai.imaging.images import Letterbox
from edgeai.recognise import Asked
from edgeai.recognise.know import know_file

FORMATS = ("ONNX", "QDQ ONNX", "TFLite float", "TFLite int8")
RAW = ("YOLOv8 raw, level by level", "YOLOv5 raw, level by level")
CLASSIFIERS = ("classifier, probabilities", "classifier, logits")
# Heads that only edgeai writes, or that exist in one form: their words are a contract that edgeai wrote.
OWN = {"YOLOv8 raw, level by level": "yolov8-raw", "split": "split", "YOLOv5 raw, level by level": "yolov5-raw"}
# The closed list of refusals: the head without words -> words of the message. Nothing in such a file tells these
# from another head, or says how many classes there are.
REFUSED = {
    "split": "split-corners",
    "YOLOv5 raw, level by level": "yolov7-raw",
    "end to end": "pass --classes",
}


@dataclass(frozen=True)
class Cell:
    head: str
    form: str
    words: bool
    channels_last: bool
    unit: str

    @property
    def name(self) -> str:
        order = "NHWC" if self.channels_last else "NCHW"
        return f"{self.head}-{self.form}-{'words' if self.words else 'none'}-{order}-{self.unit}"


@dataclass(frozen=True)
class Outcome:
    """`found` is the one object, or the class; else `refused` says why."""

    found: bool
    refused: str = ""
    detail: str = ""


def cells() -> Iterator[Cell]:
    for head in BUILDERS:
        units = ("pixels",) if head in RAW + CLASSIFIERS else ("pixels", "unit")
        for form in FORMATS:
            for words in (True, False):
                for channels_last in (True, False):
                    yield from (Cell(head, form, words, channels_last, unit) for unit in units)


def write(cell: Cell, folder: Path) -> Path:
    """The file of a cell."""
    tflite = cell.form.startswith("TFLite")
    net = BUILDERS[cell.head](cell.unit, cell.channels_last and tflite)
    words: dict[str, object] = {}
    if cell.words and cell.head not in OWN:
        task = "classify" if cell.head in CLASSIFIERS else "segment" if "coefficients" in cell.head else "detect"
        words = {"task": task, "names": dict(enumerate(NAMES)), "imgsz": [SIZE, SIZE], "license": "CC0-1.0"}
        if cell.head == "end to end":
            words["end2end"] = True
    quantised = "int8" in cell.form or "QDQ" in cell.form
    path = folder / ("net.tflite" if tflite else "net.onnx")
    if tflite:
        written = write_tflite(
            net, path, words or None, quantised=quantised, channels_last=cell.channels_last
        )
    else:
        said = {key: str(value) for key, value in words.items()}
        written = write_onnx(net, path, said, quantised=quantised, channels_last=cell.channels_last)
    if cell.words and cell.head in OWN:
        _with_contract(written, cell)
    return written


def _with_contract(path: Path, cell: Cell) -> None:
    known = know_file(path, Asked(head=OWN[cell.head], boxes=cell.unit if cell.head == "split" else ""))
    contract = replace(known.contract, spec=replace(known.contract.spec, names=NAMES))
    if path.suffix == ".tflite":
        from edgeai.quantize.ptq import with_contract

        path.write_bytes(with_contract(path.read_bytes(), contract))
    else:
        _into_onnx(path, contract)


def _into_onnx(path: Path, contract: Contract) -> None:
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"edgeai.contract": to_json(contract)})
    onnx.save(model, str(path))


def outcome(cell: Cell, folder: Path) -> Outcome:
    """What edgeai finds in a picture with the network of a cell."""
    try:
        with open_runner(write(cell, folder)) as runner:
            outputs = runner.infer(np.full((SIZE, SIZE, 3), 128, np.uint8))
            if cell.head in CLASSIFIERS:
                right = int(outputs[0].real().ravel().argmax()) == 1 and runner.contract.spec.task == "classify"
                named = runner.contract.spec.names == (NAMES if cell.words else ("class0", "class1"))
                return Outcome(right and named, detail=str(outputs[0].real()))
            view = Letterbox(1.0, 0, 0, SIZE, SIZE)
            contract = runner.see(outputs, 0.25)
            found = postprocess(outputs, contract, view, Thresholds(0.25))
    except InputError as error:
        return Outcome(False, f"{error.message}; {error.hint}")
    detail = f"{found.boxes.tolist()} {found.scores.tolist()} {found.classes.tolist()}"
    # one step of the coarsest tensor: boxes in pixels that share a scale with scores
    right = (
        len(found.scores) == 1
        and int(found.classes[0]) == 1
        and abs(float(found.scores[0]) - 0.95) < 0.14
        and bool(np.all(np.abs(found.boxes[0] - np.array(BOX)) < 2.0))
    )
    named = contract.spec.names == (NAMES if cell.words else ("class0", "class1"))
    return Outcome(right and named, detail=detail)


def table() -> str:
    """Rows are heads; a cell of the table counts the files in which the object was found."""
    lines = ["| head | words | " + " | ".join(FORMATS) + " |", "|---|---|" + "---|" * len(FORMATS)]
    rows: dict[tuple[str, bool], dict[str, list[Outcome]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for cell in cells():
            rows.setdefault((cell.head, cell.words), {}).setdefault(cell.form, []).append(outcome(cell, Path(folder)))
    for (head, words), formats in rows.items():
        shown = []
        for form in FORMATS:
            found = formats[form]
            hits, refusals = sum(o.found for o in found), sum(bool(o.refused) for o in found)
            wrong = len(found) - hits - refusals
            text = [f"found {hits}"] * bool(hits) + [f"refused {refusals}"] * bool(refusals)
            shown.append(", ".join([*text, *[f"WRONG {wrong}"] * bool(wrong)]))
        what = ("contract" if head in OWN else "metadata") if words else "none"
        lines.append(f"| {head} | {what} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.parse_args().out.write_text(table())
