"""torch -> ONNX: static batch of one, opset 17, the head layout of choice, the contract inside the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.artifacts import Contract, ExportedModel, Layout, ModelSpec, Parity, Upsample, to_json
from edgeai.errors import InputError, ToolError
from edgeai.files import file_ref
from edgeai.provenance import EXPORT_TOOLS, provenance

if TYPE_CHECKING:
    import onnx
    from torch import nn

OPSET = 17
BALANCE = 4.0  # coefficients of +-1 / BALANCE beside boxes and scores in 0..1, see docs/accuracy.md
CONTRACT_KEY = "edgeai.contract"


def check_size(imgsz: int) -> None:
    """The network halves its input five times: the size must be a multiple of 32."""
    if imgsz < 32 or imgsz % 32 or imgsz > 4096:
        near = max(32, round(imgsz / 32) * 32)
        raise InputError(f"--imgsz {imgsz} is not a multiple of 32", f"use --imgsz {near}")


def export_onnx(
    weights: Path,
    layout: Layout,
    imgsz: int,
    coef_divisor: float,
    balance: tuple[Path, ...],
    upsample: Upsample,
    out: Path,
    mask_gain: float = 0.0,
) -> ExportedModel:
    """Write `weights` (.pt or .safetensors) as ONNX to `out`; every output is held against torch.

    Mask coefficients are divided by `coef_divisor`, or by what balances them on the images `balance` where there are
    some (layout concat); `upsample` "transposed" replaces resizing (edgeai/export/upsample.py). With a `mask_gain`,
    prototypes of layout concat are multiplied so that the products of the outputs are `mask_gain` times the mask
    logits. Raises InputError for a checkpoint or size that cannot be exported, ToolError where parity fails.
    """
    import torch

    from edgeai.export import heads
    from edgeai.export.mish import with_negated_mish
    from edgeai.export.upsample import with_transposed_upsampling
    from edgeai.models import load_model

    check_size(imgsz)
    torch.set_num_threads(2)
    network, spec = load_model(weights)
    if spec.anchors and layout != "raw":
        raise InputError(f"{spec.name} has anchor boxes; they are decoded outside", "use --layout raw")
    if balance and spec.task == "segment":
        coef_divisor = balanced_divisor(network, spec, balance, imgsz)
    if coef_divisor != 1.0:
        heads.scale_coefficients(network, coef_divisor)
    if upsample == "transposed":
        with_transposed_upsampling(network)
    with_negated_mish(network)
    multiplied = mask_gain and layout == "concat" and spec.task == "segment"
    proto_factor = mask_gain * coef_divisor if multiplied else 1.0
    module = heads.with_head(network, spec, imgsz, layout, proto_factor)
    contract = heads.contract(spec, layout, imgsz, coef_divisor, proto_factor)
    names = heads.output_names(spec, layout)
    dummy = torch.zeros(1, 3, imgsz, imgsz)
    with torch.no_grad():
        torch.onnx.export(
            module, (dummy,), str(out), input_names=["images"], output_names=names, opset_version=OPSET, dynamo=False
        )
    finish(out, contract)
    parity = _parity(module, out, names, imgsz)
    return ExportedModel(
        file=file_ref(out),
        contract=contract,
        parity=parity,
        provenance=provenance(
            "export",
            [file_ref(weights)],
            [
                ("layout", layout),
                ("imgsz", imgsz),
                ("coef_divisor", coef_divisor),
                *([("proto_factor", proto_factor)] if multiplied else []),
                ("upsample", upsample),
                ("opset", OPSET),
            ],
            EXPORT_TOOLS,
            spec.licence,
        ),
    )


def balanced_divisor(network: nn.Module, spec: ModelSpec, images: tuple[Path, ...], imgsz: int) -> float:
    """The k of balanced concat: a power of two that brings the largest mask coefficient to about 1 / BALANCE.

    Boxes and scores fill 0..1. Coefficients of +-1/4 lengthen the shared range by a quarter and have 50 steps a side.
    Rounding YOLOv8n-seg's fp32 outputs alone loses (mask / box AP, 211 images of train2017 at 256 px, 2026-11-21)
    0.22 / 0.92 with k = 4, 0.14 / 0.69 with 8, 0.23 / 0.40 with 16, which is what this rule gives.
    """
    import torch

    from edgeai.export.heads import contract, roles
    from edgeai.quantize.ranges.calibration import batches

    places = [i for i, role in enumerate(roles(spec, "raw")) if role.kind == "coefs"]
    largest = 0.0
    with torch.no_grad():
        for image in batches(images, contract(spec, "raw", imgsz)):
            outputs = network(torch.from_numpy(image).permute(0, 3, 1, 2))
            largest = max(largest, *(float(outputs[i].abs().max()) for i in places))
    return float(2.0 ** round(math.log2(BALANCE * largest))) if largest > 0 else 1.0


def simplified(path: Path) -> onnx.ModelProto:
    """An ONNX file with its constants folded and every shape known. Raises ToolError where that is not possible."""
    import onnxsim

    try:
        model, same = onnxsim.simplify(str(path))
    except Exception as error:
        raise ToolError(f"onnxsim cannot simplify {path.name}: {' '.join(str(error).split())[:160]}") from None
    if not same:
        raise ToolError(f"onnxsim changed what {path.name} computes", "report this with the model")
    return model


def with_contract(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """`model` with its contract in the metadata, in place."""
    import onnx

    kept = {entry.key: entry.value for entry in model.metadata_props}
    licence = {"license": contract.spec.licence} if contract.spec.licence != "unknown" else {}  # for other tools' eyes
    onnx.helper.set_model_props(model, {**licence, **kept, CONTRACT_KEY: to_json(contract)})
    model.producer_name, model.producer_version = "edgeai", ""
    return model


def finish(path: Path, contract: Contract) -> None:
    """Fold what the exporter left unfolded, and put the contract into the file's metadata."""
    import onnx

    onnx.save(with_contract(simplified(path), contract), str(path))


def _parity(module: object, path: Path, names: list[str], imgsz: int) -> tuple[Parity, ...]:
    """torch against onnxruntime on the probe image."""
    import onnxruntime
    import torch

    from edgeai.evaluate.agreement import compare
    from edgeai.export.parity import check, probe_image

    assert isinstance(module, torch.nn.Module)
    image = probe_image(imgsz).transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        outputs = module(torch.from_numpy(image))
    expected = [o.numpy() for o in (outputs if isinstance(outputs, tuple) else (outputs,))]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    actual = session.run(names, {"images": image})
    found = tuple(
        compare("torch -> onnx", name, e, a) for name, e, a in zip(names, expected, actual, strict=True)
    )
    check(found)
    return found
