"""Which kernel set runs which operator of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeai.graph.types import Graph, Op
from edgeai.kernels.table import SETS, Set, named, rows
from edgeai.kernels.variants import variant_of


@dataclass(frozen=True, slots=True)
class Doubt:
    """An operator whose result no kernel set in use computes right, and why."""

    op: Op
    row: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op.kind} #{self.op.index} ({self.reason})"


def choose(graph: Graph) -> tuple[Set, ...]:
    """The kernel set of every operator: the one that the table names.

    Where it names none, that of the operator before: what is not measured is not known to be wrong, and what every
    set computes wrong is no better elsewhere.
    """
    wanted = [named(variant_of(graph, op)) for op in graph.ops]
    first = next((kernels for kernels in wanted if kernels), SETS[0])
    found: list[Set] = []
    for kernels in wanted:
        found.append(kernels or (found[-1] if found else first))
    return tuple(_runnable(graph, found))


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
