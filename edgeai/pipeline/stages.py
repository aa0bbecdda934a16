"""The stages from checkpoint to int8 file, each answered from the cache where its inputs have not changed.

What a stage is stands here; how it runs, in `edgeai.pipeline.runner`.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeai.artifacts import (
    Contract,
    EvalResult,
    ExportedModel,
    FloatModel,
    Granularity,
    Layout,
    QuantizedModel,
    Ranges,
    Upsample,
    from_json,
    to_json,
)
from edgeai.cache import StageOutput
from edgeai.errors import InputError, NotSimulatedError
from edgeai.files import existing_file, file_ref, write_with
from edgeai.pipeline.runner import Runner
from edgeai.provenance import CONVERT_TOOLS, EVALUATE_TOOLS, EXPORT_TOOLS, QUANTIZE_TOOLS, provenance
from edgeai.quantize.ptq import InputType, OutputType, Source, Written, has_rectifiers
from edgeai.quantize.ranges.calibration import CalibrationSource, batches
from edgeai.quantize.recipe import DEFAULT, Method
from edgeai.recognise import Asked
from edgeai.training.learned import ranges_path

if TYPE_CHECKING:
    from edgeai.board import Board
    from edgeai.evaluate.backends import Kernels
    from edgeai.evaluate.dataset import Dataset

T = TypeVar("T")

BALANCE_IMAGES = 16  # images that set the divisor of balanced concat: a range, not an accuracy
CONVERTED = {
    ".tflite": "a TFLite file: what is quantised here is the network before that",
    ".nb": "a network binary for the NPU of an STM32MP2: it is compiled already",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to quantise to. `layout` is for checkpoints, `mean`, `std` (of RGB / 255), `head` and `boxes` for ONNX files
    that do not say it themselves; `imgsz` 0 is the size that an ONNX file fixes.
    """

    granularity: Granularity = "per-channel"
    layout: Layout = "raw"
    imgsz: int = 256
    input_type: InputType = "int8"
    output_type: OutputType = "int8"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    method: Method = DEFAULT
    head: str = ""
    boxes: str = ""

    @property
    def asked(self) -> Asked:
        """What the user says of an ONNX file."""
        return Asked(head=self.head, boxes=self.boxes, mean=self.mean, std=self.std, imgsz=self.imgsz)


class Stages(Runner):
    """Every stage of one project, over one cache."""

    # --- float --------------------------------------------------------------------------------

    def imported(self, model: Path) -> tuple[Path, FloatModel]:
        """The safetensors file of a checkpoint, and what is in it."""
        from edgeai.models.load import import_model

        inputs = provenance("import", [file_ref(existing_file(model, "a checkpoint"))], [], EXPORT_TOOLS)

        def produce(folder: Path) -> None:
            self._child(folder, import_model, model, folder / "model.safetensors", "float_model.json")

        folder = self._stage(inputs, produce)
        return folder / "model.safetensors", _load(FloatModel, folder / "float_model.json")

    def exported(
        self,
        model: Path,
        layout: Layout,
        imgsz: int,
        balance: CalibrationSource | None,
        coef_divisor: float = 1.0,
        upsample: Upsample = "resize",
        mask_gain: float = 0.0,
    ) -> tuple[Path, ExportedModel]:
        """The ONNX file of a checkpoint in one head layout. `balance`: the images that set the divisor of concat;
        `mask_gain`: what the products of its outputs are times the mask logits."""
        from edgeai.export.to_onnx import check_size, export_onnx

        check_size(imgsz)
        weights, imported = self.imported(model)
        images = balance.paths[:BALANCE_IMAGES] if balance is not None and layout == "concat" else ()
        options = [("layout", layout), ("imgsz", imgsz), ("coef_divisor", coef_divisor), ("upsample", upsample)]
        options += [("mask_gain", mask_gain)] if mask_gain else []
        inputs = provenance("export", [file_ref(weights), *map(file_ref, images)], options, EXPORT_TOOLS)

        name = f"{imported.spec.name}_{imgsz}_{layout}.onnx"

        def produce(folder: Path) -> None:
            self._warm_up("convert_onnx", ("tensorflow", "onnx2tf.onnx2tf", "onnxruntime"))
            arguments = (weights, layout, imgsz, coef_divisor, images, upsample, folder / name, mask_gain)
            self._child(folder, export_onnx, *arguments, "exported.json")

        folder = self._stage(inputs, produce)
        return folder / name, _load(ExportedModel, folder / "exported.json")

    def converted(self, onnx: Path, contract: Contract) -> tuple[Path, ExportedModel]:
        """The float TFLite of an ONNX file."""
        from edgeai.export.to_tflite import convert_onnx

        inputs = provenance("convert", [file_ref(onnx)], [("contract", to_json(contract))], CONVERT_TOOLS)

        def produce(folder: Path) -> None:
            self._child(folder, convert_onnx, onnx, contract, folder / "model.tflite", "exported.json")

        folder = self._stage(inputs, produce)
        return folder / "model.tflite", _load(ExportedModel, folder / "exported.json")

    def _equalised(
        self, tflite: Path, contract: Contract, granularity: Granularity, calibration: CalibrationSource
    ) -> Path:
        """A float TFLite with its channels levelled for weights of that granularity: it computes the same."""
        from edgeai.quantize.improve.equalise import write_equalised

        options = [("granularity", granularity), ("calibration", calibration.set.sha256)]
        inputs = provenance("equalise", [file_ref(tflite)], options, QUANTIZE_TOOLS)

        def produce(folder: Path) -> None:
            arguments = (tflite, contract, calibration.paths, granularity == "per-channel", folder / "model.tflite")
            self._child(folder, write_equalised, *arguments, "levelled.json")

        return self._stage(inputs, produce) / "model.tflite"

    def levelled_as(self, tflite: Path, quantized: Path) -> Path:
        """The float TFLite `tflite` with its channels levelled as they were for the int8 file `quantized`."""
        from edgeai.quantize.improve.equalise import write_as_quantized

        inputs = provenance("equalise", [file_ref(tflite), file_ref(quantized)], [], QUANTIZE_TOOLS)

        def produce(folder: Path) -> None:
            self._child(folder, write_as_quantized, tflite, quantized, folder / "model.tflite", "levelled.json")

        try:
            return self._stage(inputs, produce) / "model.tflite"
        except NotSimulatedError:  # nor could it be levelled then
            return tflite

    # --- int8 ---------------------------------------------------------------------------------

    def ranges(
        self,
        model: Path,
        contract: Contract,
        calibration: CalibrationSource,
        method: Method = DEFAULT,
        *,
        quantizes: bool = False,
    ) -> Ranges:
        """Activation ranges of a float TFLite; `contract` names its outputs. Where the caller `quantizes` next, that
        step's process starts now."""
        from edgeai.quantize.ranges.observe import observe

        options = [
            ("calibration", calibration.set.sha256),
            ("contract", to_json(contract)),
            ("observer", method.observer),
            ("exceptions", method.exceptions),
            ("joint_scales", method.joint_scales),
        ]
        inputs = provenance("calibrate", [file_ref(model)], options, QUANTIZE_TOOLS)

        def produce(folder: Path) -> None:
            if quantizes:
                self._warm_up("write_quantized", ("tensorflow.lite.python.convert",))
            images = self._ticking(batches(calibration.paths, contract), len(calibration.paths))
            (folder / "ranges.json").write_text(to_json(observe(model, contract, calibration.set, images, method)))

        return _load(Ranges, self._stage(inputs, produce) / "ranges.json")

    def carried(
        self, model: Path, tflite: Path, contract: Contract, observed: Ranges, calibration: CalibrationSource
    ) -> Ranges:
        """`observed`, with the ranges that quantisation-aware training of `model` learned where it learned some."""
        from edgeai.training.carry import carry_file

        files = [file_ref(model), file_ref(ranges_path(model)), file_ref(tflite)]
        inputs = provenance("carry", files, [("observed", to_json(observed))], QUANTIZE_TOOLS)

        def produce(folder: Path) -> None:
            self._child(folder, carry_file, observed, model, tflite, contract, calibration.paths[0], "ranges.json")

        return _load(Ranges, self._stage(inputs, produce) / "ranges.json")

    def quantized(
        self, model: Path, recipe: Recipe, calibration: CalibrationSource
    ) -> tuple[Path, QuantizedModel, StageOutput]:
        """The int8 TFLite of a checkpoint or ONNX file, audited after it was written."""
        from edgeai.quantize.ptq import write_quantized
        from edgeai.quantize.ranges.advice import advice
        from edgeai.recognise.audit import audit

        if recipe.granularity == "float":
            raise InputError("granularity must be per-channel or per-tensor")
        exported, tflite, converted = self.float_tflite(model, recipe, calibration)
        learned = ranges_path(model).is_file()
        other = None if learned else self._other(tflite, converted.contract, recipe, calibration)
        ranges = self.ranges(tflite, converted.contract, calibration, recipe.method, quantizes=True)
        if learned:
            ranges = self.carried(model, tflite, converted.contract, ranges, calibration)
        # learned ranges are the optimum of the training that learned them, with the biases it had
        kept = replace(recipe.method, ranges="observed", biases="analytic", weights="nearest", equalise=False)
        method = kept if learned else recipe.method
        method = method.settled(recipe.granularity)
        options = [
            ("granularity", recipe.granularity),
            ("input_type", recipe.input_type),
            ("output_type", recipe.output_type),
            ("observer", ranges.observer),
            ("method", method.describe()),
            ("exceptions", method.exceptions),
            ("tuning_images", method.images if method.tunes else 0),
            ("tuning_trials", method.trials if method.tunes else 0),
            ("calibration_sha256", calibration.set.sha256),
            ("calibration_images", len(calibration.paths)),
            ("seed", calibration.set.seed),
            *([("equalised", "where judged better")] if other is not None else []),
        ]
        inputs = provenance("quantize", [file_ref(model), file_ref(tflite)], options, QUANTIZE_TOOLS)
        contract = converted.contract
        name = f"{contract.spec.name}_{contract.imgsz}_{contract.layout}_{recipe.granularity}.tflite"

        def produce(folder: Path) -> None:
            per_channel = recipe.granularity == "per-channel"
            arguments = (tflite, ranges, converted.contract, per_channel, recipe.input_type, recipe.output_type)
            self._child(
                folder, write_quantized, *arguments, method, calibration.paths, folder / name, other, "written.json"
            )
            written = _load(Written, folder / "written.json")
            found = audit(folder / name)
            notes = advice(ranges.check, len(calibration.paths), contract.spec.names)
            found = replace(found, findings=(*found.findings, *[written.note] * bool(written.note), *notes))
            trial = [("tuning_chosen", written.chosen)] if written.chosen else []
            made = QuantizedModel(
                file=file_ref(folder / name),
                contract=written.contract,
                audit=found,
                calibration=calibration.set,
                parity=(*exported.parity, *converted.parity),
                provenance=provenance(
                    "quantize",
                    [file_ref(model)],
                    [*((fact.name, fact.value) for fact in exported.provenance.options), *options, *trial],
                    (*EXPORT_TOOLS, *CONVERT_TOOLS[:2], *QUANTIZE_TOOLS[1:]),
                    exported.contract.spec.licence,
                ),
            )
            (folder / "quantized.json").write_text(to_json(made))

        output = self._run_stage(inputs, produce)
        return output.folder / name, _load(QuantizedModel, output.folder / "quantized.json"), output

    def _other(self, tflite: Path, contract: Contract, recipe: Recipe, calibration: CalibrationSource) -> Source | None:
        """The equalised form of a float TFLite, for a judge to choose, where the recipe leaves that open."""
        if recipe.method.equalise is not None or not has_rectifiers(tflite):
            return None
        try:
            equalised = self._equalised(tflite, contract, recipe.granularity, calibration)
        except NotSimulatedError:
            return None
        return Source(equalised, self.ranges(equalised, contract, calibration, recipe.method))

    def qdq(self, tflite: Path, made: QuantizedModel) -> tuple[Path, QuantizedModel]:
        """The QDQ ONNX file of an int8 TFLite: the same codes, scales and zero points."""
        from edgeai.export.to_qdq import write_qdq
        from edgeai.recognise.audit import audit

        inputs = provenance("qdq", [file_ref(tflite)], [], EXPORT_TOOLS)
        name = f"{tflite.stem}.onnx"

        def produce(folder: Path) -> None:
            self._child(folder, write_qdq, tflite, made.contract, folder / name, "contract.json")
            other = replace(made, file=file_ref(folder / name), audit=audit(folder / name))
            (folder / "quantized.json").write_text(to_json(other))

        folder = self._stage(inputs, produce)
        return folder / name, _load(QuantizedModel, folder / "quantized.json")

    # --- accuracy -----------------------------------------------------------------------------

    def evaluated(self, model: Path, dataset: Dataset, kernels: Kernels | None = None) -> EvalResult:
        """Box and mask AP of a TFLite or ONNX file."""
        from edgeai.evaluate.backends import open_runner
        from edgeai.evaluate.coco import evaluate

        images, truth = dataset.images_sha256, dataset.truth_sha256
        options = [("images", images), ("truth", truth), ("kernels", kernels or "default")]
        inputs = provenance("evaluate", [file_ref(model), dataset.annotations], options, EVALUATE_TOOLS)

        def produce(folder: Path) -> None:
            ticks = itertools.count(1)
            with open_runner(model, kernels=kernels, threads=2) as runner:
                result = evaluate(
                    runner, dataset, progress=lambda: self._listener.tick(next(ticks), len(dataset.images))
                )
            (folder / "eval.json").write_text(to_json(result))

        return _load(EvalResult, self._stage(inputs, produce) / "eval.json")

    def evaluated_on(self, model: Path, board: Board, dataset: Dataset) -> EvalResult | None:
        """Box and mask AP of a file as `board` runs it; None where what the board makes of it is not known."""
        from edgeai.evaluate.backends.base import weights_kind
        from edgeai.graph import load_graph
        from edgeai.quantize.requantize import as_on, as_there, converts

        if not converts(board, weights_kind(load_graph(model))[1]):
            return self.evaluated(model, dataset)
        if model.suffix.lower() != ".tflite":
            return None
        inputs = provenance("requantize", [file_ref(model)], [("board", board.name)], QUANTIZE_TOOLS)

        def produce(folder: Path) -> None:
            (folder / "note.txt").write_text(as_on(model, board, folder).note)

        folder = self._stage(inputs, produce)
        result = self.evaluated(folder / model.name, dataset)
        return as_there(result, model, board, (folder / "note.txt").read_text())

    def float_onnx(self, model: Path, recipe: Recipe, calibration: CalibrationSource) -> tuple[Path, ExportedModel]:
        """The ONNX file to quantise: exported from a checkpoint, or the user's own made static."""
        if existing_file(model, "a model").suffix.lower() in CONVERTED:
            raise InputError(
                f"{model.name} is {CONVERTED[model.suffix.lower()]}", "pass the float network: .pt or .onnx"
            )
        if model.suffix.lower() != ".onnx":
            return self.exported(model, recipe.layout, recipe.imgsz, calibration, upsample=recipe.method.upsample)
        if recipe.method.upsample != DEFAULT.upsample:
            raise InputError("an ONNX file upsamples as it does", "pass the checkpoint, or a recipe without upsample")
        return self.imported_onnx(model, recipe.asked, separate=True)

    def float_tflite(
        self, model: Path, recipe: Recipe, calibration: CalibrationSource
    ) -> tuple[ExportedModel, Path, ExportedModel]:
        """What is calibrated and quantised: the export it comes from, the float TFLite, and what that is.

        Ranges that were learned in training belong to the layers as they were: those are not equalised.
        """
        onnx, exported = self.float_onnx(model, recipe, calibration)
        tflite, converted = self.converted(onnx, exported.contract)
        if recipe.method.equalise and not ranges_path(model).is_file():
            tflite = self._equalised(tflite, converted.contract, recipe.granularity, calibration)
        return exported, tflite, converted

    def imported_onnx(
        self, model: Path, asked: Asked, part: bool = False, separate: bool = False
    ) -> tuple[Path, ExportedModel]:
        """Somebody else's ONNX file, static and with a contract; `part` cuts off what cannot be deployed, `separate`
        gives boxes in pixels an output of their own."""
        from edgeai.export.from_onnx import import_onnx

        options = [("asked", asked), ("part", part), ("separate", separate)]
        inputs = provenance("export", [file_ref(existing_file(model, "an ONNX file"))], options, EXPORT_TOOLS)
        name = f"{model.stem}_part.onnx" if part else f"{model.stem}.onnx"

        def produce(folder: Path) -> None:
            self._child(folder, import_onnx, model, asked, part, separate, folder / name, "exported.json")

        folder = self._stage(inputs, produce)
        return folder / name, _load(ExportedModel, folder / "exported.json")


def _load(kind: type[T], path: Path) -> T:
    return from_json(kind, path.read_text(), path.name)


def deliver(source: Path, target: Path) -> None:
    """Copy a file of the cache to where the user wants it, whole or not at all."""
    write_with(target, lambda temporary: shutil.copyfile(source, temporary))
