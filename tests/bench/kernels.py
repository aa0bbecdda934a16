"""What each kernel set makes of every int8 operator, against float arithmetic.

    python tests/bench/kernels.py --out runs/kernels

Writes `kernels.json`, the data file that edgeai reads, and `kernels.md`, the table of docs/kernels.md; `make kernels`
puts both in their places.

Every operator of `tests/firmware/operators.py` and `movers.py` is drawn 90 times, two thirds of them with scales whose
results fall on halves, with noise over the whole range of its inputs. Float arithmetic is LiteRT's float kernels on
the same operator with real numbers. An error is the distance, in steps, from the real result divided by the output's
scale: rounding alone leaves 0.5. Each kernel set runs in a process of its own, since some end it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(TESTS), str(TESTS / "firmware")]

import movers  # noqa: E402, F401  (registers its operators)
from operators import OPERATORS, Draw  # noqa: E402
from tiny_models import Model, random_inputs  # noqa: E402

from edgeai.cli.render import markdown_table  # noqa: E402
from edgeai.errors import EdgeAIError  # noqa: E402
from edgeai.firmware.blob import make_blob  # noqa: E402
from edgeai.graph.flat import read_tree  # noqa: E402
from edgeai.graph.types import Graph, Op  # noqa: E402
from edgeai.kernels.interpreter import open_kernels  # noqa: E402
from edgeai.kernels.table import Figures  # noqa: E402
from edgeai.kernels.variants import variant_of  # noqa: E402
from edgeai.quantize.debug.surgery import simulation  # noqa: E402

Arrays = list[np.ndarray]
DRAWS = 90
ONE_PICTURE = "more than one picture"
TIE = 1e-3  # of a step: float32 does not tell which side of a half it is on
LITERT = ("reference", "builtin", "xnnpack")
MEASURED = (*LITERT, "micro")
SETS = (*LITERT, "micro", "firmware", "simulation")


@dataclass(frozen=True)
class Case:
    """One operator drawn: the file, its graph and inputs, and the real values of its outputs in steps."""

    content: bytes
    graph: Graph
    op: Op
    inputs: Arrays
    exact: Arrays


def cases(name: str, folder: Path) -> list[Case]:
    found = []
    for number in range(DRAWS):
        rng = np.random.default_rng([number, *name.encode()])
        model = Model()
        content = model.pack(*OPERATORS[name](Draw(model, rng, ties=number % 3)))
        path = folder / "case.tflite"
        path.write_bytes(content)
        graph, tree = read_tree(path)
        (op,) = graph.ops
        given = [graph.tensors[t] for t in graph.inputs]
        inputs = random_inputs([{"shape": t.shape, "dtype": np.dtype(t.dtype).type} for t in given], number)
        if op.kind == "DIV":  # not by zero, which kernels refuse or not
            zero = graph.tensors[op.inputs[1]].zero_point
            inputs[1] = np.where(inputs[1] == zero, zero + 1, inputs[1]).astype(np.int8)
        found.append(Case(content, graph, op, inputs, exact(graph, tree, op, inputs)))
    return found


def exact(graph: Graph, tree: Any, op: Op, inputs: Arrays) -> Arrays:
    """Float arithmetic: the outputs in real numbers, those with a scale in steps."""
    real = []
    for t, values in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[t]
        codes = values.astype(np.float32)
        real.append((codes - tensor.zero_point) * np.float32(tensor.scale) if tensor.quantized else codes)
    moved = op.kind in ("QUANTIZE", "DEQUANTIZE")
    results = real if moved else litert(simulation(graph, tree), real, "builtin")
    found = []
    for t, values in zip(graph.outputs, results, strict=True):
        tensor = graph.tensors[t]
        wide = values.astype(np.float64)
        found.append(wide / tensor.scale + tensor.zero_point if tensor.quantized else wide)
    return found


# --- kernel sets ------------------------------------------------------------------------------------


def litert(content: bytes, inputs: Arrays, kernels: str) -> Arrays:
    interpreter = open_kernels(content, "case", kernels)
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


def micro(content: bytes, inputs: Arrays) -> Arrays:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 22)
    for place, values in enumerate(inputs):
        interpreter.set_input(values, place)
    interpreter.invoke()
    outputs = []
    while True:
        try:
            outputs.append(np.array(interpreter.get_output(len(outputs))))
        except (IndexError, RuntimeError, ValueError):
            return outputs


def firmware(case: Case, program: Path, folder: Path) -> Arrays:
    (folder / "m.tflite").write_bytes(case.content)
    (folder / "m.blob").write_bytes(make_blob(folder / "m.tflite").data)
    (folder / "in").write_bytes(b"".join(values.tobytes() for values in case.inputs))
    command = [program, "--infer", folder / "m.blob", folder / "in", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    data, at, outputs = (folder / "out").read_bytes(), 0, []
    for t in case.graph.outputs:
        tensor = case.graph.tensors[t]
        outputs.append(np.frombuffer(data, tensor.dtype, tensor.elements, at).reshape(tensor.shape))
        at += tensor.nbytes
    return outputs


def simulated(case: Case) -> Arrays:
    """What tuning takes the operator to compute: `edgeai.simulate.program`, which takes a batch of one."""
    import torch

    from edgeai.simulate.program import Program

    if any(case.graph.tensors[t].shape[:1] != (1,) for t in case.graph.inputs):
        raise ValueError(ONE_PICTURE)
    program, values = Program(case.content), {}
    for t, codes in zip(case.graph.inputs, case.inputs, strict=True):
        tensor = case.graph.tensors[t]
        real = codes.astype(np.float32)
        real = (real - tensor.zero_point) * np.float32(tensor.scale) if tensor.quantized else real
        values[t] = torch.from_numpy(real)
    for _ in program.walk(values):
        pass
    results = []
    for t in case.graph.outputs:
        tensor = case.graph.tensors[t]
        got = values[t].numpy().astype(np.float64)
        results.append(np.rint(got / tensor.scale) + tensor.zero_point if tensor.quantized else got)
    return results


def run_all(kernels: str, drawn: Sequence[Case], program: Path, folder: Path, pipe: Any) -> None:
    """The outputs of every case, or the first line of what went wrong; sent one by one, since a set may end us."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    os.dup2(quiet, 1)
    runners: dict[str, Callable[[Case], Arrays]] = {
        "micro": lambda case: micro(case.content, case.inputs),
        "firmware": lambda case: firmware(case, program, folder),
        "simulation": simulated,
    }
    runner = runners.get(kernels, lambda case: litert(case.content, case.inputs, kernels))
    for case in drawn:
        try:
            pipe.send(runner(case))
        except (RuntimeError, ValueError, KeyError, EdgeAIError, subprocess.CalledProcessError) as error:
            pipe.send(str(error).splitlines()[0].partition("cannot run case: ")[2][:100] or str(error)[:100])


def outcomes(kernels: str, drawn: Sequence[Case], program: Path, folder: Path) -> list[Arrays | str]:
    """One entry a case: the outputs, or why there are none."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=run_all, args=(kernels, drawn, program, folder, theirs))
    child.start()
    theirs.close()
    found: list[Arrays | str] = []
    while len(found) < len(drawn):
        try:
            found.append(ours.recv())
        except EOFError:
            found.append("ends the process")
            found += outcomes(kernels, drawn[len(found) :], program, folder)
    child.join()
    return found


# --- figures ----------------------------------------------------------------------------------------


def errors(case: Case, outputs: Arrays) -> list[np.ndarray]:
    """Distance of every number from float arithmetic, in steps; of indices and floats as they are."""
    found = []
    for t, values, exactly in zip(case.graph.outputs, outputs, case.exact, strict=True):
        tensor = case.graph.tensors[t]
        real = exactly
        if tensor.quantized:
            info = np.iinfo(tensor.dtype)
            real = exactly.clip(info.min, info.max)
        found.append(values.astype(np.float64).reshape(real.shape) - real)
    return found


def figures(drawn: Sequence[Case], got: Sequence[Arrays | str]) -> dict[str, Any]:
    """`worst` and `bias` in steps, `differing` the share of codes that are not the rounded result; or `fails`."""
    ran = [(case, outputs) for case, outputs in zip(drawn, got, strict=True) if not isinstance(outputs, str)]
    reasons = sorted({outputs for outputs in got if isinstance(outputs, str)})
    if not ran:
        return {"fails": reasons[0]}
    every = np.concatenate([e.ravel() for case, outputs in ran for e in errors(case, outputs)])
    result = {
        "worst": round(float(np.abs(every).max()), 2),
        "bias": round(float(every.mean()), 3),
        "differing": round(float((np.abs(every) > 0.5 + TIE).mean()), 5),
    }
    return {**result, "fails_in": len(got) - len(ran), "fails": reasons[0]} if reasons else result


def equal(one: Sequence[Arrays | str], two: Sequence[Arrays | str]) -> float | None:
    """Share of equal numbers where both answer; None where they never do."""
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if not isinstance(a, str) and not isinstance(b, str)]
    if not pairs:
        return None
    same = np.concatenate([(x.ravel() == y.ravel()) for a, b in pairs for x, y in zip(a, b, strict=True)])
    return round(float(same.mean()), 5)


def measure(program: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By `operator, variant`: the figures of every kernel set, and how often the firmware equals each."""
    grouped: dict[str, list[Case]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            for case in cases(name, Path(work)):
                grouped[variant_of(case.graph, case.op)].append(case)
        table = {}
        for row in sorted(grouped):
            drawn = grouped[row]
            got = {kernels: outcomes(kernels, drawn, program, Path(work)) for kernels in SETS}
            table[row] = {kernels: figures(drawn, got[kernels]) for kernels in SETS}
            table[row]["firmware"]["equals"] = {k: equal(got["firmware"], got[k]) for k in MEASURED}
            print(row, json.dumps(table[row]), flush=True)
    return table


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows in Markdown; the kernel set that edgeai takes is in bold."""
    sets = ("reference", "builtin", "XNNPACK", "TFLite Micro", "our firmware")
    header = ("operator", *sets, "firmware equals", "tuning")
    lines = []
    for row, measured in rows.items():
        best = next((name for name in LITERT if is_right(measured[name])), "")
        cells = [f"**{cell(measured[n])}**" if n == best else cell(measured[n]) for n in SETS[:-1]]
        same = [name for name in MEASURED if measured["firmware"]["equals"][name] == 1.0]
        lines.append((row, *cells, ", ".join(same) or "-", cell(measured["simulation"])))
    return markdown_table(header, lines)


def is_right(figures: dict[str, Any]) -> bool:
    return Figures(**figures).right


def cell(figures: dict[str, Any]) -> str:
    if "worst" not in figures:
        return "-"
    bias = f"{figures['bias']:+.2f}".replace("-0.00", "+0.00")
    text = f"{figures['worst']:.2f} {bias} {100 * figures['differing']:.1f} %"
    ended = figures.get("fails_in") and figures["fails"] != ONE_PICTURE
    fails = f", fails in {figures['fails_in']}" if ended else ""
    return text + fails


def built(folder: Path) -> Path:
    root = TESTS.parent / "firmware_stubs"
    subprocess.run(["make", "-C", str(root), f"BUILD={folder}", "host"], check=True, capture_output=True)
    return folder / "host" / "edgeai-bench-host"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/kernels"))
    parser.add_argument("--only", nargs="*", default=[], help="names of operators that begin so")
    options = parser.parse_args()
    folder = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = [n for n in OPERATORS if not options.only or n.startswith(tuple(options.only))]
    rows = measure(built(folder / "build"), names)
    versions = {name: version(name) for name in ("ai-edge-litert", "tflite-micro")}
    lines = (f"  {json.dumps(row)}: {json.dumps(sets)}" for row, sets in rows.items())
    body = ",\n".join(lines)
    (folder / "kernels.json").write_text(f'{{"versions": {json.dumps(versions)}, "rows": {{\n{body}\n}}}}\n')
    drawn = f"{DRAWS} draws of each operator, {', '.join(f'{name} {number}' for name, number in versions.items())}"
    (folder / "kernels.md").write_text(f"{drawn}.\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
