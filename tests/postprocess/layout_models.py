"""int8 files of one checkpoint in several head layouts, made in one process: what TensorFlow and PyTorch cost to
import is paid once."""

from __future__ import annotations

from pathlib import Path

from edgeai.artifacts import Layout
from edgeai.quantize.ptq import OutputType
from edgeai.quantize.recipe import Method

# The C code must read what a file gives, however accurate that is: no tuning, few images.
QUICK = Method(ranges="observed", biases="analytic")
PHOTOS = 4


def write_layouts(
    checkpoint: Path, photos: Path, imgsz: int, layouts: tuple[tuple[Layout, OutputType], ...], folder: Path
) -> None:
    """`folder/LAYOUT.tflite` of each, with outputs of the type that stands beside it."""
    from edgeai.export.to_onnx import export_onnx
    from edgeai.export.to_tflite import convert_onnx
    from edgeai.models.load import import_model
    from edgeai.quantize.ptq import write_quantized
    from edgeai.quantize.ranges.calibration import batches, open_calibration
    from edgeai.quantize.ranges.observe import observe

    images = open_calibration(photos, limit=PHOTOS)
    weights = folder / "weights.safetensors"
    import_model(checkpoint, weights)
    for layout, outputs in layouts:
        onnx, floats = folder / f"{layout}.onnx", folder / f"{layout}_float.tflite"
        balance = images.paths if layout == "concat" else ()
        exported = export_onnx(weights, layout, imgsz, 1.0, balance, "resize", onnx)
        contract = convert_onnx(onnx, exported.contract, floats).contract
        ranges = observe(floats, contract, images.set, batches(images.paths, contract), QUICK)
        out = folder / f"{layout}.tflite"
        write_quantized(floats, ranges, contract, True, "int8", outputs, QUICK, images.paths, out)
