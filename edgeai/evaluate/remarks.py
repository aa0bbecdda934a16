"""What a reader of an accuracy has to know beside the figures."""

from __future__ import annotations

from edgeai.artifacts import EvalResult
from edgeai.evaluate import flaws
from edgeai.evaluate.classes import said

ASSUMED = "assumed input range"  # name of the fact in a result


def remarks(result: EvalResult) -> list[tuple[str, str]]:
    """A name and a sentence each: how objects were counted and classes paired, and that nothing was found."""
    found = [("objects", text) for text in flaws.remarks(result.data)]
    if text := said(result.classes_by, result.class_pairs):
        found.append(("classes", text))
    for fact in result.provenance.options:
        if fact.name == ASSUMED:
            found.append(("input", f"{result.name} takes {fact.value}; --input-range says otherwise"))
    if text := blind(result):
        found.append(("WARNING", text))
    return found


def blind(result: EvalResult) -> str:
    """Why the figures of a network say nothing: it finds nothing, or nothing of what there is. "" where it does."""
    images = f"in {result.protocol.num_images} images"
    names = {metric.name for metric in result.metrics}
    if result.detections == 0 and "top1" not in names:
        return f"{result.name} finds nothing {images}"
    if result.metrics and all(metric.value == 0 for metric in result.metrics):
        return f"{result.name} is right about nothing {images}"
    return ""
