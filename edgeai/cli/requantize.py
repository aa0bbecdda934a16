"""`edgeai requantize`: the per-tensor file that a board's compiler makes of a per-channel one, simulated."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts.debug import RequantizedModel
from edgeai.cli.options import PathParam, json_option
from edgeai.cli.render import emit, facts
from edgeai.errors import InputError
from edgeai.files import file_ref, write_bytes


@click.command("requantize")
@click.argument("model", type=PathParam)
@click.option("-o", "--output", type=PathParam, metavar="OUT.tflite", help="Where to write the file.")
@click.option(
    "--weights", "method", type=click.Choice(["entropy", "max"]), default="entropy", show_default=True,
    help="How the one range of a weight tensor is chosen; max clips nothing.",
)  # fmt: skip
@json_option
def command(model: Path, output: Path | None, method: str, as_json: bool) -> None:
    """Give every weight tensor of a per-channel int8 TFLite one scale, as the STM32MP2's compiler does.

    This is a simulation: ST's compiler is closed, and says no more of its method than "entropy". Use it to learn what
    accuracy to expect; deploy a file that was quantised per tensor.

    \b
    edgeai requantize best_int8.tflite -o best_as_on_mp2.tflite
    edgeai evaluate best_int8.tflite --as-on STM32MP257F-EV1
    """
    from edgeai.provenance import provenance
    from edgeai.quantize.requantize import requantize
    from edgeai.recognise.audit import audit

    made = requantize(model, "max" if method == "max" else "entropy")
    if not made.tensors:
        raise InputError(f"{model.name} has no per-channel weights: nothing to convert", "it is what the board runs")
    target = output or Path(f"{model.stem}_requantized.tflite")
    if target.exists() and target.samefile(model):
        raise InputError(f"{target} is the file to convert", "choose another name with -o")
    write_bytes(target, made.data)
    report = audit(target)
    result = RequantizedModel(
        file=file_ref(target),
        source=file_ref(model),
        method=method,
        tensors=made.tensors,
        clipped=round(made.clipped, 6),
        audit=report,
        provenance=provenance("requantize", [file_ref(model)], [("weights", method)], ("ai-edge-litert", "numpy")),
    )
    rows = [
        ("file", f"{target} ({result.file.bytes:,} bytes)"),
        ("weights", f"{report.granularity}: {made.tensors} tensors had a scale per channel and have one now"),
        ("range", f"by {method}; {100 * made.clipped:.2f} % of the weights clip"),
        ("note", "a simulation of the board compiler's conversion, not its output"),
    ]
    emit(result, facts(rows), as_json)
