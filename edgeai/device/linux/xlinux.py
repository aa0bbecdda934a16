"""What the benchmark programs of X-LINUX-AI print, as numbers.

`nbg_benchmark` ends with status 0 whatever happens, so its success is read from what it says. Tables come with colours
and borders that differ between versions: both are taken off, and columns are found by their names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeai.artifacts import EngineShare
from edgeai.errors import DeviceError

MB = 1_000_000
MIB = 1024 * 1024
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
BORDER = re.compile(r"[|\u2500-\u259f]")
NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"  # benchmark_model prints 1.24027e+06


@dataclass(frozen=True, slots=True)
class ToolReport:
    """One call of a benchmark program. Times in ms of one inference, None where it does not say.

    `delegated` is the number of operators that a delegate took and of all operators, None where there is no delegate.
    """

    tool: str
    average: float
    runs: int | None = None
    minimum: float | None = None
    median: float | None = None
    p95: float | None = None
    maximum: float | None = None
    accelerator_hz: int | None = None
    peak_bytes: int | None = None
    delegated: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class WrapperRow:
    """A model's line in a table of x-linux-ai-benchmark. `peak_bytes` is approximate, as the tool itself says."""

    model: str
    average: float
    engines: tuple[EngineShare, ...]
    peak_bytes: int | None


def plain(text: str) -> str:
    """`text` without escape sequences and carriage returns."""
    return ANSI.sub("", text).replace("\r", "")


def parse_nbg_benchmark(text: str) -> ToolReport:
    """Output of nbg_benchmark. Raises DeviceError where it did not run the network."""
    clean = plain(text)
    found = re.search(rf"Loop:(\d+),Average: {NUMBER} ms or {NUMBER} us", clean)
    clock = re.search(r"NPU running at frequency: (\d+)Hz", clean)
    if found is None:
        raise DeviceError(f"nbg_benchmark did not run the network: {_complaint(clean)}", _remedy(clean))
    if clock is None or int(clock.group(1)) == 0:
        raise DeviceError("nbg_benchmark does not tell the clock of the NPU", "run as root, with debugfs mounted")
    peak = re.search(r"Peak working set size: (\d+) bytes", clean)
    microseconds = float(found.group(3))  # two more digits than the milliseconds beside it
    return ToolReport(
        tool="nbg_benchmark",
        average=microseconds / 1000,
        runs=int(found.group(1)),
        accelerator_hz=int(clock.group(1)),
        peak_bytes=int(peak.group(1)) if peak else None,
    )


def parse_benchmark_model(text: str) -> ToolReport:
    """Output of TFLite's benchmark_model. Raises DeviceError where it did not run the network."""
    clean = plain(text)
    found = re.search(rf"Inference \(avg\): {NUMBER}", clean)
    if found is None:
        raise DeviceError(f"benchmark_model did not run the network: {_complaint(clean)}", _remedy(clean))
    # the warm-up's line comes first, that of the measurement last
    lines = re.findall(r"count=\d+.*", clean)
    line = lines[-1] if lines else ""
    peak = re.search(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {NUMBER}", clean)
    taken = re.search(r"Replacing (\d+) out of (\d+) node", clean)
    runs = re.search(r"count=(\d+)", line)
    return ToolReport(
        tool="benchmark_model",
        average=float(found.group(1)) / 1000,
        runs=int(runs.group(1)) if runs else None,
        minimum=_field(line, "min"),
        median=_field(line, "median"),
        p95=_field(line, "p95"),
        maximum=_field(line, "max"),
        peak_bytes=round(float(peak.group(1)) * MIB) if peak else None,
        delegated=(int(taken.group(1)), int(taken.group(2))) if taken else None,
    )


def parse_perf_test(text: str) -> ToolReport:
    """Output of onnxruntime_perf_test. Raises DeviceError where it did not run the network."""
    clean = plain(text)
    found = re.search(rf"Average inference time cost: *{NUMBER} ms", clean)
    if found is None:
        raise DeviceError(f"onnxruntime_perf_test did not run the network: {_complaint(clean)}", _remedy(clean))
    runs = re.search(r"Total inference requests: *(\d+)", clean)
    peak = re.search(r"Peak working set size: *(\d+)", clean)
    return ToolReport(
        tool="onnxruntime_perf_test",
        average=float(found.group(1)),
        runs=int(runs.group(1)) if runs else None,
        minimum=_latency(clean, "Min"),
        median=_latency(clean, "P50"),
        p95=_latency(clean, "P95"),
        maximum=_latency(clean, "Max"),
        peak_bytes=int(peak.group(1)) if peak else None,
    )


def parse_wrapper(text: str) -> tuple[WrapperRow, ...]:
    """The rows of every table of x-linux-ai-benchmark that has a column of times; none where there is no such table."""
    rows = []
    header: list[str] = []
    for line in plain(text).splitlines():
        cells = _cells(line)
        names = [cell.lower() for cell in cells]
        if "model name" in names and any(name.startswith("inference time") for name in names):
            header = names
        elif len(header) > 1 and len(cells) == len(header):
            row = _row(dict(zip(header, cells, strict=True)))
            if row is not None:
                rows.append(row)
        elif cells and not _is_rule(line):
            header = []
    return tuple(rows)


def _row(cells: dict[str, str]) -> WrapperRow | None:
    time = next((_number(text) for name, text in cells.items() if name.startswith("inference time")), None)
    if time is None:
        return None
    shares = [(engine, _number(cells.get(f"{engine.lower()} %", ""))) for engine in ("NPU", "GPU", "CPU")]
    peak = _number(cells.get("peak ram (mb)", ""))
    return WrapperRow(
        model=cells["model name"],
        average=time,
        engines=tuple(EngineShare(engine, share) for engine, share in shares if share is not None),  # type: ignore[arg-type]
        peak_bytes=round(peak * MB) if peak is not None else None,
    )


def _cells(line: str) -> list[str]:
    """The cells of a table's line, whether borders or wide gaps part them."""
    if BORDER.search(line):
        cells = [cell.strip() for cell in BORDER.sub("|", line).strip().strip("|").split("|")]
    else:
        cells = re.split(r"\s{2,}", line.strip())
    return [] if _is_rule(line) or cells == [""] else cells


def _is_rule(line: str) -> bool:
    """A line that only draws."""
    return not re.search(r"\w", BORDER.sub("", line))


def _number(text: str) -> float | None:
    found = re.match(rf"{NUMBER}\s*%?$", text.strip())
    return float(found.group(1)) if found else None


def _field(line: str, name: str) -> float | None:
    """A value of benchmark_model's line of statistics, microseconds there."""
    found = re.search(rf"\b{name}={NUMBER}", line)
    return float(found.group(1)) / 1000 if found else None


def _latency(text: str, name: str) -> float | None:
    """A value of onnxruntime_perf_test, seconds there."""
    found = re.search(rf"^{name} Latency: *{NUMBER} s", text, re.MULTILINE)
    return float(found.group(1)) * 1000 if found else None


def _complaint(text: str) -> str:
    """The line that says what went wrong, or the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"\berror\b|\bfail|not supported|cannot|CHECK STATUS|^E ", line, re.I)]
    chosen = (wrong or lines or ["it printed nothing"])[-1]
    return "".join(c if c.isprintable() else "?" for c in chosen)[:160]


def _remedy(text: str) -> str:
    if re.search(r"compil|VerifyGraph|not supported", text, re.I):
        return "was the file compiled for this board and this version of X-LINUX-AI?"
    return "run the same command on the board to see all it prints"
