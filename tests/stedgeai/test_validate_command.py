"""`edgeai validate`: loader, target, host, agreement and the first operator that departs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import edgeai, refused

from edgeai.artifacts import ValidationResult, from_json
from edgeai.errors import InputError
from edgeai.stedgeai.agree import first_departure
from edgeai.stedgeai.host import host_outputs, host_tensors, quantized_inputs
from edgeai.stedgeai.locate import Installation
from edgeai.stedgeai.validate import target_outputs

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def photos(kit: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for image in sorted((kit / "coco" / "calibration" / "images").glob("*.jpg"))[:3]:
        shutil.copyfile(image, folder / image.name)
    return folder


@pytest.fixture
def batch(model: Path, tmp_path: Path) -> Path:
    """A batch for the classifier in its own quantization."""
    from edgeai.graph import load_graph

    graph = load_graph(model)
    tensor = graph.tensors[graph.inputs[0]]
    rng = np.random.default_rng(1)
    low = -128 if tensor.dtype == "int8" else 0
    np.save(tmp_path / "batch.npy", rng.integers(low, low + 256, (2, 96, 96, 3)).astype(tensor.dtype))
    return tmp_path / "batch.npy"


def test_inputs_are_images_in_the_quantization_of_the_model(segmenter: Path, photos: Path) -> None:
    """Against the definition: real = scale * (q - zero point), to half a step."""
    from edgeai.graph import load_graph
    from edgeai.imaging.images import letterbox, read_image

    graph = load_graph(segmenter)
    tensor = graph.tensors[graph.inputs[0]]
    paths = sorted(photos.glob("*.jpg"))
    values = quantized_inputs(segmenter, paths)
    assert values.shape == (3, 256, 256, 3) and str(values.dtype) == tensor.dtype
    expected = letterbox(read_image(paths[0]), 256)[0].astype(np.float64) / 255
    real = tensor.scale * (values[0].astype(np.float64) - tensor.zero_point)
    assert np.abs(real - expected).max() <= tensor.scale * 0.5001


def test_host_validation_agrees_in_every_bit(
    capsys: Capsys, core: Installation, model: Path, batch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edgeai(capsys, "compile", model, "--board", "stm32h7", "--stedgeai", core.executable).code == 0
    outcome = edgeai(
        capsys, "validate", model, "--board", "stm32h7", "--host", "--inputs", batch, "--json",
        "--stedgeai", core.executable,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = from_json(ValidationResult, outcome.out)
    assert (found.toolchain, found.mode, found.profile and found.profile.samples) == (core.toolchain, "host", 2)
    assert len(found.agreement) == 1 and found.agreement[0].cosine > 0.99
    if core.toolchain == "stand-in":  # it runs the same kernels
        assert [(a.cosine, a.sqnr_db, a.bit_equal) for a in found.agreement] == [(1.0, None, 1.0)]
        assert found.metrics[0].rmse == 0 and found.metrics[0].snr_db is None


def test_validation_needs_real_inputs_and_a_compile_result(
    capsys: Capsys, standin: Path, model: Path, batch: Path, tmp_path: Path
) -> None:
    options = ["validate", model, "--board", "stm32h7", "--host", "--stedgeai", standin]
    refused(edgeai(capsys, *options, "--inputs", batch), 2, "no compile result")
    assert edgeai(capsys, "compile", model, "--board", "stm32h7", "--stedgeai", standin).code == 0
    refused(edgeai(capsys, *options), 2, "random ones say nothing")
    np.save(tmp_path / "wrong.npy", np.zeros((2, 64, 64, 3), np.int8))
    refused(edgeai(capsys, *options, "--inputs", tmp_path / "wrong.npy"), 2, "int8[2, 64, 64, 3]")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY garbage")
    refused(edgeai(capsys, *options, "--inputs", tmp_path / "bad.npy"), 2, "is no array")


@pytest.mark.parametrize(
    ("fault", "words"), [("loader-failed", "no contact (Unable to get core ID)"), ("loader-silent", "did not start")]
)
def test_a_load_without_its_success_line_is_never_validated(
    capsys: Capsys, standin: Path, model: Path, batch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: str, words: str,
) -> None:  # fmt: skip
    assert edgeai(capsys, "compile", model, "--board", "stm32n6", "--stedgeai", standin).code == 0
    monkeypatch.setenv("EDGEAI_STANDIN_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("EDGEAI_STANDIN_FAULT", fault)
    outcome = edgeai(
        capsys, "validate", model, "--board", "stm32n6", "--port", "/dev/null", "--inputs", batch, "--stedgeai", standin
    )
    refused(outcome, 6, words, "n6_loader.log")
    assert "validate" not in (tmp_path / "calls").read_text()


def test_a_board_that_does_not_answer(capsys: Capsys, standin: Path, model: Path, batch: Path) -> None:
    assert edgeai(capsys, "compile", model, "--board", "stm32h7", "--stedgeai", standin).code == 0
    outcome = edgeai(
        capsys, "validate", model, "--board", "stm32h7", "--port", "/dev/tty-none", "--inputs", batch, "--stedgeai",
        standin,
    )  # fmt: skip
    refused(outcome, 6, "no validation firmware answers", "stedgeai-validate.log")


def test_dry_run_shows_loader_and_validate(capsys: Capsys, core: Installation, model: Path, batch: Path) -> None:
    assert edgeai(capsys, "compile", model, "--board", "stm32n6", "--stedgeai", core.executable).code == 0
    outcome = edgeai(
        capsys, "validate", model, "--board", "stm32n6", "--inputs", batch, "--dry-run", "--json",
        "--stedgeai", core.executable,
    )  # fmt: skip
    loader, validate = json.loads(outcome.out)["commands"]
    assert loader[1].endswith("n6_loader.py") and loader[2] == "--config-file"
    assert validate[validate.index("--desc") + 1] == "serial:921600"
    assert validate[validate.index("--val-json") + 1].endswith("network_c_info.json")
    assert "--valinput" in validate and "--quiet" in validate


def test_reports_made_elsewhere(capsys: Capsys, kit: Path) -> None:
    log = next((kit / "stedgeai").rglob("mobilenet_v2_224.txt"))
    outcome = edgeai(capsys, "validate", "--board", "stm32n6", "--from", log)
    assert outcome.code == 0 and "49.338 ms (49.011 to 52.147), 10 samples" in outcome.out
    hung = next((kit / "stedgeai").rglob("conv2d_32f_7x7_epochController_report.txt"))
    refused(edgeai(capsys, "validate", "--board", "stm32n6", "--from", hung), 6, "the firmware hangs")


# --- the first operator that departs --------------------------------------------------------------


@pytest.fixture
def activations(model: Path, batch: Path) -> Any:
    return host_tensors(model, np.load(batch)[:1])


def test_no_departure_where_all_agree(activations: Any) -> None:
    assert first_departure(activations, {t.name: t.values for t in activations}) is None


def test_the_first_departure_is_found_in_the_middle(activations: Any) -> None:
    """Operator 12 goes wrong; all after it are wrong too, those before differ in some last bits only."""
    given = {}
    for i, tensor in enumerate(activations):
        values = tensor.values.copy()
        if i < 12:
            values.flat[:: 97] = np.clip(values.flat[:: 97].astype(int) + 1, -128, 127).astype(values.dtype)
        else:
            values = values[..., ::-1].copy()
        given["model/" * 0 + tensor.name.replace("/", "_")] = values  # C names
    found = first_departure(activations, given)
    assert found is not None and found.index == activations[12].index
    assert found.operator == activations[12].operator and (found.agreement.sqnr_db or 0) < 20


def test_a_device_that_names_nothing_we_know(activations: Any) -> None:
    with pytest.raises(InputError, match="no tensor of the target"):
        first_departure(activations, {"epoch_1": activations[0].values})


def test_outputs_of_the_host_stand_in_the_order_of_the_file(segmenter: Path, photos: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    inputs = quantized_inputs(segmenter, sorted(photos.glob("*.jpg"))[:1])
    made = Interpreter(str(segmenter), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], inputs[:1])
    made.invoke()
    expected = [made.get_tensor(detail["index"]) for detail in made.get_output_details()]
    found = host_outputs(segmenter, inputs)
    assert len(found) == len(expected)
    assert all(np.array_equal(a.values, b) for a, b in zip(found, expected, strict=True))


def test_outputs_of_the_target_keep_their_order(tmp_path: Path) -> None:
    arrays = {f"c_outputs_{i}": np.full((1, 2), i, np.int8) for i in range(1, 13)}
    np.savez(tmp_path / "network_val_io.npz", m_outputs_1=np.zeros(1), **arrays)
    assert [int(a[0, 0]) for a in target_outputs(tmp_path / "network_val_io.npz")] == list(range(1, 13))
