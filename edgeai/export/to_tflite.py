"""ONNX -> float TFLite, through onnx2tf's Keras model and TensorFlow's converter.

The converter works on the concrete function of the Keras model. A SavedModel on the way (`saved_model=`) holds the
same function, and is written only where somebody wants it: reading it back costs seconds and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeai.artifacts import Contract, ExportedModel, OutputRole, Parity
from edgeai.errors import ToolError
from edgeai.export.to_onnx import simplified
from edgeai.files import file_ref
from edgeai.provenance import CONVERT_TOOLS, provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def convert_onnx(source: Path, contract: Contract, out: Path, saved_model: Path | None = None) -> ExportedModel:
    """Write the ONNX file `source` as a float32 NHWC TFLite to `out`; every output is held against ONNX.

    The contract of the result names the outputs in the order of the TFLite file, which is not that of the ONNX file.
    Raises ToolError where a converter fails or changes the numbers.
    """
    import tensorflow as tf

    keras_model = _keras_model(source, out.parent)
    function = tf.function(
        keras_model,
        input_signature=[tf.TensorSpec(i.shape, i.dtype, i.name) for i in keras_model.inputs],
    ).get_concrete_function()
    if saved_model is not None:
        tf.saved_model.save(keras_model, str(saved_model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    out.write_bytes(converter.convert())
    ordered, parity = _match(source, out, contract)
    return ExportedModel(
        file=file_ref(out),
        contract=ordered,
        parity=parity,
        provenance=provenance("convert", [file_ref(source)], [], CONVERT_TOOLS, contract.spec.licence),
    )


def _keras_model(source: Path, work: Path) -> Any:
    """onnx2tf's model of an ONNX file.

    Three habits of onnx2tf 1.28 are answered here. It rewrites its input file: it gets a copy. It needs folded
    constants and the shape of every tensor, for which it would call the onnxsim program three times: one call does. It
    fetches a sample image from the network for its dummy inference, needed or not: one of our own takes its place.
    """
    import numpy as np
    import onnx
    import onnx2tf.onnx2tf as converter

    def sample() -> NDArray[np.float32]:
        return np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)

    converter.download_test_image_data = sample
    copy = work / "shapes.onnx"
    onnx.save(simplified(source), str(copy))
    with _in_folder(work):
        try:
            return converter.convert(
                input_onnx_file_path=str(copy.resolve()),
                output_folder_path="converted",
                disable_model_save=True,
                not_use_onnxsim=True,
                non_verbose=True,
                verbosity="error",
            )
        except SystemExit:
            raise ToolError(
                f"onnx2tf cannot convert {source.name}", "its message is in the log; see `edgeai inspect` for operators"
            ) from None
        finally:
            copy.unlink(missing_ok=True)


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """onnx2tf writes to the current folder; this runs in a process of its own, so changing it harms nobody."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _match(source: Path, tflite: Path, contract: Contract) -> tuple[Contract, tuple[Parity, ...]]:
    """The contract with the TFLite file's output order, and the parity of ONNX and TFLite."""
    import onnxruntime

    from edgeai.evaluate.agreement import compare
    from edgeai.export.parity import check, match_outputs, probe_image, to_nhwc

    image = normalised(probe_image(contract.imgsz), contract)
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = session.run(names, {session.get_inputs()[0].name: image.transpose(0, 3, 1, 2).copy()})
    actual = run_float(tflite, image)
    order = match_outputs(names, expected, actual)
    parity = tuple(
        compare("onnx -> tflite", name, to_nhwc(wanted), actual[place])
        for name, wanted, place in zip(names, expected, order, strict=True)
    )
    check(parity)
    roles = tuple(
        OutputRole(order[role.index], role.kind, role.stride, role.order if expected[role.index].ndim == 3 else "")
        for role in contract.roles
    )
    return replace(contract, roles=tuple(sorted(roles, key=lambda role: role.index))), parity


def normalised(image: NDArray[np.float32], contract: Contract) -> NDArray[np.float32]:
    """A picture in 0..1 as this network wants it."""
    import numpy as np

    if not contract.std:
        return image
    scaled = (image - np.asarray(contract.mean, np.float32)) / np.asarray(contract.std, np.float32)
    return np.asarray(scaled, np.float32)


def run_float(path: Path, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The outputs of a float TFLite for one NHWC image, in the file's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]).copy() for output in interpreter.get_output_details()]
