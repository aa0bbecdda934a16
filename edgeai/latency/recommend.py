"""Which boards suit a network: memory first, then time, then what the accelerator takes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgeai import __version__
from edgeai.artifacts import BoardAdvice, Fact, Footprint, Provenance, Recommendation
from edgeai.board import Board, all_boards
from edgeai.files import file_ref
from edgeai.graph import load_graph
from edgeai.graph.types import Graph
from edgeai.latency.constants import latency_tables
from edgeai.latency.estimate import assess

# A camera application needs an answer at least every few hundred milliseconds. Networks without pictures have no such
# limit: keyword spotting and activity recognition run on any board that holds them.
INTERACTIVE_MS = 500.0
HEAVY_MMAC = 100.0
Verdict = Literal["recommended", "supported", "no"]
ORDER = {"recommended": 0, "supported": 1, "no": 2}


def recommend(path: Path, boards: tuple[Board, ...] | None = None) -> Recommendation:
    """Every board with a verdict: `recommended` runs on an accelerator from on-chip memory at interactive speed,
    `supported` runs, `no` does not fit, has no runtime for it or is too slow for pictures.
    """
    graph = load_graph(path, computing=False)
    found = [_advice(path, graph, board) for board in (boards or all_boards())]
    return Recommendation(
        model=file_ref(path),
        boards=tuple(sorted(found, key=lambda a: (ORDER[a.verdict], a.ms or 1e9, a.board))),
        provenance=Provenance(
            stage="recommend",
            inputs=(file_ref(path),),
            versions=(Fact("edgeai", __version__), Fact("tables", latency_tables().version)),
        ),
    )


def _advice(path: Path, graph: Graph, board: Board) -> BoardAdvice:
    result = assess(path, board)
    mmac = sum(graph.macs(op) for op in graph.ops) / 1e6
    ms = result.latency.ms.point if result.latency else 0.0
    verdict, reason = _verdict(board, result, mmac, ms)
    ram = result.memory.ram.point if result.memory else float(result.activations_bytes)
    flash = result.memory.weights.point if result.memory else float(result.weights_bytes)
    return BoardAdvice(board.name, board.family, verdict, reason, ram, flash, ms)


def _verdict(board: Board, result: Footprint, mmac: float, ms: float) -> tuple[Verdict, str]:  # noqa: PLR0911
    if not result.fits:
        return "no", result.reasons[0].partition("; ")[0]
    picture = mmac > HEAVY_MMAC
    if picture and board.accelerator is None and board.family not in ("STM32MP2",):
        if ms > INTERACTIVE_MS:
            return "no", f"about {ms:,.0f} ms a picture without an accelerator: too slow"
        if ms == 0:
            return "no", f"{mmac:,.0f} million MACs a picture and no accelerator"
    external = next((p for p in result.pools if p.kind == "external-ram" and p.used), None)
    if external is not None or (result.memory is not None and result.memory.external):
        return "supported", "spills into external RAM: several times slower"
    if board.family == "STM32N6":
        off = result.support.software_epochs if result.support is not None else 0
        return "recommended", f"on-chip memory and the Neural-ART; {off} operators in software"
    if board.family == "STM32MP2":
        if board.accelerator is None:
            return "supported", "with the figures of the MP25x; no source says whether it has the accelerator"
        gpu = [s for s in (result.support.software if result.support else ()) if "scale per channel" in s.reason]
        if gpu:
            return "supported", "weights per channel run on the GPU: quantise with `--per-tensor`"
        return "supported", "per-tensor weights run on the NPU under Linux"
    return "supported", f"runs on the {board.cpu.core}" + (f" in about {ms:,.1f} ms" if ms else "")
