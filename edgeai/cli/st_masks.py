"""`edgeai st-masks`: a concat file with the masks that ST's applications draw."""

from __future__ import annotations

from pathlib import Path

import click

from edgeai.artifacts.debug import MaskedModel
from edgeai.cli.options import PathParam, json_option
from edgeai.cli.render import emit, facts
from edgeai.errors import InputError
from edgeai.files import existing_file, file_ref, write_bytes


@click.command("st-masks")
@click.argument("model", type=PathParam)
@click.option("-o", "--output", type=PathParam, metavar="OUT.tflite", help="Where to write the file.")
@json_option
def command(model: Path, output: Path | None, as_json: bool) -> None:
    """Multiply the prototypes of a concat file, so that ST's applications draw its masks.

    ST's code sets a mask pixel where the product of coefficients and prototypes reaches 0.5, without a sigmoid. A file
    whose coefficients were divided comes out without masks there, any other file with small ones. One MUL is added.
    Every other number of the file stays, and edgeai reads the same masks from both.

    \b
    edgeai st-masks concat_int8.tflite -o best_st.tflite
    """
    from edgeai.graph.contract import st_mask_logit
    from edgeai.provenance import provenance
    from edgeai.quantize.ptq import with_contract
    from edgeai.quantize.st_masks import with_st_masks
    from edgeai.recognise.know import know_file

    contract = know_file(existing_file(model, "a .tflite file")).contract
    before = st_mask_logit(contract)
    if before is None or model.suffix.lower() != ".tflite":
        raise InputError(
            f"{model.name} is not a TFLite file of layout concat with masks", "only those are read by ST's applications"
        )
    target = output or Path(f"{model.stem}_st.tflite")
    if target.exists() and target.samefile(model):
        raise InputError(f"{target} is the file to convert", "choose another name with -o")
    data, changed = with_st_masks(model.read_bytes(), contract)
    write_bytes(target, with_contract(data, changed) if changed is not contract else data)
    after = st_mask_logit(changed)
    result = MaskedModel(
        file=file_ref(target),
        source=file_ref(model),
        factor=changed.proto_factor / contract.proto_factor,
        logit_before=before,
        logit_after=before if after is None else after,
        provenance=provenance("st-masks", [file_ref(model)], [], ("ai-edge-litert", "numpy"), contract.spec.licence),
    )
    done = f"multiplied by {result.factor:g}" if changed is not contract else "left as they are: nothing to do"
    rows = [
        ("file", f"{target} ({result.file.bytes:,} bytes)"),
        ("prototypes", done),
        ("masks", f"in ST's application from logit {result.logit_after:g} on, before from {before:g}"),
    ]
    emit(result, facts(rows), as_json)
