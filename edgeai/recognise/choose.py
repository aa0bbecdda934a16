"""Which reading of the outputs holds: the graph's proof, the file's words and the user's word against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.errors import InputError
from edgeai.recognise import HEADS
from edgeai.recognise.reading import Out, Reading
from edgeai.recognise.words import Words

# a task in Ultralytics' metadata -> the heads of that task; detect and segment go by the reading's own task
TASK_HEADS = {"classify": "classifier", "pose": "pose", "obb": "obb", "semantic": "semantic", "depth": "depth"}
# in a file's name, as a word of it
NAMED = {
    "pose": r"(?<![a-z])(pose|kpts?|keypoints?)(?![a-z])",
    "obb": r"(?<![a-z])(obb|rotated)(?![a-z])",
    "yolov5-raw": r"yolo-?v?5(?!\d)",
}
KNOWN_TASKS = ("", "detect", "segment", *TASK_HEADS)
SHOWN = 4  # outputs in a message


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the outputs of a file cannot be decoded, and what to do. `contradicts`: two witnesses disagree, so that even
    what needs no decode must not go on without a word."""

    message: str
    hint: str
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The reading that holds, what says so, and whether more than the shapes does; or a refusal."""

    reading: Reading | None = None
    proofs: tuple[str, ...] = ()
    sure: bool = True
    refusal: Refusal | None = None


def choose(found: Sequence[Reading], words: Words, stem: str, head: str, outputs: Sequence[Out]) -> Choice:
    """One of `found`, or a refusal that names both sides of a contradiction or all candidates.

    `head` is what the user asks for. Raises InputError where the outputs cannot be that.
    """
    proofs: list[str] = []
    left = list(found)
    if head:
        left = [reading for reading in left if reading.head == head]
        if not left:
            others = ", ".join(dict.fromkeys(reading.head for reading in found)) or "no head that edgeai knows"
            raise InputError(f"the outputs cannot be --head {head}: {_shapes(outputs)}", f"they may be {others}")
        proofs.append("asked for")
    else:
        proved = [reading for reading in left if reading.proof]
        left, refusal = _by_words(proved or left, words, proofs)
        if refusal is not None:
            return Choice(reading=left[0] if left else None, refusal=refusal)
        if len({reading.head for reading in left}) > 1 and (named := _by_name(left, stem)):
            left = named
            proofs.append("from the file's name, which breaks the tie")
    left, refusal = _by_classes(left, words, proofs)
    if refusal is not None:
        return Choice(refusal=refusal)
    if not left:
        return Choice(refusal=Refusal(f"its outputs are of no head that edgeai knows: {_shapes(outputs)}", _inspect()))
    if len(left) > 1:
        return Choice(refusal=_undecided(left, outputs))
    reading = left[0]
    if reading.proof:
        proofs.append(f"from the graph: {reading.proof}")
    if not HEADS[reading.head][1]:
        return Choice(reading=reading, refusal=None if proofs else _only_fits(reading, outputs))
    return Choice(reading, tuple(proofs) or ("the only head with such shapes",), bool(proofs))


def _by_words(left: list[Reading], words: Words, proofs: list[str]) -> tuple[list[Reading], Refusal | None]:
    """What the metadata leave: task, key points, own selection of detections."""
    task = words.task or ("pose" if words.kpt_shape is not None else "")
    if task not in KNOWN_TASKS:
        return [], Refusal(f"{words.source} says task {task}, which edgeai does not know", "--head decides")
    if words.kpt_shape is not None and task != "pose":
        said = f"{words.source} says task {task} and key points"
        return [], Refusal(said, "export it again; --head decides", contradicts=True)
    refusal = None
    if task in ("pose", "obb", "semantic", "depth"):
        left, refusal = _named_task(left, words, task)
    elif task:
        fitting = [reading for reading in left if _is_task(reading, task)]
        refusal = _contradiction(words, f"task {task}", left[0]) if left and not fitting else None
        left = fitting
    if task and refusal is None:
        proofs.append(f"from {words.source}: task {task}")
    if refusal is None and words.end2end is not None:
        left, refusal = _by_selection(left, words, proofs)
    return left, refusal


def _named_task(left: list[Reading], words: Words, task: str) -> tuple[list[Reading], Refusal | None]:
    """A task that is not decoded, in the words of the file."""
    others = [reading for reading in left if reading.proof and reading.head != task]
    if others and not any(reading.head == task for reading in left):
        return [], _contradiction(words, f"task {task}", others[0])
    return ([reading for reading in left if reading.head == task] or [Reading(task, "features")])[:1], None


def _by_selection(left: list[Reading], words: Words, proofs: list[str]) -> tuple[list[Reading], Refusal | None]:
    """Detections that the network selects itself, or not."""
    own = [reading for reading in left if reading.head == "end2end"]
    if not words.end2end:
        return [reading for reading in left if reading.proof or reading not in own] or left, None
    if own:
        proofs.append(f"from {words.source}: end to end")
        return own, None
    if left and all(reading.proof and HEADS[reading.head][1] for reading in left):
        return [], _contradiction(words, "end2end", left[0])
    return left, None


def _is_task(reading: Reading, task: str) -> bool:
    if task == "classify":
        return reading.head == "classifier"
    if reading.head in TASK_HEADS.values() or reading.head in ("heat maps", "features"):
        return False
    if HEADS[reading.head][1]:
        return reading.task == task
    return bool(reading.coefs) == (task == "segment")


def _by_classes(left: list[Reading], words: Words, proofs: list[str]) -> tuple[list[Reading], Refusal | None]:
    """What has room for the classes that are named."""
    if not words.names or not left:
        return left, None
    fitting = [reading for reading in left if reading.nc in (0, len(words.names))]
    if not fitting:
        if not HEADS[left[0].head][1]:
            return left, None
        rooms = " or ".join(str(n) for n in dict.fromkeys(reading.nc for reading in left))
        said = words.source or "--classes"
        message = f"{said} names {_classes(len(words.names))}, its outputs hold {rooms}"
        return [], Refusal(message, "pass --classes with every name in order, or export it again", contradicts=True)
    if any(reading.nc for reading in fitting):
        proofs.append(f"{len(words.names)} class names {'from ' + words.source if words.source else 'asked for'}")
    return fitting, None


def _classes(count: int) -> str:
    return f"{count} class" if count == 1 else f"{count} classes"


def _by_name(left: list[Reading], stem: str) -> list[Reading]:
    """A file's name is not believed, but may break a tie."""
    for head, pattern in NAMED.items():
        if re.search(pattern, stem.lower()) and (named := [reading for reading in left if reading.head == head]):
            return named[:1]
    return []


def _only_fits(reading: Reading, outputs: Sequence[Out]) -> Refusal:
    """A head that is not decoded, and that nothing but the shapes and the number of classes speaks for."""
    return Refusal(
        f"its outputs {_shapes(outputs)} fit only {HEADS[reading.head][0]}, which edgeai does not decode",
        "--head says what they are where that is wrong",
    )


def _contradiction(words: Words, said: str, reading: Reading) -> Refusal:
    proof = f" ({reading.proof})" if reading.proof else ""
    return Refusal(
        f"{words.source} says {said}, its outputs are {HEADS[reading.head][0]}{proof}",
        f"--head {reading.head} decides" if HEADS[reading.head][1] else "export it again",
        contradicts=True,
    )


def _undecided(left: Sequence[Reading], outputs: Sequence[Out]) -> Refusal:
    """Every candidate by its name."""
    described = []
    for reading in left:
        classes = f" ({reading.nc} classes)" if reading.nc else ""
        described.append(f"{reading.head}{classes}")
    heads = [f"--head {reading.head}" for reading in left if HEADS[reading.head][1]]
    hint = f"{' or '.join(dict.fromkeys(heads))} decides" if heads else "none of them is decoded"
    return Refusal(f"nothing says what its outputs {_shapes(outputs)} are: {', '.join(described)}?", hint)


def _shapes(outputs: Sequence[Out]) -> str:
    shown = ", ".join("x".join(map(str, out.shape)) for out in outputs[:SHOWN])
    return shown + (f" and {len(outputs) - SHOWN} more" if len(outputs) > SHOWN else "")


def _inspect() -> str:
    return "edgeai inspect shows them; --head says what they are where edgeai decodes it"
