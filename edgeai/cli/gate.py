"""`edgeai gate`: one verdict for accuracy, memory and latency; exit code 4 for accuracy, 3 for a budget."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from edgeai.artifacts import (
    BaselineChange,
    BaselineStore,
    BenchResult,
    CompiledModel,
    EvalResult,
    Footprint,
    GateVerdict,
    from_json,
    to_json,
)
from edgeai.cli.footprint import _bytes as size
from edgeai.cli.numbers import FINITE, FiniteRange
from edgeai.cli.options import PathParam
from edgeai.cli.render import table
from edgeai.errors import AccuracyError, BudgetError, InputError
from edgeai.files import existing_file, write_text
from edgeai.gate.budgets import Budgets, budget_checks, figures
from edgeai.gate.policy import Rule, accuracy_passed, joined, judge, rule_of
from edgeai.project import load_project

T = TypeVar("T")

STDOUT = "-"
FOOTPRINT = "a Footprint that edgeai footprint -o wrote, or a compile result"
SHOWN_CLASSES = 3


@dataclass(frozen=True, slots=True)
class _Given:
    """What the verdict is about, read."""

    baseline: EvalResult | None
    candidates: tuple[EvalResult, ...]
    footprints: tuple[Footprint, ...]
    benches: tuple[BenchResult, ...]


@click.command("gate")
@click.option("--baseline", type=PathParam, metavar="JSON", help="EvalResult of the float model.")
@click.option("--candidate", "candidates", type=PathParam, multiple=True, metavar="JSON", help="EvalResult to judge.")
@click.option("--max-drop", type=FINITE, help="Largest drop allowed, in points. Default: edgeai.toml, else 1.0.")
@click.option("--metric", "metrics", multiple=True, help="Metric to check; may be repeated. Default: box and mask AP.")
@click.option("--confidence", type=FINITE, metavar="P", help="Fail only where the drop is over its limit this surely.")
@click.option("--strict", is_flag=True, help="Pass only where the drop is within its limit that surely.")
@click.option("--max-class-drop", type=FINITE, metavar="P", help="Largest drop of a single category, in points.")
@click.option("--footprint", "footprints", type=PathParam, multiple=True, metavar="JSON", help="Footprint to check.")
@click.option("--bench", "benches", type=PathParam, multiple=True, metavar="JSON", help="BenchResult to check.")
@click.option("--max-ram", callback=size, metavar="SIZE", help="RAM budget, such as 800K.")
@click.option("--max-flash", callback=size, metavar="SIZE", help="Flash budget, such as 3M.")
@click.option("--max-latency", type=FiniteRange(min=0, min_open=True), metavar="MS", help="Latency budget, ms.")
@click.option("--store", type=PathParam, metavar="JSON", help="Stored baselines to hold the results against.")
@click.option("--update", is_flag=True, help="Put the results into the store; the verdict is shown, not enforced.")
@click.option("--allow-missing", is_flag=True, help="Stored baselines without a new result do not fail.")
@click.option(
    "--tolerance", type=FiniteRange(min=0), default=2.0, show_default=True, metavar="PERCENT",
    help="Growth of stored memory and latency that is no regression.",
)  # fmt: skip
@click.option(
    "--json", "json_out", is_flag=False, flag_value=STDOUT, metavar="[OUT]",
    help="Write the verdict as JSON; print it where no file is given.",
)  # fmt: skip
@click.option("--junit", "junit_out", type=PathParam, help="Write JUnit XML.")
@click.option("--markdown", "markdown_out", type=PathParam, help="Write Markdown.")
def command(
    baseline: Path | None,
    candidates: tuple[Path, ...],
    max_drop: float | None,
    metrics: tuple[str, ...],
    confidence: float | None,
    strict: bool,
    max_class_drop: float | None,
    footprints: tuple[Path, ...],
    benches: tuple[Path, ...],
    max_ram: int,
    max_flash: int,
    max_latency: float | None,
    store: Path | None,
    update: bool,
    allow_missing: bool,
    tolerance: float,
    json_out: str | None,
    junit_out: Path | None,
    markdown_out: Path | None,
) -> int:
    """Fail with exit code 4 when a candidate is less accurate than its baseline by more than a limit, with 3 when
    memory or latency is over its budget.

    The files are written by `edgeai evaluate --json`, `edgeai footprint -o` (or `edgeai compile --json`) and
    `edgeai bench`. Results of different protocols are refused. Inside a GitHub workflow the verdict is also added to
    the step's summary.

    \b
    edgeai gate --baseline fp32.json --candidate int8.json \\
      --max-drop 1.0 --confidence 0.95
    edgeai gate --baseline fp32.json --candidate int8.json \\
      --footprint n6.json --max-ram 800K
    edgeai gate --store baselines.json --candidate a.json --candidate b.json
    """
    settings = load_project().settings.gate
    limit = settings.max_drop if max_drop is None else max_drop
    rule = rule_of(confidence or settings.confidence, strict or settings.strict, max_class_drop)
    given = _read_all(baseline, candidates, footprints, benches)
    _check_usage(given, store, update)
    verdict = None
    if given.baseline is not None:
        verdict = judge(given.baseline, given.candidates[0], limit, metrics or settings.metrics, rule)
    changes: Sequence[BaselineChange] = ()
    notes = [f"{need.model.name}: {r}" for need in given.footprints for r in need.reasons if r.startswith("taken with")]
    if store is not None:
        changes, said = _stored(store, update, given, limit, rule, tolerance, metrics or settings.metrics)
        notes += said
    if allow_missing:
        changes = [dataclasses.replace(c, passed=True) if c.status == "missing" else c for c in changes]
    budgets = Budgets(max_ram, max_flash, max_latency or 0.0)
    verdict = joined(verdict, budget_checks(given.footprints, given.benches, budgets), changes, notes)
    _write(verdict, json_out, junit_out, markdown_out)
    click.echo(to_json(verdict) if json_out == STDOUT else render(verdict), nl=json_out != STDOUT)
    return 0 if update else exit_code(verdict)


def exit_code(verdict: GateVerdict) -> int:
    """0 passed, 4 where accuracy failed, 3 where only a budget or a stored figure did."""
    if verdict.passed:
        return 0
    return BudgetError.exit_code if accuracy_passed(verdict) else AccuracyError.exit_code


def _check_usage(given: _Given, store: Path | None, update: bool) -> None:
    budgets = given.footprints or given.benches
    if given.baseline is not None and len(given.candidates) != 1:
        raise InputError(f"--baseline needs one --candidate, {len(given.candidates)} given")
    if given.baseline is None and given.candidates and store is None:
        raise InputError("--candidate has nothing to be held against", "pass --baseline, or --store")
    if not (given.candidates or budgets):
        raise InputError("nothing to judge", "pass --baseline and --candidate, or --footprint, or --bench")
    if update and store is None:
        raise InputError("--update needs the file to update", "pass --store baselines.json")


def _stored(
    path: Path, update: bool, given: _Given, limit: float, rule: Rule, tolerance: float, metrics: tuple[str, ...]
) -> tuple[Sequence[BaselineChange], list[str]]:
    """The changes against the store; with `update` it is written, and differences of protocol are but noted."""
    from edgeai.gate.baselines import compare, updated

    known = figures(given.footprints, given.benches)
    if not path.exists() and not update:
        raise InputError(f"there are no stored baselines in {path}", "make them: the same command with --update")
    store = _read(path, BaselineStore, "stored baselines") if path.exists() else BaselineStore()
    notes = []
    changes: Sequence[BaselineChange] = ()
    try:
        changes = compare(store, given.candidates, known, limit, rule, tolerance, metrics)
    except InputError as error:
        if not update:
            raise
        notes.append(f"{error.message}: replaced")
    if update:
        write_text(path, to_json(updated(store, given.candidates, known)))
        notes.append(f"stored in {path.name}")
    return changes, notes


# --- text ---------------------------------------------------------------------------------------


def render(verdict: GateVerdict) -> str:
    """The tables of the checks and the verdict, for a terminal."""
    from edgeai.gate.wording import DECISIONS, budget_sentence, headline

    parts = [part for part in (_accuracy(verdict), _categories(verdict), _changes(verdict)) if part]
    parts += ["\n".join(f"{'ok    ' if b.passed else 'FAILED'}  {budget_sentence(b)}" for b in verdict.budgets)]
    parts += ["\n".join(verdict.notes)]
    conclusion = f"gate {'passed' if verdict.passed else 'FAILED'}: {headline(verdict)}"
    if verdict.protocol is not None:
        images = f"{verdict.protocol.num_images} images at {verdict.protocol.imgsz} px"
        conclusion += f", in percent points, {images}\n({DECISIONS[verdict.decided_by]})"
    return "\n\n".join([*(part for part in parts if part), conclusion])


def _accuracy(verdict: GateVerdict) -> str:
    from edgeai.gate.wording import drop_text, interval_text, percent

    if not verdict.checks:
        return ""
    interval = next((check.interval for check in verdict.checks if check.interval), None)
    header = ["metric", "baseline", "candidate", "drop", "limit", ""]
    rows = []
    for c in verdict.checks:
        mark = "ok" if c.passed else "FAILED"
        rows.append([c.name, f"{c.baseline:.2f}", f"{c.candidate:.2f}", drop_text(c), f"{c.limit:g}", mark])
    if interval is not None:
        header.insert(4, percent(interval))
        for row, check in zip(rows, verdict.checks, strict=True):
            row.insert(4, interval_text(check.interval) or "–")
    return table(header, rows, right=range(1, len(header) - 1))


def _categories(verdict: GateVerdict) -> str:
    from edgeai.gate.wording import class_sentence, failed_classes

    failed = failed_classes(verdict)
    if failed:
        return "\n".join(f"FAILED  {class_sentence(drop, verdict.class_limit)}" for drop in failed)
    lost = sorted((drop for drop in verdict.classes if drop.drop > 0), key=lambda drop: -drop.drop)[:SHOWN_CLASSES]
    shown = ", ".join(f"{drop.category} {drop.drop:.1f} ({drop.metric})" for drop in lost)
    return f"lost most: {shown}" if shown else ""


def _changes(verdict: GateVerdict) -> str:
    from edgeai.gate.wording import amount

    if not verdict.changes:
        return ""
    rows = []
    for c in verdict.changes:
        status = c.status if c.passed else c.status.upper()
        rows.append((c.subject, c.name, amount(c.before, c.unit), amount(c.after, c.unit), status))
    return table(("stored baseline", "figure", "before", "now", ""), rows, right=(2, 3))


# --- files --------------------------------------------------------------------------------------


def _read_all(
    baseline: Path | None, candidates: tuple[Path, ...], footprints: tuple[Path, ...], benches: tuple[Path, ...]
) -> _Given:
    result = "an EvalResult that edgeai evaluate --json wrote"
    return _Given(
        None if baseline is None else _read(baseline, EvalResult, result),
        tuple(_read(path, EvalResult, result) for path in candidates),
        tuple(_read_footprint(path) for path in footprints),
        tuple(_read(path, BenchResult, "a BenchResult that edgeai bench wrote") for path in benches),
    )


def _read_footprint(path: Path) -> Footprint:
    """An estimate, or what ST's compiler said, as `edgeai compile --json` and `compiled.json` have it."""
    existing_file(path, FOOTPRINT)
    if f'"artifact": "{CompiledModel.__name__}"' not in path.read_text(encoding="utf-8", errors="replace")[:200]:
        return _read(path, Footprint, FOOTPRINT)
    from edgeai.board import load_board
    from edgeai.stedgeai.compile import footprint

    made = _read(path, CompiledModel, FOOTPRINT)
    return footprint(made, load_board(made.board))


def _read(path: Path, kind: type[T], what: str) -> T:
    existing_file(path, what)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not JSON", f"pass {what}") from None
    return from_json(kind, text, str(path))


def _write(verdict: GateVerdict, json_out: str | None, junit_out: Path | None, markdown_out: Path | None) -> None:
    from edgeai.gate.writers import junit, markdown

    if json_out is not None and json_out != STDOUT:
        write_text(Path(json_out), to_json(verdict))
    if junit_out is not None:
        write_text(junit_out, junit(verdict))
    if markdown_out is not None:
        write_text(markdown_out, markdown(verdict))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        # the runner's file collects what every command of the step adds, so it is appended to
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(markdown(verdict))
