"""Our int8 files beside those of other quantisers: same network, calibration images, evaluation and protocol, one run.

    python tests/bench/quantizers.py [--imgsz 256] [--layout raw] [--limit 40] [--out runs/quantizers]

At equal granularity and layout: edgeai with its default recipe, TFLiteConverter, onnx2tf -oiqt, ai-edge-quantizer,
onnxruntime's QDQ, ST's published file (concat per-tensor), and what an STM32MP2 is expected to make of our per-channel
file. The others read the ONNX file that edgeai exports, so they have its head and, in concat, its balance; what is
compared is the quantisation. Nothing is chosen on the evaluated images. ai-edge-quantizer may live in an environment of
its own: `--aeq-python PATH`. Writes quantizers.json and quantizers.md; a quantiser that is absent or fails is named in
both with the reason.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, DropInterval, EvalProtocol, EvalResult, FileRef, Layout, Provenance, to_json
from edgeai.cache import StageCache
from edgeai.cli.listener import TerminalListener
from edgeai.cli.render import markdown_table
from edgeai.evaluate.agreement import agreement
from edgeai.evaluate.backends import Runner, open_runner
from edgeai.evaluate.backends.litert import LiteRtRunner
from edgeai.evaluate.backends.onnxrt import OnnxRunner
from edgeai.evaluate.bootstrap import drop_interval
from edgeai.evaluate.coco import evaluate
from edgeai.evaluate.dataset import Dataset
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.export.parity import match_outputs, to_nhwc
from edgeai.files import write_bytes, write_text
from edgeai.graph.types import DEQUANTIZERS, QUANTIZERS
from edgeai.imaging.images import letterbox, read_image
from edgeai.pipeline.stages import Recipe, Stages
from edgeai.provenance import CONVERT_TOOLS, provenance
from edgeai.quantize.ranges.calibration import CalibrationSource, batches, open_calibration
from edgeai.quantize.requantize import requantize
from edgeai.recognise.audit import audit
from edgeai.worker import ENVIRONMENT

KIT = Path(os.environ.get("EDGEAI_KIT", Path(__file__).resolve().parents[3] / "shared" / "kit"))
PEERS = Path(__file__).with_name("peers.py")
OURS = "edgeai"
AS_ON_MP2 = "edgeai per-channel, as on an MP2"
ST = "ST's published file"
TITLES = {
    "tensorflow": "TFLiteConverter, TensorFlow",
    "ai-edge-quantizer": "ai-edge-quantizer",
    "onnxruntime": "onnxruntime QDQ",
    "onnx2tf": "onnx2tf -oiqt",
}
SQNR_IMAGES = 40  # of the evaluated images, the first by id
LAYOUTS, GRAINS = ("raw", "split", "concat"), ("per-channel", "per-tensor")


# --- what is written ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noise:
    """Signal-to-noise ratio in dB of one output against the fp32 network, over all SQNR images together."""

    output: str
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Row:
    """One int8 file. `granularity` is the file's own, from its bytes; `markers` counts its Q/DQ nodes (ONNX), which
    `operators` leaves out. `seconds` and `cpu_seconds` lead from the float network to the file. `drops` are against
    fp32, `leads` our file of this group against this one: box and mask AP."""

    quantizer: str
    layout: str
    group: str
    granularity: str
    file: FileRef
    operators: int
    markers: int
    seconds: float
    cpu_seconds: float
    box_ap: float
    mask_ap: float
    drops: tuple[DropInterval, ...]
    leads: tuple[DropInterval, ...]
    noise: tuple[Noise, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    quantizer: str
    group: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuantizerComparison:
    """One run. `float_aps`: box and mask AP of the fp32 network."""

    protocol: EvalProtocol
    float_aps: tuple[float, float]
    calibration_images: int
    calibration_sha256: str
    sqnr_images: tuple[str, ...]
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    provenance: Provenance


# --- making the files ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Made:
    """`own_contract`: the file says itself how it is to be read; `same_network`: fp32 is its float network."""

    quantizer: str
    path: Path
    cost: Cost
    own_contract: bool = False
    same_network: bool = True


class PeerError(Exception):
    """A quantiser that gave no file, and why."""


@contextmanager
def measured(costs: list[Cost]) -> Iterator[None]:
    """Appends the wall and processor time of the block, with the child processes that ended in it."""

    def processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(entry.ru_utime + entry.ru_stime for entry in used)

    wall, busy = time.monotonic(), processor()
    yield
    costs.append(Cost(time.monotonic() - wall, processor() - busy))


def run_peer(python: Path, maker: str, out: Path, arguments: Sequence[str | Path]) -> Cost:
    """Run one maker of peers.py in a folder of its own. Raises PeerError with the last line it wrote."""
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(PEERS), maker, *map(str, arguments), "-o", str(out)]
    costs: list[Cost] = []
    log = out.parent / f"{maker}.log"
    environment = {**os.environ, **ENVIRONMENT}
    try:
        with measured(costs), log.open("w") as stream:
            code = subprocess.call(command, cwd=out.parent, env=environment, stdout=stream, stderr=stream)
    except OSError as error:
        raise PeerError(f"{python}: {error.strerror}") from None
    if code or not out.is_file():
        lines = log.read_text(errors="replace").strip().splitlines() or [f"it ended with {code}"]
        raise PeerError(lines[-1][:160])
    return costs[0]


@dataclass(frozen=True, slots=True)
class Network:
    """The float network in one layout, in every form that a quantiser reads. `prepare` made the TensorFlow forms."""

    onnx: Path
    contract: Contract
    saved_model: Path
    float_tflite: Path
    calibration: Path
    prepare: Cost


def network(model: Path, recipe: Recipe, photos: CalibrationSource, folder: Path) -> Network:
    stages = Stages(StageCache(folder / "cache"), TerminalListener())
    onnx, exported = stages.float_onnx(model, recipe, photos)
    here = folder / onnx.name
    shutil.copyfile(onnx, here)
    (folder / "contract.json").write_text(to_json(exported.contract))
    images = folder / "calibration.npy"
    np.save(images, np.concatenate(list(batches(photos.paths, exported.contract))))
    forms = Network(here, exported.contract, folder / "saved_model", folder / "float.tflite", images, Cost())
    arguments = ("--onnx", here, "--contract", folder / "contract.json", "--saved-model", forms.saved_model)
    return replace(forms, prepare=run_peer(Path(sys.executable), "float", forms.float_tflite, arguments))


def ours(model: Path, recipe: Recipe, photos: CalibrationSource, folder: Path) -> Made:
    """From the checkpoint, nothing cached."""
    costs: list[Cost] = []
    with measured(costs):
        stages = Stages(StageCache(folder / "cache"), TerminalListener())
        path, _, _ = stages.quantized(model, recipe, photos)
    return Made(OURS, path, costs[0], own_contract=True)


def as_on_mp2(per_channel: Made, folder: Path) -> Made:
    costs: list[Cost] = []
    with measured(costs):
        path = folder / f"{per_channel.path.stem}_requantized.tflite"
        write_bytes(path, requantize(per_channel.path).data)
    return Made(AS_ON_MP2, path, per_channel.cost + costs[0], own_contract=True)


def peer(name: str, float_network: Network, grain: str, folder: Path, aeq_python: Path) -> Made:
    """The file of one peer. Raises PeerError."""
    arguments: list[str | Path] = ["--calibration", float_network.calibration]
    arguments += ["--per-tensor"] if grain == "per-tensor" else []
    python, cost = Path(sys.executable), Cost()
    suffix = ".onnx" if name == "onnxruntime" else ".tflite"
    if name == "tensorflow":
        arguments += ["--saved-model", float_network.saved_model]
        cost = float_network.prepare
    elif name == "ai-edge-quantizer":
        arguments += ["--float-tflite", float_network.float_tflite]
        python, cost = aeq_python, float_network.prepare
    else:
        arguments += ["--onnx", float_network.onnx]
    out = folder / name / f"{name}_{grain}{suffix}"
    cost += run_peer(python, name, out, arguments)
    ask = [str(python), "-c", f"from importlib.metadata import version; print(version({name!r}))"]
    version = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return Made(f"{TITLES[name]} {version}", out, cost)


# --- measuring them -----------------------------------------------------------------------------


class Bench:
    """Accuracy and signal-to-noise ratio of files against one float network."""

    def __init__(self, reference: Network, dataset: Dataset) -> None:
        self._contract, self._dataset = reference.contract, dataset
        chosen = dataset.images[:SQNR_IMAGES]
        self.images = tuple(image.path.name for image in chosen)
        self._pixels = [letterbox(read_image(image.path), reference.contract.imgsz)[0] for image in chosen]
        with OnnxRunner(reference.onnx, reference.contract, threads=2) as runner:
            self._first = [output.real() for output in runner.infer(self._pixels[0])]
            self._expected = self._outputs(runner)
            self.baseline = evaluate(runner, dataset)

    def measure(self, made: Made) -> tuple[EvalResult, tuple[Noise, ...]]:
        with self._open(made) as runner:
            noise: tuple[Noise, ...] = ()
            if made.same_network:
                actual = self._outputs(runner)
                noise = tuple(
                    Noise(name, round(agreement(expected, actual[name]).sqnr_db or 300.0, 2))
                    for name, expected in self._expected.items()
                )
            return evaluate(runner, self._dataset), noise

    def _open(self, made: Made) -> Runner:
        """A peer's file carries no contract: it gets ours, its outputs found by the numbers they hold."""
        if made.own_contract:
            return open_runner(made.path, threads=2)
        kind = OnnxRunner if made.path.suffix == ".onnx" else LiteRtRunner
        runner = kind(made.path, self._contract, threads=2)
        actual = [to_nhwc(output.real()) if kind is OnnxRunner else output.real() for output in
                  runner.infer(self._pixels[0])]  # fmt: skip
        names = [f"{role.kind}{role.stride or ''}" for role in sorted(self._contract.roles, key=lambda r: r.index)]
        order = match_outputs(names, self._first, actual)
        roles = tuple(replace(role, index=order[role.index]) for role in self._contract.roles)
        runner.contract = replace(self._contract, roles=roles)
        return runner

    def _outputs(self, runner: Runner) -> dict[str, NDArray[np.float32]]:
        """Every output of all SQNR images, channels last where it is a map; `pred` in its three parts."""
        found: dict[str, list[NDArray[np.float32]]] = {}
        for pixels in self._pixels:
            outputs = runner.infer(pixels)
            for role in runner.contract.roles:
                array = outputs[role.index].real()
                array = to_nhwc(array) if isinstance(runner, OnnxRunner) else array
                if role.kind == "proto":  # ours may carry the factor by which ST's applications miss
                    array = array / np.float32(runner.contract.proto_factor)
                if role.kind == "pred":
                    bounds = [4, 4 + runner.contract.spec.nc]
                    for name, part in zip(("boxes", "scores", "coefs"), np.split(array, bounds, axis=1), strict=True):
                        found.setdefault(name, []).append(part)
                else:
                    found.setdefault(f"{role.kind}{role.stride or ''}", []).append(array)
        return {name: np.concatenate(arrays) for name, arrays in found.items()}


def intervals(baseline: EvalResult, candidate: EvalResult) -> tuple[DropInterval, ...]:
    pairs = zip(baseline.matches, candidate.matches, strict=True)
    return tuple(drop_interval(before, after) for before, after in pairs)


def row(made: Made, layout: str, grain: str, bench: Bench, our_result: EvalResult | None) -> tuple[Row, EvalResult]:
    result, noise = bench.measure(made)
    report = audit(made.path)
    counts = {entry.name: entry.count for entry in report.operators}
    # QUANTIZE in a TFLite is work that is done; in ONNX the pairs only mark what is an integer
    markers = sum(counts.get(kind, 0) for kind in QUANTIZERS | DEQUANTIZERS) if report.format == "onnx" else 0
    made_row = Row(
        quantizer=made.quantizer,
        layout=layout,
        group=grain,
        granularity=report.granularity,
        file=report.file,
        operators=sum(counts.values()) - markers,
        markers=markers,
        seconds=round(made.cost.seconds, 1),
        cpu_seconds=round(made.cost.cpu_seconds, 1),
        box_ap=result.metric("box_ap"),
        mask_ap=result.metric("mask_ap"),
        drops=intervals(bench.baseline, result),
        leads=() if our_result is None else intervals(our_result, result),
        noise=noise,
    )
    return made_row, result


# --- the tables ---------------------------------------------------------------------------------


def markdown(found: QuantizerComparison) -> str:
    parts = [_protocol(found)]
    for key in dict.fromkeys((entry.layout, entry.group) for entry in found.rows):
        rows = [entry for entry in found.rows if (entry.layout, entry.group) == key]
        parts += [f"**{key[0]}, weights {key[1]}**\n", _figures(found, rows), _noise_table(rows)]
    if found.absent:
        parts.append("".join(f"Not measured: {a.quantizer}, {a.group}: {a.reason}\n" for a in found.absent))
    return "\n".join(parts)


def summary(found: QuantizerComparison) -> str:
    """One line a file: what the README shows."""
    header = ("quantizer", "layout", "weights", "SQNR dB", "box AP lost", "mask AP lost", "operators")
    body = []
    for entry in sorted(found.rows, key=lambda entry: (entry.layout, entry.group)):
        noise = [one.sqnr_db for one in entry.noise]
        sqnr = f"{sum(noise) / len(noise):.1f}" if noise else "–"
        count = f"{entry.operators} + {entry.markers} Q/DQ" if entry.markers else str(entry.operators)
        body.append((entry.quantizer, entry.layout, entry.group, sqnr, *map(_interval, entry.drops), count))
    return markdown_table(header, body)


def _protocol(found: QuantizerComparison) -> str:
    protocol = found.protocol
    return (
        f"{protocol.num_images} images of {protocol.dataset} at {protocol.imgsz} px, {found.calibration_images} "
        f"calibration images, 95 % paired-bootstrap intervals over the images. SQNR in dB against fp32 on the first "
        f"{len(found.sqnr_images)} of the images. Lead: how far edgeai's file of the table is ahead in AP. Time runs "
        "from the ONNX file (edgeai: from the checkpoint) to the int8 file on a shared machine: compare the processor "
        "time. ST's file has weights of its own, so it has no SQNR against this network and its drop holds the "
        "difference of the two networks, too.\n"
    )


def _figures(found: QuantizerComparison, rows: Sequence[Row]) -> str:
    header = ("quantizer", "box AP", "mask AP", "box drop", "mask drop", "operators", "KiB", "s", "CPU s")
    box, mask = found.float_aps
    body = [("fp32", f"{box:.1f}", f"{mask:.1f}", *[""] * 6)]
    for entry in rows:
        marks = f" + {entry.markers} Q/DQ" if entry.markers else ""
        known = entry.seconds > 0
        body.append((
            entry.quantizer, f"{entry.box_ap:.1f}", f"{entry.mask_ap:.1f}", *map(_interval, entry.drops),
            f"{entry.operators}{marks}", f"{entry.file.bytes / 1024:.0f}",
            f"{entry.seconds:.0f}" if known else "–", f"{entry.cpu_seconds:.0f}" if known else "–",
        ))  # fmt: skip
    return markdown_table(header, body)


def _noise_table(rows: Sequence[Row]) -> str:
    """SQNR of every output, and how far our file leads each other one."""
    own = next((entry for entry in rows if entry.quantizer == OURS), None)
    names = [noise.output for noise in rows[0].noise]
    body = []
    for entry in rows:
        cells = [f"{noise.sqnr_db:.1f}" for noise in entry.noise] or ["–"] * len(names)
        leads = [_interval(lead) for lead in entry.leads] or ["", ""]
        ahead = ""
        if own is not None and entry is not own and entry.noise:
            pairs = zip(own.noise, entry.noise, strict=True)
            ahead = f"{sum(a.sqnr_db > b.sqnr_db for a, b in pairs)} of {len(names)}"
        body.append((entry.quantizer, *cells, ahead, *leads))
    return markdown_table(("SQNR", *names, "outputs ahead", "box lead", "mask lead"), body)


def _interval(drop: DropInterval) -> str:
    return f"{drop.drop:+.1f} [{drop.low:+.1f}, {drop.high:+.1f}]"


# --- the run ------------------------------------------------------------------------------------


class Comparer:
    """Collects the rows of one run, layout by layout."""

    def __init__(self, options: argparse.Namespace, photos: CalibrationSource, dataset: Dataset) -> None:
        self._options, self._photos, self._dataset = options, photos, dataset
        self._model = options.kit / "weights/yolov8n-seg.pt"
        self.rows: list[Row] = []
        self.absent: list[Absent] = []
        self.baselines: list[EvalResult] = []
        self.sqnr_images: tuple[str, ...] = ()

    def layout(self, layout: Layout, folder: Path) -> None:
        options = self._options
        recipe = Recipe(layout=layout, imgsz=options.imgsz)
        forms = network(self._model, recipe, self._photos, folder)
        bench = Bench(forms, self._dataset)
        self.baselines.append(bench.baseline)
        self.sqnr_images = bench.images
        own = {}
        results = {}
        for grain in options.granularity:
            own[grain] = ours(self._model, replace(recipe, granularity=grain), self._photos, folder / f"ours_{grain}")
            results[grain] = self._add(own[grain], layout, grain, bench, None)
        if own.keys() >= set(GRAINS):
            self._add(as_on_mp2(own["per-channel"], folder), layout, "per-tensor", bench, results["per-tensor"])
        published = options.kit / f"tflite/yolov8n_{options.imgsz}_quant_pc_ii_seg_coco-st.tflite"
        if layout == "concat" and "per-tensor" in own and published.is_file():
            made = Made(ST, published, Cost(), own_contract=True, same_network=False)
            self._add(made, layout, "per-tensor", bench, results["per-tensor"])
        for name, grain in itertools.product(options.peer, options.granularity):
            try:
                made = peer(name, forms, grain, folder / grain, options.aeq_python)
            except PeerError as error:
                print(f"{name}, {layout} {grain}: {error}", file=sys.stderr, flush=True)
                self.absent.append(Absent(name, f"{layout} {grain}", str(error)))
                continue
            self._add(made, layout, grain, bench, results[grain])

    def _add(self, made: Made, layout: str, grain: str, bench: Bench, our_result: EvalResult | None) -> EvalResult:
        entry, result = row(made, layout, grain, bench, our_result)
        self.rows.append(entry)
        self.write()  # after every file: what is measured is kept
        drops = ", ".join(map(_interval, entry.drops))
        print(f"{made.quantizer}, {layout} {grain}: {drops}", file=sys.stderr, flush=True)
        return result

    def write(self) -> str:
        found = self.result()
        text = markdown(found)
        write_text(self._options.out / "quantizers.json", to_json(found))
        write_text(self._options.out / "quantizers.md", text)
        write_text(self._options.out / "summary.md", summary(found))
        return text

    def result(self) -> QuantizerComparison:
        first = self.baselines[0]
        options = [("layouts", ",".join(self._options.layout)), ("imgsz", self._options.imgsz)]
        packages = (*CONVERT_TOOLS, "ai-edge-litert", "pycocotools")
        return QuantizerComparison(
            protocol=first.protocol,
            float_aps=(first.metric("box_ap"), first.metric("mask_ap")),
            calibration_images=len(self._photos.paths),
            calibration_sha256=self._photos.set.sha256,
            sqnr_images=self.sqnr_images,
            rows=tuple(self.rows),
            absent=tuple(self.absent),
            provenance=provenance("quantizers", [first.model], options, packages),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=KIT)
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--layout", action="append", choices=LAYOUTS)
    parser.add_argument("--granularity", action="append", choices=GRAINS)
    parser.add_argument("--peer", action="append", choices=TITLES, help="only these; may be repeated")
    parser.add_argument("--limit", type=int, help="evaluate on the first N images")
    parser.add_argument("--aeq-python", type=lambda text: Path(text).absolute(), default=Path(sys.executable))
    parser.add_argument("--out", type=Path, default=Path("runs/quantizers"))
    options = parser.parse_args()
    options.layout, options.granularity = options.layout or ["raw"], options.granularity or list(GRAINS)
    options.peer = options.peer or list(TITLES)
    coco = options.kit / "coco"
    dataset = read_dataset(coco / "val/images", coco / "val/instances.json", options.limit)
    comparer = Comparer(options, open_calibration(coco / "calibration/images"), dataset)
    with tempfile.TemporaryDirectory() as name:
        for layout in options.layout:
            folder = Path(name) / layout
            folder.mkdir()
            comparer.layout(layout, folder)
    print(comparer.write())


if __name__ == "__main__":
    main()
