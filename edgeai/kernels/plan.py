"""Which kernel set runs which operator of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.graph.types import Graph, Op
from edgeai.kernels.table import RIGHT, SETS, Set, named, rows
from edgeai.kernels.variants import drifts, variant_of

RUNTIMES = {
    "reference": "LiteRT's reference kernels", "builtin": "LiteRT's built-in kernels", "xnnpack": "XNNPACK",
    "micro": "TFLite Micro",
}  # fmt: skip
VISIBLE = 1 / 255  # pixels: what a resize may drift before a number can be off by a step


@dataclass(frozen=True, slots=True)
class Doubt:
    """An operator whose result no kernel set in use computes right, and why."""

    op: Op
    row: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op.kind} #{self.op.index} ({self.reason})"


def choose(graph: Graph, first: Set | None = None) -> tuple[Set, ...]:
    """The kernel set of every operator: `first` where it is not known to be wrong, else the one that the table names.

    Where it names none, that of the operator before: what is not measured is not known to be wrong, and what every
    set computes wrong is no better elsewhere.
    """
    wanted = [_wanted(variant_of(graph, op), first) for op in graph.ops]
    start: Set = first or ([wish for wish in wanted if wish is not None] or [SETS[0]])[0]
    found: list[Set] = []
    last = start
    for wish in wanted:
        last = wish or last
        found.append(last)
    return tuple(_runnable(graph, found))


def _wanted(row: str, first: Set | None) -> Set | None:
    if first is not None and (row not in rows() or rows()[row][first].right or named(row) is None):
        return first
    return named(row)


def _runnable(graph: Graph, chosen: Sequence[Set]) -> list[Set]:
    """Where a set does not run an operator at all, the first that does."""
    result = []
    for op, kernels in zip(graph.ops, chosen, strict=True):
        figures = rows().get(variant_of(graph, op))
        runs = [one for one in (kernels, *SETS) if figures is None or figures[one].worst is not None]
        result.append((runs or [kernels])[0])
    return result


def doubts(graph: Graph, chosen: Sequence[Set]) -> tuple[Doubt, ...]:
    """The operators that the chosen kernels are known to compute wrong."""
    found = []
    for op, kernels in zip(graph.ops, chosen, strict=True):
        row = variant_of(graph, op)
        figures = rows().get(row)
        if figures is None or figures[kernels].right:
            continue
        everybody = not any(figures[one].right for one in SETS)
        who = "all of LiteRT's kernels" if everybody else f"LiteRT's {kernels} kernels"
        case = row.removeprefix(op.kind).lstrip(", ")
        found.append(Doubt(op, row, f"{case}: {who} {figures[kernels].flaw}".removeprefix(": ")))
    return tuple(found)


def shown(chosen: Sequence[Set]) -> str:
    """`reference`, or `reference, builtin for 2 operators`: the most frequent set first."""
    counts = {kernels: chosen.count(kernels) for kernels in SETS if kernels in chosen}
    first, *others = sorted(counts, key=lambda kernels: -counts[kernels])
    return ", ".join([first, *(f"{one} for {counts[one]} operator{'s' * (counts[one] > 1)}" for one in others)])


def wrong_everywhere(graph: Graph) -> list[str]:
    """The rows of a file's operators that were measured, and that none of LiteRT's kernel sets computes right."""
    found = dict.fromkeys(variant_of(graph, op) for op in graph.ops)
    return [row for row in found if row in rows() and named(row) is None]


def silently_wrong(graph: Graph) -> list[str]:
    """What some kernel set computes without a word and wrong: one sentence for each case that the file holds."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops if graph.format == "tflite" else ():
        row = variant_of(graph, op)
        sets = [one for name, one in rows().get(row, {}).items() if name in RUNTIMES]
        if any(one.worst is not None and one.worst > RIGHT for one in sets) and drifts(graph, op) >= VISIBLE:
            found.setdefault(row, []).append(op)
    return [_sentence(graph, row, ops) for row, ops in found.items()]


def _sentence(graph: Graph, row: str, ops: Sequence[Op]) -> str:
    figures = {RUNTIMES[name]: one for name, one in rows()[row].items() if name in RUNTIMES}
    wrong = {name: one.worst for name, one in figures.items() if one.worst is not None and one.worst > RIGHT}
    right = [name for name, one in figures.items() if one.right]
    where = f"#{ops[0].index}" if len(ops) == 1 else f"{len(ops)} operators, the first #{ops[0].index}"
    steps = f"by up to {max(w for w in wrong.values() if w is not None):.0f} steps"
    if row.startswith("RESIZE_BILINEAR"):
        steps = f"by up to {max(drifts(graph, op) for op in ops):.2f} pixels"
    who = f"on {_and(list(wrong))}" if right else "on every kernel set that runs it"
    rest = f"; right on {_and(right)}" if right else ""
    return f"{row} ({where}): wrong {steps} without a message {who}{rest}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
