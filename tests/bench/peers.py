"""The int8 file of one other quantiser, made in a process of its own: what it costs is its own.

    python tests/bench/peers.py tensorflow --saved-model DIR --calibration images.npy --per-tensor -o out.tflite

`images.npy` holds the calibration images as the network sees them: [N, S, S, 3] float32, RGB / 255. Each quantiser has
its defaults but for the granularity of the weights and int8 inputs and outputs where it offers them. Only numpy and the
quantiser itself are imported: ai-edge-quantizer may live in another environment than edgeai.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def float_forms(options: argparse.Namespace) -> None:
    """The SavedModel of an ONNX file, and its float TFLite with the signature that ai-edge-quantizer needs."""
    import tensorflow as tf

    from edgeai.artifacts import Contract, from_json
    from edgeai.export.to_tflite import convert_onnx

    contract = from_json(Contract, options.contract.read_text())
    convert_onnx(options.onnx, contract, options.out, options.saved_model)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(options.saved_model))
    options.out.write_bytes(converter.convert())


def tensorflow(options: argparse.Namespace) -> None:
    """TFLiteConverter: full int8 with a representative data set."""
    import tensorflow as tf

    def representative() -> Iterator[list[Any]]:
        for image in np.load(options.calibration, mmap_mode="r"):
            yield [np.ascontiguousarray(image[None])]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(options.saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter._experimental_disable_per_channel = options.per_tensor
    options.out.write_bytes(converter.convert())


def onnx2tf(options: argparse.Namespace) -> None:
    """onnx2tf -oiqt, which writes five files; the one with int8 inputs and outputs is the one that counts."""
    work = options.out.parent
    images = np.load(options.calibration, mmap_mode="r")
    # a file of this name keeps it from fetching one from the network
    sample = np.stack([image[::2, ::2][:128, :128] for image in images[:20]])
    np.save(work / "calibration_image_sample_data_20x128x128x3_float32.npy", sample)
    copy = work / "network.onnx"  # it rewrites its input
    shutil.copyfile(options.onnx, copy)
    script = Path(sys.executable).with_name("onnx2tf")
    grain = "per-tensor" if options.per_tensor else "per-channel"
    calibration = ["-cind", "images", str(options.calibration), "[[[[0,0,0]]]]", "[[[[1,1,1]]]]"]
    command = [str(script), "-i", copy.name, "-o", "converted", "-oiqt", "-qt", grain, *calibration, "-n"]
    subprocess.run(command, cwd=work, check=True)
    (made,) = (work / "converted").glob("*_full_integer_quant.tflite")
    shutil.copyfile(made, options.out)


def onnxruntime(options: argparse.Namespace) -> None:
    """quantize_static to QDQ after onnxruntime's own preparation; inputs and outputs stay float."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(np.load(options.calibration, mmap_mode="r"))

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {"images": np.ascontiguousarray(image.transpose(2, 0, 1)[None])}

    prepared = options.out.with_suffix(".prepared.onnx")
    quant_pre_process(str(options.onnx), str(prepared))
    quantize_static(str(prepared), str(options.out), Reader(), per_channel=not options.per_tensor)


def ai_edge_quantizer(options: argparse.Namespace) -> None:
    """The recipe static_wi8_ai8 on the float TFLite."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    chosen = recipe.static_wi8_ai8()
    if options.per_tensor:
        for rule in chosen:
            rule["op_config"]["weight_tensor_config"]["granularity"] = "TENSORWISE"
    ((signature, names),) = Interpreter(model_path=str(options.float_tflite)).get_signature_list().items()
    (name,) = names["inputs"]
    images = np.load(options.calibration, mmap_mode="r")
    work = quantizer.Quantizer(str(options.float_tflite), chosen)
    # a list: it goes through the images twice, to count them first
    observed = work.calibrate({signature: [{name: np.ascontiguousarray(image[None])} for image in images]})
    options.out.unlink(missing_ok=True)
    work.quantize(observed).export_model(str(options.out))


MAKERS = {
    "float": float_forms,
    "tensorflow": tensorflow,
    "onnx2tf": onnx2tf,
    "onnxruntime": onnxruntime,
    "ai-edge-quantizer": ai_edge_quantizer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maker", choices=MAKERS)
    for name in ("onnx", "contract", "saved-model", "float-tflite", "calibration"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--per-tensor", action="store_true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    MAKERS[options.maker](options)


if __name__ == "__main__":
    main()
