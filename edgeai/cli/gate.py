"""`edgeai gate`: hold the accuracy of a candidate against a baseline; exit code 4 where it dropped too far."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgeai.artifacts import EvalResult, GateVerdict, from_json, to_json
from edgeai.cli.render import table
from edgeai.errors import AccuracyError, InputError
from edgeai.files import existing_file, write_text
from edgeai.project import load_project

STDOUT = "-"


@click.command("gate")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="EvalResult of the float model.")
@click.option("--candidate", required=True, type=click.Path(path_type=Path), help="EvalResult of the int8 file.")
@click.option("--max-drop", type=float, help="Largest drop allowed, in points. Default: edgeai.toml, else 1.0.")
@click.option("--metric", "metrics", multiple=True, help="Metric to check; may be repeated. Default: box and mask AP.")
@click.option(
    "--json", "json_out", is_flag=False, flag_value=STDOUT, metavar="[OUT]",
    help="Write the verdict as JSON; print it where no file is given.",
)  # fmt: skip
@click.option("--junit", "junit_out", type=click.Path(path_type=Path), help="Write JUnit XML.")
@click.option("--markdown", "markdown_out", type=click.Path(path_type=Path), help="Write Markdown.")
def command(
    baseline: Path,
    candidate: Path,
    max_drop: float | None,
    metrics: tuple[str, ...],
    json_out: str | None,
    junit_out: Path | None,
    markdown_out: Path | None,
) -> int:
    """Fail with exit code 4 when a candidate is less accurate than its baseline by more than a limit.

    Both files are written by `edgeai evaluate --json`. Results of different protocols are refused. Inside a GitHub
    workflow the verdict is also added to the step's summary.
    """
    from edgeai.gate.policy import judge

    settings = load_project().settings.gate
    limit = settings.max_drop if max_drop is None else max_drop
    verdict = judge(_read(baseline), _read(candidate), limit, metrics or settings.metrics)
    _write(verdict, json_out, junit_out, markdown_out)
    click.echo(to_json(verdict) if json_out == STDOUT else render(verdict), nl=json_out != STDOUT)
    return 0 if verdict.passed else AccuracyError.exit_code


def render(verdict: GateVerdict) -> str:
    """The table of the checks and the verdict, for a terminal."""
    from edgeai.gate.writers import drop_text

    rows = [
        (
            c.name,
            f"{c.baseline:.2f}",
            f"{c.candidate:.2f}",
            drop_text(c),
            f"{c.limit:g}",
            "ok" if c.passed else "FAILED",
        )
        for c in verdict.checks
    ]
    header = ("metric", "baseline", "candidate", "drop", "limit", "")
    conclusion = "passed" if verdict.passed else "FAILED"
    return (
        f"{table(header, rows, right=(1, 2, 3, 4))}\n\n"
        f"gate {conclusion}: {verdict.candidate} against {verdict.baseline}, in percent points, "
        f"{verdict.protocol.num_images} images at {verdict.protocol.imgsz} px"
    )


def _read(path: Path) -> EvalResult:
    existing_file(path, "an EvalResult that edgeai evaluate --json wrote")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not JSON", "pass an EvalResult that edgeai evaluate --json wrote") from None
    return from_json(EvalResult, text, str(path))


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
